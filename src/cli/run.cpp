#include "cli/run.h"

#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/cores.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/run_card.h"
#include "cli/run_init.h"
#include "cli/version.h"
#include "data/view/augment.h"
#include "eval/evaluators.h"
#include "io/files.h"
#include "methods/methods.h"
#include "mim/pictures.h"
#include "train/device.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPictures = 6;
constexpr int64_t kSmallBatch = 64;  // below it the linear rule gives rates that hardly move a network
constexpr int64_t kTokenizerCaptions = 5000;

fs::path own_tokenizer(const RunConfig& config) { return fs::path(config.out) / "tokenizer"; }

// The saved configuration names the run's teacher once, so that teacher=DIR on top of it counts; objectives that name
// none take it here.
Composition composition_of(const RunConfig& config, const Source& source) {
  Composition composition = config.recipe.composition;
  composition.student.spectrum = source.spectrum();
  for (ObjectiveConfig& objective : composition.objectives) {
    if (objective.teacher.path.empty()) objective.teacher.path = config.teacher;
  }
  return composition;
}

// What a spectrum asks of the other settings.
void check_views(const Run& run) {
  if (run.source->spectrum() == 0) return;
  const AugmentConfig& a = run.config.recipe.augment;
  check(a.color_jitter == 0 && a.hue == 0 && a.grayscale == 0,
        "augment: color_jitter, hue and grayscale are of red, green and blue, and the student sees ",
        run.source->spectrum(), " channels by data.bands; set them to 0");
  const std::vector<ViewSpec> views = run.method->views();
  const bool colors = std::any_of(views.begin(), views.end(), [](const ViewSpec& view) { return view.spectrum == 0; });
  check(!colors || !run.config.data.decoding.rgb_bands.empty(),
        "data.rgb_bands: a teacher of this method sees red, green and blue; name the three channels, as in [3,2,1]");
}

std::shared_ptr<const Tokenizer> open_tokenizer(const RunConfig& config, const Source& source) {
  const fs::path own = own_tokenizer(config);
  if (!config.text.tokenizer.empty())
    return std::make_shared<Tokenizer>(Tokenizer::load(config.text.tokenizer, config.text.cleaning));
  if (!config.out.empty() && fs::exists(own / "vocab.json"))
    return std::make_shared<Tokenizer>(Tokenizer::load(own, config.text.cleaning));
  if (const fs::path words = init_tokenizer(config.init); !words.empty())
    return std::make_shared<Tokenizer>(Tokenizer::load(words, config.text.cleaning));
  std::vector<std::string> captions;
  for (int64_t i = 0; i < std::min(kTokenizerCaptions, source.size()); ++i) {
    Rng rng(config.seed, Purpose::kCaption, 0, static_cast<uint64_t>(i));
    captions.push_back(source.caption(i, rng));
  }
  const bool empty = std::all_of(captions.begin(), captions.end(), [](const std::string& c) { return c.empty(); });
  check(!empty, "data: ", config.data.path,
        " has no captions, and this method reads them; use a list with captions, or data.class_captions for a labelled "
        "source");
  return std::make_shared<Tokenizer>(
      Tokenizer::train(captions, config.text.vocabulary, config.text.cleaning.value_or(kDefaultCleaning)));
}

// What is evaluated beside the run: what the user named, else the training source.
DataConfig evaluation_data(const RunConfig& c) {
  DataConfig data = c.data;
  data.also.clear();
  data.weights.clear();
  data.decoded_side = 0;  // figures are of the images as they are
  if (c.eval.data.empty()) return data;
  data.path = c.eval.data;
  data.images.clear();
  data.kind = SourceKind::kAuto;
  return data;
}

