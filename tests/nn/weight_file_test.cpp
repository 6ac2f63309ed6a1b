// Weights as people have them: containers, folders, wrappers.

#include "nn/weights/weight_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "nn/clip_towers.h"
#include "nn/dvae.h"
#include "nn/frozen_vit.h"
#include "nn/vqkd.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "support/torch_bytes.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

bool same_bytes(const TensorInfo& a, const TensorInfo& b) {
  return a.dtype == b.dtype && a.shape == b.shape && std::ranges::equal(a.data, b.data);
}

// Every tensor of `expected` is in `found`.
void expect_same_tensors(const TensorFile& found, const TensorFile& expected) {
  for (const std::string& name : expected.names()) {
    ASSERT_TRUE(found.has(name)) << name;
    EXPECT_TRUE(same_bytes(found.at(name), expected.at(name))) << name;
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

// ---- Official checkpoints -------------------------------------------------------------------------------------------

TEST(WeightFile, TheOfficialCaeCheckpointIsReadWholly) {
  LACUNA_NEEDS_SHARED("golden/cae/official_cae_checkpoint-1.pth");
  const fs::path path = golden_path("cae/official_cae_checkpoint-1.pth");
  const Json expected = read_json(golden_path("cae/official_cae.expected.json"));
  const TensorFile file = open_weights(path);
  EXPECT_EQ(file.names(), expected.at("model_keys_in_order").get<std::vector<std::string>>());
  EXPECT_TRUE(file.left_out().empty());
  ASSERT_EQ(file.notes().size(), 1u);
  EXPECT_EQ(file.notes()[0],
            "the tensors under 'model' were taken; also there: optimizer (name it with "
            "official_cae_checkpoint-1.pth#optimizer)");
  EXPECT_EQ(file.metadata().at("epoch"), "1");
  EXPECT_EQ(file.metadata().at("scaler.scale"), "65536");
  for (const auto& [key, value] : expected.at("args").items()) {
    const std::string& found = file.metadata().at("args." + key);
    if (value.is_array()) {
      EXPECT_EQ(found, text("(", value[0], ", ", value[1], ")")) << key;
    } else if (value.is_number()) {
      EXPECT_EQ(std::stod(found), value.get<double>()) << key;
    } else {
      EXPECT_EQ(found, value.is_string() ? value.get<std::string>() : value.dump()) << key;
    }
  }
  EXPECT_TRUE(open_weights(path.string() + "#optimizer").has("state.0.exp_avg"));
  EXPECT_TRUE(open_weights(path.string() + "#optimizer.state.1").has("exp_avg_sq"));
}

TEST(WeightFile, TheOfficialCaeCheckpointHoldsTheRecordedTensors) {
  LACUNA_NEEDS_SHARED("golden/cae/official_cae.expected.safetensors");
  const TensorFile file(golden_path("cae/official_cae_checkpoint-1.pth"));
  const TensorFile expected(golden_path("cae/official_cae.expected.safetensors"));
  const Json about = read_json(golden_path("cae/official_cae.expected.json"));
  std::map<std::string, std::string> places;  // of a parameter in the optimizer
  for (const auto& [index, name] : about.at("optimizer").at("index_to_name").items()) places[name] = index;
  for (const std::string& name : expected.names()) {
    std::string there = name;
    for (const std::string moment : {"exp_avg", "exp_avg_sq"}) {
      const std::string start = "optimizer." + moment + ".";
      if (name.starts_with(start)) there = text("optimizer.state.", places.at(name.substr(start.size())), ".", moment);
    }
    EXPECT_TRUE(same_bytes(file.at(there), expected.at(name))) << there;
  }
  for (const auto& [copy, original] : about.at("shared_storage").items())
    EXPECT_EQ(file.at("model." + copy).data.data(), file.at("model." + original.get<std::string>()).data.data())
        << copy;
}

// ---- Wrappers -------------------------------------------------------------------------------------------------------

class Wrapped : public ::testing::Test {
 protected:
  // A torch checkpoint of one number under each dotted name; every part but the last is a dictionary.
  fs::path torch(const std::vector<std::vector<std::string>>& names) const {
    PickleMaker maker;
    maker.op("}");
    for (const auto& path : names) {
      maker.text(path.front());
      for (size_t i = 1; i < path.size(); ++i) maker.op("}").text(path[i]);
      maker.tensor(1, 0, {1}, {1});
      for (size_t i = 0; i < path.size(); ++i) maker.op("s");
    }
    const fs::path file = folder_ / "file.pth";
    write_file_atomic(file, torch_of(maker.done(), {{"0", std::string(4, '\0')}}));
    return file;
  }
  fs::path safetensors(const std::vector<std::string>& names, const fs::path& name = "model.safetensors") const {
    static const float kValue = 0;
    std::vector<TensorView> views;
    for (const std::string& each : names) views.push_back({each, DType::kF32, {1}, &kValue});
    write_safetensors(folder_ / name, views);
    return folder_ / name;
  }
  static std::vector<std::string> names(const fs::path& path) { return open_weights(path).names(); }
  static std::string fault(const fs::path& path) {
    try {
      open_weights(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "opened";
  }

  TemporaryFolder folder_;
};

using Names = std::vector<std::string>;

TEST_F(Wrapped, WhatWrapsTheStateDictionaryIsTakenOffInAStatedOrder) {
  EXPECT_EQ(names(torch({{"w"}, {"b"}})), (Names{"w", "b"}));
  EXPECT_EQ(names(torch({{"state_dict", "w"}})), (Names{"w"}));
  EXPECT_EQ(names(torch({{"epoch"}, {"model", "w"}, {"optimizer", "m"}})), (Names{"w"}));
  EXPECT_EQ(names(torch({{"state_dict", "ema"}, {"model", "w"}})), (Names{"w"}));
  EXPECT_EQ(names(torch({{"model_ema", "w"}, {"state_dict", "v"}})), (Names{"v"}));
  EXPECT_EQ(names(torch({{"student", "w"}, {"teacher", "v"}})), (Names{"v"}));
  EXPECT_EQ(names(torch({{"state_dict", "model", "w"}})), (Names{"w"}));
  EXPECT_EQ(names(torch({{"layer1", "w"}, {"layer2", "w"}})), (Names{"layer1.w", "layer2.w"}));
  EXPECT_EQ(names(torch({{"model.w"}, {"model.b"}})), (Names{"model.w", "model.b"})) << "flat names, no dictionary";
  EXPECT_EQ(names(torch({{"model", "module.w"}, {"model_ema", "w"}})), (Names{"w"}));
  EXPECT_EQ(names(torch({{"module._orig_mod.w"}, {"module._orig_mod.b"}})), (Names{"w", "b"}));
  EXPECT_EQ(names(torch({{"_orig_mod.module.w"}})), (Names{"w"}));
  EXPECT_EQ(names(torch({{"module.w"}, {"other"}})), (Names{"module.w", "other"}));
  EXPECT_EQ(names(safetensors({"_orig_mod.w"})), (Names{"w"}));
  EXPECT_EQ(names(safetensors({"model.w"})), (Names{"model.w"}));
  EXPECT_EQ(open_weights(torch({{"model", "w"}, {"model_ema", "w"}, {"optimizer", "m"}})).notes(),
            (Names{"the tensors under 'model' were taken; also there: model_ema, optimizer (name it with "
                   "file.pth#model_ema)"}));
}

TEST_F(Wrapped, AKeyChoosesAnotherDictionary) {
  const std::string file = torch({{"model", "w"}, {"model_ema", "module.v"}, {"optimizer", "state", "m"}}).string();
  EXPECT_EQ(names(file + "#model_ema"), (Names{"v"}));
  EXPECT_EQ(names(file + "#optimizer"), (Names{"state.m"}));
  EXPECT_EQ(names(file + "#optimizer.state"), (Names{"m"}));
  EXPECT_EQ(names(safetensors({"model.student.w", "extra.w"}).string() + "#model.student"), (Names{"w"}));
  EXPECT_EQ(open_weights(file + "#model_ema").path(), file);
  EXPECT_NE(fault(file + "#ema").find("holds no tensors under 'ema'; there are model, model_ema, optimizer"),
            std::string::npos);
  fs::rename(file, folder_ / "odd#name.pth");
  EXPECT_EQ(names(folder_ / "odd#name.pth"), (Names{"w"}));
  EXPECT_EQ(names(folder_.path().string() + "/odd#name.pth#model_ema"), (Names{"v"}));
}

TEST_F(Wrapped, FoldersGiveTheFileThatClientsPrefer) {
  EXPECT_NE(fault(folder_).find("holds no weights"), std::string::npos);
  fs::rename(torch({{"any"}}), folder_ / "any.pth");
  EXPECT_EQ(names(folder_), (Names{"any"}));
  torch({{"other"}});
  EXPECT_NE(fault(folder_).find("holds 2 torch files and no pytorch_model.bin; name the file itself"),
            std::string::npos);
  fs::copy(folder_ / "any.pth", folder_ / "pytorch_model.bin");
  EXPECT_EQ(names(folder_), (Names{"any"}));
  safetensors({"shard"}, "part.safetensors");
  const Json index = {{"weight_map", {{"shard", "part.safetensors"}}}};
  write_json_atomic(folder_ / "model.safetensors.index.json", index);
  EXPECT_EQ(names(folder_), (Names{"shard"}));
  safetensors({"clip"}, "open_clip_pytorch_model.safetensors");
  EXPECT_EQ(names(folder_), (Names{"clip"}));
  safetensors({"whole"});
  EXPECT_EQ(names(folder_), (Names{"whole"}));
}

TEST_F(Wrapped, FilesWithoutTensorsAreRefused) {
  EXPECT_NE(fault(safetensors({})).find("holds no tensors that can be read"), std::string::npos);
  const std::string pickle = PickleMaker().op("}").text("net").global("a", "B").op(")\x81s").done();
  write_file_atomic(folder_ / "file.pth", torch_of(pickle, {}));
  EXPECT_NE(fault(folder_ / "file.pth").find("'net' is an object of the class a.B, which has no meaning here"),
            std::string::npos);
  EXPECT_NE(fault(folder_ / "absent").find("does not exist"), std::string::npos);
  EXPECT_NE(fault(folder_ / "absent#key").find("does not exist"), std::string::npos);
}

// ---- Networks from torch files --------------------------------------------------------------------------------------

TEST(WeightFile, NetworksOpenFromTorchFilesAsFromSafetensors) {
  LACUNA_NEEDS_SHARED("golden/models/clip_openai/quickgelu/torchscript.pt");
  const at::NoGradGuard no_grad;
  const at::Tensor image = torch::linspace(-1, 1, 3 * 32 * 32).view({1, 3, 32, 32});
  const auto path = [](const char* name) { return golden_path(text("models/", name)); };
  const at::Tensor dvae = open_dvae(path("dvae/h16_v64/encoder.safetensors"))->logits(image);
  for (const char* name : {"dvae/h16_v64/encoder.pkl", "dvae/h16_v64/encoder_state_dict.pth"})
    EXPECT_TRUE(open_dvae(path(name))->logits(image).equal(dvae)) << name;
  EXPECT_TRUE(open_vqkd(path("vqkd/vqkd.pth"))
                  .model->cosines(image)
                  .equal(open_vqkd(path("vqkd/vqkd.safetensors")).model->cosines(image)));
  const at::Tensor clip = open_frozen_vit(path("clip_openai/quickgelu/model.safetensors")).vit->encode(image);
  EXPECT_TRUE(open_frozen_vit(path("clip_openai/quickgelu/state_dict.pt")).vit->encode(image).equal(clip));
}

}  // namespace
}  // namespace lacuna
