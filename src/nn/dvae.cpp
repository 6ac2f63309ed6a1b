#include "nn/dvae.h"

#include "base/error.h"
#include "nn/shapes.h"
#include "nn/weights/weight_file.h"
#include "nn/weights/weights.h"

namespace lacuna {
namespace {

constexpr int64_t kMaxGroups = 8, kMaxBlocks = 64;

std::string block_name(int64_t group, int64_t block) {  // both counted from 1
  return text("blocks.group_", group, ".block_", block, ".");
}

// Shape [out,in,side,side] of a convolution, checked.
const std::vector<int64_t>& conv_shape(const TensorFile& file, const std::string& name) {
  check(file.has(name), file.path().string(), ": not an encoder of DALL-E's dVAE: tensor '", name, "' is missing");
  const std::vector<int64_t>& shape = file.at(name).shape;
  check(shape.size() == 4 && shape[0] > 0 && shape[1] > 0, file.path().string(), ": tensor '", name, "' has shape ",
        shape_text(at::IntArrayRef(shape)), ", expected the four dimensions of a convolution");
  return shape;
}

double parameters_of(const DvaeConfig& c) {
  double count = 3.0 * 49 * static_cast<double>(c.hidden), in = static_cast<double>(c.hidden), out = in;
  for (int64_t g = 0; g < c.groups; ++g, out *= 2) {
    for (int64_t b = 0; b < c.blocks_per_group; ++b, in = out)
      count += out / 4 * (9 * in + 18 * out / 4 + out) + (in == out ? 0 : in * out);
  }
  return count + in * static_cast<double>(c.vocabulary);
}

// The official names; the order of our blocks is theirs.
KeyMap dvae_key_map(const DvaeConfig& c) {
  KeyMap map;
  const auto add = [&](const std::string& ours, const std::string& theirs) {
    map.rules.push_back({{ours + ".weight"}, {theirs + ".w"}});
    map.rules.push_back({{ours + ".bias"}, {theirs + ".b"}});
  };
  add("input", "blocks.input");
  for (int64_t i = 0; i < c.groups * c.blocks_per_group; ++i) {
    const std::string ours = text("blocks.", i, ".");
    const std::string theirs = block_name(i / c.blocks_per_group + 1, i % c.blocks_per_group + 1);
    if (i > 0 && i % c.blocks_per_group == 0) add(ours + "id_path", theirs + "id_path");  // the channels double
    for (const std::string conv : {"conv_1", "conv_2", "conv_3", "conv_4"})
      add(ours + conv, theirs + "res_path." + conv);
  }
  add("output", "blocks.output.conv");
  return map;
}

}  // namespace

DvaeConfig dvae_config(const TensorFile& file) {
  const auto has_block = [&](int64_t group, int64_t block) {
    return file.has(block_name(group, block) + "res_path.conv_1.w");
  };
  DvaeConfig c{.hidden = conv_shape(file, "blocks.input.w")[0],
               .vocabulary = conv_shape(file, "blocks.output.conv.w")[0],
               .groups = 0,
               .blocks_per_group = 0};
  while (c.groups < kMaxGroups && has_block(c.groups + 1, 1)) ++c.groups;
  while (c.blocks_per_group < kMaxBlocks && has_block(1, c.blocks_per_group + 1)) ++c.blocks_per_group;
  check(c.groups > 0, file.path().string(), ": not an encoder of DALL-E's dVAE: it has no group of blocks");
  check(c.hidden % 4 == 0, file.path().string(), ": the first convolution has ", c.hidden,
        " channels, which is no multiple of four");
  check_plausible(file, parameters_of(c), "the shapes of its tensors");
  return c;
}

SameConvImpl::SameConvImpl(int64_t in, int64_t out, int64_t side) {
  weight = register_parameter("weight", torch::empty({out, in, side, side}));
  bias = register_parameter("bias", torch::empty({out}));
}

at::Tensor SameConvImpl::forward(const at::Tensor& x) {
  return at::conv2d(x, weight, bias, /*stride=*/1, /*padding=*/weight.size(2) / 2);
}

DvaeBlockImpl::DvaeBlockImpl(int64_t in, int64_t out, double gain)
    : conv_1(register_module("conv_1", SameConv(in, out / 4, 3))),
      conv_2(register_module("conv_2", SameConv(out / 4, out / 4, 3))),
      conv_3(register_module("conv_3", SameConv(out / 4, out / 4, 3))),
      conv_4(register_module("conv_4", SameConv(out / 4, out, 1))),
      gain_(gain) {
  if (in != out) id_path = register_module("id_path", SameConv(in, out, 1));
}

at::Tensor DvaeBlockImpl::forward(const at::Tensor& x) {
  at::Tensor branch = x;
  for (SameConv conv : {conv_1, conv_2, conv_3, conv_4}) branch = conv(at::relu(branch));
  return (id_path ? id_path(x) : x) + gain_ * branch;
}

DvaeEncoderImpl::DvaeEncoderImpl(const DvaeConfig& c)
    : input(register_module("input", SameConv(3, c.hidden, 7))),
      blocks(register_module("blocks", torch::nn::ModuleList())),
      output(register_module("output", SameConv(c.hidden * c.patch_side(), c.vocabulary, 1))),
      config_(c) {
  const auto layers = static_cast<double>(c.groups * c.blocks_per_group);
  int64_t in = c.hidden;
  for (int64_t group = 0; group < c.groups; ++group) {
    const int64_t out = c.hidden << group;
    for (int64_t block = 0; block < c.blocks_per_group; ++block, in = out)
      blocks->push_back(DvaeBlock(in, out, 1.0 / (layers * layers)));
  }
}

at::Tensor DvaeEncoderImpl::forward(const at::Tensor& mapped, const Tap& tap) {
  expect_shape(mapped, {kAny, 3, kAny, kAny}, "images of the dVAE");
  invariant(mapped.size(2) % config_.patch_side() == 0 && mapped.size(3) % config_.patch_side() == 0,
            "images of the dVAE must have sides divisible by ", config_.patch_side(), ", found ", shape_text(mapped));
  at::Tensor x = input(mapped);
  if (tap) tap(0, x);
  for (int64_t group = 1; group <= config_.groups; ++group) {
    for (int64_t block = 0; block < config_.blocks_per_group; ++block)
      x = blocks->ptr<DvaeBlockImpl>(static_cast<size_t>((group - 1) * config_.blocks_per_group + block))->forward(x);
    if (group < config_.groups) x = at::max_pool2d(x, 2);
    if (tap) tap(group, x);
  }
  return output(at::relu(x));
}

at::Tensor DvaeEncoderImpl::ids(const at::Tensor& images01) { return logits(images01).argmax(1).flatten(1); }

DvaeEncoder open_dvae(const std::filesystem::path& path) {
  const TensorFile file = open_weights(path);
  const DvaeConfig config = dvae_config(file);
  DvaeEncoder encoder(config);
  import_weights(file, dvae_key_map(config), named_tensors(*encoder));
  encoder->eval();
  return encoder;
}

}  // namespace lacuna
