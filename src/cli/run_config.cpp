#include "cli/run_config.h"

#include <algorithm>
#include <iostream>

#include "base/error.h"
#include "base/suggest.h"
#include "data/source/index_cache.h"
#include "methods/methods.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

const std::string kGenerated = "shapes";  // a source that is no path

std::string absolute(const std::string& path) {
  return path.empty() || path == kGenerated ? path : fs::absolute(path).lexically_normal().string();
}

bool is_recipe(const std::string& argument) {
  return argument.ends_with(".toml") && argument.find('=') == std::string::npos && !argument.starts_with("-");
}

Settings read_settings(std::span<const std::string> arguments) {
  std::vector<std::string> overrides(arguments.begin(), arguments.end());
  Settings settings;
  if (!overrides.empty() && is_recipe(overrides.front())) {
    settings = Settings::from_toml(overrides.front());
    overrides.erase(overrides.begin());
  }
  settings.override_with(overrides);
  return settings;
}

void check_together(const RunConfig& c) {
  const AugmentConfig& a = c.recipe.augment;
  check(a.crop_min <= a.crop_max, "augment: crop_min ", a.crop_min, " is above crop_max ", a.crop_max);
  check(a.aspect_min <= a.aspect_max, "augment: aspect_min ", a.aspect_min, " is above aspect_max ", a.aspect_max);
  check(a.blur_min <= a.blur_max, "augment: blur_min ", a.blur_min, " is above blur_max ", a.blur_max);
  check(c.device == "auto" || c.device == "cpu" || c.device.starts_with("cuda"),
        "device: expected auto, cpu, cuda or cuda:N, found '", c.device, "'");
}

RunConfig configure(const Settings& settings, Origins* origins) {
  const RunConfig plain;
  RunConfig config = default_run(settings.peek_string("method").value_or(plain.method),
                                 settings.peek_string("model").value_or(plain.model));
  const Origins set = apply(settings, config);
  if (origins) *origins = set;
  check_together(config);
  return config;
}

}  // namespace

void DecodingConfig::fields(Fields& f) {
  f.add("exif", exif, {.help = "turn images upright by their EXIF orientation; torchvision's ImageFolder does not"});
  f.add("gray16", gray16, kGray16s, {.help = "what becomes of 16-bit gray"});
  f.add("bands", bands,
        {.help = "channels of the images, counted from 0, that the student sees; three are taken as red, green, blue; "
                 "empty: the file's own",
         .min = 0,
         .max = 255});
  f.add("rgb_bands", rgb_bands,
        {.help = "the three that RGB networks see as red, green, blue, such as a teacher beside a student of more; "
                 "empty: data.bands where it names three",
         .min = 0,
         .max = 255});
  f.add("range", range,
        {.help = "values of the channels in data.bands that become 0 and 255, as in [0,10000]; empty: 16 bits keep "
                 "their high byte"});
}

void DataConfig::fields(Fields& f) {
  f.add("path", path,
        {.help = "images: a folder, a list file, tar archives (shard-{000..011}.tar), or \"shapes\" for the built-in "
                 "generator; at a resume the images must be the same ones",
         .on_resume = kMayChange});
  f.add("kind", kind, kSourceKinds, {.help = "how the path is read"});
  f.add(
      "images", images,
      {.help = "what the paths of a list start from: a folder, or the tar archives that hold the images; empty is the "
               "list's folder",
       .on_resume = kMayChange});
  f.add("also", also, {.help = "more sources, mixed with data.path", .on_resume = kMayChange});
  f.add("weights", weights,
        {.help = "how often each source is drawn from, data.path first; empty counts each image the same"});
  f.add("cache", cache,
        {.help = "folder for indices of the data and unpacked archives; auto is ~/.cache/lacuna, off keeps none",
         .on_resume = kMayChange});
  f.add("decoded_side", decoded_side,
        {.help = "keep images decoded in data.cache, their short side at most this; 0 decodes them each time",
         .unit = "pixels",
         .min = 0,
         .max = 1 << 14});
  f.add("class_captions", class_captions,
        {.help = "captions for labelled images, {} stands for the class, e.g. \"a photo of a {}.\""});
  decoding.fields(f);
  f.add("size", size, {.help = "shapes: number of scenes", .min = 1});
  f.add("side", side, {.help = "shapes: side of a scene", .unit = "pixels", .min = 8, .max = 2048});
  f.add("label", label, kSceneLabels,
        {.help = "shapes: which fact of the main object is its class", .on_resume = kMayChange});
  f.add("workers", workers,
        {.help = "loader threads; auto is a quarter of the cores, at least 1",
         .min = 1,
         .max = 256,
         .aliases = {"num_workers"},
         .on_resume = kMayChange});
  f.add("prefetch", prefetch, {.help = "batches made ahead", .min = 1, .max = 64, .on_resume = kMayChange});
  f.add("max_bad_share", max_bad_share,
        {.help = "the run stops when more of the images than this cannot be read",
         .min = 0,
         .max = 1,
         .on_resume = kMayChange});
}

bool DataConfig::generated() const {
  return kind == SourceKind::kShapes || (kind == SourceKind::kAuto && path == kGenerated);
}

