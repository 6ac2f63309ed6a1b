#pragma once
// A file of another program understood before any network is built: its family, its sizes, what stands beside it.

#include <filesystem>

#include "nn/weights/vit_config_files.h"

namespace lacuna {

struct ForeignVit {
  TensorFile file;
  NamedVit named;
  DescribedVit described;

  // Rules for a destination that has Vit's tensors under "vit.", as key_map gives them for this file.
  KeyMap rules(const NamedTensors& destination) const;
};

// Throws Error when the file is of no known family, or when names, shapes and configuration contradict each other.
// `activation` overrides the configuration's.
ForeignVit understand(const std::filesystem::path& path, std::optional<Activation> activation = {});

}  // namespace lacuna