// The labelled splits of it.
void open_evaluation(Run& run) {
  const RunConfig& c = run.config;
  const DataConfig data = evaluation_data(c);
  if (c.eval.data.empty() && !has_splits(data.source())) return;
  auto train = open_source(data.source(), Split::kTrain), val = open_source(data.source(), Split::kVal);
  const bool labelled = !train->classes().empty() && !val->classes().empty();
  check(labelled || c.eval.data.empty(), "eval.data: ", c.eval.data,
        " has no labels; expected one sub-folder per class, or a list with labels");
  if (!labelled) return;
  const int64_t looked_at = std::min(train->size(), c.eval.max_samples);
  check(c.eval.k <= looked_at, "eval.k: ", c.eval.k, " neighbours, but only ", looked_at,
        " training images are looked at; lower eval.k, or raise eval.max_samples");
  run.eval_train = std::move(train);
  run.eval_val = std::move(val);
}

// Spread over the source, whose neighbours are often of one class.
std::vector<Sheets> picture_samples(const Run& run) {
  const Source& source = run.eval_val ? *run.eval_val : *run.source;
  const ViewSpec view = run.method->views().at(0);
  const int64_t stride = std::max<int64_t>(1, source.size() / kPictures);
  std::vector<Sheets> images;
  for (int64_t i = stride / 2; i < source.size() && std::ssize(images) < kPictures; i += stride) {
    try {
      Sheets sheets = source.sheets(i);
      for (Image& sheet : sheets) sheet = center_view(sheet, view.side, view.kernel, 1.0);
      images.push_back(std::move(sheets));
    } catch (const Error&) {  // the loader names it; a picture of it is not needed
    }
  }
  return images;
}

std::string number(double value) {
  char out[32];
  std::snprintf(out, sizeof out, "%.4g", value);
  return out;
}

// Of several sources also how often each is drawn from.
void print_source(const Run& run, std::ostream& out) {
  const std::vector<SourcePart> parts = run.source->parts();
  out << "data      " << run.config.data.path;
  if (parts.size() > 1) out << " and " << parts.size() - 1 << " more";
  out << ": " << run.source->size() << " images";
  double all = 0;
  for (const SourcePart& part : parts) all += part.weight;
  for (size_t i = 0; i < parts.size() && parts.size() > 1; ++i)
    out << (i == 0 ? " = " : " + ") << parts[i].size << " (" << number(std::round(1000 * parts[i].weight / all) / 10)
        << " % of the draws)";
  out << "\n";
  for (const std::string& note : run.notes) out << "          " << note << "\n";
}

// Where the time of the steps went; the teacher's part is in the forward pass.
void print_times(const Trainer::Times& t, std::ostream& out) {
  const double all = std::max(t.data + t.forward + t.backward + t.optimizer, 1e-9);
  const auto percent = [&](double part) { return number(std::round(100 * part / all)) + " %"; };
  out << "time      data " << percent(t.data) << ", forward " << percent(t.forward) << ", backward "
      << percent(t.backward) << ", optimizer " << percent(t.optimizer) << "\n";
}

KnnConfig knn_config(const RunConfig& c) {
  KnnConfig knn;
  knn.k = c.eval.k;
  knn.temperature = c.eval.temperature;
  return knn;
}

FeatureConfig feature_config(const Run& run) {
  FeatureConfig features;
  features.max_samples = run.config.eval.max_samples;
  if (evaluation_data(run.config).generated()) features.crop_ratio = kWholeImage;
  return features;
}

Backbone backbone_of(const Run& run) {
  return {.config = backbone_config(*run.method), .vit = run.method->student()->vit, .origin = "the student"};
}

std::vector<ScheduledEvaluator> make_evaluators(Run& run) {
  std::vector<ScheduledEvaluator> out;
  if (run.plan.pictures_every > 0) {
    out.push_back({.evaluator = std::make_unique<PictureWriter>(*run.method, picture_samples(run),
                                                                run.out() / "pictures", run.config.seed, run.device),
                   .every = run.plan.pictures_every});
  }
  if (run.eval_train) {
    const int64_t every =
        run.config.eval.every.resolve(run.plan.steps_per_epoch, run.config.recipe.train.batch(), run.plan.total);
    out.push_back(
        {.evaluator = std::make_unique<KnnEvaluator>([&run] { return backbone_of(run); }, *run.eval_train,
                                                     *run.eval_val, feature_config(run), knn_config(run.config)),
         .every = every});
    if (run.config.eval.linear) {
      out.push_back(
          {.evaluator = std::make_unique<LinearProbeEvaluator>([&run] { return backbone_of(run); }, *run.eval_train,
                                                               *run.eval_val, feature_config(run), ProbeConfig{})});
    }
  }
  return out;
}

}  // namespace

