// `lacuna embed`: features of images by any model that opens, in a file that other programs read.

#include "eval/embed.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "base/error.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/command_line.h"
#include "cli/run_config.h"
#include "data/source/index_cache.h"
#include "data/source/joined_source.h"
#include "io/files.h"
#include "train/device.h"

namespace lacuna {
namespace {

// The built-in scenes, for trying things out.
struct ShapesConfig {
  int64_t size = 100;
  int side = 64;
  uint64_t seed = 0;

  void fields(Fields& f) {
    f.add("size", size, {.help = "number of scenes", .min = 1});
    f.add("side", side, {.help = "side of a scene", .unit = "pixels", .min = 8, .max = 2048});
    f.add("seed", seed, {.help = "names the scenes"});
  }
};

struct EmbedCommandConfig {
  std::string out;
  EmbedConfig embed;
  std::optional<int64_t> image_side;
  std::string device = "auto";
  Precision precision = Precision::kF32;
  std::optional<int> threads;
  ShapesConfig shapes;
  DecodingConfig data;

  void fields(Fields& f) {
    f.add("out", out, {.help = "the file to write"});
    embed.fields(f);
    f.add("image_side", image_side,
          {.help = "another input than the model's: positions are resized", .unit = "pixels", .min = 1, .max = 16384});
    f.add("device", device, {.help = "auto, cpu, cuda or cuda:N"});
    f.add("precision", precision, kPrecisions, {.help = "arithmetic of the matrix products"});
    f.add("threads", threads, {.help = "compute threads; auto is all cores", .min = 1, .max = 4096});
    f.table("data", data, {.help = "what becomes of the files' pixels"});
    f.table("shapes", shapes, {.help = "the scenes of the path \"shapes\""});
  }
};

std::string model_line(const FrozenVit& model) {
  const VitConfig& v = model.vit->config();
  return text(model.path.string(), ": ", model.family, ", width ", v.width, ", ", v.depth, " blocks, input ",
              v.image_side, " px, patches of ", v.patch_side, " px");
}

std::function<void(const EmbedProgress&)> shown_on(Progress& progress) {
  return [&progress](const EmbedProgress& now) {
    if (!progress.due() && now.done != now.total) return;
    const double left = now.rate > 0 ? static_cast<double>(now.total - now.done) / now.rate : 0;
    progress.show(text(now.done, "/", now.total, "  ", human_count(now.rate), " img/s  data ",
                       static_cast<int>(100 * now.waited_share), " %  ", human_duration(left), " left"),
                  static_cast<double>(now.done) / static_cast<double>(now.total));
  };
}

void print_result(const EmbedResult& result, const std::string& out) {
  if (result.begun_at > 0) std::cout << "went on after " << result.begun_at << " images\n";
  std::cout << out << ": " << result.rows << " rows in " << human_duration(result.seconds) << "\n";
  if (result.bad > 0)
    std::cout << result.bad << " images could not be read; they are named in " << out << ".skipped.jsonl\n";
}

}  // namespace

std::string embed_keys() { return describe(EmbedCommandConfig{}); }

int embed_command(Arguments arguments) {
  const CommandLine line = split(arguments, {"normalize", "overwrite"});
  EmbedCommandConfig c;
  Settings settings;
  settings.override_with(line.settings);
  apply(settings, c);
  check(line.words.size() >= 2, "embed: expected a model and images: lacuna embed MODEL PATH… --out FILE");
  check(!c.out.empty(), "out: expected the file to write, --out FILE.npz (or .safetensors, .csv, .jsonl)");
  const int cores = settle_threads(c.threads);
  if (!c.embed.workers) c.embed.workers = std::max(1, cores / 2);
  const at::Device device = choose_device(c.device);
  c.embed.bf16 = choose_bf16(c.precision, device);
  const auto images = open_images(std::span(line.words).subspan(1), {.path = {},
                                                                     .class_captions = {},
                                                                     .decode = c.data.options(),
                                                                     .cache = default_cache_folder(),
                                                                     .size = c.shapes.size,
                                                                     .seed = c.shapes.seed,
                                                                     .side = c.shapes.side});
  FrozenVit model = open_frozen_vit(line.words[0], c.image_side);
  std::cout << model_line(model) << "\n";
  for (const std::string& note : model.notes) std::cout << "note: " << note << "\n";
  std::cout << std::flush;
  model.vit->to(device);
  if (model.projection) model.projection->to(device);
  install_stop_signals();
  Progress progress(std::cerr, progress_style(STDERR_FILENO));
  const EmbedResult result =
      embed(model, *images, c.embed,
            {.target = c.out, .progress = shown_on(progress), .stop = [] { return stop_signal() != 0; }});
  progress.finish();
  if (result.stopped) {
    std::cout << "stopped after " << result.done << " of " << images->size()
              << " images; the same command goes on from there\n";
    return static_cast<int>(ExitCode::kInterrupted);
  }
  print_result(result, c.out);
  return 0;
}

}  // namespace lacuna
