// CLIP's two towers from OpenAI's names against golden/maskclip: every intermediate, the loss and all gradients, and
// the vision tower at other image sizes.

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "nn/frozen_vit.h"
#include "nn/vit_resize.h"
#include "support/maskclip_model.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

using namespace testing;            // NOLINT
using namespace testing::maskclip;  // NOLINT

constexpr double kLimit = 1e-10;  // relative to max(1, norm)

// The whole of OpenAI's layout, by the names of the product's parts.
KeyMap openai_names(int64_t vision_depth, int64_t text_depth) {
  KeyMap map;
  map.rules.push_back({{"vit.cls_token"}, {"visual.class_embedding"}, {-1}});
  map.rules.push_back({{"vit.pos_embed"}, {"visual.positional_embedding"}, {-1, 48}});
  map.rules.push_back({{"vit.patch_embed.weight"}, {"visual.conv1.weight"}, {-1, 3, 16, 16}});
  map.add("vit.norm_pre", "visual.ln_pre");
  add_clip_blocks(map, vision_depth, "vit.blocks", "visual.transformer.resblocks");
  map.add("vit.norm", "visual.ln_post");
  map.rules.push_back({{"projection.weight"}, {"visual.proj"}, {}, /*transposed=*/true});
  map.rules.push_back({{"text.token_embedding"}, {"token_embedding.weight"}});
  map.rules.push_back({{"text.pos_embed"}, {"positional_embedding"}});
  add_clip_blocks(map, text_depth, "text.blocks", "transformer.resblocks");
  map.add("text.norm", "ln_final");
  map.rules.push_back({{"text_projection.weight"}, {"text_projection"}, {}, /*transposed=*/true});
  map.rules.push_back({{"logit_scale"}, {"logit_scale"}});
  return map;
}

class OpenAiTowers : public ::testing::Test {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/maskclip/clip_openai_micro.safetensors");
    file_ = std::make_unique<TensorFile>(golden_path("maskclip/clip_openai_micro.safetensors"));
    json_ = golden_json("maskclip/clip_openai_micro.json");
    write_checkpoint();
    const Json& c = json_.at("config");
    TextConfig t;
    t.vocabulary = c.at("vocab");
    t.context = c.at("context");
    t.width = c.at("text_width");
    t.depth = c.at("text_layers");
    t.heads = c.at("text_heads");
    t.hidden = 4 * t.width;
    t.end_id = c.at("eot");
    text_ = TextTower(t);
    text_projection_ = Linear(t.width, c.at("embed_dim").get<int64_t>(), false);
    scale_ = at::zeros({}, at::kDouble).requires_grad_(true);
    vision_ = open_frozen_vit(checkpoint_);
    for (torch::nn::Module* module : modules()) module->to(at::kDouble);
    fill();
  }

  at::Tensor at(const std::string& key) const { return stored(*file_, key); }
  std::vector<torch::nn::Module*> modules() {
    return {vision_.vit.get(), vision_.projection.get(), text_.get(), text_projection_.get()};
  }

  // A file as OpenAI's, and what shapes cannot tell beside it.
  void write_checkpoint() {
    NamedTensors tensors;
    for (const std::string& key : file_->names()) {
      if (key.starts_with("weight.")) tensors.emplace_back(key.substr(7), at(key));
    }
    checkpoint_ = folder_ / "openai";
    std::filesystem::create_directories(checkpoint_);
    std::vector<at::Tensor> keep;
    write_safetensors(checkpoint_ / "model.safetensors", to_views(tensors, keep));
    const Json& c = json_.at("config");
    write_json_atomic(checkpoint_ / "open_clip_config.json",
                      {{"model_cfg",
                        {{"embed_dim", c.at("embed_dim")},
                         {"quick_gelu", true},
                         {"vision_cfg",
                          {{"image_size", c.at("image_size")},
                           {"layers", c.at("vision_layers")},
                           {"width", c.at("vision_width")},
                           {"head_width", c.at("vision_width").get<int64_t>() / c.at("vision_heads").get<int64_t>()},
                           {"patch_size", c.at("patch_size")}}},
                         {"text_cfg",
                          {{"context_length", c.at("context")},
                           {"vocab_size", c.at("vocab")},
                           {"width", c.at("text_width")},
                           {"heads", c.at("text_heads")},
                           {"layers", c.at("text_layers")}}}}}});
  }

  NamedTensors parameters() const {
    NamedTensors out = named_tensors(*vision_.vit, "vit.");
    for (auto& item : named_tensors(*vision_.projection, "projection.")) out.push_back(item);
    for (auto& item : named_tensors(*text_, "text.")) out.push_back(item);
    for (auto& item : named_tensors(*text_projection_, "text_projection.")) out.push_back(item);
    out.emplace_back("logit_scale", scale_);
    return out;
  }

  KeyMap names() const {
    return openai_names(json_.at("config").at("vision_layers"), json_.at("config").at("text_layers"));
  }

  // The text side, which no loader of a frozen vision tower reads; the vision side must agree with what it read.
  void fill() {
    const NamedTensors read = parameters();
    std::vector<at::Tensor> before;
    for (const auto& [name, tensor] : read) before.push_back(tensor.detach().clone());
    import_weights(TensorFile(checkpoint_ / "model.safetensors"), names(), read);
    for (size_t i = 0; i < read.size(); ++i) {
      if (!read[i].first.starts_with("text") && read[i].first != "logit_scale") {
        EXPECT_TRUE(before[i].equal(read[i].second)) << read[i].first;
      }
    }
  }

  void expect(const std::string& key, const at::Tensor& found) {
    const at::Tensor expected = at("output." + key);
    ledger_.expect("outputs, relative", key,
                   deviation(found, expected) / std::max(1.0, at::linalg_vector_norm(expected).item<double>()), kLimit);
    compared_.insert("output." + key);
  }

  at::Tensor features(Vit vit, const std::string& images) {
    return vision_.projection(vit->encode(at("input." + images).to(at::kDouble)).select(1, 0));
  }

  TemporaryFolder folder_;
  std::filesystem::path checkpoint_;
  std::unique_ptr<TensorFile> file_;
  Json json_;
  FrozenVit vision_;
  TextTower text_{nullptr};
  Linear text_projection_{nullptr};
  at::Tensor scale_;
  std::set<std::string> compared_;
  Ledger ledger_;
};

