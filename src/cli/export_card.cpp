#include "cli/export_card.h"

#include <fstream>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/join.h"
#include "base/log.h"
#include "cli/run_card.h"
#include "cli/version.h"
#include "io/files.h"
#include "methods/methods.h"
#include "nn/weights/export_folder.h"
#include "nn/weights/hub_cache.h"
#include "nn/weights/preprocessing.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kMaxMetricsBytes = 256u << 20;
constexpr const char* kUnknown = "not known; ask its source";

std::string library(ExportTarget target) {
  switch (target) {
    case ExportTarget::kTimm:
      return "timm";
    case ExportTarget::kHf:
      return "transformers";
    case ExportTarget::kOpenClip:
      return "open_clip";
    case ExportTarget::kSafetensors:
      break;
  }
  return "lacuna";
}

std::string word(ExportPart part) {
  return part == ExportPart::kStudent ? "student" : part == ExportPart::kTeacher ? "teacher" : "all";
}

// Where a model lies, for what is said of it; the name itself when it is not there any more.
fs::path place_of(const fs::path& name) {
  try {
    return resolve_model(name);
  } catch (const Error&) {
    return name;
  }
}

// A name in the Hugging Face cache as it is; of a path the last part.
std::string shown(const fs::path& name) {
  return place_of(name) == name ? without_folders(fs::absolute(name).lexically_normal().string()) : name.string();
}

// The licence that a folder states of itself: the front matter of its card, or config.json.
std::string stated_licence(const fs::path& name) {
  const fs::path path = place_of(name);
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  std::error_code code;
  if (fs::is_regular_file(folder / kCardFile, code)) {
    std::istringstream lines(read_file(folder / kCardFile, kMaxCardBytes));
    std::string line;
    for (bool inside = false; std::getline(lines, line) && (line == "---" || inside); inside = true) {
      if (line == "---" && inside) break;
      if (line.starts_with("license:")) return printable(line.substr(line.find_first_not_of(' ', 8)));
    }
  }
  if (!fs::is_regular_file(folder / "config.json", code)) return "";
  const Json config = read_json(folder / "config.json");
  const Json found = config.is_object() ? config.value("license", Json()) : Json();
  return found.is_string() ? printable(found.get<std::string>()) : "";
}

std::string known(const std::string& licence) { return licence.empty() ? kUnknown : licence; }

void write_front(std::ostream& out, const CardFacts& facts) {
  out << "---\nlibrary_name: " << library(facts.target) << "\n";
  if (facts.part != ExportPart::kAll)
    out << "pipeline_tag: " << (facts.both_towers ? "zero-shot-image-classification" : "image-feature-extraction")
        << "\n";
  out << "tags:\n- lacuna\n- masked-image-modeling\n- vision-transformer\n---\n\n" << card_mark(facts) << "\n\n";
}

void write_network(std::ostream& out, const PortableVit& net) {
  const VitConfig& v = net.vit;
  out << "## Network\n\nVision transformer of width " << v.width << ", " << v.depth << " blocks, " << v.heads
      << " heads; input " << v.image_side << " px, patches of " << v.patch_side << " px (grid " << v.grid() << " x "
      << v.grid() << ").";
  if (net.embed > 0) out << " Projection into a space of " << net.embed << " channels.";
  if (net.head.classes > 0) out << " Classifier with " << net.head.classes << " classes.";
  const std::string channels = v.channels == 3 ? "RGB" : counted(v.channels, "channel");
  out << "\n\n## Preprocessing\n\n"
      << channels << ", shorter edge to " << v.image_side << " px by " << name_of(kKernels, net.kernel)
      << " resampling, centre crop of " << v.image_side << " x " << v.image_side << ", scaled to [0, 1]; mean "
      << joined(net.stats.mean) << "; standard deviation " << joined(net.stats.std) << ".\n\n";
}

