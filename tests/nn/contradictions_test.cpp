// Configurations that contradict what is known of the weights: an error with the way out, or a note.

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "nn/frozen_vit.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

// A copy of a golden network under a name of our choice.
class Copy {
 public:
  Copy(const std::string& origin, const std::string& name) : origin_(golden_path("models/" + origin)) {
    place_ = folder_ / name;
    fs::create_directories(place_);
    for (const char* file : {"config.json", "preprocessor_config.json", "open_clip_config.json", "model.safetensors",
                             "open_clip_pytorch_model.safetensors"}) {
      if (fs::exists(origin_ / file)) write_file_atomic(place_ / file, read_file(origin_ / file, 64 << 20));
    }
  }
  void edit(const std::string& file, const std::function<void(Json&)>& change) {
    Json json = read_json(origin_ / file);
    change(json);
    write_json_atomic(place_ / file, json);
  }
  void add(const std::string& file, const std::string& name, const at::Tensor& value) {
    const TensorFile original(origin_ / file);
    NamedTensors tensors;
    for (const std::string& key : original.names()) tensors.emplace_back(key, to_tensor(original.at(key)));
    std::erase_if(tensors, [&](const auto& each) { return each.first == name; });
    if (value.defined()) tensors.emplace_back(name, value);
    std::vector<at::Tensor> keep;
    write_safetensors(place_ / file, to_views(tensors, keep));
  }
  void drop(const std::string& file, const std::string& name) { add(file, name, {}); }
  std::string fault() const {
    try {
      open_frozen_vit(place_);
    } catch (const Error& error) {
      return error.what();
    }
    return "opened";
  }
  std::string notes(const OpenAs& how = {}) const {
    std::string out;
    for (const std::string& note : open_frozen_vit(place_, how).notes) out += note + "\n";
    return out;
  }
  FrozenVit open(const OpenAs& how) const { return open_frozen_vit(place_, how); }

 private:
  TemporaryFolder folder_;
  fs::path origin_, place_;
};

void expect_in(const std::string& found, const std::string& part) {
  EXPECT_NE(found.find(part), std::string::npos) << "found: " << found << "\nexpected: " << part;
}

void say_gelu(Json& config) { config["vision_config"]["hidden_act"] = "gelu"; }

TEST(Contradictions, OfActivationAndOriginAreErrorsThatNameTheWayOut) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  Copy clip("clip_hf/quickgelu", "openai/clip-vit-base-patch16");
  EXPECT_EQ(clip.fault(), "opened");
  clip.edit("config.json", say_gelu);
  expect_in(clip.fault(), "the configuration says gelu, but it is named after OpenAI's CLIP");
  expect_in(clip.fault(), "objective.N.teacher.activation=gelu or quick_gelu");
  for (const Activation activation : {Activation::kGelu, Activation::kQuickGelu})
    EXPECT_EQ(clip.open({.activation = activation}).vit->config().activation, activation);
  expect_in(clip.notes({.activation = Activation::kQuickGelu}), "activation quick_gelu as asked for, not gelu");

  Copy other("clip_hf/quickgelu", "my/clip");
  other.edit("config.json", say_gelu);
  EXPECT_EQ(other.fault(), "opened");
  other.edit("config.json", [](Json& c) {
    say_gelu(c);
    c["_name_or_path"] = "openai/clip-vit-large-patch14";
  });
  expect_in(other.fault(), "it is named after OpenAI's CLIP");

  Copy laion("clip_hf/quickgelu", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K");
  expect_in(laion.fault(), "the configuration says quick_gelu, but it is named after a CLIP trained on LAION-2B");
}

TEST(Contradictions, OfOpenAisArchiveAreErrorsToo) {
  LACUNA_NEEDS_SHARED("golden/models/clip_openclip/gelu");
  const char* weights = "open_clip_pytorch_model.safetensors";
  Copy open_clip("clip_openclip/gelu", "a");
  open_clip.add(weights, "input_resolution", torch::tensor(32));
  EXPECT_EQ(open_clip.fault(), "opened");  // one number alone is no archive
  const TensorFile file(golden_path("models/clip_openclip/gelu") / weights);
  open_clip.add(weights, "visual.conv1.weight", to_tensor(file.at("visual.conv1.weight")).to(at::kHalf));
  expect_in(open_clip.notes(), "as OpenAI stores its CLIPs: if these are OpenAI's weights, quick_gelu is right");
}

