// What the rows of the unified table are made of (golden/unified/tables): losses with their gradients, and the loss of
// an untrained student, as a closed form and as measured at full size. And that no stored file is without a test.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mim/mask.h"
#include "nn/init.h"
#include "support/unified_rows.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

at::Tensor matrix(const Json& rows) {  // [[...], ...] or [...], which becomes a column
  std::vector<double> values;
  for (const Json& row : rows) {
    if (row.is_array())
      for (const Json& value : row) values.push_back(value);
    else
      values.push_back(row);
  }
  return torch::tensor(values, at::kDouble).view({static_cast<int64_t>(rows.size()), -1});
}

// ---- elementary.json -----------------------------------------------------------------------------------------------

TEST(ElementaryLosses, SmoothL1AndItsSlopeAreTheTablesForEachBeta) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/elementary.json");
  const Json table = golden_json("unified/tables/elementary.json").at("smooth_l1");
  EXPECT_EQ(table.size(), 3u);
  for (const auto& [name, stored] : table.items()) {
    at::Tensor d = matrix(stored.at("d")).unsqueeze(0).requires_grad_();  // [1,R,1]: each its own token
    const LossConfig config{.kind = LossKind::kSmoothL1, .beta = std::stod(name.substr(4))};
    const at::Tensor loss = token_loss(d, at::zeros_like(d), config);
    loss.sum().backward();
    EXPECT_LE(deviation(loss.flatten(), matrix(stored.at("value")).flatten()), 1e-15) << name;
    EXPECT_LE(deviation(d.grad().flatten(), matrix(stored.at("gradient")).flatten()), 1e-15) << name;
  }
}

// Value and gradient of the mean over tokens.
void expect_loss(Ledger& ledger, const Json& losses, const std::string& name, const at::Tensor& target,
                 const LossConfig& config, double factor = 1) {
  at::Tensor prediction = matrix(losses.at("prediction")).unsqueeze(0).requires_grad_();
  const at::Tensor loss = factor * token_loss(prediction, target, config).mean();
  loss.backward();
  const double limit = 1e-11;  // cosines keep the reference's 1e-12 beside the squared lengths
  ledger.expect("loss", name, std::abs(loss.item<double>() - losses.at(name).at("value").get<double>()), limit);
  ledger.expect_close("gradient", name, prediction.grad()[0], matrix(losses.at(name).at("gradient")), limit);
}

TEST(ElementaryLosses, ValuesAndGradientsAreTheTables) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/elementary.json");
  const Json losses = golden_json("unified/tables/elementary.json").at("losses");
  const at::Tensor target = matrix(losses.at("target")).unsqueeze(0);
  Ledger ledger;
  std::set<std::string> compared = {"prediction", "target"};
  for (const auto& [name, stored] : losses.items()) {
    if (!compared.insert(name).second) continue;
    if (name == "soft_cross_entropy_student.1_teacher.05") {
      const LossConfig soft{.kind = LossKind::kSoftCrossEntropy, .temperature = 0.1};
      expect_loss(ledger, losses, name, at::softmax(target / 0.05, -1), soft);
    } else if (name == "cross_entropy_ids_2_0") {
      const at::Tensor ids = torch::tensor({2, 0}, at::kLong).view({1, 2, 1});
      expect_loss(ledger, losses, name, ids, {.kind = LossKind::kCrossEntropy});
    } else {
      expect_loss(ledger, losses, name, target, loss_cell(name), name == "two_minus_two_cosine" ? 2 : 1);
    }
  }
}

// ---- first_iteration.json ------------------------------------------------------------------------------------------

// Mean of a loss over differences of this variance, by Simpson's rule.
double expected_loss(const LossConfig& config, double variance) {
  constexpr int64_t kIntervals = 400000;
  constexpr double kSigmas = 10;
  const double sigma = std::sqrt(variance), step = 2 * kSigmas * sigma / kIntervals;
  const at::Tensor d = at::arange(kIntervals + 1, at::kDouble) * step - kSigmas * sigma;
  const at::Tensor loss = token_loss(d.view({1, -1, 1}), at::zeros({1, d.size(0), 1}, at::kDouble), config).flatten();
  const at::Tensor density = at::exp(-d.square() / (2 * variance)) / (sigma * std::sqrt(2 * M_PI));
  at::Tensor weights = at::full({kIntervals + 1}, 2.0, at::kDouble);
  weights.slice(0, 1, kIntervals, 2).fill_(4);
  weights[0] = weights[kIntervals] = 1;
  return (weights * loss * density).sum().item<double>() * step / 3;
}

constexpr LossConfig kBeta1{.kind = LossKind::kSmoothL1, .beta = 1}, kBeta2{.kind = LossKind::kSmoothL1, .beta = 2};

