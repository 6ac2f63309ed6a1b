#include <filesystem>
#include <iostream>

#include "base/config.h"
#include "base/error.h"
#include "cli/command_line.h"
#include "io/files.h"
#include "nn/export_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

enum class Target { kTimm, kHf };
constexpr Named<Target> kTargets[] = {
    {Target::kTimm, "timm", "a folder for timm.create_model, which transformers' AutoModel opens, too"},
    {Target::kHf, "hf", "a folder for transformers, of the class that the network is"}};

constexpr Named<at::ScalarType> kDtypes[] = {
    {at::kFloat, "f32"}, {at::kHalf, "f16", "rounded"}, {at::kBFloat16, "bf16", "rounded"}};

struct ExportConfig {
  Target to = Target::kTimm;
  at::ScalarType dtype = at::kFloat;
  bool head = true;

  void fields(Fields& f) {
    f.add("to", to, kTargets, {.help = "whose folder"});
    f.add("dtype", dtype, kDtypes, {.help = "how the numbers are stored"});
    f.add("head", head, {.help = "with the classifier, where the model has one"});
  }
};

void write_folder(const fs::path& folder, const PortableVit& net, const ExportConfig& c) {
  switch (c.to) {
    case Target::kTimm:
      return write_timm_folder(folder, net, c.dtype);
    case Target::kHf:
      return write_transformers_folder(folder, net, c.dtype);
  }
}

}  // namespace

std::string export_keys() { return describe(ExportConfig{}); }

int export_command(Arguments arguments) {
  const CommandLine line = split(arguments);
  check(line.words.size() == 2, "export: expected a model and the folder to write: lacuna export MODEL OUT --to timm");
  ExportConfig c;
  Settings settings;
  settings.override_with(line.settings);
  check(settings.has("to"), "export: name the target by --to timm or --to hf");
  apply(settings, c);
  const PortableVit net = open_portable(line.words[0], c.head);
  for (const std::string& note : net.notes) std::cout << "note: " << note << "\n";
  write_folder(line.words[1], net, c);
  std::cout << "written to " << line.words[1] << std::endl;
  return 0;
}

}  // namespace lacuna
