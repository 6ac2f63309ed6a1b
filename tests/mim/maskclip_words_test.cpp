// Masking of words against golden/maskclip: the rule on stored uniform numbers, and our own draws against closed-form
// expectations (accepted within 4 sigma).

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "mim/masked_language.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr int64_t kVocabulary = 49408;
constexpr uint64_t kSeed = 20;

class MaskClipWords : public ::testing::Test {
 protected:
  void SetUp() override { LACUNA_NEEDS_SHARED("golden/maskclip/masking.safetensors"); }
};

TEST_F(MaskClipWords, AreMaskedAsStoredByTheStoredNumbers) {
  const TensorFile file(golden_path("maskclip/masking.safetensors"));
  const auto stored = [&](const char* key) { return to_tensor(file.at(text("text.", key))); };
  const at::Tensor ids = stored("ids"), end = ids.eq(kVocabulary - 1).to(at::kInt).argmax(1);
  EXPECT_TRUE(end.equal(stored("eot_index")));
  const WordDraws draws{.select = stored("u_select").to(at::kDouble),
                        .action = stored("u_action").to(at::kDouble),
                        .random_ids = stored("random_ids").to(at::kLong)};
  const WordMask found = mask_words(ids, end, draws, {});
  const at::Tensor chosen = found.action.ne(static_cast<int64_t>(WordAction::kNone));
  EXPECT_TRUE(found.action.equal(stored("action")));
  EXPECT_TRUE(chosen.equal(stored("selected").to(at::kBool)));
  EXPECT_TRUE(found.ids.equal(stored("masked_ids")));
  EXPECT_TRUE(at::where(chosen, ids, -100).equal(stored("labels")));
  // With a ratio of 1 all candidates are chosen.
  const WordMask all = mask_words(ids, end, draws, {.ratio = 1});
  EXPECT_TRUE(all.action.ne(0).equal(stored("candidate").to(at::kBool)));
  size_t compared = 0;
  for (const std::string& key : file.names()) compared += key.starts_with("text.") ? 1 : 0;
  EXPECT_EQ(compared, 10u) << "a stored tensor that nothing compares";
}

TEST_F(MaskClipWords, OfTheSingleStepAreMaskedAsStored) {
  const TensorFile file(golden_path("maskclip/micro_inputs.safetensors"));
  const auto stored = [&](const char* key) { return to_tensor(file.at(key)); };
  const int64_t end_id = golden_json("maskclip/micro_step.json").at("config").at("eot");
  const at::Tensor ids = stored("pool.ids").index_select(0, stored("step.rows"));
  const WordDraws draws{.select = stored("step.text_u_select").to(at::kDouble),
                        .action = stored("step.text_u_action").to(at::kDouble),
                        .random_ids = stored("step.text_random_ids").to(at::kLong)};
  const WordMask found = mask_words(ids, ids.eq(end_id).to(at::kInt).argmax(1), draws, {});
  EXPECT_TRUE(found.action.to(at::kLong).equal(stored("step.text_action")));
  EXPECT_TRUE(found.ids.equal(stored("step.text_masked_ids")));
  EXPECT_TRUE(found.action.ne(0).to(at::kLong).equal(stored("step.text_selected")));
  EXPECT_TRUE(at::where(found.action.ne(0), ids, -100).equal(stored("step.mlm_labels")));
}

// Captions of these lengths, without words: the rule looks at places only.
struct Captions {
  explicit Captions(const std::vector<int64_t>& lengths, int64_t context = 77)
      : ids(at::zeros({static_cast<int64_t>(lengths.size()), context}, at::kLong)),
        length(torch::tensor(lengths, at::kLong)) {}

  WordMask draw(const MaskedLanguageConfig& config) const {
    std::vector<int64_t> samples(static_cast<size_t>(ids.size(0)));
    std::iota(samples.begin(), samples.end(), 0);
    return mask_words(ids, length + 1, draw_words(ids.size(1), kVocabulary, kSeed, 0, samples, at::kCPU), config);
  }

  at::Tensor ids, length;
};

std::vector<int64_t> lengths_of_draws(const Json& histogram) {
  std::vector<int64_t> out;
  for (const auto& [length, count] : histogram.items()) out.insert(out.end(), count.get<size_t>(), std::stoll(length));
  return out;
}

double mean_of(const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); }