TEST(FirstIteration, ClosedFormsAreTheMeansOfOurLosses) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/first_iteration.json");
  const Json table = golden_json("unified/tables/first_iteration.json");
  Ledger ledger;
  const auto expect = [&](const std::string& what, const LossConfig& loss, double variance, const Json& stored) {
    ledger.expect_relative("closed forms", what, expected_loss(loss, variance), stored.get<double>(), 1e-10);
  };
  expect("beta 1", kBeta1, 1, table.at("zero_prediction").at("beta1").at("closed_form"));
  expect("beta 2", kBeta2, 1, table.at("zero_prediction").at("beta2").at("closed_form"));
  for (const auto& [variance, stored] : table.at("residual_variance").items())
    expect("residual variance " + variance, kBeta2, std::stod(variance), stored);

  const double density = std::exp(-0.5) / std::sqrt(2 * M_PI);  // of a normal at one sigma, where the init is cut
  const double truncated = 0.02 * 0.02 * (1 - 2 * density / std::erf(std::sqrt(0.5)));
  for (const auto& [size, width] : {std::pair{"S", 384}, {"B", 768}, {"L", 1024}, {"H", 1280}}) {
    const Json& stored = table.at("at_initialisation").at(size);
    const double variance = stored.at("prediction_variance");
    ledger.expect_relative("closed forms", text(size, ": variance of the prediction"), width * truncated, variance,
                           1e-6);
    expect(text(size, ": beta 1"), kBeta1, 1 + variance, stored.at("beta1"));
    expect(text(size, ": beta 2"), kBeta2, 1 + variance, stored.at("beta2"));
    expect(text(size, ": mse"), {.kind = LossKind::kL2}, 1 + variance, stored.at("mse"));
    expect(text(size, ": l1"), {.kind = LossKind::kL1}, 1 + variance, stored.at("l1"));
  }
}

TEST(FirstIteration, CrossEntropyOfUntrainedLogitsIsTheClosedForm) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/first_iteration.json");
  const Json table = golden_json("unified/tables/first_iteration.json").at("at_initialisation");
  for (const auto& [size, stored] : table.items()) {
    const at::Tensor drawn = at::empty({1, 16, 8192}, at::kDouble);
    fill_normal(drawn, std::sqrt(stored.at("prediction_variance").get<double>()), /*seed=*/1, size);
    const at::Tensor logits = at::cat({drawn, -drawn}, 1);  // so that the logit of the class itself cancels
    const at::Tensor ids = at::zeros({1, 32, 1}, at::kLong);
    const double found = token_loss(logits, ids, {.kind = LossKind::kCrossEntropy}).mean().item<double>();
    EXPECT_NEAR(found, stored.at("cross_entropy_8192").get<double>(), 1e-3) << size;
  }
}

class NoiseTeacher : public TestTeacher {
 public:
  NoiseTeacher(const StudentSides& sides, int64_t width) : TestTeacher(sides), width_(width) {}
  int64_t width() const override { return width_; }
  Observation observe(const at::Tensor& images, const MaskPlan& plan, PathDrop*) override {
    const at::Tensor features = at::empty({images.size(0), 1 + plan.patches, width_});
    fill_normal(features, 1, /*seed=*/0, "features");
    return {.grids = {features}};
  }

 private:
  int64_t width_;
};

struct FirstLook {
  at::Tensor prediction, target;  // [B,78,K]
};

// MaskDistill's student as it starts, before noise.
FirstLook first_look(const std::string& size) {
  const at::NoGradGuard no_grad;
  constexpr int64_t kBatch = 2;
  VitConfig vit = named_vit(size);
  vit.qkv_bias = QkvBias::kQueryValue;
  vit.layer_scale = 0.1;
  vit.positions = Positions::kNone;
  vit.relative_bias = RelativeBiasKind::kShared;
  Student student(StudentConfig{.mode = StudentMode::kPaint}, vit, CompleterConfig{});
  const DistillConfig config{.normalize = {.kind = NormalizeKind::kLayerNorm},
                             .head = {.kind = HeadKind::kLinear, .norm = false},
                             .loss = kBeta2};
  const auto head = build_head(config.head, {.width = vit.width, .out = vit.width, .grid = vit.grid()});
  Distill distill("target", 1, config,
                  std::make_shared<SharedTeacher>(std::make_unique<NoiseTeacher>(StudentSides{}, vit.width)), head);
  initialize(*student, /*seed=*/0, InitScheme::kBeit, "student.");
  initialize(*head, /*seed=*/0, InitScheme::kBeit, "head.");

  const at::Tensor images = at::empty({kBatch, 3, vit.image_side, vit.image_side});
  fill_normal(images, 1, /*seed=*/0, "images");
  const Batch batch{.views = {images}, .ids = {0, 1}, .labels = {}, .captions = {}};
  const StepContext context;
  const MaskPlan plan =
      Masker({.kind = MaskKind::kBlockToppedUp, .ratio = 0.4}, vit.grid()).draw(0, 0, batch.ids, at::kCPU);
  const Step step{.batch = batch,
                  .context = context,
                  .passes = {{.plan = plan, .encoded = student->forward(images, plan, true, nullptr)}},
                  .clean = {},
                  .text_ids = {},
                  .drop = nullptr,
                  .tell = {}};
  return {.prediction = distill.predict(step.passes[0].encoded.tokens, plan, nullptr),
          .target = distill.targets(step, 0, plan, /*remember=*/false).masked};
}

