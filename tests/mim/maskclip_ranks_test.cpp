// Data parallelism against golden/maskclip: with the batch spread over ranks, losses, gradients and the centre are
// those of one process with the whole batch.

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "support/maskclip_model.h"
#include "support/rank_threads.h"

namespace lacuna {
namespace {

using namespace testing;            // NOLINT
using namespace testing::maskclip;  // NOLINT

constexpr double kLimit = 1e-12;

double relative(const at::Tensor& found, const at::Tensor& expected) {
  return deviation(found, expected) / std::max(1.0, at::linalg_vector_norm(expected).item<double>());
}

// ---- The contrast alone ---------------------------------------------------------------------------------------------

class ContrastOverRanks : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { LACUNA_NEEDS_SHARED("golden/maskclip/contrastive_gather.safetensors"); }
};

// Towers of one matrix each.
struct Towers {
  explicit Towers(const TensorFile& file)
      : image(stored(file, "weight.W_image").requires_grad_(true)),
        text(stored(file, "weight.W_text").requires_grad_(true)),
        scale(stored(file, "weight.logit_scale").requires_grad_(true)) {}
  at::Tensor image, text, scale;
};

TEST_P(ContrastOverRanks, GradientsAreThoseOfOneProcess) {
  const int64_t world = GetParam();
  const TensorFile file(golden_path("maskclip/contrastive_gather.safetensors"));
  const at::Tensor images = stored(file, "input.image_features"), texts = stored(file, "input.text_features");
  const int64_t b = images.size(0) / world;
  const Towers towers(file);
  RankThreads ranks(world);
  struct Local {
    at::Tensor image, text, scale;
    ContrastLosses losses;
  };
  std::vector<Local> local(static_cast<size_t>(world));
  ranks.run([&](int64_t r) {
    Local& own = local[static_cast<size_t>(r)];
    own.image = at::matmul(images.slice(0, r * b, (r + 1) * b), towers.image);
    own.text = at::matmul(texts.slice(0, r * b, (r + 1) * b), towers.text);
    own.image.retain_grad();
    own.text.retain_grad();
    own.scale = towers.scale.detach().clone().requires_grad_(true);
    own.losses = contrastive_losses(own.image, own.text, own.scale, ranks.rank(r));
  });
  at::Tensor sum = at::zeros({}, at::kDouble);
  for (const Local& each : local) sum = sum + each.losses.image + each.losses.text;
  sum.backward();

  Ledger ledger;
  const std::string regime = world == 1 ? "single." : text("world", world, ".d_local_with_grad.");
  const auto per_rank = [&](const std::string& key, size_t r) {
    return world == 1 ? stored(file, regime + key) : stored(file, regime + key)[static_cast<int64_t>(r)];
  };
  // Ours is the gradient at the projected features; the reference's, at their unit vectors, is carried back to it.
  const auto carried_back = [](const at::Tensor& gradient, const at::Tensor& features) {
    const at::Tensor length = at::linalg_vector_norm(features, 2, -1, true), unit = features / length;
    return (gradient - unit * (unit * gradient).sum(-1, true)) / length;
  };
  for (size_t r = 0; r < local.size(); ++r) {
    const Local& own = local[r];
    ledger.expect("losses per rank", text("image ", r), deviation(own.losses.image, per_rank("L_I", r)), kLimit);
    ledger.expect("losses per rank", text("text ", r), deviation(own.losses.text, per_rank("L_T", r)), kLimit);
    const std::string prefix = world == 1 ? "grad_" : "grad_local_";
    ledger.expect("gradients of a rank's own rows", text("image ", r),
                  relative(own.image.grad(), carried_back(per_rank(prefix + "image_embed", r), own.image.detach())),
                  kLimit);
    ledger.expect("gradients of a rank's own rows", text("text ", r),
                  relative(own.text.grad(), carried_back(per_rank(prefix + "text_embed", r), own.text.detach())),
                  kLimit);
  }
  at::Tensor scales = at::zeros({}, at::kDouble);
  for (size_t r = 0; r < local.size(); ++r) {
    scales = scales + local[r].scale.grad();
    if (world > 1)
      ledger.expect("gradients of a rank's own rows", text("scale ", r),
                    relative(local[r].scale.grad(), per_rank("grad_logit_scale_per_rank", r)), kLimit);
  }
  const auto mean = [&](const at::Tensor& sum_of_ranks) { return sum_of_ranks / static_cast<double>(world); };
  const std::pair<const char*, at::Tensor> found[] = {
      {"W_image", mean(towers.image.grad())}, {"W_text", mean(towers.text.grad())}, {"logit_scale", mean(scales)}};
  for (const auto& [name, gradient] : found) {
    ledger.expect("averaged gradients", name, relative(gradient, stored(file, text("single.grad.", name))), kLimit);
    if (world == 1) continue;
    const auto of_regime = [&, key = std::string(name)](const char* other) {
      return stored(file, text("world", world, ".", other, ".ddp.", key));
    };
    for (const char* exact : {"b_full_with_grad", "d_local_with_grad"})
      ledger.expect("averaged gradients", text(exact, " ", name), relative(gradient, of_regime(exact)), kLimit);
    // The regimes that lose the other ranks' part of the towers' gradient are not ours.
    for (const char* lossy : {"a_full_no_grad", "c_local_no_grad"}) {
      if (std::string(name) != "logit_scale") {
        EXPECT_GT(relative(gradient, of_regime(lossy)), 0.1) << lossy;
      }
    }
  }
  if (world > 1) return;
  const auto unit = [](const at::Tensor& x) { return x / at::linalg_vector_norm(x, 2, -1, true); };
  ledger.expect_close("embeddings", "image", unit(local[0].image), stored(file, "single.image_embed"), kLimit);
  ledger.expect_close("embeddings", "text", unit(local[0].text), stored(file, "single.text_embed"), kLimit);
  ledger.expect_close("embeddings", "logits",
                      towers.scale.exp() * at::matmul(unit(local[0].image), unit(local[0].text).t()),
                      stored(file, "single.logits_per_image"), 1e-11);
}

INSTANTIATE_TEST_SUITE_P(Worlds, ContrastOverRanks, ::testing::Values(1, 2, 4));

// What is stored besides, by the beginning of its name, and why nothing is compared with it.
const std::pair<const char*, const char*> kNotOurs[] = {
    {"world2.a_", "the full matrix on every rank, other ranks' rows without gradient"},
    {"world4.a_", "the full matrix on every rank, other ranks' rows without gradient"},
    {"world2.b_", "the full matrix on every rank; its averaged gradients are compared"},
    {"world4.b_", "the full matrix on every rank; its averaged gradients are compared"},
    {"world2.c_", "local rows, other ranks' rows without gradient (SLIP)"},
    {"world4.c_", "local rows, other ranks' rows without gradient (SLIP)"},
    {"accumulate", "a cache of features over micro-batches, which is not built"}};

TEST(ContrastGolden, EveryStoredTensorIsComparedOrLeftOutForAReason) {
  LACUNA_NEEDS_SHARED("golden/maskclip/contrastive_gather.safetensors");
  const TensorFile file(golden_path("maskclip/contrastive_gather.safetensors"));
  for (const std::string& key : file.names()) {
    bool known = key.starts_with("input.") || key.starts_with("weight.") || key.starts_with("single.");
    for (const char* prefix : {"world2.d_", "world4.d_"}) known = known || key.starts_with(prefix);
    for (const auto& [prefix, reason] : kNotOurs) known = known || key.starts_with(prefix);
    EXPECT_TRUE(known) << key;
  }
}

// Two micro-batches whose gradients are added up contrast each only within themselves: another loss than that of the
// whole batch, which only a cache of features would give. Said here, so that nobody takes the one for the other.
TEST(ContrastOverMicroBatches, IsNotThatOfTheWholeBatch) {
  LACUNA_NEEDS_SHARED("golden/maskclip/contrastive_gather.safetensors");
  const TensorFile file(golden_path("maskclip/contrastive_gather.safetensors"));
  const Towers towers(file);
  at::Tensor sum = at::zeros({}, at::kDouble);
  for (const int64_t k : {0, 1}) {
    const ContrastLosses both = contrastive_losses(
        at::matmul(stored(file, "input.image_features").slice(0, 4 * k, 4 * k + 4), towers.image),
        at::matmul(stored(file, "input.text_features").slice(0, 4 * k, 4 * k + 4), towers.text), towers.scale);
    sum = sum + (both.image + both.text) / 2;
  }
  sum.backward();
  EXPECT_GT(relative(towers.image.grad(), stored(file, "single.grad.W_image")), 0.1);
}

// ---- The whole step -------------------------------------------------------------------------------------------------

class MaskClipOverRanks : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { LACUNA_NEEDS_SHARED("golden/maskclip/micro_data_parallel.json"); }
};