void write_teachers(std::ostream& out, const RunConfig& c) {
  for (const ObjectiveConfig& objective : c.recipe.composition.objectives) {
    if (objective.weight == 0 || objective.kind != ObjectiveKind::kDistill || !objective.shares.empty()) continue;
    out << "- Teacher of `" << objective.name << "`: " << named(kTeacherKinds, objective.teacher.kind).help;
    if (origin_of(objective.teacher.kind) == TeacherOrigin::kFile) {
      const fs::path path = objective.teacher.path.empty() ? c.teacher : objective.teacher.path;
      out << ", " << shown(path) << "; licence: " << known(stated_licence(path));
    }
    out << "\n";
  }
}

void write_training(std::ostream& out, const TrainedState& state) {
  const RunConfig& c = state.config;
  const Cells cells = cells_of(c.recipe.composition);
  out << "## Training\n\n- Method: " << c.method;
  const bool listed = !c.method.ends_with(".toml");
  if (listed) out << ", " << method(c.method).title << " (" << method(c.method).source << ")";
  out << "\n- Program: Lacuna " << version_text() << "\n";
  write_teachers(out, c);
  out << "- Data: " << without_folders(c.data.path);
  if (state.json.contains("images")) out << ", " << state.json["images"] << " images";
  out << "\n- Step " << state.json.value("step", int64_t{0}) << " of " << state.json.value("total_steps", int64_t{0})
      << ", " << c.recipe.train.batch() << " images a step, learning rate " << c.recipe.train.peak_lr()
      << ", weight decay " << c.recipe.train.adamw.weight_decay << ", seed " << c.seed << "\n- Mask: " << cells.mask
      << "\n- Encoder: " << cells.encode << "\n- Completer: " << cells.complete << "\n";
  for (const std::string& objective : cells.objectives) out << "- Objective: " << objective << "\n";
  out << "\n<details><summary>config.toml (paths without their folders)</summary>\n\n```toml\n"
      << to_toml(without_folders(c)) << "```\n\n</details>\n\n";
}

// The last line of each evaluator up to the step that was exported.
void write_results(std::ostream& out, const TrainedState& state) {
  const fs::path file = state.folder.parent_path().parent_path() / "metrics.jsonl";
  std::map<std::string, Json> newest;
  if (fs::is_regular_file(file)) {
    std::istringstream lines(read_file(file, kMaxMetricsBytes));
    for (std::string line; std::getline(lines, line);) {
      const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (!record.is_object() || !record.contains("evaluator")) continue;
      if (record.value("step", int64_t{0}) > state.json.value("step", int64_t{0})) continue;
      newest[record.value("evaluator", std::string())] = record;
    }
  }
  out << "## Results\n\n";
  std::ostringstream rows;
  for (const auto& [name, record] : newest) {
    for (const auto& [key, value] : record.items()) {
      if (value.is_number() && key != "step" && key != "closing")
        rows << "| " << key << " | " << value << " | " << record.value("step", int64_t{0}) << " |\n";
    }
  }
  if (rows.str().empty()) {
    out << "None were measured in the run.\n\n";
  } else {
    out << "Measured in the run, on the labelled images that it was given.\n\n| measure | value | step "
           "|\n|---|---|---|\n"
        << rows.str() << "\n";
  }
}

std::string python(const std::string& lines) { return "```python\n" + lines + "```\n\n"; }

std::string how_to_load_hf(const CardFacts& facts) {
  if (facts.both_towers)
    return python(
        "from transformers import CLIPVisionModelWithProjection\nmodel = "
        "CLIPVisionModelWithProjection.from_pretrained(\"FOLDER\").eval()\nfeatures = "
        "model(pixel_values=images).image_embeds\n");
  const std::string name = transformers_class(*facts.vit);
  const bool pooler = name == "ViTModel" || name == "BeitModel";
  const std::string result = name.find("Classification") != std::string::npos ? "logits"
                             : name == "CLIPVisionModelWithProjection"        ? "image_embeds"
                                                                              : "last_hidden_state";
  return python("from transformers import " + name + "\nmodel = " + name + ".from_pretrained(\"FOLDER\"" +
                (pooler ? ", add_pooling_layer=False" : "") + ").eval()\nfeatures = model(pixel_values=images)." +
                result + "\n");
}