TEST(FirstIteration, AnUntrainedStudentBeforeNoiseLosesWhatTheOfficialInitialisationLoses) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/first_iteration.json");
  const Json table = golden_json("unified/tables/first_iteration.json").at("measured");
  EXPECT_EQ(table.size(), 2u);
  for (const auto& [size, letter] : {std::pair{"small", "S"}, {"base", "B"}}) {
    const Json& stored = table.at(letter);
    const FirstLook look = first_look(size);
    EXPECT_EQ(look.prediction.size(1), stored.at("masked").get<int64_t>());
    const auto mean = [&](const char* key) { return matrix(stored.at(key)).mean().item<double>(); };
    const auto loss = [&](const LossConfig& config) {
      return token_loss(look.prediction, look.target, config).mean().item<double>();
    };
    const double beta1 = loss(kBeta1), beta2 = loss(kBeta2);
    EXPECT_NEAR(beta1, mean("beta1"), 0.01) << size;
    EXPECT_NEAR(beta2, mean("beta2"), 0.01) << size;
    const double variance = look.prediction.var().item<double>();
    EXPECT_NEAR(variance / mean("prediction_variance"), 1, 0.1) << size;
    EXPECT_NEAR(loss({.kind = LossKind::kCosine}), 1, 0.02) << size;
    RecordProperty(text("first loss, ", size), text(beta2));
    RecordProperty(text("variance of the prediction, ", size), text(variance));
  }
}

// ---- Every file ----------------------------------------------------------------------------------------------------

// The test, below tests/, that reads each file of golden/unified/tables and the shared files of rows.
const std::map<std::string, std::string>& readers() {
  static const std::map<std::string, std::string> kReaders = {
      {"tables/elementary.json", "mim/unified_tables_test.cpp"},  // its optimiser: train/optimizer_test.cpp
      {"tables/first_iteration.json", "mim/unified_tables_test.cpp"},
      {"tables/hog.json", "mim/hog_test.cpp"},
      {"tables/hog.safetensors", "mim/hog_test.cpp"},
      {"tables/init.json", "nn/init_test.cpp"},
      {"tables/layer_decay.json", "train/param_groups_test.cpp"},
      {"tables/mask_maps.safetensors", "mim/mask_statistics_test.cpp"},
      {"tables/mask_replays.json", "mim/mask_draw_test.cpp"},
      {"tables/mask_statistics.json", "mim/mask_statistics_test.cpp"},
      {"tables/pixel_targets.json", "mim/pixels_test.cpp"},
      {"tables/pixel_targets.safetensors", "mim/pixels_test.cpp"},
      {"tables/relative_position.json", "nn/resize_test.cpp"},
      {"tables/relative_position.safetensors", "nn/resize_test.cpp"},
      {"tables/sampling.json", "mim/mask_test.cpp"},
      {"tables/schedules.json", "train/schedule_test.cpp"},
      {"rows/cases.json", "mim/unified_parity_test.cpp"},
      {"rows/inputs.safetensors", "support/unified_rows.h"},
      {"rows/weights.safetensors", "support/unified_rows.h"}};
  return kReaders;
}

std::string source_of_test(const std::string& name) {
  std::ifstream in(std::filesystem::path(LACUNA_SOURCE_DIR) / "tests" / name);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(UnifiedGoldens, EveryFileIsReadByATest) {
  LACUNA_NEEDS_SHARED("golden/unified/rows/cases.json");
  const std::string rows = source_of_test("mim/unified_parity_test.cpp");
  size_t found = 0;
  for (const char* folder : {"rows", "tables"}) {
    for (const auto& entry : std::filesystem::directory_iterator(golden_path(text("unified/", folder)))) {
      const std::string file = text(folder, "/", entry.path().filename().string());
      const auto reader = readers().find(file);
      if (reader != readers().end()) {
        EXPECT_NE(source_of_test(reader->second).find(file), std::string::npos)
            << file << " is not mentioned by " << reader->second;
        ++found;
      } else {  // a row
        EXPECT_NE(rows.find('"' + entry.path().stem().string() + '"'), std::string::npos) << "no test reads " << file;
      }
    }
  }
  EXPECT_EQ(found, readers().size()) << "a file that has a reader is not there";
}

}  // namespace
}  // namespace lacuna
