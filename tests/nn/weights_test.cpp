#include "nn/weights/weights.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

class Weights : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(::testing::TempDir()) /
            text("weights-", ::testing::UnitTest::GetInstance()->current_test_info()->name(), ".safetensors");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void write(const NamedTensors& tensors) const {
    std::vector<at::Tensor> keep;
    write_safetensors(path_, to_views(tensors, keep));
  }
  // The message of the import, without the path; empty when it went well.
  std::string import(const KeyMap& map, const NamedTensors& destination) const {
    try {
      import_weights(TensorFile(path_), map, destination);
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_TRUE(message.starts_with(path_.string() + ": ")) << message;
      return message.substr(path_.string().size() + 2);
    }
    return "";
  }
  std::filesystem::path path_;
};

KeyMap joined_map() {
  KeyMap map;
  map.rules = {{{"qkv"}, {"q", "k", "v"}}, {{"flat"}, {"conv"}, {2, -1, 2, 2}}, {{"q_bias", "0", "v_bias"}, {"bias"}}};
  map.add("norm", "layernorm");
  map.unneeded = {{"old.", "of another program"}};
  return map;
}

NamedTensors theirs() {
  return {{"q", unit_tensor("q", {2, 3})},           {"k", unit_tensor("k", {2, 3})},
          {"v", unit_tensor("v", {2, 3})},           {"conv", unit_tensor("conv", {2, 3, 2, 2})},
          {"bias", unit_tensor("bias", {6})},        {"layernorm.weight", unit_tensor("w", {2})},
          {"layernorm.bias", unit_tensor("b", {2})}, {"old.table", at::arange(3)}};
}

NamedTensors empty_ours() {
  const auto none = [](at::IntArrayRef sizes) { return at::full(sizes, NAN, at::kDouble); };
  return {{"qkv", none({6, 3})}, {"flat", none({2, 12})},    {"q_bias", none({2})},
          {"v_bias", none({2})}, {"norm.weight", none({2})}, {"norm.bias", none({2})}};
}

NamedTensors without(NamedTensors tensors, const std::string& name) {
  std::erase_if(tensors, [&](const auto& t) { return t.first == name; });
  return tensors;
}

NamedTensors with(NamedTensors tensors, const std::string& name, const at::Tensor& value) {
  tensors = without(tensors, name);
  tensors.emplace_back(name, value);
  return tensors;
}

TEST_F(Weights, JoinsCutsAndFlattensAsTheTableSays) {
  write(theirs());
  const NamedTensors ours = empty_ours();
  ASSERT_EQ(import(joined_map(), ours), "");
  const auto mine = [&](const char* name) { return *find(ours, name); };
  const NamedTensors file = theirs();
  const auto other = [&](const char* name) { return *find(file, name); };
  EXPECT_TRUE(mine("qkv").equal(at::cat({other("q"), other("k"), other("v")})));
  EXPECT_TRUE(mine("flat").equal(other("conv").flatten(1)));
  EXPECT_TRUE(mine("q_bias").equal(other("bias").slice(0, 0, 2)));
  EXPECT_TRUE(mine("v_bias").equal(other("bias").slice(0, 4, 6)));
  EXPECT_TRUE(mine("norm.weight").equal(other("layernorm.weight")));
}

TEST_F(Weights, ExportIsTheInverseWithZerosForWhatWeLack) {
  write(theirs());
  const NamedTensors ours = empty_ours();
  ASSERT_EQ(import(joined_map(), ours), "");
  NamedTensors back = export_weights(ours, joined_map());
  const NamedTensors wanted = without(theirs(), "old.table");
  ASSERT_EQ(back.size(), wanted.size());
  for (const auto& [name, tensor] : wanted) {
    const at::Tensor* found = find(back, name);
    ASSERT_NE(found, nullptr) << name;
    at::Tensor expected = tensor.clone();
    if (name == "bias") expected.slice(0, 2, 4).zero_();
    EXPECT_TRUE(found->equal(expected)) << name;
  }
}

TEST_F(Weights, EachFaultIsNamed) {
  struct Fault {
    NamedTensors file;
    std::string message;
  };
  const Fault faults[] = {
      {without(theirs(), "k"), "1 tensors of the model are not in the file: qkv (there: k)"},
      {with(without(theirs(), "k"), "key", at::zeros({2, 3})),
       "1 tensors of the model are not in the file: qkv (there: k); the file has instead: key"},
      {with(theirs(), "extra", at::zeros({1})), "1 tensors of the file have no place in the model: extra"},
      {with(theirs(), "k", at::zeros({3, 2})),
       "tensor 'k' has shape [3,2], but the model built from the configuration needs [2,3]"},
      {with(theirs(), "conv", at::zeros({2, 12})),
       "tensor 'conv' has shape [2,12], but the model built from the configuration needs [2,3,2,2]"},
      {with(theirs(), "conv", at::zeros({2, 2, 2, 3})),
       "tensor 'conv' has shape [2,2,2,3], but the model built from the configuration needs [2,3,2,2]"},
      {with(theirs(), "bias", at::zeros({4})),
       "tensor 'bias' has shape [4], but the model built from the configuration needs [6]"},
      {with(theirs(), "bias", at::zeros({})),
       "tensor 'bias' has shape [], but the model built from the configuration needs [6]"},
      {with(theirs(), "layernorm.bias", at::zeros({2}, at::kLong)),
       "tensor 'layernorm.bias' holds integers, but weights are floating-point numbers"}};
  for (const Fault& fault : faults) {
    write(fault.file);
    EXPECT_EQ(import(joined_map(), empty_ours()), fault.message);
  }
}

TEST_F(Weights, APartThatOursDoesNotHaveMayBeThereOrNot) {
  write(theirs());
  EXPECT_EQ(import(joined_map(), without(empty_ours(), "norm.bias")), "");
  write(without(theirs(), "layernorm.bias"));
  EXPECT_EQ(import(joined_map(), without(empty_ours(), "norm.bias")), "");
}

TEST_F(Weights, HalvesAreWidened) {
  NamedTensors halves;
  for (const auto& [name, tensor] : theirs())
    halves.emplace_back(name, name == "old.table" ? tensor : tensor.to(at::kHalf));
  write(halves);
  const NamedTensors ours = empty_ours();
  ASSERT_EQ(import(joined_map(), ours), "");
  EXPECT_TRUE(find(ours, "norm.bias")->equal(find(halves, "layernorm.bias")->to(at::kDouble)));
}

}  // namespace
}  // namespace lacuna