TEST_F(MaskClipWords, DrawnOneByOneAreAsManyAsExpected) {
  const Json table = golden_json("maskclip/masking.json").at("text"), wanted = table.at("bernoulli");
  const Captions captions(lengths_of_draws(table.at("lengths_of_draws_histogram")), 40);
  const WordMask found = captions.draw({});
  const double count = static_cast<double>(captions.ids.size(0));
  ASSERT_EQ(captions.length.sum().item<int64_t>(), wanted.at("content_tokens"));
  Ledger ledger;
  const auto within = [&](const std::string& what, double value, double expected, double sigma) {
    ledger.expect("sigmas from the expectation", what, std::abs(value - expected) / sigma, 4);
  };
  const at::Tensor per_caption = found.action.ne(0).sum(1);
  const double chosen = per_caption.sum().item<double>();
  within("share", chosen / captions.length.sum().item<double>(), 0.2, wanted.at("selected_fraction_sigma"));
  for (size_t action = 0; action < 3; ++action)
    within(text("action ", action + 1), found.action.eq(static_cast<int64_t>(action) + 1).sum().item<double>() / chosen,
           action == 0 ? 0.8 : 0.1, wanted.at("action_share_sigma")[action]);
  const double none = wanted.at("captions_without_selection_expected"),
               variance = wanted.at("selected_per_caption_variance_expected");
  within("captions without", mean_of(per_caption.eq(0)), none, std::sqrt(none * (1 - none) / count));
  within("per caption", mean_of(per_caption), wanted.at("selected_per_caption_expected"), std::sqrt(variance / count));
  EXPECT_NEAR(per_caption.to(at::kDouble).var().item<double>() / variance, 1, 0.06);

  const at::Tensor random = found.ids.masked_select(found.action.eq(2)).to(at::kDouble);
  const double last = kVocabulary - 3, n = static_cast<double>(random.numel());
  within("random words", random.mean().item<double>(), last / 2, last / std::sqrt(12 * n));
  EXPECT_GE(random.min().item<double>(), 0);
  EXPECT_LE(random.max().item<double>(), last) << "start and end are no words";
  EXPECT_GT(random.max().item<double>(), 0.99 * last);
}

TEST_F(MaskClipWords, DrawnByCountAreExactlyAsManyAndAnywhere) {
  const Json table = golden_json("maskclip/masking.json").at("text"), wanted = table.at("bert_exact_count");
  const MaskedLanguageConfig config{.count = WordCount::kExact};
  std::vector<int64_t> lengths, expected;
  for (const auto& [length, count] : wanted.at("count_for_length").items()) {
    lengths.push_back(std::stoll(length));
    expected.push_back(count);
  }
  ASSERT_EQ(lengths.size(), 76u);
  EXPECT_TRUE(Captions(lengths).draw(config).action.ne(0).sum(1).equal(torch::tensor(expected, at::kLong)));

  const Captions captions(lengths_of_draws(table.at("lengths_of_draws_histogram")), 40);
  const at::Tensor chosen = captions.draw(config).action.ne(0);
  EXPECT_NEAR(mean_of(chosen.sum(1)), wanted.at("selected_per_caption_mean"), 1e-12);
  EXPECT_NEAR(chosen.sum().item<double>() / captions.length.sum().item<double>(), wanted.at("selected_fraction"),
              1e-12);
  // Two of ten words: each of them equally often.
  const at::Tensor ten = chosen.index_select(0, captions.length.eq(10).nonzero().squeeze(1)).slice(1, 1, 11);
  const double sigma = std::sqrt(0.2 * 0.8 / static_cast<double>(ten.size(0)));
  EXPECT_LT(((ten.to(at::kDouble).mean(0) - 0.2) / sigma).abs().max().item<double>(), 4);
}

TEST_F(MaskClipWords, DependOnEpochAndSampleAlone) {
  const auto select = [](uint64_t epoch, const std::vector<int64_t>& samples) {
    return draw_words(16, kVocabulary, kSeed, epoch, samples, at::kCPU).select;
  };
  const at::Tensor both = select(3, {5, 9});
  EXPECT_TRUE(both[0].equal(select(3, {5})[0]));
  EXPECT_TRUE(both[1].equal(select(3, {9})[0]));
  EXPECT_FALSE(both[0].equal(select(4, {5})[0]));
  EXPECT_FALSE(both[0].equal(both[1]));
}

}  // namespace
}  // namespace lacuna
