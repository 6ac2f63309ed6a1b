// Weights as people have them: containers, folders, wrappers.

#include "nn/weight_file.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "nn/clip_towers.h"
#include "nn/dvae.h"
#include "nn/frozen_vit.h"
#include "nn/vqkd.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

// Every tensor of `expected` is in `found`: same type, shape and bytes.
void expect_same_tensors(const TensorFile& found, const TensorFile& expected) {
  for (const std::string& name : expected.names()) {
    ASSERT_TRUE(found.has(name)) << name;
    const TensorInfo &mine = found.at(name), &wanted = expected.at(name);
    EXPECT_EQ(mine.dtype, wanted.dtype) << name;
    EXPECT_EQ(mine.shape, wanted.shape) << name;
    EXPECT_TRUE(std::ranges::equal(mine.data, wanted.data)) << name;
  }
}

TEST(WeightFile, TorchFilesHoldTheBitsOfTheSafetensorsFileBesideThem) {
  LACUNA_NEEDS_SHARED("golden/models/clip_openai/quickgelu");
  const std::pair<const char*, const char*> twins[] = {
      {"clip_openai/quickgelu/state_dict.pt", "clip_openai/quickgelu/model.safetensors"},
      {"clip_openai/quickgelu/torchscript.pt", "clip_openai/quickgelu/model.safetensors"},
      {"dvae/h16_v64/encoder_state_dict.pth", "dvae/h16_v64/encoder.safetensors"},
      {"dvae/h16_v64/encoder.pkl", "dvae/h16_v64/encoder.safetensors"},
      {"vqkd/vqkd.pth", "vqkd/vqkd.safetensors"}};
  for (const auto& [torch, safetensors] : twins) {
    SCOPED_TRACE(torch);
    const TensorFile found = open_weights(golden_path(text("models/", torch)));
    const TensorFile expected(golden_path(text("models/", safetensors)));
    expect_same_tensors(found, expected);
    std::set<std::string> more(found.names().begin(), found.names().end());
    for (const std::string& name : expected.names()) more.erase(name);
    const bool script = found.format() == "TorchScript";
    EXPECT_EQ(more, script ? std::set<std::string>({"context_length", "input_resolution", "vocab_size"})
                           : std::set<std::string>{});
    EXPECT_TRUE(found.left_out().empty());
  }
}

}  // namespace
}  // namespace lacuna
