// Embeddings against the network itself, and what becomes of them when images are broken or the work is interrupted.

#include "eval/embed.h"

#include <gtest/gtest.h>

#include <fstream>

#include "data/source/joined_source.h"
#include "data/view/augment.h"
#include "eval/toys.h"
#include "io/files.h"
#include "io/image/png_writer.h"
#include "nn/weights/weights.h"
#include "support/golden.h"
#include "support/process.h"
#include "train/batch.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::ColorSource;
using testing::content_of;
using testing::error_of;
using testing::TemporaryFolder;

FrozenVit tiny_model(std::uint64_t seed = 3, bool projected = false) {
  const Backbone backbone = testing::tiny_backbone(seed);
  FrozenVit model{.vit = backbone.vit, .family = "toy", .path = "toy", .notes = {}};
  if (projected) {
    model.projection = Linear(24, 7, /*bias=*/false);
    model.projection->weight.detach().copy_(at::linspace(-1, 1, 7 * 24).view({7, 24}));
  }
  return model;
}

at::Tensor read(const fs::path& path, const std::string& name) { return to_tensor(TensorFile(path).at(name)); }

// The view of one image as the network gets it, in double.
at::Tensor pixels_of(const Source& source, std::int64_t index, double crop_ratio) {
  const Image view = center_view(source.image(index), 16, Kernel::kBicubic, crop_ratio);
  return normalize_pixels(view.pixels, 1, {.side = 16}, at::kCPU, at::kDouble);
}

TEST(Embed, RowsAreTheNetworksTokensInDouble) {
  const TemporaryFolder folder;
  const ColorSource source(7);
  FrozenVit model = tiny_model(3, true);
  const EmbedConfig config{.features = "class,mean,patches,projected",
                           .layer = "last,0,1,-1",
                           .dtype = FeatureType::kF64,
                           .crop_ratio = 0.9,
                           .batch = 3};
  embed(model, source, config, {.target = folder / "out.safetensors"});
  const at::NoGradGuard no_grad;
  for (std::int64_t i = 0; i < source.size(); ++i) {
    std::map<std::string, at::Tensor> expected;
    const at::Tensor end = model.vit->run_blocks(
        pixels_of(source, i, 0.9), {}, nullptr,
        [&](int64_t block, const at::Tensor& tokens) { expected[std::to_string(block + 1)] = tokens[0]; });
    expected["last"] = model.vit->normalize(end)[0];
    for (const auto& each : expected) {
      const std::string& layer = each.first;
      const at::Tensor& tokens = each.second;
      const auto found = [&](const std::string& kind) {
        return read(folder / "out.safetensors", kind + "." + layer)[i];
      };
      EXPECT_LT(testing::largest_difference(found("class"), tokens[0]), 1e-12) << layer;
      EXPECT_LT(testing::largest_difference(found("patches"), tokens.slice(0, 1)), 1e-12) << layer;
      EXPECT_LT(testing::largest_difference(found("mean"), tokens.slice(0, 1).mean(0)), 1e-12) << layer;
    }
  }
  EXPECT_EQ(read(folder / "out.safetensors", "projected").sizes(), (std::vector<int64_t>{7, 7}));
  const std::string names(reinterpret_cast<const char*>(TensorFile(folder / "out.safetensors").at("names").data.data()),
                          16);
  EXPECT_EQ(names, std::string("color:0\0color:1\0", 16));
}

TEST(Embed, TypesFormatsAndProjection) {
  const TemporaryFolder folder;
  const ColorSource source(5);
  FrozenVit model = tiny_model(3, true);
  embed(model, source, {.features = "projected,class", .normalize = true}, {.target = folder / "f32.safetensors"});
  const at::Tensor projected = read(folder / "f32.safetensors", "projected");
  EXPECT_EQ(projected.sizes(), (std::vector<int64_t>{5, 7}));
  EXPECT_LT(testing::largest_difference(projected.norm(2, 1), at::ones({5})), 1e-6);
  for (const auto& [type, scalar] :
       {std::pair{FeatureType::kF16, at::kHalf}, std::pair{FeatureType::kBf16, at::kBFloat16}}) {
    const fs::path path = folder / ("half" + std::to_string(static_cast<int>(type)));
    embed(model, source, {.features = "projected", .to = RowFormat::kSafetensors, .dtype = type, .normalize = true},
          {.target = path});
    EXPECT_TRUE(read(path, "projected").equal(projected.to(scalar)));
  }
  embed(model, source, {.features = "class", .normalize = true}, {.target = folder / "x.jsonl"});
  std::ifstream lines(folder / "x.jsonl");
  std::string line;
  std::getline(lines, line);
  const auto numbers = nlohmann::json::parse(line)["class"].get<std::vector<float>>();
  EXPECT_TRUE(torch::tensor(numbers).equal(read(folder / "f32.safetensors", "class")[0]));
}

