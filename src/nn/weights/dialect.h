#pragma once
// The tables of nn/weights/families read the other way: how another program would name the tensors of a network of
// ours.

#include <string>
#include <vector>

#include "nn/weights/families.h"
#include "nn/weights/portable.h"

namespace lacuna {

// How one program writes a family's tensors. Of several rows for one tensor of ours the first counts whose names hold
// none of `without`.
struct Dialect {
  const Family* family;
  std::string prefix;  // for {p}
  std::vector<std::string> without = {};
};

const Family& family_called(const std::string& name);  // among vit_families()

// timm's: its ViT, and its BEiT for networks with a relative position bias.
Dialect timm_dialect(const VitConfig& vit);

// The rules of a dialect for the tensors that are there. `prefix` stands before a Vit's tensors among `source`.
KeyMap names_in(const Dialect& dialect, const VitConfig& vit, const NamedTensors& source);

// All tensors under the dialect's names, in alphabetic order. Throws Error for one that it has no name for; `target` is
// whose names they are.
NamedTensors named_in(const Dialect& dialect, const PortableVit& net, const std::string& target);

}  // namespace lacuna