TEST_F(OpenAiTowers, EveryOutputAndEveryGradientAgrees) {
  const auto unit = [](const at::Tensor& x) { return x / at::linalg_vector_norm(x, 2, -1, true); };
  const at::Tensor last = vision_.vit->run_blocks(
      at("input.image").to(at::kDouble), {}, nullptr, [&](int64_t block, const at::Tensor& tokens) {
        expect(block < 0 ? "image.ln_pre" : text("image.block", block), tokens);
      });
  const at::Tensor tokens = vision_.vit->norm(last), projected = vision_.projection(tokens);
  expect("image.tokens_post_ln", tokens);
  expect("image.tokens_proj", projected);
  const at::Tensor image = projected.select(1, 0);
  expect("image.features", image);
  expect("image.embed", unit(image));

  const at::Tensor ids = at("input.ids"), end = text_->end_places(ids);
  at::Tensor x = text_->embed(ids);
  expect("text.embedded", x);
  expect("text.tokens", text_->encode(x, end));
  int64_t i = 0;
  for (const auto& block : *text_->blocks) expect(text("text.block", i++), x = block->as<BlockImpl>()->forward(x));
  const at::Tensor caption = text_projection_(text_->forward(ids));
  expect("text.features", caption);
  expect("text.embed", unit(caption));
  expect("logits_per_image", scale_.exp() * at::matmul(unit(image), unit(caption).t()));

  const ContrastLosses both = contrastive_losses(image, caption, scale_);
  const at::Tensor loss = (both.image + both.text) / 2;
  expect("L_I", both.image);
  expect("L_T", both.text);
  expect("clip_loss", loss);
  loss.backward();
  NamedTensors gradients;
  for (const auto& [name, parameter] : parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    gradients.emplace_back(name, parameter.grad());
  }
  const NamedTensors found = export_weights(gradients, names());
  EXPECT_EQ(found.size(), json_.at("grad").size());
  for (const auto& [name, gradient] : found) {
    ASSERT_TRUE(json_.at("grad").contains(name)) << name;
    const Json& wanted = json_.at("grad").at(name);
    const auto mine = maskclip_checksum(gradient);
    for (size_t k = 0; k < 3; ++k)
      ledger_.expect("gradients' checksums, relative", text(name, "[", k, "]"),
                     std::abs(mine[k] - wanted[k].get<double>()) / std::max(1.0, wanted[0].get<double>()), kLimit);
    if (!file_->has("grad." + name)) continue;
    const at::Tensor expected = at("grad." + name);
    ledger_.expect("gradients, relative", name,
                   deviation(gradient, expected) / std::max(1.0, at::linalg_vector_norm(expected).item<double>()),
                   kLimit);
    compared_.insert("grad." + name);
  }

  const std::pair<const char*, PositionResize> ways[] = {{"antialias", PositionResize::kAntialiased},
                                                         {"plain", PositionResize::kBySize}};
  for (const int64_t side : {96, 48}) {
    for (const auto& [name, how] : ways) {
      Vit other = resized(vision_.vit, side, how);
      const std::string key = text("resize", side, ".", name, ".");
      expect(key + "pos", other->pos_embed[0]);
      expect(key + "image_features", features(other, text("image", side)));
    }
  }
  for (const std::string& key : file_->names()) {
    EXPECT_TRUE(compared_.contains(key) || key.starts_with("weight.") || key.starts_with("input.")) << key;
  }
}

}  // namespace
}  // namespace lacuna
