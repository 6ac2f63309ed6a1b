#include "nn/weights/foreign_vit.h"

#include <algorithm>

#include "base/error.h"
#include "io/files.h"
#include "nn/weights/weight_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse_unknown_names(const TensorFile& file) {
  std::string known;
  for (const Family& family : vit_families()) known += (known.empty() ? "" : ", ") + family.name;
  if (const std::optional<NearFamily> near = nearest_family(file))
    known += "; nearest is " + near->family->name + ", whose '" + near->missing + "' it lacks";
  fail(file.path().string(), ": no known vision transformer; expected the tensor names of one of: ", known,
       file.names().empty() ? "" : "; it starts with '" + printable(file.names()[0]) + "'");
}

}  // namespace

KeyMap ForeignVit::rules(const NamedTensors& destination) const {
  return key_map(named, described.measures.vit, destination);
}

ForeignVit understand(const fs::path& path, std::optional<Activation> activation) {
  TensorFile file = open_weights(path);
  const std::optional<NamedVit> named = recognize(file);
  if (!named) refuse_unknown_names(file);
  DescribedVit described = describe(file, *named, measure(file, *named), activation);
  described.notes.insert(described.notes.begin(), file.notes().begin(), file.notes().end());
  const bool doubles = std::any_of(file.names().begin(), file.names().end(),
                                   [&](const std::string& name) { return file.at(name).dtype == DType::kF64; });
  if (doubles) described.notes.push_back("the file holds float64 numbers, which are rounded to float32");
  return {std::move(file), *named, std::move(described)};
}

}  // namespace lacuna
