// Ten steps of MaskCLIP against every run of golden/maskclip, in float64 and float32: schedules, losses, gradient
// norms, and where student, teacher and centre end.

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "support/maskclip_model.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace lacuna {
namespace {

using namespace testing;            // NOLINT
using namespace testing::maskclip;  // NOLINT

class MaskClipRun : public ::testing::TestWithParam<MaskClipCase> {
 protected:
  void SetUp() override { LACUNA_NEEDS_SHARED("golden/maskclip/micro_run.json"); }
};

AdamWConfig optimizer_of(const Json& hyper) {
  AdamWConfig c{.weight_decay = hyper.at("wd"),
                .beta1 = hyper.at("betas")[0],
                .beta2 = hyper.at("betas")[1],
                .eps = hyper.at("eps"),
                .clip = hyper.at("clip_per_tensor"),
                .clip_scope = ClipScope::kTensor};
  if (hyper.at("wd_end") != hyper.at("wd")) c.weight_decay_end = hyper.at("wd_end").get<double>();
  return c;
}

TEST_P(MaskClipRun, TenStepsAgree) {
  const auto& [name, dtype] = GetParam();
  const MaskClipLimits& limits = limits_of(dtype);
  const bool is_double = dtype == at::kDouble;
  const Json& run = run_json().at("runs").at(name);
  const Json hyper = run.value("hyper_parameters", run_json().at("hyper_parameters"));
  const MaskClipPool pool(dtype);
  MaskClipModel model(config_of(run.at("variant")), hyper, dtype);
  const AdamWConfig config = optimizer_of(hyper);
  AdamW optimizer(model.parameters(), config);
  const int64_t per_epoch = hyper.at("per_epoch"), total = hyper.at("epochs").get<int64_t>() * per_epoch;
  const Schedule schedule{.peak = hyper.at("lr"),
                          .floor = hyper.at("lr_end"),
                          .warmup = hyper.at("warmup_epochs").get<int64_t>() * per_epoch,
                          .total = total,
                          .warmup_start = hyper.at("lr_start")};
  Ledger ledger;
  ASSERT_EQ(run.at("steps").size(), static_cast<size_t>(total));
  for (int64_t k = 0; k < total; ++k) {
    const Json& wanted = run.at("steps")[static_cast<size_t>(k)];
    const StepContext context{.step = k, .total_steps = total, .steps_per_epoch = per_epoch};
    const auto exact = [&](const char* what, double found) {
      ledger.expect("schedules", text(what, " of step ", k), std::abs(found - wanted.at(what).get<double>()), 1e-15);
    };
    optimizer.zero_grad();
    const MaskClipLosses losses = model.losses(pool.run(k), context);
    losses.total.backward();
    const double norm = global_norm(model);
    model.before_update(context);
    const double rate = schedule.at(k), decay = config.weight_decay_at(k, total);
    const double norm_of_moved = optimizer.step(rate, decay).item<double>();
    model.after_step(context);

    exact("lr", rate);
    exact("wd", decay);
    for (const char* term : {"L_I", "L_T", "L_Dist", "L_MLM", "total"}) {
      ASSERT_EQ(wanted.contains(term), losses.terms.contains(term)) << term;
      if (wanted.contains(term))
        ledger.expect("losses", text(term, " of step ", k),
                      std::abs(losses.terms.at(term).item<double>() - wanted.at(term).get<double>()), limits.run_loss);
    }
    // The reference's norm is that of all gradients. The optimizer's leaves out what is frozen in this step.
    const double norm_limit = is_double ? 1e-9 : 1e-4;
    ledger.expect_relative("norm of the gradient", text("of step ", k), norm, wanted.at("grad_norm"), norm_limit);
    const bool frozen = k < hyper.at("freeze_last_layer_epochs").get<int64_t>() * per_epoch;
    if (frozen) {
      EXPECT_LT(norm_of_moved, norm);
    } else {
      ledger.expect_relative("norm of the gradient", text("of step ", k), norm_of_moved, norm, 1e-6);
    }
    const at::Tensor scale = *find(model.parameters(), "objective.contrast.logit_scale");
    ledger.expect("logit scale", text("after step ", k),
                  std::abs(scale.item<double>() - wanted.at("logit_scale").get<double>()), is_double ? 1e-12 : 1e-6);
  }
  EXPECT_EQ(optimizer.skipped().item<float>(), 0);

  const double limit = limits.run_parameter;
  expect_checksums(ledger, "student's checksums", model.exported(), run.at("final.student"), limit, !is_double, true);
  if (run.contains("final.teacher")) expect_teacher(ledger, model, run.at("final.teacher"), limit, !is_double);
  const NamedTensors state = model.state();
  const at::Tensor* kept = find(state, "normalize.center");
  const at::Tensor center = kept ? *kept : at::zeros({1}, at::kDouble);
  expect_checksums(ledger, "centre's checksum", {{"center", center}}, {{"center", run.at("final.center")}}, limit,
                   false, false);
  if (name != "full") return;
  const TensorFile file(golden_path("maskclip/micro_run_final.safetensors"));
  NamedTensors found = model.exported_teacher();
  for (const auto& [key, tensor] : model.exported()) found.emplace_back("student." + key, tensor);
  found.emplace_back("center", center);
  for (const std::string& key : file.names()) {
    const at::Tensor expected = stored(file, key), *mine = find(found, key);
    ASSERT_NE(mine, nullptr) << key;
    ledger.expect("stored tensors", key, deviation(without_key_bias(key, *mine), without_key_bias(key, expected)),
                  limit);
  }
}

std::vector<MaskClipCase> runs() {
  std::vector<MaskClipCase> out = maskclip_variants();
  for (const char* name : {"full_logit_scale_cap", "full_wd_cosine_freeze_clip"}) {
    out.push_back({name, at::kDouble});
    out.push_back({name, at::kFloat});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Micro, MaskClipRun, ::testing::ValuesIn(runs()),
                         [](const auto& each) { return each.param.name + "_" + name_of(each.param.dtype); });

TEST(MaskClipRuns, AreAllThatAreStored) {
  LACUNA_NEEDS_SHARED("golden/maskclip/micro_run.json");
  std::set<std::string> ours, theirs;
  for (const MaskClipCase& run : runs()) ours.insert(run.name);
  for (const auto& [name, value] : run_json().at("runs").items()) theirs.insert(name);
  EXPECT_EQ(ours, theirs);
}

}  // namespace
}  // namespace lacuna
