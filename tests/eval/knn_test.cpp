#include "eval/knn.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "eval/toys.h"
#include "io/files.h"
#include "nn/layers.h"
#include "nn/weights/weights.h"
#include "support/shared.h"

namespace lacuna {
namespace {

using testing::clusters;
using testing::error_of;

constexpr std::array<std::int64_t, 4> kGoldenKs = {1, 5, 10, 20};

struct Golden {
  TensorFile file{testing::shared_folder() / "golden/eval/knn/knn.safetensors"};
  nlohmann::json json = read_json(testing::shared_folder() / "golden/eval/knn/knn.json");
  at::Tensor operator[](const std::string& key) const { return to_tensor(file.at(key)); }
  Features features(const std::string& side) const {
    return {.values = (*this)["input." + side + "_features"],
            .labels = (*this)["input." + side + "_labels"],
            .classes = testing::class_names(10)};
  }
};

class KnnGolden : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(KnnGolden, NeighborsVotesAndPredictionsAgree) {
  LACUNA_NEEDS_SHARED("golden/eval/knn/knn.safetensors");
  const Golden golden;
  const bool precise = GetParam() == at::kDouble;
  const at::Tensor train = unit_length(golden["input.train_features"].to(GetParam()));
  const at::Tensor test = unit_length(golden["input.test_features"].to(GetParam()));
  EXPECT_LT(
      testing::largest_difference(test.matmul(train.slice(0, 0, 5).t()), golden["output.similarity_first5_train"]),
      precise ? 1e-14 : 1e-6);
  for (const std::int64_t k : kGoldenKs) {
    const std::string prefix = text("k", k, ".");
    const Neighbors found = nearest_rows(train, test, k);
    EXPECT_TRUE(found.index.equal(golden[prefix + "neighbors"])) << prefix;
    EXPECT_LT(testing::largest_difference(found.similarity, golden[prefix + "similarity"]), precise ? 1e-14 : 1e-6)
        << prefix;
    const at::Tensor votes = class_votes(found, golden["input.train_labels"], 10, 0.07);
    const at::Tensor scores = votes * (found.similarity.narrow(1, 0, 1).to(at::kDouble) / 0.07).exp();
    const at::Tensor expected = golden[prefix + "scores"];
    EXPECT_TRUE(at::allclose(scores, expected, precise ? 1e-13 : 2e-5, 0)) << prefix;
    EXPECT_TRUE(votes.argmax(1).equal(golden[prefix + "prediction"])) << prefix;
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, KnnGolden, ::testing::Values(at::kDouble, at::kFloat));

TEST(Knn, AccuraciesAreThoseOfTheReferenceForEveryK) {
  LACUNA_NEEDS_SHARED("golden/eval/knn/knn.json");
  const Golden golden;
  const Features train = golden.features("train"), val = golden.features("test");
  for (const std::int64_t chunk_bytes : {std::int64_t{1}, std::int64_t{7 * 300 * 4}, std::int64_t{1} << 28}) {
    const std::vector<Accuracy> found = knn_accuracies(train, val, kGoldenKs, {.chunk_bytes = chunk_bytes});
    ASSERT_EQ(found.size(), kGoldenKs.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const nlohmann::json& expected = golden.json["k"][std::to_string(kGoldenKs[i])];
      EXPECT_DOUBLE_EQ(found[i].top1, expected["top1"].get<double>()) << kGoldenKs[i];
      EXPECT_DOUBLE_EQ(found[i].top5, expected["top5_reference_run"].get<double>()) << kGoldenKs[i];
      EXPECT_EQ(found[i].samples, 100);
    }
  }
  EXPECT_DOUBLE_EQ(knn_accuracy(train, val, {.k = 20}).top1, 71.0);
}

at::Tensor matrix(const nlohmann::json& rows, at::ScalarType dtype) {
  std::vector<at::Tensor> out;
  for (const auto& row : rows) out.push_back(torch::tensor(row.get<std::vector<double>>(), at::kDouble));
  return at::stack(out).to(dtype);
}

TEST(Knn, TiesFollowTheConvention) {
  LACUNA_NEEDS_SHARED("golden/eval/knn/knn_ties.json");
  const nlohmann::json golden = read_json(testing::shared_folder() / "golden/eval/knn/knn_ties.json");
  ASSERT_EQ(golden["cases"].size(), 7u);
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    for (const nlohmann::json& one : golden["cases"]) {
      SCOPED_TRACE(text(one["name"].get<std::string>(), " ", at::toString(dtype)));
      const at::Tensor train = unit_length(matrix(one["train_features"], dtype));
      const at::Tensor query = unit_length(matrix(nlohmann::json::array({one["test_feature"]}), dtype));
      const Neighbors found = nearest_rows(train, query, one["k"].get<std::int64_t>());
      EXPECT_TRUE(found.index[0].equal(torch::tensor(one["neighbors_by_convention"].get<std::vector<std::int64_t>>())));
      const at::Tensor labels = torch::tensor(one["train_labels"].get<std::vector<std::int64_t>>());
      const at::Tensor votes = class_votes(found, labels, one["num_classes"].get<std::int64_t>(), 0.07);
      const at::Tensor scores = votes[0] * (found.similarity[0][0].to(at::kDouble) / 0.07).exp();
      const at::Tensor expected = torch::tensor(one["scores_by_convention"].get<std::vector<double>>(), at::kDouble);
      EXPECT_TRUE(at::allclose(scores, expected, dtype == at::kDouble ? 1e-12 : 2e-5, 0));
      const auto prediction = one["prediction_by_convention"].get<std::int64_t>();
      EXPECT_EQ(places_of(votes, torch::tensor({prediction})).item<std::int64_t>(), 0);
    }
  }
}

TEST(Knn, OfManyEqualRowsTheFirstStay) {
  const at::Tensor train = unit_length(at::ones({50, 4}));
  const Neighbors found = nearest_rows(train, unit_length(at::ones({3, 4})), 7);
  for (std::int64_t row = 0; row < 3; ++row) EXPECT_TRUE(found.index[row].equal(at::arange(7)));
}

TEST(Knn, TinyTemperaturesNeitherOverflowNorMoveTheOrder) {
  const Features train = clusters(300, 5, 16, 1.5, 0), val = clusters(100, 5, 16, 1.5, 1);
  // At a vanishing temperature the nearest neighbour decides.
  EXPECT_DOUBLE_EQ(knn_accuracy(train, val, {.k = 20, .temperature = 1e-5}).top1,
                   knn_accuracy(train, val, {.k = 1}).top1);
  const Neighbors found = nearest_rows(unit_length(train.values), unit_length(val.values), 20);
  const at::Tensor votes = class_votes(found, train.labels, 5, 1e-6);
  EXPECT_TRUE(at::isfinite(votes).all().item<bool>());
  EXPECT_GE(votes.amax(1).min().item<double>(), 1.0);
}

TEST(Knn, SeparableClassesAreAllFound) {
  const Accuracy found = knn_accuracy(clusters(200, 10, 32, 0.05, 0), clusters(100, 10, 32, 0.05, 1), {});
  EXPECT_EQ(found.top1, 100.0);
  EXPECT_EQ(found.top5, 100.0);
  EXPECT_EQ(found.samples, 100);
}

TEST(Knn, FeaturesWithoutInformationGiveChance) {
  const Accuracy found = knn_accuracy(clusters(2000, 10, 16, 1e4, 0), clusters(1000, 10, 16, 1e4, 1), {});
  EXPECT_NEAR(found.top1, 10.0, 4.0);  // four sigma
  EXPECT_NEAR(found.top5, 50.0, 7.0);
}

TEST(Knn, FewerThanFiveClassesMakeTop5Certain) {
  EXPECT_EQ(knn_accuracy(clusters(60, 3, 8, 9.0, 0), clusters(30, 3, 8, 9.0, 1), {}).top5, 100.0);
}

TEST(Knn, MistakesAreSaidInWords) {
  const Features train = clusters(10, 2, 4, 1, 0), val = clusters(6, 2, 4, 1, 1);
  EXPECT_EQ(error_of([&] { knn_accuracy(train, val, {.k = 20}); }),
            "knn.k is 20, but the training data have only 10 samples; choose a smaller k or more data");
  EXPECT_NE(error_of([&] { knn_accuracy(train, val, {.k = 0}); }).find("at least 1"), std::string::npos);
  EXPECT_NE(error_of([&] { knn_accuracy(train, val, {.k = 2, .temperature = 0}); }).find("knn.temperature"),
            std::string::npos);
  Features unlabelled = val;
  unlabelled.labels = val.labels.clone();
  unlabelled.labels[2] = kNoLabel;
  EXPECT_EQ(error_of([&] { knn_accuracy(train, unlabelled, {.k = 2}); }),
            "validation data: 1 of 6 samples have no label among the 2 classes; evaluation needs one for each");
  EXPECT_NE(error_of([&] { knn_accuracy(train, clusters(6, 2, 5, 1, 1), {.k = 2}); }).find("width 4"),
            std::string::npos);
}

TEST(Places, EqualScoresAreOrderedByClassAndNoNumberIsLast) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor scores =
      torch::tensor({{1.0, 2.0, 2.0, 0.0}, {1.0, 2.0, 2.0, 0.0}, {nan, nan, nan, nan}, {0.0, 0.0, 0.0, 0.0}});
  const at::Tensor places = places_of(scores, torch::tensor(std::vector<std::int64_t>{2, 1, 0, 3}));
  EXPECT_EQ(places[0].item<std::int64_t>(), 1);
  EXPECT_EQ(places[1].item<std::int64_t>(), 0);
  EXPECT_GT(places[2].item<std::int64_t>(), 1000);
  EXPECT_EQ(places[3].item<std::int64_t>(), 3);
  const Accuracy accuracy = accuracy_of(places);
  EXPECT_DOUBLE_EQ(accuracy.top1, 25.0);
  EXPECT_DOUBLE_EQ(accuracy.top5, 75.0);
}

}  // namespace
}  // namespace lacuna
