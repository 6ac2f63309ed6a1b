// `lacuna inspect`: what a file or folder of weights is, what it is good for, and its tensors.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/join.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/tables.h"
#include "eval/view_stream.h"
#include "io/files.h"
#include "nn/backbone.h"
#include "nn/shapes.h"
#include "nn/weights/model_facts.h"
#include "nn/weights/tensor_stats.h"
#include "nn/weights/vit_fields.h"
#include "nn/weights/weight_file.h"
#include "train/checkpoint.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

struct InspectConfig {
  bool stats = false;
  bool tensors = true;
  std::string json;

  void fields(Fields& f) {
    f.add("stats", stats, {.help = "minimum, maximum, mean, deviation, zeros and what is not finite of each tensor"});
    f.add("tensors", tensors, {.help = "list the tensors"});
    f.add("json", json, {.help = "file that all of it is written to; empty writes none"});
  }
};

constexpr std::size_t kMetadataLines = 40;
constexpr std::size_t kLeftOutLines = 10;
constexpr std::size_t kNamesOfAReason = 3;

void say(const std::string& what, const std::string& words) {
  std::printf("  %-10s %s\n", what.c_str(), words.c_str());
}

std::string dtype_mix(const ModelFacts& facts) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : facts.dtypes) parts.push_back(text(name, " x ", count));
  return joined(parts);
}

// "short side to 256, centre 224, bicubic, mean …, std …"
std::string pixels_text(const Preprocessing& pixels, int64_t side) {
  const int64_t resized = pixels.framing.resized > 0 ? pixels.framing.resized : side;
  const std::string frame = pixels.framing.fit == Fit::kSquash ? text("squashed to ", resized)
                            : pixels.framing.fit == Fit::kPad  ? text("long side to ", resized, ", padded to ", side)
                                                               : text("short side to ", resized, ", centre ", side);
  return text(frame, ", ", name_of(kKernels, pixels.kernel), ", mean ", joined(pixels.stats.mean, " "), ", std ",
              joined(pixels.stats.std, " "));
}

void say_network(const ModelFacts& facts) {
  const VitConfig& v = *facts.vit;
  say("network", text("ViT of width ", v.width, ", ", v.depth, " blocks, ", v.heads, " heads, MLP ", v.hidden, " (",
                      name_of(kActivations, v.activation), "); ", human_count(static_cast<double>(facts.parameters)),
                      " parameters"));
  const std::string channels = v.channels == 3 ? "" : counted(v.channels, "channel") + ", ";
  say("input", text(channels, v.image_side, " px, patches of ", v.patch_side, " px (grid ", v.grid(), " x ", v.grid(),
                    ")", v.class_token ? ", class token" : ", no class token",
                    v.registers > 0 ? text(", ", v.registers, " registers") : ""));
  std::string rest = text("positions ", name_of(kPositions, v.positions));
  if (v.relative_bias != RelativeBiasKind::kNone)
    rest += text(", relative bias ", name_of(kRelativeBiases, v.relative_bias));
  if (v.rotary_grid) rest += text(", rotary (of a grid of ", *v.rotary_grid, ")");
  if (v.layer_scale) rest += ", layer scale";
  if (v.attention_norm) rest += ", norm inside the attention";
  if (v.mlp_norm) rest += ", norm inside the MLP";
  if (v.pre_norm) rest += ", norm before the blocks";
  if (!v.final_norm) rest += ", no final norm";
  say("", text(rest, ", norm epsilon ", v.norm_eps));
  if (facts.projected > 0) say("", text("projected to ", facts.projected, " numbers"));
  if (facts.pixels) say("pixels", pixels_text(*facts.pixels, v.image_side));
}