TEST(Contradictions, OfTimmsOpenAiWeightsAreNotes) {
  LACUNA_NEEDS_SHARED("golden/models/timm/vit_plain/timm/config.json");
  Copy vit("timm/vit_plain/timm", "a");
  EXPECT_EQ(vit.notes(), "");
  vit.edit("config.json", [](Json& c) { c["pretrained_cfg"]["tag"] = "openai"; });
  expect_in(vit.notes(), "OpenAI trained these weights with quick_gelu; timm runs this architecture with gelu");
  vit.edit("config.json", [](Json& c) { c["num_classes"] = 1000; });
  expect_in(vit.notes(), "its configuration names 1000 classes, its head has 7");
}

TEST(Contradictions, OfSizesAreErrorsUnlessItsProgramResizesUnasked) {
  LACUNA_NEEDS_SHARED("golden/models/hf_teachers/dinov2/config.json");
  const auto other_size = [](Json& c) {
    c["crop_size"] = {{"height", 16}, {"width", 16}};
    c["size"] = {{"shortest_edge", 16}};
    c["do_center_crop"] = true;
  };
  Copy clip("clip_hf/quickgelu", "a");
  clip.edit("preprocessor_config.json", other_size);
  expect_in(clip.fault(), "its images are brought to 16 pixels, but the network takes 32");
  Copy dino("hf_teachers/dinov2", "a");
  dino.edit("preprocessor_config.json", [](Json& c) {
    c["crop_size"] = {{"height", 14}, {"width", 14}};
    c["size"] = {{"shortest_edge", 16}};
    c["do_center_crop"] = true;
  });
  expect_in(dino.notes(), "its processor makes images of 14 pixels and resizes the positions");
}

TEST(Contradictions, NetworksThatBorrowNamesAreRefused) {
  LACUNA_NEEDS_SHARED("golden/models/hf_teachers/dinov2/config.json");
  Copy dino("hf_teachers/dinov2", "a");
  dino.edit("config.json", [](Json& c) { c["model_type"] = "dinov9"; });
  expect_in(dino.fault(), "key 'model_type' is 'dinov9', which bears the names of DINOv2 (transformers)");
  Copy vit("timm/vit_plain/timm", "a");
  const auto architecture = [&](const char* name) {
    vit.edit("config.json", [&](Json& c) { c["architecture"] = name; });
    return vit.fault();
  };
  expect_in(architecture("vit_base_patch16_rope_224"), "is not read: its rotary positions differ from EVA-02's");
  expect_in(architecture("eva02_enormous_patch14_clip_224"), "is not read: its norms stand behind attention and MLP");
  expect_in(architecture("vit_base_patch16_dinov3"), "is not read: its rotary positions");
  vit.edit("config.json", [](Json& c) {
    c["architecture"] = "my_vit";
    c["model_args"].erase("num_heads");
  });
  expect_in(vit.fault(), "neither 'num_heads' nor the architecture 'my_vit' tells the number of heads");
}

TEST(Contradictions, ANetworkWithoutPositionsMustSayThatItHasNone) {
  LACUNA_NEEDS_SHARED("golden/models/timm/vit_plain/timm/model.safetensors");
  Copy vit("timm/vit_plain/timm", "a");
  vit.drop("model.safetensors", "pos_embed");
  expect_in(vit.fault(), "has no positions of any kind that are known");
  vit.edit("config.json", [](Json& c) { c["model_args"]["pos_embed"] = "none"; });
  EXPECT_EQ(vit.fault(), "opened");
}

TEST(Contradictions, LostPrecisionIsNoted) {
  LACUNA_NEEDS_SHARED("golden/models/timm/vit_plain/timm/model.safetensors");
  Copy vit("timm/vit_plain/timm", "a");
  vit.add("model.safetensors", "norm.bias", at::zeros({32}, at::kDouble));
  expect_in(vit.notes(), "the file holds float64 numbers, which are rounded to float32");
}

}  // namespace
}  // namespace lacuna