// One model per rank, as in a run of several processes.
class Replicas {
 public:
  explicit Replicas(int64_t world) : ranks(world), pool(at::kDouble) {
    const Json step = golden_json("maskclip/micro_step.json");
    const TensorFile teacher(golden_path("maskclip/micro_teacher.safetensors"));
    const MaskClipInputs whole = pool.step();
    for (int64_t r = 0; r < world; ++r) {
      models.push_back(
          std::make_unique<MaskClipModel>(step.at("config"), step.at("single_step_hyper_parameters"), at::kDouble));
      models.back()->set_teacher(teacher, pool.at("step.center"));
      inputs.push_back(MaskClipPool::part(whole, r, world));
    }
  }

  StepContext context(int64_t r) const {
    StepContext out;
    out.ranks = &ranks.rank(r);
    return out;
  }

  // The gradients averaged over ranks, by the reference's names, once the mean of all losses went backward.
  NamedTensors gradients() const {
    NamedTensors sum = models[0]->exported_gradients();
    for (size_t r = 1; r < models.size(); ++r) {
      const NamedTensors other = models[r]->exported_gradients();
      for (auto& [name, gradient] : sum) gradient = gradient + *find(other, name);
    }
    return sum;
  }

  RankThreads ranks;
  MaskClipPool pool;
  std::vector<std::unique_ptr<MaskClipModel>> models;
  std::vector<MaskClipInputs> inputs;
};

