// The tokenizers of the unified table's rows beit and beit2 (golden/unified), and files that are none.

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/dvae.h"
#include "nn/vqkd.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

// The tensors of rows/weights.safetensors whose names start with `prefix`, without it, as a file of their own.
void write_part(const std::string& prefix, const std::filesystem::path& target) {
  const TensorFile all(golden_path("unified/rows/weights.safetensors"));
  NamedTensors part;
  for (const std::string& name : all.names()) {
    if (name.starts_with(prefix)) part.emplace_back(name.substr(prefix.size()), to_tensor(all.at(name)));
  }
  std::vector<at::Tensor> keep;
  write_safetensors(target, to_views(part, keep));
}

// What the row stores at its hidden patches, picked from ids of all patches.
void expect_targets(const at::Tensor& ids, const TensorFile& row) {
  EXPECT_TRUE(
      ids.masked_select(to_tensor(row.at("input.mask")).to(at::kBool)).equal(to_tensor(row.at("teacher.target"))));
}

at::Tensor unified_input(const char* name) {
  return to_tensor(TensorFile(golden_path("unified/rows/inputs.safetensors")).at(name));
}

TEST(Dvae, GivesTheTokensOfTheRowBeit) {
  LACUNA_NEEDS_SHARED("golden/unified/rows/beit.safetensors");
  const at::NoGradGuard no_grad;
  const TemporaryFolder folder;
  write_part("dvae.", folder / "encoder.safetensors");
  const TensorFile row(golden_path("unified/rows/beit.safetensors"));
  DvaeEncoder encoder = open_dvae(folder);
  EXPECT_EQ(encoder->config().blocks_per_group, 1);
  EXPECT_EQ(encoder->config().groups, 4);
  EXPECT_EQ(encoder->config().vocabulary, 32);
  expect_targets(encoder->ids(unified_input("dvae_image01")), row);

  encoder->to(at::kDouble);
  const at::Tensor logits = encoder->logits(unified_input("dvae_image01").to(at::kDouble));  // [B,K,G,G]
  Ledger ledger;
  ledger.expect_close("logits", "beit", logits.flatten(2).transpose(1, 2), to_tensor(row.at("teacher.raw")), 1e-12);
}

TEST(Vqkd, GivesTheTokensOfTheRowBeit2) {
  LACUNA_NEEDS_SHARED("golden/unified/rows/beit2.safetensors");
  const at::NoGradGuard no_grad;
  const TemporaryFolder folder;
  write_part("vqkd.", folder / "model.safetensors");
  write_json_atomic(folder / "config.json", {{"encoder", {{"num_heads", 2}}}});
  const TensorFile row(golden_path("unified/rows/beit2.safetensors"));
  Vqkd tokenizer = open_vqkd(folder).model;
  EXPECT_EQ(tokenizer->codes(), 32);
  const at::Tensor images = VqkdImpl::map_pixels(unified_input("image01"));
  expect_targets(tokenizer->ids(images), row);
  tokenizer->to(at::kDouble);
  const at::Tensor exact = VqkdImpl::map_pixels(unified_input("image01").to(at::kDouble));
  Ledger ledger;
  ledger.expect_close("cosines", "beit2", tokenizer->cosines(exact), to_tensor(row.at("teacher.raw")), 1e-12);
}

TEST(Vqkd, WithoutAConfigurationTheHeadsAreNamedOrAssumed) {
  LACUNA_NEEDS_SHARED("golden/unified/rows/weights.safetensors");
  const TemporaryFolder folder;
  write_part("vqkd.", folder / "model.safetensors");
  try {
    open_vqkd(folder);  // width 32
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("nothing tells the number of heads"), std::string::npos) << error.what();
  }
}

// ---- Files that are no dVAE ----------------------------------------------------------------------------------------

std::string fault_of(const NamedTensors& tensors) {
  const TemporaryFolder folder;
  std::vector<at::Tensor> keep;
  write_safetensors(folder / "encoder.safetensors", to_views(tensors, keep));
  try {
    open_dvae(folder);
  } catch (const Error& error) {
    return error.what();
  }
  return "opened";
}

NamedTensors dvae_tensors() {
  const TensorFile file(golden_path("models/dvae/h16_v64/encoder.safetensors"));
  NamedTensors out;
  for (const std::string& name : file.names()) out.emplace_back(name, to_tensor(file.at(name)));
  return out;
}

TEST(Dvae, EachFaultOfTheFileIsNamed) {
  LACUNA_NEEDS_SHARED("golden/models/dvae/h16_v64/encoder.safetensors");
  const auto with = [](const std::string& name, const at::Tensor& value) {  // replaced, added or, undefined, left out
    NamedTensors tensors = dvae_tensors();
    std::erase_if(tensors, [&](const auto& each) { return each.first == name; });
    if (value.defined()) tensors.emplace_back(name, value);
    return fault_of(tensors);
  };
  const auto expect_in = [](const std::string& found, const std::string& part) {
    EXPECT_NE(found.find(part), std::string::npos) << found;
  };
  EXPECT_EQ(fault_of(dvae_tensors()), "opened");
  expect_in(with("blocks.input.w", {}), "not an encoder of DALL-E's dVAE: tensor 'blocks.input.w' is missing");
  expect_in(with("blocks.input.w", at::zeros({16, 3})), "has shape [16,3], expected the four dimensions");
  expect_in(with("blocks.input.w", at::zeros({18, 3, 7, 7})), "18 channels, which is no multiple of four");
  expect_in(with("blocks.input.w", at::zeros({4096, 3, 1, 1})), "describe a network of");
  expect_in(with("blocks.output.conv.w", at::zeros({64, 64, 1, 1})), "has shape [64,64,1,1], but the model");
  expect_in(with("blocks.group_3.block_1.id_path.b", {}), "not in the file: blocks.4.id_path.bias");
  expect_in(with("blocks.group_1.block_1.id_path.b", at::zeros({16})), "have no place in the model");
  expect_in(with("decoder.w", at::zeros({1})), "have no place in the model: decoder.w");
  expect_in(with("blocks.group_1.block_1.res_path.conv_1.w", {}), "it has no group of blocks");
}

}  // namespace
}  // namespace lacuna
