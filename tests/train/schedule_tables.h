#pragma once
// Which stored tables are learning rates (schedule_test.cpp) and which are other quantities (ramp_test.cpp). A table
// that is in no list, or is listed and not stored, fails both programs' "every table" tests.

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/golden.h"

namespace lacuna::testing {

using TableNames = std::set<std::string>;

inline const TableNames kCaeRates = {"cae_base_300e",       "cae_base_800e",
                                     "cae_1600e",           "caev2_300e",
                                     "finetune_cae_base",   "finetune_cae_large",
                                     "finetune_caev2_tiny", "finetune_caev2_small",
                                     "finetune_caev2_base", "attentive_cae",
                                     "linear_cae_base",     "linear_caev2_base_small",
                                     "linear_caev2_tiny",   "warmup_steps_120_overrides_5_epochs"};

inline const TableNames kBeitRates = {"beit_tiny",
                                      "beit_tiny_warmup_steps",
                                      "beit_tiny_no_warmup",
                                      "beit2_pretrain_300ep_bs2048",
                                      "beit_pretrain_800ep_bs2048",
                                      "beit2_finetune_base_bs1024"};
inline const TableNames kEpochFractionRates = {"mae_800ep_bs4096", "mae_tiny", "maskfeat_300ep_bs2048"};
inline const TableNames kLaggingRates = {"simmim_vit_800ep_bs2048", "fd_300ep_bs2048"};
inline const TableNames kUnifiedRamps = {"weight_decay_cosine_tiny", "ibot_momentum_100ep", "momentum_tiny",
                                         "data2vec_decay", "ibot_teacher_temperature"};

inline const TableNames kMaskClipRates = {"slip.lr", "open_clip.cosine", "open_clip.const", "open_clip.const_cooldown"};
inline const TableNames kMaskClipRamps = {"bootmae.momentum_per_epoch",    "ibot.momentum_0.996_to_1",
                                          "ibot.weight_decay_0.04_to_0.4", "momentum_0.996_to_0.9999",
                                          "teacher_temp.warmup1",          "teacher_temp.warmup5",
                                          "teacher_temp.warmup10",         "teacher_temp.warmup30_of_100"};

inline TableNames union_of(std::initializer_list<TableNames> lists) {
  TableNames out;
  for (const TableNames& list : lists) out.insert(list.begin(), list.end());
  return out;
}

inline TableNames keys_of(const Json& object) {
  TableNames out;
  for (const auto& [key, value] : object.items()) out.insert(key);
  return out;
}

// {"7": v, …} or a whole list [v0, v1, …] as (index, value); keys are multiplied by `scale` (fractions of an epoch).
inline std::vector<std::pair<int64_t, double>> stored_values(const Json& values, double scale = 1) {
  std::vector<std::pair<int64_t, double>> out;
  if (values.is_array()) {
    for (size_t i = 0; i < values.size(); ++i) out.emplace_back(static_cast<int64_t>(i), values[i]);
  } else {
    for (const auto& [key, value] : values.items()) out.emplace_back(std::llround(scale * std::stod(key)), value);
  }
  return out;
}

}  // namespace lacuna::testing
