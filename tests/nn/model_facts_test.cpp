// What looking into weights finds out, and that nothing readable makes it throw.

#include "nn/weights/model_facts.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/backbone.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

std::vector<std::string> open_uses(const ModelFacts& facts) {
  std::vector<std::string> out;
  for (const ModelUse& use : facts.uses) {
    if (use.why_not.empty()) out.push_back(use.name);
  }
  return out;
}

TEST(ModelFacts, NameTheFamilyAndWhatTheWeightsAreGoodFor) {
  LACUNA_NEEDS_SHARED("golden/models");
  using Uses = std::vector<std::string>;
  const ModelFacts vit = look_into(golden_path("models/timm/vit_plain/timm"));
  EXPECT_EQ(vit.family, "ViT or BEiT (timm)");
  EXPECT_EQ(open_uses(vit), (Uses{"teacher (kind=vit)", "classifier"}));
  ASSERT_TRUE(vit.vit);
  EXPECT_EQ(vit.vit->heads, 4);
  EXPECT_EQ(vit.dtypes, (std::map<std::string, int64_t>{{"F32", vit.tensors}}));
  ASSERT_EQ(vit.unneeded.size(), 2u);  // the head's weight and bias
  EXPECT_EQ(vit.unneeded[0], (std::pair<std::string, std::string>{"head.bias", "classification head"}));
  EXPECT_EQ(vit.parameters + 7 * 32 + 7, vit.elements);

  const ModelFacts clip = look_into(golden_path("models/clip_openclip/gelu"));
  EXPECT_EQ(clip.family, "CLIP (OpenAI, OpenCLIP)");
  EXPECT_EQ(clip.projected, 40);
  EXPECT_EQ(open_uses(clip).back(), "image-text model (both towers)");
  EXPECT_EQ(open_uses(look_into(golden_path("models/vqkd/vqkd.safetensors"))),
            Uses{"tokenizer of BEiT v2 (teacher kind=vqkd)"});
  EXPECT_EQ(look_into(golden_path("models/dvae/h16_v64/encoder.safetensors")).family, "DALL-E's dVAE");
}

TEST(ModelFacts, SayWhyWeightsDoNotOpen) {
  LACUNA_NEEDS_SHARED("golden/models/timm/vit_plain/timm/config.json");
  const TemporaryFolder folder;
  const fs::path origin = golden_path("models/timm/vit_plain/timm");
  fs::copy(origin, folder.path(), fs::copy_options::overwrite_existing | fs::copy_options::recursive);
  Json config = read_json(origin / "config.json");
  config["model_args"]["depth"] = 3;
  write_json_atomic(folder / "config.json", config);
  const ModelFacts facts = look_into(folder.path());
  EXPECT_EQ(facts.family, "ViT or BEiT (timm)");
  ASSERT_EQ(facts.uses.size(), 1u);
  EXPECT_NE(facts.uses[0].why_not.find("key 'depth' is 3, but the tensors say 2"), std::string::npos);
  EXPECT_FALSE(facts.vit);
}

TEST(ModelFacts, OfOurOwnExport) {
  const TemporaryFolder folder;
  const VitConfig config{.image_side = 32, .patch_side = 8, .width = 32, .depth = 2, .heads = 4, .hidden = 64};
  const Backbone original = random_like({.config = {.vit = config}, .vit = nullptr, .origin = ""}, 3);
  write_backbone(folder.path(), original.vit, original.config);
  const ModelFacts facts = look_into(folder.path());
  EXPECT_EQ(facts.family, "lacuna");
  EXPECT_EQ(facts.parameters, facts.elements);
  EXPECT_EQ(open_uses(facts).size(), 2u);
}

}  // namespace
}  // namespace lacuna
