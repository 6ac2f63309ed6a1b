#include "cli/evaluate.h"

#include <unistd.h>

#include <chrono>
#include <iostream>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "eval/report.h"
#include "train/device.h"

namespace lacuna {
namespace {

EvalProgress shown_on(Progress& progress, const std::string& what) {
  return [&progress, what](int64_t done, int64_t total) {
    if (progress.due() || done == total)
      progress.show(text(what, "  ", done, "/", total), static_cast<double>(done) / static_cast<double>(total));
  };
}

void print_left_out(const EvalReport& report) {
  if (report.left_out == 0) return;
  std::cout << report.left_out << " images could not be read and are left out:\n";
  for (const BadSample& bad : report.bad) std::cout << "  " << bad.name << ": " << bad.reason << "\n";
}

EvalReport measure_knn(const FeaturePair& f, const EvalCommandConfig& c) {
  const Accuracy accuracy = knn_accuracy(f.train, f.val, c.knn);
  std::cout << accuracy_line(accuracy) << "  (" << kKnnProtocol << " v" << kKnnVersion << ": " << c.knn.k
            << " neighbours, temperature " << c.knn.temperature << ", " << f.train.values.size(0) << " training and "
            << accuracy.samples << " validation images)\n";
  return knn_report(f.train, f.val, c.features, c.knn, accuracy);
}

EvalReport measure_linear(const FeaturePair& f, const EvalCommandConfig& c) {
  const ProbeResult probe = linear_probe(f.train, f.val, c.probe);
  std::cout << accuracy_line(probe.accuracy) << "  (" << kLinearProtocol << " v" << kLinearVersion << ": "
            << c.probe.epochs << " epochs, batch " << probe.batch << ", rate " << probe.rate << " chosen on "
            << probe.held_out_samples << " held-out training images; " << probe.train_samples << " training and "
            << probe.accuracy.samples << " validation images)\n";
  return linear_report(f.train, f.val, c.features, c.probe, probe);
}

}  // namespace

void EvalCommandConfig::fields(Fields& f) {
  f.table("data", data, {.help = "labelled images with a train and a val split", .shorthand = "path"});
  f.table("features", features, {.help = "how features are taken"});
  f.table("knn", knn, {.help = "weighted nearest neighbours"});
  f.table("linear", probe, {.help = "linear probe"});
  f.add("device", device, {.help = "auto, cpu, cuda or cuda:N"});
  f.add("precision", precision, kPrecisions, {.help = "arithmetic of the matrix products"});
  f.add("threads", threads, {.help = "compute threads; auto is all cores", .min = 1, .max = 4096});
  f.add("random", random, {.help = "measure the same network with random weights: the baseline"});
  f.add("seed", seed, {.help = "of the random weights"});
  f.add("json", json, {.help = "file the result is written to; empty writes none"});
}

LabelledData open_labelled(const DataConfig& data) {
  check(!data.path.empty(),
        "data: nothing to evaluate on; set data=DIR (with train/ and val/, one sub-folder per class) or data=shapes");
  LabelledData out{open_source(data.source(), Split::kTrain), open_source(data.source(), Split::kVal)};
  check_same_classes(out.train->classes(), out.val->classes());
  return out;
}

FeaturePair features_of(const Backbone& backbone, const LabelledData& data, const FeatureConfig& config) {
  Progress progress(std::cerr, progress_style(STDERR_FILENO));
  FeaturePair out{
      extract_features(backbone, *data.train, config, shown_on(progress, "features of the training split")),
      extract_features(backbone, *data.val, config, shown_on(progress, "features of the validation split"))};
  progress.finish();
  return out;
}

std::string eval_keys() { return describe(EvalCommandConfig{}); }

int eval_command(Arguments arguments) {
  check(arguments.size() >= 2 && (arguments[0] == "knn" || arguments[0] == "linear"),
        "eval: expected 'knn' or 'linear', then a model: lacuna eval knn MODEL data=DIR");
  EvalCommandConfig c;
  Settings settings;
  settings.override_with(arguments.subspan(2));
  const Origins set = apply(settings, c);
  if (c.data.generated() && !set.contains("features.crop_ratio")) c.features.crop_ratio = kWholeImage;
  settle_threads(c.threads);
  const at::Device device = choose_device(c.device);
  c.features.bf16 = choose_bf16(c.precision, device);
  c.knn.device = c.probe.device = device;
  const auto start = std::chrono::steady_clock::now();
  Backbone backbone = open_backbone(arguments[1]);
  if (c.random) backbone = random_like(backbone, c.seed);
  backbone.vit->to(device);
  const FeaturePair features = features_of(backbone, open_labelled(c.data), c.features);
  EvalReport report = arguments[0] == "knn" ? measure_knn(features, c) : measure_linear(features, c);
  report.train_data = report.val_data = c.data.path;
  report.backbone = backbone.origin;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print_left_out(report);
  if (!c.json.empty()) write_report(c.json, report);
  return 0;
}

}  // namespace lacuna
