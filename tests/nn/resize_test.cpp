// Position tables and relative bias tables at other grids, against the references' resizers and SciPy's splines.

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "nn/position.h"
#include "nn/vit_resize.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr const char* kTables = "golden/unified/tables/relative_position.safetensors";
constexpr const char* kPositions = "golden/models/timm/pos_embed_resize.safetensors";
constexpr const char* kBiases = "golden/models/timm/rel_pos_bias_resize.safetensors";

TensorFile golden_file(const std::string& path) { return TensorFile(shared_folder() / path); }

struct Pair {
  int64_t from, to;
};

Pair parse_pair(const std::string& word, const std::string& between) {  // "14to24", "3x5"
  const size_t place = word.find(between);
  return {std::stoll(word.substr(0, place)), std::stoll(word.substr(place + between.size()))};
}

TEST(ResizedPositions, FollowEachReference) {
  LACUNA_NEEDS_SHARED(kPositions);
  const TensorFile file = golden_file(kPositions);
  const std::pair<std::string, PositionResize> kinds[] = {
      {"output.hf.", PositionResize::kBySize},
      {"output.timm.antialias_false.", PositionResize::kBySize},
      {"output.timm.antialias_true.", PositionResize::kAntialiased},
      {"output.timm.default.", PositionResize::kAntialiased},
      {"output.scale_factor_plus_0.1.", PositionResize::kByScale},
      {"output.timm.bilinear.antialias_true.", PositionResize::kBilinear},
      {"output.beit2_clip_teacher.", PositionResize::kByScale}};
  const at::Tensor table = to_tensor(file.at("input.pos_embed"));
  Ledger ledger;
  for (const std::string& key : file.names()) {
    if (key == "input.pos_embed") continue;
    bool known = false;
    for (const auto& [prefix, how] : kinds) {
      if (!key.starts_with(prefix)) continue;
      const Pair grid = parse_pair(key.substr(prefix.size()), "x");
      ledger.expect_close("float32 table", key, resize_positions(table, grid.from, grid.to, how),
                          to_tensor(file.at(key)), 1.1e-6);
      known = true;
    }
    EXPECT_TRUE(known) << "nothing was compared with " << key;
  }
}

TEST(ResizedPositions, FollowTheUnifiedTables) {
  LACUNA_NEEDS_SHARED(kTables);
  const TensorFile file = golden_file(kTables);
  Ledger ledger;
  int compared = 0;
  for (const std::string& key : file.names()) {
    if (!key.starts_with("pos_embed.") || key.ends_with(".input")) continue;
    const std::string sizes = key.substr(10, key.rfind('.') - 10);
    const at::Tensor table = to_tensor(file.at("pos_embed." + sizes + ".input")).to(at::kDouble).unsqueeze(0);
    const PositionResize how = key.ends_with(".size") ? PositionResize::kBySize : PositionResize::kByScale;
    ledger.expect_close("float64 table", key, resize_positions(table, parse_pair(sizes, "to").to, how)[0],
                        to_tensor(file.at(key)), 1e-12);
    ++compared;
  }
  EXPECT_EQ(compared, 6);
}

TEST(ResizedPositions, KeepATableWithoutClassRowApart) {
  const at::Tensor table = at::randn({1, 17, 6});
  const at::Tensor whole = resize_positions(table, 6, 6, PositionResize::kBySize);
  const at::Tensor patches = resize_positions(table.slice(1, 1), 6, 6, PositionResize::kBySize, 0);
  EXPECT_TRUE(whole.slice(1, 1).equal(patches));
  EXPECT_TRUE(whole.slice(1, 0, 1).equal(table.slice(1, 0, 1)));
}

TEST(RelativeIndexTable, IsTheOfficialOne) {
  LACUNA_NEEDS_SHARED(kTables);
  const TensorFile file = golden_file(kTables);
  const Json sums = golden_json("unified/tables/relative_position.json").at("index");
  for (const auto& [name, stored] : sums.items()) {
    const Pair grid = parse_pair(name, "x");
    const at::Tensor index = relative_index(grid.from, grid.to);
    EXPECT_EQ(index.sum().item<int64_t>(), stored.at("sum").get<int64_t>()) << name;
    EXPECT_EQ(index.max().item<int64_t>() + 1, stored.at("rows").get<int64_t>()) << name;
    EXPECT_EQ(index[1].sum().item<int64_t>(), stored.at("first_patch_row_sum").get<int64_t>()) << name;
    EXPECT_EQ(index[-1].sum().item<int64_t>(), stored.at("last_patch_row_sum").get<int64_t>()) << name;
    const std::string key = "index." + name;
    if (!file.has(key)) continue;
    EXPECT_TRUE(index.equal(to_tensor(file.at(key)).to(at::kLong))) << name;
  }
}