// Tensors by the reason why they are not needed, with the first names of each.
void say_unneeded(const ModelFacts& facts) {
  std::vector<std::pair<std::string, std::vector<std::string>>> reasons;
  for (const auto& tensor : facts.unneeded) {
    const std::string& reason = tensor.second;
    auto place = std::find_if(reasons.begin(), reasons.end(), [&](const auto& each) { return each.first == reason; });
    if (place == reasons.end()) place = reasons.insert(reasons.end(), {reason, {}});
    place->second.push_back(tensor.first);
  }
  for (const auto& [reason, names] : reasons) {
    std::vector<std::string> first;
    for (std::size_t i = 0; i < std::min(names.size(), kNamesOfAReason); ++i) first.push_back(printable(names[i]));
    say("unneeded", text(names.size(), names.size() == 1 ? " tensor: " : " tensors: ", reason, " (", joined(first),
                         names.size() > first.size() ? ", …)" : ")"));
  }
}

// The file stands above; its path in front of every reason would be noise.
std::string without_path(const std::string& reason, const fs::path& path) {
  const std::string front = path.string() + ": ";
  return !path.empty() && reason.starts_with(front) ? reason.substr(front.size()) : reason;
}

void print_facts(const ModelFacts& facts) {
  if (facts.vit) say_network(facts);
  std::vector<std::string> opens;
  for (const ModelUse& use : facts.uses) {
    if (use.why_not.empty()) opens.push_back(use.name);
  }
  say("opens as", opens.empty() ? "nothing that Lacuna knows" : joined(opens));
  for (const ModelUse& use : facts.uses) {
    if (!use.why_not.empty()) say("not as", use.name + ": " + without_path(use.why_not, facts.weights));
  }
  say_unneeded(facts);
  for (const std::string& note : facts.notes) say("note", note);
}

// What the reader of the container had to say.
void print_container(const TensorFile& file, const ModelFacts& facts) {
  for (const std::string& note : file.notes()) {
    if (std::find(facts.notes.begin(), facts.notes.end(), note) == facts.notes.end()) say("note", note);
  }
  for (std::size_t i = 0; i < std::min(file.left_out().size(), kLeftOutLines); ++i)
    say("left out", printable(file.left_out()[i].name) + ": " + printable(file.left_out()[i].reason, 400));
  if (file.left_out().size() > kLeftOutLines) say("", text("and ", file.left_out().size() - kLeftOutLines, " more"));
}

// What the file says of itself ("epoch") before what it says of its parts ("args.batch_size").
void print_metadata(const TensorFile& file) {
  std::size_t lines = 0;
  for (const bool of_parts : {false, true}) {
    for (const auto& [key, value] : file.metadata()) {
      if ((key.find('.') != std::string::npos) != of_parts || ++lines > kMetadataLines) continue;
      say("metadata", printable(key) + " = " + printable(value));
    }
  }
  if (lines > kMetadataLines) say("", text("and ", lines - kMetadataLines, " more (json=FILE has all)"));
}

void print_tensors(const TensorFile& file, bool with_stats) {
  std::vector<std::string> head = {"name", "dtype", "shape"};
  if (with_stats)
    for (const char* column : {"min", "max", "mean", "std", "zeros", "nan", "inf"}) head.emplace_back(column);
  std::vector<std::vector<std::string>> rows;
  for (const std::string& name : file.names()) {
    const TensorInfo& tensor = file.at(name);
    rows.push_back({printable(name), std::string(dtype_name(tensor.dtype)), shape_text(tensor.shape)});
    if (!with_stats) continue;
    const TensorStats s = stats_of(tensor);
    for (const double value : {s.min, s.max, s.mean, s.std}) rows.back().push_back(short_number(value));
    rows.back().push_back(s.count > 0 ? percent(static_cast<double>(s.zeros) / static_cast<double>(s.count)) : "-");
    for (const std::int64_t count : {s.nan, s.infinite}) rows.back().push_back(count > 0 ? std::to_string(count) : "-");
  }
  std::cout << "\n" << aligned(head, rows, 3);
}

// What only a run or a checkpoint has.
void print_run(const fs::path& path) {
  std::vector<std::string> notes;
  const auto newest = Checkpoints(path / "checkpoints", {}).newest(&notes);
  for (const std::string& note : notes) say("note", note);
  if (!newest) return;
  const nlohmann::json& state = newest->state();
  say("run", text("newest checkpoint: step ", newest->step(), " of ", state.value("total_steps", int64_t{0}),
                  ", weights ", state.at("tensors").at("hash").get<std::string>()));
}