void expect_gradients(Ledger& ledger, const std::string& group, const NamedTensors& found, const Json& wanted) {
  EXPECT_EQ(found.size(), wanted.size());
  for (const auto& [name, gradient] : found) {
    ASSERT_TRUE(wanted.contains(name)) << name;
    const auto mine = maskclip_checksum(gradient);
    for (size_t i = 0; i < 3; ++i)
      ledger.expect(
          group, text(name, "[", i, "]"),
          std::abs(mine[i] - wanted.at(name)[i].get<double>()) / std::max(1.0, wanted.at(name)[0].get<double>()),
          1e-10);
  }
}

TEST_P(MaskClipOverRanks, TermsGradientsAndCentreAreThoseOfOneProcess) {
  const int64_t world = GetParam();
  const Json golden = golden_json("maskclip/micro_data_parallel.json");
  const Json& stored_world = golden.at(text("world", world));
  Replicas replicas(world);
  std::vector<MaskClipLosses> losses(static_cast<size_t>(world));
  replicas.ranks.run([&](int64_t r) {
    const auto i = static_cast<size_t>(r);
    losses[i] = replicas.models[i]->losses(replicas.inputs[i], replicas.context(r));
  });
  at::Tensor total = at::zeros({}, at::kDouble);
  std::map<std::string, double> means;
  Ledger ledger;
  for (size_t r = 0; r < losses.size(); ++r) {
    total = total + losses[r].total / static_cast<double>(world);
    for (const auto& [term, value] : losses[r].terms) means[term] += value.item<double>() / static_cast<double>(world);
    ledger.expect(
        "distillation per rank", text(r),
        std::abs(losses[r].terms.at("L_Dist").item<double>() - stored_world.at("L_Dist_per_rank")[r].get<double>()),
        1e-10);
  }
  for (const auto& [term, value] : golden.at("global").items())
    ledger.expect("means over ranks", term, std::abs(means.at(term) - value.get<double>()), 1e-10);
  EXPECT_NEAR(means.at("L_MLM"), stored_world.at("L_MLM_global_token_mean"), 1e-10);
  total.backward();
  const Json single = golden_json("maskclip/micro_step.json").at("variants").at("full");
  expect_gradients(ledger, "averaged gradients", replicas.gradients(), single.at("grad"));

  replicas.ranks.run([&](int64_t r) { replicas.models[static_cast<size_t>(r)]->after_step(replicas.context(r)); });
  const at::Tensor moved = stored(TensorFile(golden_path("maskclip/micro_after_step.safetensors")), "center");
  for (const auto& model : replicas.models) {
    const NamedTensors state = model->state();
    ledger.expect_close("centre after the step", "all", *find(state, "normalize.center"), moved, 1e-12);
  }
}

// What a rank would do that knew only its own words: another loss and another gradient, both stored.
TEST_P(MaskClipOverRanks, MeansOfEachRanksWordsAloneWouldBeAnotherLoss) {
  const int64_t world = GetParam();
  const Json golden = golden_json("maskclip/micro_data_parallel.json").at(text("world", world));
  Replicas replicas(world);
  std::vector<at::Tensor> totals(static_cast<size_t>(world));
  std::vector<double> means(static_cast<size_t>(world));
  replicas.ranks.run([&](int64_t r) {
    const auto i = static_cast<size_t>(r);
    MaskClipModel& model = *replicas.models[i];
    const MaskClipInputs& in = replicas.inputs[i];
    const StepContext context = replicas.context(r);
    const Step step = model.look(in, context);
    const at::Tensor alone = model.words->loss(in.ids, in.words, one_rank());
    means[i] = alone.item<double>();
    totals[i] = model.contrast->losses(step).total + model.distill->weight() * model.distill->losses(step).total +
                model.words->weight() * alone;
  });
  at::Tensor total = at::zeros({}, at::kDouble);
  Ledger ledger;
  for (size_t r = 0; r < totals.size(); ++r) {
    total = total + totals[r] / static_cast<double>(world);
    EXPECT_EQ(replicas.inputs[r].words.action.ne(0).sum().item<int64_t>(), golden.at("selected_tokens_per_rank")[r]);
    ledger.expect("a rank's own mean", text(r),
                  std::abs(means[r] - golden.at("L_MLM_local_token_mean_per_rank")[r].get<double>()), 1e-10);
  }
  ledger.expect("total", "mean", std::abs(total.item<double>() - golden.at("total_with_local_mlm_means").get<double>()),
                1e-10);
  EXPECT_GT(std::abs(golden.at("L_MLM_mean_of_local_means").get<double>() -
                     golden.at("L_MLM_global_token_mean").get<double>()),
            0.1);
  total.backward();
  expect_gradients(ledger, "gradients", replicas.gradients(), golden.at("grad_with_local_mlm_means"));
}

INSTANTIATE_TEST_SUITE_P(Worlds, MaskClipOverRanks, ::testing::Values(2, 4));

}  // namespace
}  // namespace lacuna