TEST(Embed, RefusesWhatTheNetworkDoesNotHave) {
  const TemporaryFolder folder;
  const ColorSource source(2);
  const auto refused = [&](const EmbedConfig& config, const char* name = "x.npz") {
    FrozenVit model = tiny_model();
    return error_of([&] { embed(model, source, config, {.target = folder / name}); });
  };
  const auto says = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  says(refused({.features = "projected"}), "no projection");
  says(refused({.features = "tokens"}), "expected class, mean, patches or projected, found 'tokens'");
  says(refused({.layer = "3"}), "a number from -2 to 2");
  says(refused({.layer = "first"}), "found 'first'");
  says(refused({.layer = "2,-1"}), "class.2 is asked for twice");
  says(refused({}, "x.bin"), "expected a file that ends in .npz");
  says(refused({.dtype = FeatureType::kBf16}), "dtype=f16");
  says(refused({.dtype = FeatureType::kF64, .bf16 = true}), "contradicts");
  EXPECT_TRUE(fs::is_empty(folder.path())) << "a refused command leaves nothing behind";
  says(refused({}), "");
  says(refused({}), "exists; choose another name, or replace it with overwrite=true");
  EXPECT_EQ(refused({.overwrite = true}), "");
}

TEST(Embed, NetworksWithoutClassTokenGiveTheMean) {
  VitConfig config = testing::tiny_backbone().config.vit;
  config.class_token = false;
  FrozenVit model{.vit = Vit(config), .family = "toy", .path = "toy", .notes = {}};
  EXPECT_EQ(choose_taps(model, "", "last").at(0).name, "mean");
  EXPECT_NE(error_of([&] { choose_taps(model, "class", "last"); }).find("no class token"), std::string::npos);
}

TEST(Embed, BrokenImagesAreLeftOutOrNan) {
  const TemporaryFolder folder;
  const ColorSource source(40, {0, 7, 39});
  FrozenVit model = tiny_model();
  const EmbedConfig config{.batch = 8, .max_bad_share = 0.1};
  const EmbedResult left_out = embed(model, source, config, {.target = folder / "short.safetensors"});
  EXPECT_EQ(left_out.rows, 37);
  EXPECT_EQ(left_out.bad, 3);
  EmbedConfig with_nan = config;
  with_nan.bad = BadImages::kNan;
  EXPECT_EQ(embed(model, source, with_nan, {.target = folder / "full.safetensors"}).rows, 40);
  const at::Tensor part = read(folder / "short.safetensors", "class"),
                   full = read(folder / "full.safetensors", "class");
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < 40; ++i) {
    const bool bad = i == 0 || i == 7 || i == 39;
    EXPECT_EQ(at::isnan(full[i]).all().item<bool>(), bad) << i;
    if (!bad) kept.push_back(i);
  }
  EXPECT_TRUE(full.index_select(0, torch::tensor(kept)).equal(part));
  const std::string skipped = content_of(folder / "short.safetensors.skipped.jsonl");
  EXPECT_EQ(std::count(skipped.begin(), skipped.end(), '\n'), 3);
  EXPECT_EQ(nlohmann::json::parse(skipped.substr(0, skipped.find('\n'))),
            (nlohmann::json{{"index", 0}, {"name", "color:0"}, {"reason", "color:0: is broken"}}));
}

TEST(Embed, TooManyBrokenImagesAreBadDataAndNamed) {
  const TemporaryFolder folder;
  const ColorSource source(40, {3, 7, 21});
  FrozenVit model = tiny_model();
  try {
    embed(model, source, {.batch = 8, .max_bad_share = 0.05}, {.target = folder / "x.npz"});
    FAIL() << "3 of 40 are more than 5 %";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
  }
  EXPECT_FALSE(fs::exists(folder / "x.npz"));
  EXPECT_NE(content_of(folder / "x.npz.skipped.jsonl").find("color:21"), std::string::npos);
}

// Stops after two batches, then goes on.
TEST(Embed, GoesOnToTheSameBytes) {
  const ColorSource source(40, {2, 17, 30});
  for (const char* name : {"x.npz", "x.safetensors", "x.csv", "x.jsonl"}) {
    for (const BadImages bad : {BadImages::kLeaveOut, BadImages::kNan}) {
      const TemporaryFolder broken, whole;
      const EmbedConfig config{.batch = 8, .bad = bad, .max_bad_share = 0.2};
      FrozenVit model = tiny_model();
      int batches = 0;
      const EmbedResult first =
          embed(model, source, config, {.target = broken / name, .stop = [&] { return ++batches == 2; }});
      EXPECT_TRUE(first.stopped);
      EXPECT_FALSE(fs::exists(broken / name));
      const EmbedResult second = embed(model, source, config, {.target = broken / name});
      EXPECT_GT(second.begun_at, 0);
      EXPECT_FALSE(second.stopped);
      EXPECT_EQ(embed(model, source, config, {.target = whole / name}).begun_at, 0);
      EXPECT_EQ(content_of(broken / name), content_of(whole / name)) << name;
      const std::string skipped = std::string(name) + ".skipped.jsonl";
      EXPECT_EQ(content_of(broken / skipped), content_of(whole / skipped));
      EXPECT_EQ(std::distance(fs::directory_iterator(broken), {}), 2) << "no working file is left";
    }
  }
}