Run assemble(RunConfig config, const RunParts& parts) {
  Run run;
  check(!config.data.path.empty(), "data: nothing to train on; set data=DIR, data=LIST.csv or data=shapes");
  run.config = std::move(config);
  RunConfig& c = run.config;
  run.threads = settle_threads(c.threads);
  run.device = choose_device(c.device);
  run.bf16 = choose_bf16(c.precision, run.device);
  run.source = open_source(c.data.source(), Split::kTrain, &run.notes);
  c.recipe.train.settle_batch_size(run.source->size());
  if (parts.evaluation) open_evaluation(run);
  if (reads_captions(c.recipe.composition)) run.tokenizer = open_tokenizer(c, *run.source);
  run.method = build_method(composition_of(c, *run.source), run.tokenizer, c.seed);
  check_views(run);
  run.method->to(run.device, run.bf16 ? at::kBFloat16 : at::kFloat);
  const LoaderConfig loader{.batch_size = c.recipe.train.batch(),
                            .threads = c.data.workers.value_or(std::max(1, usable_cores() / 4)),
                            .prefetch = c.data.prefetch,
                            .seed = c.seed,
                            .max_bad_share = c.data.max_bad_share,
                            .captions = run.method->wants_captions(),
                            .tell = [](const std::string& line) { std::cerr << line << std::endl; }};
  run.loader = std::make_unique<Loader>(*run.source, run.method->views(), c.recipe.augment, loader,
                                        parts.write ? run.out() / "quarantine.jsonl" : fs::path());
  run.plan = make_plan(c.recipe.train, c.checkpoint, c.log, run.loader->steps_per_epoch());
  return run;
}

void start_from_init(Run& run) {
  const RunConfig& c = run.config;
  if (!c.init.empty()) run.init = start_from(*run.method, c.init, c.init_fit, c.seed);
}

void write_config(Run& run) {
  fs::create_directories(run.out());
  run.config.threads = run.threads;
  write_file_atomic(run.out() / "config.toml", to_toml(run.config));
}

void write_tokenizer(const Run& run) {
  const fs::path own = own_tokenizer(run.config);
  const bool trained = run.tokenizer && run.config.text.tokenizer.empty();
  if (trained && !fs::exists(own / "vocab.json")) run.tokenizer->save(own);
}

void print_plan(const Run& run, std::ostream& out) {
  const RunConfig& c = run.config;
  const VitConfig& vit = run.method->student()->vit->config();
  const MaskConfig& mask = c.recipe.composition.mask;
  out << "lacuna " << version_text() << "\n\n";
  out << "method    " << c.method << ": " << method(c.method).title << "\n";
  print_source(run, out);
  out << "student   " << c.model << ": width " << vit.width << ", " << vit.depth << " blocks, " << vit.heads
      << " heads, input " << (vit.channels == 3 ? "" : counted(vit.channels, "channel") + " of ") << vit.image_side
      << " px, patches of " << vit.patch_side << " px (grid " << vit.grid() << " x " << vit.grid() << "); "
      << human_count(static_cast<double>(parameter_count(*run.method->student()->vit))) << " parameters, "
      << human_count(static_cast<double>(parameter_count(run.method->module()))) << " with all that is trained\n";
  for (size_t i = 0; i < run.init.size(); ++i) out << (i == 0 ? "init      " : "          ") << run.init[i] << "\n";
  out << "mask      " << (mask.may_be_uneven() ? "at most " : "") << mask.hidden(vit.patches()) << " of "
      << vit.patches() << " patches hidden";
  if (c.recipe.composition.crops > 1) out << ", " << c.recipe.composition.crops << " crops of each image";
  out << "\n";
  for (const auto& objective : run.method->objectives()) {
    out << "objective " << objective->objective_name() << ": " << objective->describe() << "\n";
  }
  out << "batch     " << c.recipe.train.batch() << " images a step";
  if (c.recipe.train.accumulate > 1) out << ", in " << c.recipe.train.accumulate << " parts";
  out << "; learning rate " << number(c.recipe.train.peak_lr());
  if (!c.recipe.train.lr) out << " (" << number(c.recipe.train.base_lr) << " x batch / 256)";
  if (!c.recipe.train.lr && c.recipe.train.batch() < kSmallBatch)
    out << ", low for so small a batch: set lr= to choose it";
  const Schedule& schedule = run.plan.schedule;
  out << ", at the end " << number(schedule.at(run.plan.total - 1)) << ", weight decay "
      << number(c.recipe.train.adamw.weight_decay) << "\n";
  out << "length    " << run.plan.total
      << " steps = " << number(static_cast<double>(run.plan.total) / static_cast<double>(run.plan.steps_per_epoch))
      << " epochs of " << run.plan.steps_per_epoch << " steps, " << run.plan.schedule.warmup << " of them warm-up\n";
  out << "machine   " << run.device << ", " << (run.bf16 ? "bf16" : "f32") << ", " << run.threads << " threads\n";
  if (run.eval_train)
    out << "evaluate  kNN on " << std::min(run.eval_train->size(), c.eval.max_samples) << " + "
        << std::min(run.eval_val->size(), c.eval.max_samples) << " labelled images, " << run.eval_val->classes().size()
        << " classes\n";
  if (!c.out.empty()) out << "out       " << c.out << "\n";
  out << std::endl;
}

