// The tables of golden/cae/position_tables that are not sine-cosine tables themselves: relative positions, their bias,
// and position tables read at another grid. (The sine-cosine tables: position_test.cpp.)

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "nn/position.h"
#include "nn/relative_bias.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

// The official code's table of a grid that is not square mixes up rows and columns; a Vit of ours is square.
const std::set<std::string> kNotOurs = {"pos_embed.3x5.16"};

class CaeTables : public ::testing::Test {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/cae/position_tables.safetensors");
    file_ = std::make_unique<TensorFile>(golden_path("cae/position_tables.safetensors"));
    json_ = golden_json("cae/position_tables.json");
  }
  at::Tensor at(const std::string& key) const { return to_tensor(file_->at(key)); }

  std::unique_ptr<TensorFile> file_;
  Json json_;
  Ledger ledger_;
};

TEST_F(CaeTables, RelativePositionsAreTheOfficialOnes) {
  for (const auto& [name, rows, columns] :
       {std::tuple{"2x3", 2, 3}, std::tuple{"4x4", 4, 4}, std::tuple{"14x14", 14, 14}}) {
    const at::Tensor index = relative_index(rows, columns);
    EXPECT_TRUE(index.equal(at(text("relative_position_index.", name)).to(at::kLong))) << name;
    const Json& stored = json_.at("relative_position_index").at(name);
    EXPECT_EQ(index.sum().item<int64_t>(), stored.at("sum").get<int64_t>()) << name;
    EXPECT_EQ(index.max().item<int64_t>() + 1, stored.at("table_rows").get<int64_t>()) << name;
  }
  EXPECT_EQ(json_.at("relative_position_index").size(), 3u);
}

TEST_F(CaeTables, TheBiasOfATableIsTheOfficialOne) {
  RelativeBias bias(4, 4);
  bias->to(at::kDouble);
  const at::NoGradGuard no_grad;
  bias->relative_position_bias_table.copy_(at("relative_position_bias.4x4.4.table"));
  EXPECT_TRUE(bias(2)[0].equal(at("relative_position_bias.4x4.4.bias")));
}

TEST_F(CaeTables, AnotherGridReadsThemAsTheOfficialCode) {
  for (const auto& [name, from, to, width] : {std::tuple{"4to6.48", 4, 6, 48}, std::tuple{"14to24.192", 14, 24, 192},
                                              std::tuple{"14to32.192", 14, 32, 192}}) {
    const at::Tensor found = resize_positions(sin_cos_positions(from, width), to, PositionResize::kBySize);
    ASSERT_EQ(found.sizes(), at::IntArrayRef({1, 1 + to * to, width})) << name;
    const Json& stored = json_.at("resized").at(name);
    const std::string key = text("pos_embed_resized.", name);
    if (stored.at("rows").is_null()) {
      ledger_.expect_close("resized", name, found, at(key), 2e-6);
    } else {
      const at::Tensor rows = torch::tensor(stored.at("rows").get<std::vector<int64_t>>(), at::kLong);
      ledger_.expect_close("resized", name, found[0].index_select(0, rows), at(key + ".rows"), 2e-6);
    }
    const auto mine = probe(key, found);
    for (size_t i = 0; i < 3; ++i)
      ledger_.expect_relative("probe, relative", text(name, "[", i, "]"), mine[i], stored.at("probe")[i], 1e-7);
  }
  EXPECT_EQ(json_.at("resized").size(), 3u);
}

TEST_F(CaeTables, EveryStoredTableIsKnown) {
  for (const std::string& key : file_->names()) {
    bool known = kNotOurs.contains(key);
    for (const char* prefix : {"pos_embed.4x4", "pos_embed.14x14", "pos_embed.24x24", "pos_embed_resized.",
                               "relative_position_index.", "relative_position_bias.4x4.4."})
      known = known || key.starts_with(prefix);
    EXPECT_TRUE(known) << key;
  }
}

}  // namespace
}  // namespace lacuna