TEST(ResizedBias, IsTheSplineOfTheUnifiedTables) {
  LACUNA_NEEDS_SHARED(kTables);
  const TensorFile file = golden_file(kTables);
  const Json stored = golden_json("unified/tables/relative_position.json").at("resize");
  Ledger ledger;
  int compared = 0;
  for (const std::string& key : file.names()) {
    if (!key.starts_with("resize.") || !key.ends_with(".output")) continue;
    const std::string sizes = key.substr(7, key.size() - 7 - 7);
    const Pair side = parse_pair(sizes, "to");
    const at::Tensor table = to_tensor(file.at("resize." + sizes + ".input")).to(at::kDouble);
    ledger.expect_close("float64 table", key, resize_relative_bias(table, (side.to + 1) / 2), to_tensor(file.at(key)),
                        1e-12);
    const std::vector<double> places = bias_source_coordinates((side.from + 1) / 2, (side.to + 1) / 2);
    EXPECT_NEAR(places.back(), stored.at(sizes).at("last_coordinate").get<double>(), 1e-12) << sizes;
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(places[places.size() / 2 + 1 + i], stored.at(sizes).at("first_coordinates")[i].get<double>(), 1e-12);
    ++compared;
  }
  EXPECT_EQ(compared, 5);

  // z[i,j] = sin(0.3 i) cos(0.2 j) on 27 x 27, read at 63 x 63.
  const at::Tensor place = at::arange(27, at::kDouble);
  const at::Tensor wave = (at::sin(0.3 * place).unsqueeze(1) * at::cos(0.2 * place)).reshape({729, 1});
  const at::Tensor z = resize_relative_bias(at::cat({wave, at::zeros({3, 1}, at::kDouble)}), 32).slice(0, 0, 63 * 63);
  const Json formula = stored.at("formula_27to63");
  const auto cell = [&](int64_t row, int64_t column) { return z[row * 63 + column].item<double>(); };
  const std::pair<double, const char*> cells[] = {
      {cell(0, 0), "a00"}, {cell(31, 31), "a31_31"}, {cell(10, 20), "a10_20"}, {cell(62, 62), "a62_62"}};
  for (const auto& [value, name] : cells) EXPECT_NEAR(value, formula.at(name).get<double>(), 1e-12) << name;
  EXPECT_NEAR(z.sum().item<double>(), formula.at("sum").get<double>(), 1e-10);
}

TEST(ResizedBias, FollowsTheOfficialLoopAndTimm) {
  LACUNA_NEEDS_SHARED(kBiases);
  const TensorFile file = golden_file(kBiases);
  Ledger ledger;
  for (const std::string& key : file.names()) {
    const size_t dot = key.rfind('.');
    const std::string kind = key.substr(0, dot + 1);
    if (kind == "input.") continue;
    const Pair grid = parse_pair(key.substr(dot + 1), "to");
    const at::Tensor stored = to_tensor(file.at(key)), table = to_tensor(file.at("input." + key.substr(dot + 1)));
    if (kind == "output.source_coordinates.") {
      ledger.expect_close("coordinates", key, torch::tensor(bias_source_coordinates(grid.from, grid.to), at::kDouble),
                          stored, 1e-12);
    } else if (kind == "output.spline_float64.") {
      ledger.expect_close("spline, float64", key, resize_relative_bias(table.to(at::kDouble), grid.to), stored, 1e-12);
    } else if (kind == "output.official.") {  // stored in float32
      ledger.expect_close("official, float32", key, resize_relative_bias(table, grid.to), stored, 5e-7);
    } else if (kind == "output.timm_default_linear.") {  // which timm computes in float32
      ledger.expect_close("timm, float32", key, resize_relative_bias(table, grid.to, BiasResize::kLinear), stored,
                          1.1e-6);
    } else if (kind == "output.timm_simple_bicubic." || kind == "output.hf_bilinear.") {
      const BiasResize how = kind == "output.hf_bilinear." ? BiasResize::kBilinear : BiasResize::kBicubic;
      ledger.expect_close("timm's simple function and transformers, float32", key,
                          resize_relative_bias(table, grid.to, how), stored, 1.1e-6);
    } else {
      ADD_FAILURE() << "nothing was compared with " << key;
    }
  }
}

TEST(ResizedBias, LeavesATableOfTheSameGridAlone) {
  const at::Tensor table = at::randn({52, 3});
  EXPECT_TRUE(resize_relative_bias(table, 4).equal(table));
  EXPECT_THROW(resize_relative_bias(at::randn({12, 3}), 4), Error);  // a grid of side 2
}

TEST(ResizedVit, HasTheGridAskedForAndTheSameOtherWeights) {
  const at::NoGradGuard no_grad;
  for (const Positions positions : {Positions::kNone, Positions::kLearned, Positions::kSinCos}) {
    VitConfig config{.image_side = 32, .patch_side = 8, .width = 24, .depth = 2, .heads = 3, .hidden = 48};
    config.positions = positions;
    config.relative_bias = RelativeBiasKind::kPerBlock;
    Vit small(config);
    for (auto& parameter : small->parameters()) parameter.normal_(0, 0.1);
    Vit large = resized(small, 48, PositionResize::kByScale);
    EXPECT_EQ(large->config().grid(), 6);
    EXPECT_EQ(large->encode(at::randn({1, 3, 48, 48})).size(1), 37);
    EXPECT_TRUE(large->patch_embed->weight.equal(small->patch_embed->weight));
    const at::Tensor images = at::randn({2, 3, 32, 32});
    EXPECT_TRUE(resized(small, 32, PositionResize::kByScale)->encode(images).equal(small->encode(images)));
    EXPECT_THROW(resized(small, 50, PositionResize::kByScale), Error);
  }
}

}  // namespace
}  // namespace lacuna
