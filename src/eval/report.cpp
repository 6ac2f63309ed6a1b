#include "eval/report.h"

#include <cmath>
#include <cstdio>

#include "io/files.h"

namespace lacuna {
namespace {

using Json = nlohmann::json;

void add_bad(EvalReport& report, const Features& features) {
  report.left_out += features.left_out;
  report.bad.insert(report.bad.end(), features.bad.begin(), features.bad.end());
}

Json trial_json(const ProbeTrial& trial) {
  return {{"rate", trial.rate},
          {"held_out_top1", trial.held_out.top1},
          {"held_out_loss", std::isfinite(trial.loss) ? Json(trial.loss) : Json()}};
}

// Names and reasons come from outside and may hold any bytes; JSON holds UTF-8 only. What is not becomes U+FFFD.
Json text_json(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json bad_json(const std::vector<BadSample>& bad) {
  Json out = Json::array();
  for (const BadSample& sample : bad) {
    out.push_back({{"name", text_json(sample.name)}, {"reason", text_json(sample.reason)}});
  }
  return out;
}

}  // namespace

std::string accuracy_line(const Accuracy& accuracy) {
  char line[64];
  std::snprintf(line, sizeof line, "* Acc@1 %.3f Acc@5 %.3f", accuracy.top1, accuracy.top5);
  return line;
}

EvalReport knn_report(const Features& train, const Features& val, const FeatureConfig& features,
                      const KnnConfig& config, const Accuracy& accuracy) {
  EvalReport report{.protocol = kKnnProtocol, .version = kKnnVersion, .accuracy = accuracy};
  report.settings = {{"features", to_json(features)}, {"knn", to_json(config)}};
  report.chosen = {{"k", config.k}, {"train_samples", train.labels.size(0)}};
  add_bad(report, train);
  add_bad(report, val);
  return report;
}

EvalReport linear_report(const Features& train, const Features& val, const FeatureConfig& features,
                         const ProbeConfig& config, const ProbeResult& result) {
  EvalReport report{.protocol = kLinearProtocol, .version = kLinearVersion, .accuracy = result.accuracy};
  report.settings = {{"features", to_json(features)}, {"linear", to_json(config)}};
  report.chosen = {{"rate", result.rate}, {"batch", result.batch}, {"train_samples", result.train_samples}};
  report.chosen["chosen_on"] =
      result.trials.empty() ? "nothing: a single rate was given" : "held-out part of the training data";
  report.chosen["held_out_samples"] = result.held_out_samples;
  report.chosen["trials"] = Json::array();
  for (const ProbeTrial& trial : result.trials) report.chosen["trials"].push_back(trial_json(trial));
  add_bad(report, train);
  add_bad(report, val);
  return report;
}

nlohmann::json report_json(const EvalReport& report) {
  return {{"protocol", report.protocol},
          {"version", report.version},
          {"data", {{"train", text_json(report.train_data)}, {"val", text_json(report.val_data)}}},
          {"backbone", text_json(report.backbone)},
          {"settings", report.settings},
          {"chosen", report.chosen},
          {"samples", report.accuracy.samples},
          {"top1", report.accuracy.top1},
          {"top5", report.accuracy.top5},
          {"seconds", report.seconds},
          {"left_out", report.left_out},
          {"left_out_samples", bad_json(report.bad)}};
}

void write_report(const std::filesystem::path& path, const EvalReport& report) {
  write_json_atomic(path, report_json(report));
}

}  // namespace lacuna
