#pragma once
// What an evaluation leaves behind: the line people know and a JSON file for programs.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/knn.h"
#include "eval/linear_probe.h"

namespace lacuna {

// "* Acc@1 83.664 Acc@5 96.530", percent.
std::string accuracy_line(const Accuracy& accuracy);

struct EvalReport {
  std::string protocol = {};    // kKnnProtocol or kLinearProtocol
  int version = 1;              // of the protocol: figures of two versions do not compare
  std::string train_data = {};  // as the user named them
  std::string val_data = {};
  std::string backbone = {};     // Backbone::origin
  nlohmann::json settings = {};  // of features and protocol
  nlohmann::json chosen = {};    // k, or the rate and how it was chosen
  Accuracy accuracy = {};
  double seconds = 0;               // in all, features included
  std::int64_t left_out = 0;        // samples of both sets that could not be decoded
  std::vector<BadSample> bad = {};  // the first of them
};

// Protocol, version, settings, what was chosen, accuracy and bad samples. Data, backbone's name and seconds are the
// caller's to fill in.
EvalReport knn_report(const Features& train, const Features& val, const FeatureConfig& features,
                      const KnnConfig& config, const Accuracy& accuracy);
EvalReport linear_report(const Features& train, const Features& val, const FeatureConfig& features,
                         const ProbeConfig& config, const ProbeResult& result);

// {protocol, version, data: {train, val}, backbone, settings, chosen, samples, top1, top5, seconds, left_out,
// left_out_samples: [{name, reason}]}
nlohmann::json report_json(const EvalReport& report);
void write_report(const std::filesystem::path& path, const EvalReport& report);  // atomically

}  // namespace lacuna