// All rows are saved, and the file was being completed: the working files as they were then, with a part of the end.
TEST(Embed, GoesOnFromTheVeryEnd) {
  for (const char* name : {"x.npz", "x.safetensors", "x.csv"}) {
    const TemporaryFolder folder, kept;
    const ColorSource source(20, {4});
    const EmbedConfig config{.batch = 8, .bad = BadImages::kNan, .save_every = 0};
    const auto copy_working_files = [&](const EmbedProgress& now) {
      if (now.done < now.total) return;
      for (const char* ending : {".partial", ".partial.json"}) {
        const std::string file = name + std::string(ending);
        fs::copy_file(folder / file, kept / file);
      }
    };
    FrozenVit model = tiny_model();
    embed(model, source, config, {.target = folder / name, .progress = copy_working_files});
    std::ofstream(kept / (name + std::string(".partial")), std::ios::app) << "half of what follows the rows";
    FrozenVit again = tiny_model();
    const EmbedResult result = embed(again, source, config, {.target = kept / name});
    EXPECT_EQ(result.begun_at, 20);
    EXPECT_EQ(content_of(kept / name), content_of(folder / name)) << name;
  }
}

TEST(Embed, DoesNotGoOnWithSomethingElse) {
  const TemporaryFolder folder;
  const ColorSource source(40);
  const EmbedConfig config{.batch = 8};
  const auto run = [&](std::uint64_t seed, const Source& images, const EmbedConfig& with, bool stop) {
    FrozenVit model = tiny_model(seed);
    return error_of([&] { embed(model, images, with, {.target = folder / "x.npz", .stop = [&] { return stop; }}); });
  };
  run(3, source, config, true);
  const auto says = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  says(run(4, source, config, true), "was begun with another model");
  says(run(3, ColorSource(41), config, true), "was begun with another list of images");
  EmbedConfig other = config;
  other.features = "mean";
  says(run(3, source, other, true), "was begun with another features");
  other = config;
  other.normalize = true;
  says(run(3, source, other, true), "was begun with another normalize");
  std::ofstream(folder / "x.npz.partial.json") << "{}";
  says(run(3, source, config, true), "expected what an embedding left here");
  std::ofstream(folder / "x.npz.partial.json") << "[1";
  says(run(3, source, config, true), "expected JSON");
  fs::remove(folder / "x.npz.partial.json");
  EXPECT_EQ(run(3, source, config, false), "") << "without an index it begins anew";
}

TEST(Embed, DivergedWeightsAreNamed) {
  const TemporaryFolder folder;
  FrozenVit model = tiny_model();
  model.vit->norm->weight.detach().fill_(1e30);
  embed(model, ColorSource(3), {}, {.target = folder / "wide.npz"});
  const std::string said =
      error_of([&] { embed(model, ColorSource(3), {.dtype = FeatureType::kF16}, {.target = folder / "x.npz"}); });
  EXPECT_NE(said.find("feature class of color:0 is not finite in f16"), std::string::npos) << said;
}

// The golden's inputs as image files of the exact size: what stays between its features and ours is the rounding of its
// normalised pixels to float32.
TEST(Embed, AgreesWithTimmOnImageFiles) {
  LACUNA_NEEDS_SHARED("golden/models/timm/vit_plain");
  const TemporaryFolder folder;
  for (const std::string name : {"vit_plain", "vit_layerscale", "beit_shared"}) {
    const fs::path golden = testing::golden_path("models/timm/" + name);
    FrozenVit model = open_frozen_vit(golden / "timm");
    const at::Tensor pixels = read(golden / "io.safetensors", "input.pixel_values").to(at::kDouble);
    std::vector<std::string> paths;
    for (int64_t i = 0; i < pixels.size(0); ++i) {
      const at::Tensor std =
          torch::tensor(std::vector<double>(model.stats.std.begin(), model.stats.std.end()), at::kDouble);
      const at::Tensor mean =
          torch::tensor(std::vector<double>(model.stats.mean.begin(), model.stats.mean.end()), at::kDouble);
      const at::Tensor bytes =
          ((pixels[i].permute({1, 2, 0}) * std + mean) * 255).round().clamp(0, 255).to(at::kByte).contiguous();
      Image image(static_cast<int>(bytes.size(1)), static_cast<int>(bytes.size(0)));
      std::copy_n(bytes.const_data_ptr<std::uint8_t>(), image.pixels.size(), image.pixels.begin());
      paths.push_back((folder / (name + std::to_string(i) + ".png")).string());
      write_png(paths.back(), image);
    }
    const fs::path out = folder / (name + ".safetensors");
    embed(model, *open_images(paths, {}), {.features = "class,patches", .dtype = FeatureType::kF64}, {.target = out});
    const at::Tensor expected = read(golden / "io.safetensors", "output.forward_features");
    EXPECT_LT(testing::largest_difference(read(out, "class"), expected.select(1, 0)), 1e-5) << name;
    EXPECT_LT(testing::largest_difference(read(out, "patches"), expected.slice(1, 1)), 1e-5) << name;
  }
}

}  // namespace
}  // namespace lacuna
