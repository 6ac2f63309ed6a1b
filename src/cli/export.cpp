#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "base/config.h"
#include "base/error.h"
#include "cli/command_line.h"
#include "cli/export_card.h"
#include "cli/export_source.h"
#include "io/files.h"
#include "nn/weights/export_folder.h"
#include "nn/weights/hub_cache.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr Named<ExportTarget> kTargets[] = {
    {ExportTarget::kTimm, "timm", "a folder for timm.create_model, which transformers' AutoModel opens, too"},
    {ExportTarget::kHf, "hf", "a folder for transformers, of the class that the network is"},
    {ExportTarget::kOpenClip, "openclip", "both towers of a CLIP for open_clip.create_model_and_transforms"},
    {ExportTarget::kSafetensors, "safetensors", "our own names; with part=all a state that init= starts from"}};

constexpr Named<ExportPart> kParts[] = {
    {ExportPart::kStudent, "student", "the network that was trained, or the model itself"},
    {ExportPart::kTeacher, "teacher", "a run's momentum teacher"},
    {ExportPart::kAll, "all", "a run's whole state: heads, completer, teachers, text tower"}};

constexpr Named<at::ScalarType> kDtypes[] = {
    {at::kFloat, "f32"}, {at::kHalf, "f16", "rounded"}, {at::kBFloat16, "bf16", "rounded"}};

struct ExportConfig {
  ExportTarget to = ExportTarget::kTimm;
  ExportPart part = ExportPart::kStudent;
  std::string objective;
  at::ScalarType dtype = at::kFloat;
  bool head = true;
  bool optimizer = false;

  void fields(Fields& f) {
    f.add("to", to, kTargets, {.help = "whose folder"});
    f.add("part", part, kParts, {.help = "what of the model"});
    f.add("objective", objective, {.help = "part=teacher: whose teacher, where several objectives have one"});
    f.add("dtype", dtype, kDtypes, {.help = "how the numbers are stored; part=all keeps them as they are"});
    f.add("head", head, {.help = "with the classifier or projection, where the model has one"});
    f.add("optimizer", optimizer, {.help = "part=all: with the optimizer's moments"});
  }
};

// What is exported: a tower by itself, or both of a CLIP.
struct Exported {
  std::optional<PortableClip> clip;
  PortableVit vit;
};

Exported student(const fs::path& path, const std::optional<TrainedState>& state, bool head) {
  Exported out;
  if (state) {
    out.clip = student_clip(*state);
  } else if (holds_clip(path)) {
    out.clip = open_portable_clip(path);
  }
  out.vit = state      ? portable(open_backbone(state->folder))
            : out.clip ? vision_of(*out.clip)
                       : open_portable(path, head);
  if (!head) drop_head(out.vit);
  return out;
}

void write_vit(const fs::path& folder, const PortableVit& net, const ExportConfig& c) {
  if (c.to == ExportTarget::kTimm) return write_timm_folder(folder, net, c.dtype);
  if (c.to == ExportTarget::kHf) return write_transformers_folder(folder, net, c.dtype);
  check(c.to == ExportTarget::kSafetensors,
        "export: OpenCLIP's folder holds an image and a text tower, and this model has no text tower; use --to timm or "
        "--to hf");
  write_plain_backbone(folder, net, c.dtype);
}

void write_part(const fs::path& folder, const fs::path& path, const std::optional<TrainedState>& state,
                const ExportConfig& c, CardFacts& facts) {
  if (c.part == ExportPart::kAll) {
    check(c.to == ExportTarget::kSafetensors, "export: part=all is written as --to safetensors only");
    return write_state(folder, *state, c.optimizer);
  }
  const Exported net = c.part == ExportPart::kTeacher
                           ? Exported{.clip = {}, .vit = momentum_teacher(*state, c.objective)}
                           : student(path, state, c.head);
  for (const std::string& note : net.vit.notes) std::cout << "note: " << note << "\n";
  facts.vit = net.vit;
  const bool both = net.clip && (c.to == ExportTarget::kOpenClip || (c.to == ExportTarget::kHf && c.head));
  facts.both_towers = both;
  if (!both) return write_vit(folder, net.vit, c);
  facts.vit = vision_of(*net.clip);
  if (c.to == ExportTarget::kHf) return write_transformers_folder(folder, *net.clip, c.dtype);
  write_open_clip_folder(folder, *net.clip, c.dtype);
}

// An earlier export of the same kind is replaced; anything else in the way is left alone.
void check_out(const fs::path& out, const CardFacts& facts) {
  if (!fs::exists(out) || (fs::is_directory(out) && fs::is_empty(out))) return;
  check(fs::is_directory(out), "export: ", out.string(), " exists and is not a folder");
  const fs::path card = out / kCardFile;
  const bool same =
      fs::is_regular_file(card) && read_file(card, kMaxCardBytes).find(card_mark(facts)) != std::string::npos;
  check(same, "export: ", out.string(), " is not empty and was not made by the same export; choose another folder");
}

}  // namespace

std::string export_keys() { return describe(ExportConfig{}); }

int export_command(Arguments arguments) {
  const CommandLine line = split(arguments);
  check(line.words.size() == 2,
        "export: expected a model and the folder to write: lacuna export MODEL OUT --to timm|hf|openclip|safetensors");
  ExportConfig c;
  Settings settings;
  settings.override_with(line.settings);
  check(settings.has("to"), "export: name the target: --to timm, hf, openclip or safetensors");
  apply(settings, c);
  const std::string& name = line.words[0];
  const fs::path path = resolve_model(name), out = fs::absolute(line.words[1]).lexically_normal();
  const std::optional<TrainedState> state = find_state(path);
  check(state || c.part == ExportPart::kStudent, "export: ", path.string(),
        ": no run and no checkpoint; only these have a part=", name_of(kParts, c.part));
  CardFacts facts{.target = c.to, .part = c.part, .source = name, .vit = {}, .both_towers = false};
  check_out(out, facts);
  const fs::path fresh = out.parent_path() / text(".", out.filename().string(), ".", getpid(), ".writing");
  remove_tree(fresh);
  try {
    write_part(fresh, path, state, c, facts);
    write_card(fresh, facts, state);
    replace_folder(fresh, out);
  } catch (...) {
    remove_tree(fresh);
    throw;
  }
  std::cout << "written to " << out.string() << std::endl;
  return 0;
}

}  // namespace lacuna
