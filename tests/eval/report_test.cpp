#include "eval/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "eval/evaluators.h"
#include "eval/toys.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::clusters;
using testing::ColorSource;
using testing::error_of;

TEST(Report, TheLineIsTheOnePeopleKnow) {
  EXPECT_EQ(accuracy_line({83.664, 96.53, 50000}), "* Acc@1 83.664 Acc@5 96.530");
  EXPECT_EQ(accuracy_line({100, 100, 1}), "* Acc@1 100.000 Acc@5 100.000");
}

TEST(Report, TheFileHoldsProtocolChoiceAndFigures) {
  Features train = clusters(60, 3, 8, 0.5, 0), val = clusters(30, 3, 8, 0.5, 1);
  train.left_out = 2;
  train.bad = {{"a\xff.jpg", "broken"}};
  const ProbeConfig config{.epochs = 3, .warmup = 1};
  const ProbeResult result = linear_probe(train, val, config);
  EvalReport report = linear_report(train, val, {}, config, result);
  report.train_data = "data/\xc3\xa4/train";
  report.backbone = "runs/1";
  report.seconds = 1.5;
  const fs::path path = fs::temp_directory_path() / text("lacuna_report_", ::getpid(), ".json");
  write_report(path, report);
  const nlohmann::json read = read_json(path);
  fs::remove(path);
  EXPECT_EQ(read["protocol"], "linear-cached");
  EXPECT_EQ(read["version"], 1);
  EXPECT_EQ(read["data"]["train"], "data/\xc3\xa4/train");
  EXPECT_EQ(read["backbone"], "runs/1");
  EXPECT_EQ(read["samples"], 30);
  EXPECT_EQ(read["top1"], result.accuracy.top1);
  EXPECT_EQ(read["top5"], result.accuracy.top5);
  EXPECT_EQ(read["seconds"], 1.5);
  EXPECT_EQ(read["chosen"]["rate"], result.rate);
  EXPECT_EQ(read["chosen"]["chosen_on"], "held-out part of the training data");
  EXPECT_EQ(read["chosen"]["trials"].size(), 11u);
  EXPECT_EQ(read["settings"]["linear"]["epochs"], 3);
  EXPECT_EQ(read["left_out"], 2);
  EXPECT_EQ(read["left_out_samples"][0]["name"], "a\xef\xbf\xbd.jpg");
}

TEST(Report, OfKnnSaysK) {
  const Features train = clusters(60, 3, 8, 0.5, 0), val = clusters(30, 3, 8, 0.5, 1);
  const nlohmann::json json = report_json(knn_report(train, val, {}, {.k = 7}, knn_accuracy(train, val, {.k = 7})));
  EXPECT_EQ(json["protocol"], "knn");
  EXPECT_EQ(json["chosen"]["k"], 7);
  EXPECT_EQ(json["settings"]["knn"]["temperature"], 0.07);
}

TEST(Evaluators, SeeColoursAndLeaveTheModelAsItWas) {
  const ColorSource train(90, {}, 3, 1), val(45, {}, 3, 2);
  Backbone model = testing::tiny_backbone();
  model.vit->train();
  std::vector<at::Tensor> before;
  for (at::Tensor& parameter : model.vit->parameters()) {
    before.push_back(parameter.detach().clone());
    if (parameter.requires_grad()) parameter.mutable_grad() = at::ones_like(parameter);
  }
  KnnEvaluator knn([&] { return model; }, train, val, {.crop_ratio = 1}, {.k = 10});
  LinearProbeEvaluator linear([&] { return model; }, train, val, {.crop_ratio = 1}, {});
  for (Evaluator* evaluator : {static_cast<Evaluator*>(&knn), static_cast<Evaluator*>(&linear)}) {
    const std::vector<Metric> first = evaluator->run(0), second = evaluator->run(7);
    ASSERT_EQ(first.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(first[i].name, second[i].name);
      EXPECT_EQ(first[i].value, second[i].value) << first[i].name;
    }
    EXPECT_GT(first[0].value, 90.0) << first[0].name;  // three colours are easy for random features
  }
  EXPECT_EQ(knn.run(1)[0].name, "knn_top1");
  EXPECT_EQ(knn.name(), "knn");
  EXPECT_TRUE(model.vit->is_training());
  const std::vector<at::Tensor> after = model.vit->parameters();
  for (std::size_t i = 0; i < after.size(); ++i) {
    EXPECT_TRUE(after[i].detach().equal(before[i]));
    if (after[i].requires_grad()) {
      EXPECT_TRUE(after[i].grad().equal(at::ones_like(after[i])));
    }
  }
  // Training goes on: the weights still take part in a graph.
  const at::Tensor out = model.vit->encode(at::zeros({1, 3, 16, 16}));
  EXPECT_NO_THROW(out.sum().backward());
}

TEST(Evaluators, RefuseWhatCannotWorkWhenTheyAreBuilt) {
  const ColorSource train(30), val(12), other(12, {}, 4);
  const auto view = [] { return testing::tiny_backbone(); };
  EXPECT_NE(error_of([&] { KnnEvaluator(view, train, other, {}, {}); }).find("only in the validation data: 'class3'"),
            std::string::npos);
  EXPECT_NE(error_of([&] { LinearProbeEvaluator(view, train, other, {}, {}); }).find("'class3'"), std::string::npos);
  EXPECT_NE(error_of([&] {
              KnnEvaluator(view, train, val, {.max_samples = 10}, {.k = 20});
            }).find("only 10 training samples"),
            std::string::npos);
}

}  // namespace
}  // namespace lacuna
