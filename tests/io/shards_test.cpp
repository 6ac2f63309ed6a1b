#include "io/tensor/shards.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "io/tensor/safetensors.h"
#include "support/temporary_folder.h"
#include "support/torch_bytes.h"

namespace lacuna {
namespace {

using Json = nlohmann::json;

class Shards : public ::testing::Test {
 protected:
  void SetUp() override {
    write("1.safetensors", {"a", "b"});
    write("2.safetensors", {"c"});
    index_ = {{"metadata", {{"total_size", 24}}},
              {"weight_map", {{"a", "1.safetensors"}, {"b", "1.safetensors"}, {"c", "2.safetensors"}}}};
  }

  void write(const char* name, const std::vector<std::string>& tensors) const {
    static const double kValue = 0.5;
    std::vector<TensorView> views;
    for (const std::string& tensor : tensors) views.push_back({tensor, DType::kF64, {1}, &kValue});
    write_safetensors(folder_ / name, views);
  }
  TensorFile open() const {
    write_json_atomic(folder_ / "model.safetensors.index.json", index_);
    return TensorFile(folder_ / "model.safetensors.index.json");
  }
  void expect_refused(const std::string& sentence) const {
    try {
      (void)open();
      ADD_FAILURE() << "opened; expected: " << sentence;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(sentence), std::string::npos)
          << "expected: " << sentence << "\nfound:    " << error.what();
    }
  }

  testing::TemporaryFolder folder_;
  Json index_;
};

TEST_F(Shards, AreOneFile) {
  const TensorFile file = open();
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(file.format(), "safetensors in shards");
  EXPECT_TRUE(file.notes().empty());
  double value = 0;
  std::memcpy(&value, file.at("c").data.data(), sizeof(value));
  EXPECT_EQ(value, 0.5);
}

TEST_F(Shards, OfTorchFilesAreReadAlike) {
  using testing::PickleMaker;
  const std::string pickle = PickleMaker().op("}").text("c").tensor(1, 0, {1}, {1}).op("s").done();
  write_file_atomic(folder_ / "2.bin", testing::torch_of(pickle, {{"0", std::string(4, '\0')}}));
  index_["weight_map"]["c"] = "2.bin";
  index_["metadata"]["total_size"] = 20;
  EXPECT_EQ(open().names(), (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(Shards, ATotalThatIsNotTheSumIsNoted) {
  index_["metadata"]["total_size"] = 25;
  ASSERT_EQ(open().notes().size(), 1u);
  EXPECT_EQ(open().notes()[0], "the index states a total_size of 25, but the tensors have 24 bytes");
  index_.erase("metadata");
  EXPECT_TRUE(open().notes().empty());
}

TEST_F(Shards, EveryBrokenRuleIsNamed) {
  const Json good = index_;
  const std::pair<Json, const char*> names[] = {
      {"../1.safetensors", "expected the name of a file beside the index"},
      {"/etc/passwd", "expected the name of a file beside the index"},
      {"sub/1.safetensors", "expected the name of a file beside the index"},
      {"..", "expected the name of a file beside the index"},
      {"a\\b", "expected the name of a file beside the index"},
      {"", "expected the name of a file beside the index"},
      {std::string("a\0b", 3), "expected the name of a file beside the index"},
      {std::string(300, 'n'), "expected the name of a file beside the index"},
      {"model.safetensors.index.json", "the name of a file beside the index"},
      {3, "'c': expected the name of a file, found 3"},
      {"9.safetensors", "the shard '9.safetensors' is missing"},
      {"1.safetensors", "expected the tensor 'c' in '1.safetensors'"}};
  for (const auto& [name, sentence] : names) {
    index_ = good;
    index_["weight_map"]["c"] = name;
    expect_refused(sentence);
  }
  index_ = good;
  index_["weight_map"].erase("b");
  expect_refused("'1.safetensors' holds 'b', which the index does not place there");
  for (const Json& odd :
       {Json::object(), Json::array(), Json{{"weight_map", 3}}, Json{{"weight_map", Json::object()}}}) {
    index_ = odd;
    expect_refused("expected an index of shards with a weight_map");
  }
  index_ = good;
  write("2.safetensors", {"c", "a"});
  expect_refused("'2.safetensors' holds 'a', which the index does not place there");
  write_file_atomic(folder_ / "2.safetensors", "nonsense");
  expect_refused("2.safetensors: ");
}

}  // namespace
}  // namespace lacuna
