// A trace is what a run does: the same losses, and names that a reader can rely on.

#include <gtest/gtest.h>

#include "io/tensor/tensor_file.h"
#include "nn/weights/weights.h"
#include "support/tiny_run.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

class Traces : public ::testing::Test {
 protected:
  fs::path trace(const Words& method, const Words& more) {
    const fs::path out = folder_ / "trace.safetensors";
    Words arguments = joined(joined(method, more), {"out=" + out.string()});
    arguments[0] = "trace";
    const Ended ended = lacuna_run(arguments);
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    return out;
  }
  static double number(const TensorFile& file, const std::string& name) {
    return to_tensor(file.at(name)).to(at::kDouble).item<double>();
  }

  TemporaryFolder folder_;
};

TEST_F(Traces, HoldTheLossesOfTheRun) {
  const fs::path run = folder_ / "run";
  hash_of_run(tiny_cae(), run);
  const TensorFile file(trace(tiny_cae(), {"trace.steps=3"}));
  std::istringstream records(content_of(run / "metrics.jsonl"));
  for (int step = 0; step < 3; ++step) {
    std::string line;
    ASSERT_TRUE(std::getline(records, line));
    const auto record = nlohmann::json::parse(line);
    const std::string name = "step" + std::to_string(step) + ".";
    EXPECT_NEAR(number(file, name + "loss"), record.at("loss").get<double>(), 1e-6);
    EXPECT_NEAR(number(file, name + "grad_norm"), record.at("grad_norm").get<double>(), 1e-5);
    EXPECT_NEAR(number(file, name + "loss.target/masked"), record.at("target/masked").get<double>(), 1e-6);
  }
}

TEST_F(Traces, NameEverythingThatTheDocumentationPromises) {
  const TensorFile file(trace(tiny_cae(), {"trace.steps=1"}));
  const auto shape = [&](const std::string& name) { return file.at(name).shape; };
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(shape("step0.samples"), Shape{8});
  EXPECT_EQ(shape("step0.view0"), (Shape{8, 3, 48, 48}));
  EXPECT_EQ(shape("step0.crop0.hidden"), Shape{8 * 9});
  EXPECT_EQ(shape("step0.crop0.latents"), (Shape{8, 1 + 27, 96}));
  EXPECT_EQ(shape("step0.objective.target.target"), (Shape{8, 37, 96}));
  EXPECT_EQ(shape("step0.objective.target.prediction"), (Shape{8, 37, 96}));
  EXPECT_EQ(shape("step0.objective.target.token_loss"), (Shape{8, 37}));
  EXPECT_EQ(shape("weight.student.vit.cls_token"), (Shape{1, 1, 96}));
  EXPECT_EQ(shape("step0.grad.student.vit.cls_token"), (Shape{1, 1, 96}));
  EXPECT_EQ(shape("step0.param.sums.student.vit.cls_token"), Shape{3});
  EXPECT_NE(file.metadata().at("config").find("method = \"cae_v2\""), std::string::npos);
}

TEST_F(Traces, TheSumsAreThoseOfTheWholeTensors) {
  const TensorFile file(trace(tiny_cae(), {"trace.steps=1"}));
  const std::string name = "student.vit.blocks.0.mlp.fc1.weight";
  const at::Tensor x = to_tensor(file.at("step0.grad." + name)).to(at::kDouble).flatten();
  const at::Tensor sums = to_tensor(file.at("step0.grad.sums." + name));
  double dot = 0;
  for (int64_t i = 0; i < x.numel(); ++i)
    dot += x[i].item<double>() * (static_cast<double>((7919 * i) % 1009) / 1009 - 0.5);
  EXPECT_NEAR(sums[0].item<double>(), x.sum().item<double>(), 1e-12);
  EXPECT_NEAR(sums[1].item<double>(), x.square().sum().item<double>(), 1e-12);
  EXPECT_NEAR(sums[2].item<double>(), dot, 1e-10);
}

TEST_F(Traces, RefuseAnOutputThatIsNoFileOfTensors) {
  Words arguments = joined(tiny_cae(), {"out=" + (folder_ / "trace").string()});
  arguments[0] = "trace";
  const Ended ended = lacuna_run(arguments);
  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.err.find("out=FILE.safetensors"), std::string::npos) << ended.err;
}

}  // namespace
}  // namespace lacuna
