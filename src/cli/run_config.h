#pragma once
// The configuration of a run: what the command line and a recipe set, and what is written to OUT/config.toml.

#include <span>
#include <string>
#include <vector>

#include "data/source/open_source.h"
#include "data/text/tokenizer.h"
#include "methods/recipe.h"

namespace lacuna {

inline constexpr Named<SourceKind> kSourceKinds[] = {
    {SourceKind::kAuto, "auto", "by what the path is"},
    {SourceKind::kFolder, "folder", "all images below a folder, labels ignored"},
    {SourceKind::kClasses, "classes", "one sub-folder per class"},
    {SourceKind::kList, "list", ".txt, .tsv, .csv or .jsonl with paths, labels, captions; COCO's captions .json"},
    {SourceKind::kArchives, "archives", "tar archives, or a folder of them"},
    {SourceKind::kShapes, "shapes", "built-in synthetic scenes"}};

inline constexpr Named<SceneLabel> kSceneLabels[] = {
    {SceneLabel::kShape, "shape"}, {SceneLabel::kColor, "color"}, {SceneLabel::kTexture, "texture"}};

enum class Gray16 { kClamp, kScale };

inline constexpr Named<Gray16> kGray16s[] = {{Gray16::kClamp, "clamp", "levels above 255 are white, as Pillow has it"},
                                             {Gray16::kScale, "scale", "the high byte"}};

inline constexpr double kWholeImage = 1.0;  // crop ratio for generated images: there is nothing to cut off

// What becomes of the pixels of a file.
struct DecodingConfig {
  bool exif = false;
  Gray16 gray16 = Gray16::kClamp;
  std::vector<int> bands;
  std::vector<int> rgb_bands;
  std::vector<double> range;

  void fields(Fields& f);
  DecodeOptions options() const;
};

struct DataConfig {
  std::string path;
  SourceKind kind = SourceKind::kAuto;
  std::string images;
  int decoded_side = 0;
  std::vector<std::string> also;
  std::vector<double> weights;
  std::string cache = "auto";
  std::vector<std::string> class_captions;
  DecodingConfig decoding;
  int64_t size = 10000;
  int side = 64;
  SceneLabel label = SceneLabel::kShape;
  std::optional<int> workers;
  int prefetch = 3;
  double max_bad_share = 0.01;

  void fields(Fields& f);
  SourceConfig source() const;
  bool generated() const;  // by the built-in generator, at the size it is asked for
};

struct EvalConfig {
  std::string data;
  Duration every{20, Duration::Unit::kPercent};
  int k = 20;
  double temperature = 0.07;
  bool linear = false;
  int64_t max_samples = 10000;

  void fields(Fields& f);
};

struct TextConfigFields {
  std::string tokenizer;
  int vocabulary = 1024;
  std::optional<TextCleaning> cleaning;

  void fields(Fields& f);
};

// How much of init's weights must fit.
enum class InitFit { kWhole, kPartial };
inline constexpr Named<InitFit> kInitFits[] = {
    {InitFit::kWhole, "whole", "a part that both have fits to the last tensor"},
    {InitFit::kPartial, "partial", "what does not fit starts from fresh weights, and is listed"}};

struct RunConfig {
  std::string method = "cae_v2";
  std::string model = "base";
  std::string out;
  uint64_t seed = 0;
  std::string device = "auto";
  std::optional<int> threads;
  Precision precision = Precision::kAuto;
  DataConfig data;
  std::filesystem::path teacher;
  std::filesystem::path init;
  InitFit init_fit = InitFit::kWhole;
  Recipe recipe;
  TextConfigFields text;
  CheckpointConfig checkpoint;
  LogConfig log;
  EvalConfig eval;

  void fields(Fields& f);
};

// The defaults for a method and student size.
RunConfig default_run(const std::string& method, const std::string& model);

// Reads arguments: an optional recipe file first, then key=value. Method and model are looked up first, since the other
// defaults depend on them. Throws one Error that lists every mistake. `origins` says where each key was set.
RunConfig parse_run(std::span<const std::string> arguments, Origins* origins = nullptr);

// The configuration a run was started with, from OUT/config.toml.
RunConfig read_run(const std::filesystem::path& out);

// With relative paths made absolute, so that the saved configuration runs from anywhere.
void make_paths_absolute(RunConfig& config);

}  // namespace lacuna