nlohmann::json tensors_json(const TensorFile& file, bool with_stats) {
  nlohmann::json out = nlohmann::json::array();
  for (const std::string& name : file.names()) {
    const TensorInfo& tensor = file.at(name);
    nlohmann::json row = {{"name", name}, {"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}};
    if (with_stats) {
      const TensorStats s = stats_of(tensor);
      row["stats"] = {{"min", s.min},     {"max", s.max}, {"mean", s.mean},         {"std", s.std},
                      {"zeros", s.zeros}, {"nan", s.nan}, {"infinite", s.infinite}, {"count", s.count}};
    }
    out.push_back(std::move(row));
  }
  return out;
}

nlohmann::json facts_json(const ModelFacts& facts) {
  nlohmann::json out = {{"family", facts.family},       {"container", facts.format}, {"tensors", facts.tensors},
                        {"elements", facts.elements},   {"dtypes", facts.dtypes},    {"parameters", facts.parameters},
                        {"projected", facts.projected}, {"notes", facts.notes}};
  out["uses"] = nlohmann::json::array();
  for (const ModelUse& use : facts.uses)
    out["uses"].push_back({{"as", use.name}, {"opens", use.why_not.empty()}, {"why_not", use.why_not}});
  out["unneeded"] = nlohmann::json::array();
  for (const auto& [name, reason] : facts.unneeded) out["unneeded"].push_back({{"tensor", name}, {"reason", reason}});
  if (facts.vit && facts.pixels)
    out["framing"] = {{"fit", name_of(kFits, facts.pixels->framing.fit)}, {"resized", facts.pixels->framing.resized}};
  if (facts.vit && facts.pixels)
    out["network"] = to_json(BackboneConfig{*facts.vit, facts.pixels->stats, facts.pixels->kernel});
  return out;
}

void write_inspection(const fs::path& target, const fs::path& path, const ModelFacts& facts, const TensorFile* file,
                      bool with_stats) {
  nlohmann::json out = facts_json(facts);
  out["path"] = path.string();
  if (file) {
    out["file"] = {{"path", file->path().string()},   {"bytes", fs::file_size(file->path())},
                   {"hash", hash_file(file->path())}, {"metadata", file->metadata()},
                   {"notes", file->notes()},          {"tensors", tensors_json(*file, with_stats)}};
  }
  // Names in a hostile file need not be UTF-8.
  write_file_atomic(target, out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace

std::string inspect_keys() { return describe(InspectConfig{}); }

int inspect_command(Arguments arguments) {
  const CommandLine line = split(arguments, {"stats"});
  InspectConfig c;
  Settings settings;
  settings.override_with(line.settings);
  apply(settings, c);
  check(line.words.size() == 1, "inspect: name one file or folder");
  const fs::path path = line.words[0];
  const ModelFacts facts = look_into(path);
  std::optional<TensorFile> file;
  if (!facts.weights.empty()) file.emplace(is_our_own(path) ? TensorFile(facts.weights) : open_weights(path));
  std::cout << path.string() << ": " << (facts.family.empty() ? "weights of no known family" : facts.family) << "\n";
  if (file) {
    say("file", text(file->path().string(), ", ", facts.format, ", ", human_bytes(fs::file_size(file->path())),
                     ", hash ", hash_file(file->path())));
    say("tensors", text(facts.tensors, ", of ", human_count(static_cast<double>(facts.elements)), " elements, ",
                        dtype_mix(facts)));
  }
  if (fs::exists(path / "config.toml")) print_run(path);
  print_facts(facts);
  if (file) print_container(*file, facts);
  if (file) print_metadata(*file);
  if (file && c.tensors) print_tensors(*file, c.stats);
  if (!c.json.empty()) write_inspection(c.json, path, facts, file ? &*file : nullptr, c.stats);
  return 0;
}

}  // namespace lacuna