DecodeOptions DecodingConfig::options() const {
  check(bands.size() <= kMaxChannels, "data.bands: expected at most ", kMaxChannels, " channels, found ", bands.size());
  check(rgb_bands.empty() || rgb_bands.size() == 3,
        "data.rgb_bands: expected three channels counted from 0, as in [3,2,1], found ", rgb_bands.size(), " numbers");
  check(rgb_bands.empty() || !bands.empty(),
        "data.rgb_bands: says what RGB networks see beside a student of data.bands, which is empty; for three channels "
        "that all see, set data.bands");
  check(range.empty() || (range.size() == 2 && range[0] < range[1]),
        "data.range: expected the values that become 0 and 255, as in [0,10000]");
  check(range.empty() || !bands.empty(), "data.range: is for the channels that data.bands chooses; set data.bands");
  DecodeOptions out{.orient = exif, .scale_gray16 = gray16 == Gray16::kScale, .bands = rgb_bands};
  (bands.size() == 3 && rgb_bands.empty() ? out.bands : out.spectrum) = bands;
  if (!range.empty()) out.range = {range[0], range[1]};
  return out;
}

SourceConfig DataConfig::source() const {
  return {.path = path,
          .kind = kind,
          .images = images,
          .class_captions = class_captions,
          .decode = decoding.options(),
          .cache = cache == "off"    ? fs::path()
                   : cache == "auto" ? default_cache_folder()
                                     : fs::path(cache),
          .decoded_side = decoded_side,
          .say = [](const std::string& line) { std::cerr << line << std::endl; },
          .also = also,
          .weights = weights,
          .size = size,
          .side = side,
          .label = label};
}

void EvalConfig::fields(Fields& f) {
  f.add("data", data,
        {.help = "labelled images for the evaluation beside the run; empty takes the training source where it has "
                 "labels and a val split",
         .on_resume = kMayChange});
  f.add("every", every,
        {.help = "how often kNN is measured; 0 only at the end",
         .on_resume = kMayChange,
         .bare = Duration::Unit::kEpochs});
  f.add("k", k, {.help = "neighbours", .min = 1, .on_resume = kMayChange});
  f.add("temperature", temperature,
        {.help = "of the neighbours' weights", .min = 0, .above_min = true, .on_resume = kMayChange});
  f.add("linear", linear, {.help = "also a linear probe at the end", .on_resume = kMayChange});
  f.add("max_samples", max_samples,
        {.help = "images of each split that are looked at during the run", .min = 1, .on_resume = kMayChange});
}

void TextConfigFields::fields(Fields& f) {
  f.add(
      "tokenizer", tokenizer,
      {.help =
           "folder or file: vocab.json + merges.txt, tokenizer.json or bpe_simple_vocab_16e6.txt.gz; empty trains one "
           "on the captions"});
  f.add("vocabulary", vocabulary, {.help = "size of the vocabulary that is trained", .min = 515, .max = 1 << 20});
  f.add("cleaning", cleaning, kTextCleanings,
        {.help = "how captions are cleaned; auto is the folder's own, else openai"});
}

void RunConfig::fields(Fields& f) {
  f.add("method", method,
        {.help = "row of the table that `lacuna methods` prints, or a .toml file with a row of your own"});
  f.add("model", model, {.help = "size of the student: micro, tiny, small, base, large"});
  f.add("out", out, {.help = "folder of the run"});
  f.add("seed", seed, {.help = "names every random number of the run"});
  f.add("device", device, {.help = "auto, cpu, cuda or cuda:N", .on_resume = kMayChange});
  f.add("threads", threads,
        {.help = "compute threads; auto is all cores (a resume is bit-exact with the same number)",
         .min = 1,
         .max = 4096,
         .on_resume = kMayChange});
  f.add("precision", precision, kPrecisions, {.help = "arithmetic of the matrix products"});
  f.table("data", data, {.help = "what is trained on", .shorthand = "path"});
  f.add("teacher", teacher,
        {.help = "weights of the teacher, for every objective whose teacher needs some and names none",
         .aliases = {"teacher.path"}});
  f.add("init", init,
        {.help = "weights to start from: a run, a checkpoint, an exported state, or any ViT for the encoder; empty "
                 "starts from random ones"});
  f.add("init_fit", init_fit, kInitFits, {.help = "how much of them must fit"});
  recipe.fields(f);
  f.table("text", text, {.help = "captions"});
  f.table("checkpoint", checkpoint, {.help = "saved states"});
  f.table("log", log, {.help = "records and pictures"});
  f.table("eval", eval, {.help = "evaluation beside the run", .shorthand = "data"});
}

RunConfig default_run(const std::string& method, const std::string& model) {
  RunConfig config;
  config.method = method;
  config.model = model;
  config.recipe = recipe_of(method, model);
  return config;
}

RunConfig parse_run(std::span<const std::string> arguments, Origins* origins) {
  return configure(read_settings(arguments), origins);
}

RunConfig read_run(const fs::path& out) {
  const fs::path path = out / "config.toml";
  check(fs::exists(path), out.string(), ": not a run; config.toml is missing");
  return configure(Settings::from_toml(path), nullptr);
}

void make_paths_absolute(RunConfig& c) {
  c.out = absolute(c.out);
  if (c.method.ends_with(".toml")) c.method = absolute(c.method);
  c.data.path = absolute(c.data.path);
  for (std::string& path : c.data.also) path = absolute(path);
  if (c.data.cache != "auto" && c.data.cache != "off") c.data.cache = absolute(c.data.cache);
  c.eval.data = absolute(c.eval.data);
  c.text.tokenizer = absolute(c.text.tokenizer);
  c.teacher = absolute(c.teacher.string());
  c.init = absolute(c.init.string());
  for (ObjectiveConfig& objective : c.recipe.composition.objectives) {
    if (!objective.teacher.path.empty()) objective.teacher.path = absolute(objective.teacher.path.string());
  }
}

}  // namespace lacuna