void write_loading(std::ostream& out, const CardFacts& facts) {
  out << "## Loading\n\nFOLDER is this folder.";
  if (facts.part == ExportPart::kAll) {
    out << "\n\n    lacuna pretrain method=METHOD data=DIR out=OUT init=FOLDER\n    lacuna eval knn FOLDER data=DIR\n";
    return;
  }
  out << " `images` is a float tensor [B,3,S,S] of preprocessed pixels.\n\n";
  switch (facts.target) {
    case ExportTarget::kTimm:
      out << python(
                 "import timm\nmodel = timm.create_model(\"local-dir:FOLDER\", pretrained=True).eval()\nfeatures = "
                 "model.forward_features(images)\n")
          << python(
                 "from transformers import AutoModel\nmodel = AutoModel.from_pretrained(\"FOLDER\").eval()\nfeatures = "
                 "model(pixel_values=images).last_hidden_state\n");
      break;
    case ExportTarget::kHf:
      out << how_to_load_hf(facts);
      break;
    case ExportTarget::kOpenClip:
      out << python(
          "import open_clip\nmodel, _, preprocess = "
          "open_clip.create_model_and_transforms(\"local-dir:FOLDER\")\nfeatures = "
          "model.eval().encode_image(images)\n");
      break;
    case ExportTarget::kSafetensors:
      out << python("from safetensors.torch import load_file\ntensors = load_file(\"FOLDER/model.safetensors\")\n");
      break;
  }
  out << "    lacuna eval knn FOLDER data=DIR\n    lacuna pretrain method=METHOD teacher=FOLDER data=DIR out=OUT\n";
}

std::string title(const CardFacts& facts, const std::optional<TrainedState>& state) {
  if (!state) {
    const VitConfig& v = facts.vit->vit;
    return text("ViT of width ", v.width, ", ", v.depth, " blocks, patches of ", v.patch_side, " px, from ",
                shown(facts.source));
  }
  return text(state->config.method, ", ", state->config.model,
              facts.part == ExportPart::kTeacher ? ", momentum teacher" : "",
              facts.part == ExportPart::kAll ? ", whole training state" : "");
}

}  // namespace

std::string card_mark(const CardFacts& facts) {
  return "<!-- lacuna export: to=" + library(facts.target) + " part=" + word(facts.part) + " -->";
}

std::string model_card(const CardFacts& facts, const std::optional<TrainedState>& state) {
  std::ostringstream out;
  write_front(out, facts);
  out << "# " << title(facts, state) << "\n\n";
  if (!state)
    out << "Converted by Lacuna " << version_text()
        << ". Licence of the weights: " << known(stated_licence(facts.source)) << ".\n\n";
  if (facts.vit) write_network(out, *facts.vit);
  if (state) write_training(out, *state);
  if (state && facts.part != ExportPart::kTeacher) write_results(out, *state);
  write_loading(out, facts);
  return out.str();
}

void write_card(const fs::path& folder, const CardFacts& facts, const std::optional<TrainedState>& state) {
  write_file_atomic(folder / kCardFile, model_card(facts, state));
}

void write_run_card(const fs::path& folder, const fs::path& out, const Backbone& student) {
  const fs::path config = folder / "config.json";  // shows whose folder it became
  const bool clip = fs::exists(config) && read_json(config).contains("model_type");
  const ExportTarget target = clip                 ? ExportTarget::kHf
                              : fs::exists(config) ? ExportTarget::kTimm
                                                   : ExportTarget::kSafetensors;
  write_card(folder,
             {.target = target,
              .part = ExportPart::kStudent,
              .source = out.string(),
              .vit = portable(student),
              .both_towers = clip},
             find_state(out));
}

}  // namespace lacuna