nlohmann::json describe_run(const Run& run) {
  return {{"config", to_json(run.config)},
          {"backbone", to_json(backbone_config(*run.method))},
          {"source_fingerprint", run.source->fingerprint()},
          {"images", run.source->size()},
          {"total_steps", run.plan.total},
          {"threads", run.threads},
          {"bf16", run.bf16},
          {"versions", version_json()}};
}

std::unique_ptr<Trainer> make_trainer(Run& run, std::ostream& progress) {
  TrainerSetup setup{.out = run.out(),
                     .plan = run.plan,
                     .adamw = run.config.recipe.train.adamw,
                     .checkpoint = run.config.checkpoint,
                     .accumulate = run.config.recipe.train.accumulate,
                     .seed = run.config.seed,
                     .device = run.device,
                     .bf16 = run.bf16,
                     .describe_run = [&run] { return describe_run(run); }};
  return std::make_unique<Trainer>(*run.method, *run.loader, std::move(setup), make_evaluators(run), progress);
}

int train_to_end(Run& run, Trainer& trainer, std::ostream& out) {
  if (trainer.run() == RunEnd::kInterrupted) {
    out << "\nstopped at step " << trainer.step() << " of " << run.plan.total
        << "; the state is saved. Go on with:\n  lacuna resume " << run.config.out << std::endl;
    return static_cast<int>(ExitCode::kInterrupted);
  }
  const fs::path exported = run.out() / "export";
  const std::string note = export_student(*run.method, exported);
  write_run_card(exported, run.out(), backbone_of(run));
  const BadReport bad = run.loader->bad();
  out << "\ndone: " << trainer.step() << " steps, weights " << trainer.weights_hash() << "\n";
  print_times(trainer.times(), out);
  if (bad.samples > 0)
    out << bad.samples << " images could not be read; they are listed in " << bad.list.string() << "\n";
  if (!note.empty()) out << note << "\n";
  for (const Metric& metric : trainer.last_evaluation()) out << metric.name << " " << number(metric.value) << "\n";
  out << "backbone  " << exported.string() << "\n";
  if (fs::exists(run.out() / "pictures"))
    out << "pictures  " << (run.out() / "pictures").string()
        << " (columns: input, what the student sees, agreement with the teacher per patch, similarity of its class "
           "token with patches)\n";
  out << "metrics   " << (run.out() / "metrics.jsonl").string() << ", or: tensorboard --logdir " << run.config.out
      << "\nnext      lacuna eval linear " << run.config.out << " data=LABELLED_DIR\n"
      << std::flush;
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace lacuna
