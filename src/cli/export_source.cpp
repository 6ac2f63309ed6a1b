#include "cli/export_source.h"

#include "base/error.h"
#include "io/files.h"
#include "train/checkpoint.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kMaxPointerBytes = 256;
constexpr const char* kWeights = "state.safetensors";

// Tensors whose names start with `from`, renamed to start with `to`.
void take(const TensorFile& file, const std::string& from, const std::string& to, NamedTensors& out) {
  for (const std::string& name : file.names()) {
    if (name.starts_with(from)) out.emplace_back(to + name.substr(from.size()), to_tensor(file, name));
  }
}

const ObjectiveConfig* contrast_of(const RunConfig& config) {
  for (const ObjectiveConfig& objective : config.recipe.composition.objectives) {
    if (objective.kind == ObjectiveKind::kContrast && objective.weight > 0) return &objective;
  }
  return nullptr;
}

BackboneConfig backbone_of(const TrainedState& state) { return open_backbone(state.folder).config; }

std::string describe_teachers(const TrainedState& state) {
  std::string out;
  for (const ObjectiveConfig& objective : state.config.recipe.composition.objectives) {
    if (objective.kind != ObjectiveKind::kDistill || objective.weight == 0) continue;
    const fs::path path = objective.teacher.path.empty() ? state.config.teacher : objective.teacher.path;
    out += (out.empty() ? "" : "; ") +
           text("'", objective.name, "' has teacher.kind=", name_of(kTeacherKinds, objective.teacher.kind));
    if (origin_of(objective.teacher.kind) == TeacherOrigin::kFile)
      out += text(", which is frozen: export ", path.string(), " itself");
  }
  return out.empty() ? "no objective has a teacher" : out;
}

}  // namespace

fs::path checkpoint_folder(const fs::path& path) {
  if (fs::is_regular_file(path) && path.filename() == "last")
    return path.parent_path() / read_file(path, kMaxPointerBytes);
  if (fs::exists(path / "state.json")) return path;
  if (!fs::is_directory(path / "checkpoints")) return {};
  const auto newest = Checkpoints(path / "checkpoints", {}).newest();
  return newest ? newest->folder() : fs::path();
}

std::optional<TrainedState> find_state(const fs::path& path) {
  const fs::path folder = checkpoint_folder(path);
  if (folder.empty()) return std::nullopt;
  const fs::path file = folder / "state.json";
  TrainedState out{.folder = folder, .json = read_json(file), .config = {}};
  check(out.json.is_object() && out.json.contains("config"), file.string(),
        ": key 'config' is missing; not a state of a run");
  apply(Settings::from_json(out.json["config"], file.string()), out.config);
  return out;
}

fs::path tokenizer_of(const TrainedState& state) {
  for (const fs::path& own : {state.folder, state.folder.parent_path().parent_path() / "tokenizer"}) {
    if (fs::exists(own / "vocab.json")) return own;
  }
  check(!state.config.text.tokenizer.empty(), state.folder.string(),
        ": the tokenizer of the run is missing; expected vocab.json in its folder tokenizer/");
  return state.config.text.tokenizer;
}

std::optional<PortableClip> student_clip(const TrainedState& state) {
  const ObjectiveConfig* contrast = contrast_of(state.config);
  if (contrast == nullptr) return std::nullopt;
  const TensorFile file(state.folder / kWeights);
  const Backbone student = open_backbone(state.folder);
  PortableClip out{.config = {.vision = student.config.vit,
                              .text = state.config.recipe.composition.text_tower.tower,
                              .embed = contrast->contrast.embed,
                              .stats = student.config.stats,
                              .kernel = student.config.kernel},
                   .tensors = named_tensors(*student.vit, "vision.", /*buffers=*/true),
                   .tokenizer = tokenizer_of(state),
                   .notes = {}};
  for (auto& [name, tensor] : out.tensors) tensor = tensor.detach();
  take(file, "model.text.tower.", "text.", out.tensors);
  take(file, "model.objective." + contrast->name + ".", "", out.tensors);
  const at::Tensor* words = find(out.tensors, "text.token_embedding");
  check(words != nullptr && words->dim() == 2, file.path().string(), ": the text tower's token_embedding is missing");
  const Tokenizer tokenizer = Tokenizer::load(out.tokenizer, state.config.text.cleaning);
  out.config.text.vocabulary = words->size(0);
  out.config.text.hidden = 4 * out.config.text.width;
  out.config.text.end_id = tokenizer.end_id();
  check(tokenizer.vocab_size() == words->size(0), out.tokenizer.string(), ": a vocabulary of ", tokenizer.vocab_size(),
        ", but the text tower has ", words->size(0), " words");
  return out;
}

PortableVit momentum_teacher(const TrainedState& state, const std::string& objective) {
  const TensorFile file(state.folder / kWeights);
  std::vector<std::string> found;
  for (const ObjectiveConfig& each : state.config.recipe.composition.objectives) {
    const bool wanted = objective.empty() || objective == each.name;
    if (wanted && file.has("extra." + each.name + ".teacher.vit.patch_embed.weight")) found.push_back(each.name);
  }
  check(!found.empty(), "export: ", state.folder.string(), " holds no momentum teacher",
        objective.empty() ? "" : " of '" + objective + "'", ": ", describe_teachers(state));
  check(found.size() == 1, "export: ", found.size(), " objectives have a momentum teacher, '", found[0], "' and '",
        found.back(), "' among them; choose by objective=NAME");
  Backbone teacher{.config = backbone_of(state), .vit = nullptr, .origin = state.folder.string()};
  teacher.vit = Vit(teacher.config.vit);
  KeyMap map;
  for (const auto& [name, tensor] : named_tensors(*teacher.vit))
    map.rules.push_back({{name}, {"extra." + found[0] + ".teacher.vit." + name}});
  map.unneeded = {{"", "other parts of the training state"}};
  import_weights(file, map, named_tensors(*teacher.vit));
  return portable(teacher);
}

void write_state(const fs::path& folder, const TrainedState& state, bool with_optimizer) {
  const TensorFile file(state.folder / kWeights);
  std::vector<TensorView> views;
  for (const std::string& name : file.names()) {
    const TensorInfo& tensor = file.at(name);
    if (with_optimizer || !name.starts_with("optimizer."))
      views.push_back({name, tensor.dtype, tensor.shape, tensor.data.data()});
  }
  fs::create_directories(folder);
  Json json = state.json;
  json["config"] = to_json(without_folders(state.config));
  const std::string hash = write_safetensors(folder / kWeights, views, {{"format", "pt"}});
  json["tensors"] = {{"hash", hash}, {"count", views.size()}};
  write_json_atomic(folder / "state.json", json);
  if (reads_captions(state.config.recipe.composition)) copy_tokenizer(tokenizer_of(state), folder);
}

std::string without_folders(const std::string& value) {
  const bool path = value.starts_with('/') && value.size() > 1;
  return path ? fs::path(value).filename().string() : value;
}

RunConfig without_folders(RunConfig c) {
  for (std::string* each : {&c.method, &c.out, &c.data.path, &c.eval.data, &c.text.tokenizer})
    *each = without_folders(*each);
  c.teacher = without_folders(c.teacher.string());
  c.init = without_folders(c.init.string());
  for (ObjectiveConfig& objective : c.recipe.composition.objectives)
    objective.teacher.path = without_folders(objective.teacher.path.string());
  return c;
}

}  // namespace lacuna
