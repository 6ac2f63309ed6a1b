#include "nn/foreign_vit.h"

#include "base/error.h"
#include "io/files.h"
#include "nn/weight_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse_unknown_names(const TensorFile& file) {
  std::string known;
  for (const Family& family : vit_families()) known += (known.empty() ? "" : ", ") + family.name;
  fail(file.path().string(), ": no known vision transformer; expected the tensor names of one of: ", known,
       file.names().empty() ? "" : "; it starts with '" + printable(file.names()[0]) + "'");
}

}  // namespace

KeyMap ForeignVit::rules(const NamedTensors& destination) const {
  return key_map(named, described.measures.vit, destination);
}

ForeignVit understand(const fs::path& path) {
  TensorFile file = open_weights(path);
  const std::optional<NamedVit> named = recognize(file);
  if (!named) refuse_unknown_names(file);
  DescribedVit described = describe(folder_of(file), *named, measure(file, *named));
  described.notes.insert(described.notes.begin(), file.notes().begin(), file.notes().end());
  return {std::move(file), *named, std::move(described)};
}

fs::path folder_of(const TensorFile& file) {
  return file.path().has_parent_path() ? file.path().parent_path() : fs::path(".");
}

}  // namespace lacuna
