#pragma once
// A row of the unified table (golden/unified) built of the product's own parts: cells, weights by their official names,
// a teacher from files, and steps with the stored masks.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mim/distill.h"
#include "mim/hog.h"
#include "mim/student.h"
#include "nn/frozen_vit.h"
#include "nn/vit_resize.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "support/unified_cells.h"
#include "train/optimizer.h"

namespace lacuna::testing {

// ---- What is stored -------------------------------------------------------------------------------------------------

// The weights and inputs that all rows share.
class UnifiedStore {
 public:
  UnifiedStore()
      : weights_(golden_path("unified/rows/weights.safetensors")),
        inputs_(golden_path("unified/rows/inputs.safetensors")) {}

  at::Tensor weight(const std::string& official) const { return to_tensor(weights_.at(official)); }
  at::Tensor input(const std::string& name) const { return to_tensor(inputs_.at(name)); }

  void write(const TeacherFiles& files, const std::filesystem::path& folder) const {
    NamedTensors part;
    for (const std::string& name : weights_.names()) {
      const auto bears = [&](const std::string& piece) { return name.find(piece) != std::string::npos; };
      if (!name.starts_with(files.prefix) || std::any_of(files.without.begin(), files.without.end(), bears)) continue;
      const std::string own = name.substr(files.prefix.size());
      part.emplace_back(files.front + (own == files.renamed.first ? files.renamed.second : own), weight(name));
    }
    std::vector<at::Tensor> keep;
    write_safetensors(folder / "model.safetensors", to_views(part, keep));
    if (!files.config_file.empty()) write_json_atomic(folder / files.config_file, files.config);
  }

 private:
  TensorFile weights_, inputs_;
};

// rows/<row>.safetensors; remembers what was asked for.
class StoredRow {
 public:
  explicit StoredRow(const std::string& row) : file_(golden_path("unified/rows/" + row + ".safetensors")) {}

  bool has(const std::string& key) const { return file_.has(key); }
  at::Tensor at(const std::string& key) {
    used_.insert(key);
    return to_tensor(file_.at(key));
  }
  std::vector<std::string> keys(const std::string& prefix) const {
    std::vector<std::string> out;
    for (const std::string& name : file_.names()) {
      if (name.starts_with(prefix)) out.push_back(name);
    }
    return out;
  }
  std::vector<std::string> unused() const {
    std::vector<std::string> out;
    for (const std::string& name : file_.names()) {
      if (!used_.contains(name)) out.push_back(name);
    }
    return out;
  }

 private:
  TensorFile file_;
  std::set<std::string> used_;
};

// ---- Teachers of the tests ------------------------------------------------------------------------------------------

class TestTeacher : public Teacher {
 public:
  explicit TestTeacher(const StudentSides& sides) : sides_(sides) {}
  ViewSpec view() const override { return {.side = static_cast<int>(sides_.image_side), .stats = sides_.stats}; }
  int64_t grid() const override { return sides_.grid(); }
  int64_t patch_side() const override { return sides_.patch_side; }
  std::string describe() const override { return "a teacher of the tests"; }
  void to(at::Device, at::ScalarType) override {}

 private:
  StudentSides sides_;
};

// The rows of maskfeat are of pixels that are no integers from 0 to 255, to which the product's teacher rounds.
class UnroundedHog : public TestTeacher {
 public:
  UnroundedHog(const TeacherConfig& config, const StudentSides& sides) : TestTeacher(sides), config_(config) {}
  int64_t width() const override { return 108; }
  bool has_class_token() const override { return false; }
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    const at::Tensor cells =
        hog(images.to(at::kDouble), config_.hog_bins, config_.hog_cell, config_.hog_window).to(images.scalar_type());
    const at::Tensor tokens = hog_tokens(cells, patch_side(), config_.hog_cell);
    return {.grids = {at::cat({at::zeros_like(tokens.slice(1, 0, 1)), tokens}, 1)}};
  }

 private:
  TeacherConfig config_;
};

// A teacher at another size has its positions resized in float32 when it is opened. This one resizes in float64.
class ExactlyResizedVit : public TestTeacher {
 public:
  ExactlyResizedVit(const TeacherConfig& config, const StudentSides& sides)
      : TestTeacher(sides), vit_(open_frozen_vit(config.path).vit) {
    check(config.layer == TeacherLayer::kLastBlock, "only the last block of a resized network is taken");
    vit_->to(at::kDouble);
    vit_ = resized(vit_, *config.image_side, config.resize);
  }
  int64_t width() const override { return vit_->config().width; }
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    const at::NoGradGuard no_grad;
    return {.grids = {vit_->run_blocks(images, {}, nullptr, nullptr)}};
  }

 private:
  Vit vit_;
};

// ---- One row --------------------------------------------------------------------------------------------------------

inline MaskPlan plan_of(const at::Tensor& mask) {  // [B,N] uint8
  std::vector<std::vector<std::uint8_t>> masks;
  for (int64_t b = 0; b < mask.size(0); ++b) {
    const at::Tensor one = mask[b].contiguous();
    masks.emplace_back(one.data_ptr<std::uint8_t>(), one.data_ptr<std::uint8_t>() + one.numel());
  }
  return plan_from_masks(masks, at::kCPU);
}

// Rows [R,K] in the order of the references: images one after the other, class token first, then patches ascending.
// Ours stand region by region.
inline at::Tensor reference_order(const at::Tensor& rows, const Regions& regions, const MaskPlan& plan) {
  const int several = (regions.cls > 0) + (regions.visible > 0) + (regions.masked > 0);
  if (several < 2) return rows.flatten(0, 1);
  check(plan.even(), "rows of several regions of an uneven plan");
  const at::Tensor order =
      token_places(regions, plan).argsort(int64_t{1}, false).unsqueeze(2).expand({-1, -1, rows.size(2)});
  return rows.gather(1, order).flatten(0, 1);
}

class UnifiedModel {
 public:
  UnifiedModel(const Json& cells, StoredRow& stored, at::ScalarType dtype)
      : cells_(cells), teacher_(teacher_cell(cells.at("teacher"))), dtype_(dtype) {
    make_views(stored);
    make_student();
    make_objectives();
    fill();
    for (const auto& objective : objectives) {
      objective->begin(/*seed=*/0);
      objective->prepare(at::kCPU, dtype_);
    }
    for (const auto& [key, state] :
         {std::pair{"input.center_patch", "normalize.center"}, std::pair{"input.center_cls", "normalize.center_cls"}}) {
      if (stored.has(key)) set_state(state, stored.at(key));
    }
    context_.training = true;
  }

  // The parameters that a step trains, by their official names: those that have a gradient.
  std::map<std::string, at::Tensor> trained() const {
    std::map<std::string, at::Tensor> out;
    for (const auto& [name, parameter] : named_tensors(*root_)) {
      if (parameter.grad().defined()) out[official_.at(name)] = parameter;
    }
    return out;
  }
  NamedTensors parameters() const { return named_tensors(*root_); }

  // The student's look at every view.
  Step look() {
    std::vector<Pass> passes;
    for (size_t v = 0; v < plans.size(); ++v)
      passes.push_back({.plan = plans[v], .encoded = student->forward(batch_.views[v], plans[v], true, nullptr)});
    return {.batch = batch_,
            .context = context_,
            .passes = std::move(passes),
            .clean = {},
            .text_ids = {},
            .drop = nullptr,
            .tell = {}};
  }

  std::vector<ObjectiveLosses> losses(const Step& step) {
    std::vector<ObjectiveLosses> out;
    for (const auto& objective : objectives) out.push_back(objective->losses(step));
    for (const auto& objective : objectives) objective->forget();
    return out;
  }
  at::Tensor total(const std::vector<ObjectiveLosses>& parts) const {
    at::Tensor sum = at::zeros({}, dtype_);
    for (size_t i = 0; i < parts.size(); ++i) sum = sum + objectives[i]->weight() * parts[i].total;
    return sum;
  }

  // What the teacher says of view `v`, before normalisation.
  const Observation& raw(size_t v) {
    return objectives[0]->teacher()->observe(batch_.views[teacher_places_[v]], plans[v], nullptr);
  }
  at::Tensor prediction(size_t objective, const Tokens& tokens, size_t v) {
    return reference_order(objectives[objective]->predict(tokens, plans[v], nullptr), regions[objective], plans[v]);
  }
  at::Tensor target(size_t objective, const Step& step, size_t v) {
    const at::Tensor rows =
        objectives[objective]->targets(step, v, plans[v], /*remember=*/false).join(regions[objective]);
    return reference_order(rows, regions[objective], plans[v]);
  }

  // One optimizer step; returns the loss before it and the global norm before clipping.
  std::pair<double, double> step(AdamW& optimizer, double lr) {
    optimizer.zero_grad();
    const at::Tensor loss = total(losses(look()));
    loss.backward();
    for (const auto& objective : objectives) objective->before_update(context_);
    const double norm = optimizer.step(lr).item<double>();
    for (const auto& objective : objectives) objective->after_step(context_);
    ++context_.step;
    return {loss.item<double>(), norm};
  }

  const TeacherCell& teacher() const { return teacher_; }
  const std::filesystem::path& teacher_folder() const { return folder_; }
  const at::Tensor& teacher_view(size_t v) const { return batch_.views[teacher_places_[v]]; }
  const Batch& batch() const { return batch_; }
  const StudentSides& sides() const { return sides_; }
  const UnifiedStore& store() const { return store_; }

  Student student{nullptr};
  std::vector<std::shared_ptr<Distill>> objectives;
  std::vector<Regions> regions;  // by objective
  std::vector<MaskPlan> plans;   // by view

 private:
  void make_views(StoredRow& stored) {
    const std::string names = cells_.at("image");
    for (size_t begin = 0; begin < names.size();) {
      const size_t end = std::min(names.find(", ", begin), names.size());
      batch_.views.push_back(store_.input(names.substr(begin, end - begin)).to(dtype_));
      begin = end + 2;
    }
    const int64_t side = batch_.views[0].size(2), patches = side * side / 256;
    batch_.ids.assign(2, 0);
    sides_ = {.image_side = side, .patch_side = 16, .stats = teacher_.student_stats};
    const at::Tensor masks = stored.has("input.mask") ? stored.at("input.mask") : at::zeros({2, patches}, at::kByte);
    for (const at::Tensor& mask : masks.view({-1, 2, patches}).unbind()) plans.push_back(plan_of(mask));
    check(plans.size() == batch_.views.size(), "as many masks as views");
  }

  void make_student() {
    StudentConfig config;
    const std::string mode = cells_.at("student").at("mode");
    config.mode = mode == "drop" ? StudentMode::kDrop : StudentMode::kPaint;  // an intact image is painted nowhere
    check(mode == "drop" || mode == "paint" || mode == "intact", "cases.json: unknown student mode ", mode);
    if (cells_.contains("cls_path")) config.aggregation = {.layer = 1, .depth = 1};
    student = Student(config, student_vit(cells_.at("student"), sides_.image_side), completer_cell(cells_.at("head")));
    root_->register_module("student", student.ptr());
  }

  std::unique_ptr<Teacher> make_teacher(const std::shared_ptr<Head>& head, const HeadConfig& head_config) {
    TeacherConfig config = teacher_.config;
    config.path = folder_.path();
    if (!teacher_.files.empty()) store_.write(teacher_files(teacher_.files), folder_);
    switch (origin_of(config.kind)) {
      case TeacherOrigin::kFile:
        if (config.image_side && dtype_ == at::kDouble) return std::make_unique<ExactlyResizedVit>(config, sides_);
        return open_file_teacher(config, {.stats = sides_.stats});
      case TeacherOrigin::kImage:
        if (config.kind == TeacherKind::kHog) return std::make_unique<UnroundedHog>(config, sides_);
        return make_image_teacher(config, sides_);
      case TeacherOrigin::kTwin:
        return make_twin_teacher(config, sides_, student, head, head_config);
    }
    return nullptr;
  }

  void make_objectives() {
    const std::string head_word = cells_.at("head");
    DistillConfig config = distill_config();
    const bool prototypes = config.head.kind == HeadKind::kProjection;
    const auto sized = [&](int64_t out) { return HeadSizes{.width = student->width(), .out = out, .grid = 4}; };
    std::shared_ptr<Head> head = prototypes ? build_head(config.head, sized(0)) : nullptr;
    std::unique_ptr<Teacher> opened = make_teacher(head, config.head);
    if (!head) head = build_head(config.head, sized(opened->width()));
    show_teacher(*opened);
    const auto shared = std::make_shared<SharedTeacher>(std::move(opened));
    const double weight = cells_.at("loss") == "two_minus_two_cosine" ? 2.0 : 1.0;
    const auto views = static_cast<int64_t>(plans.size());
    add(std::make_shared<Distill>(prototypes ? "patches" : "target", weight, config, shared, head, true, views),
        config);
    if (prototypes) {
      config.region = {.kind = RegionKind::kClass};
      config.reduction = Reduction::kTokenMean;
      config.crops = CropPairs::kOthers;
      config.normalize.temperature.start = cells_.at("teacher_temp_cls");
      add(std::make_shared<Distill>("cls", 1.0, config, shared, head, /*owns=*/false, views), config);
    }
    const auto modules = root_->register_module("objective", std::make_shared<torch::nn::Module>());
    for (const auto& objective : objectives) modules->register_module(objective->objective_name(), objective);
    official_ = official_unified_names(official_head(head_word));
  }

  DistillConfig distill_config() const {
    static const std::string kEach = " of each of the last 2 block outputs, mean, ";
    const std::string norm = cells_.at("norm");
    const size_t each = norm.find(kEach);
    DistillConfig c{.normalize = normalize_cell(norm.substr(0, each)),
                    .region = {.kind = region_cell(cells_.at("region"))},
                    .head = head_cell(cells_.at("head")),
                    .loss = loss_cell(cells_.at("loss"))};
    if (each != std::string::npos) c.normalize_mean = normalize_cell(norm.substr(each + kEach.size()));
    if (c.head.kind == HeadKind::kProjection) {
      c.reduction = Reduction::kImageMean;
      c.loss.temperature = cells_.at("student_temp");
      c.normalize.temperature.start = cells_.at("teacher_temp_patch");
      c.normalize.momentum = cells_.at("center_momentum");
    }
    return c;
  }

  void add(std::shared_ptr<Distill> objective, const DistillConfig& config) {
    objective->set_views(teacher_places_);
    regions.push_back(config.region.weights());
    objectives.push_back(std::move(objective));
  }

  // The pixels as the teacher's view asks for them: what the student sees with other statistics, or a stored image.
  void show_teacher(const Teacher& teacher) {
    const PixelStats from = sides_.stats, to = teacher.view().stats;
    const auto channels = [](const std::vector<double>& values) {
      return torch::tensor(at::ArrayRef<double>(values), at::kDouble).view({1, 3, 1, 1});
    };
    const bool tokens = teacher.form() == TargetForm::kClasses;  // made in float32 whatever the student is in
    const size_t views = plans.size();
    for (size_t v = 0; v < views; ++v) {
      at::Tensor pixels = batch_.views[v].to(at::kDouble);
      if (!teacher_.input.empty()) {
        pixels = store_.input(teacher_.input).to(at::kDouble);
        if (tokens) pixels = (pixels - channels(to.mean)) / channels(to.std);
      } else if (!(from == to)) {
        pixels = (pixels * channels(from.std) + channels(from.mean) - channels(to.mean)) / channels(to.std);
      } else {
        teacher_places_.push_back(v);
        continue;
      }
      teacher_places_.push_back(batch_.views.size());
      batch_.views.push_back(pixels.to(tokens ? at::kFloat : dtype_));
    }
  }

  // Every parameter and every buffer by its official name; fixed positions must already be what is stored.
  void fill() {
    const at::NoGradGuard no_grad;
    root_->to(dtype_);
    const Json alias = cells_.value("weights_alias", Json::object());
    if (student->vit->config().relative_bias == RelativeBiasKind::kShared)
      official_["student.vit.relative_biases.0.relative_position_bias_table"] =
          "student.rel_pos_bias.relative_position_bias_table";
    for (const auto& [name, tensor] : named_tensors(*root_, "", /*buffers=*/true)) {
      const std::string& official = official_.at(name);
      const bool fixed = name == "student.vit.pos_embed" && !tensor.requires_grad();
      const at::Tensor value =
          store_.weight(fixed ? "student.sincos_pos_embed" : alias.value(official, official)).to(dtype_);
      check(value.numel() == tensor.numel(), name, ": ", value.sizes(), " for ", tensor.sizes());
      if (!tensor.requires_grad())
        check(deviation(tensor, value.view(tensor.sizes())) <= 1e-6, name, " is not what ", official, " is");
      tensor.copy_(value.view(tensor.sizes()));
    }
  }

  void set_state(const std::string& name, const at::Tensor& value) {
    for (const auto& objective : objectives) {
      const NamedTensors state = objective->extra_state();
      const at::Tensor* found = find(state, name);
      check(found != nullptr, objective->objective_name(), " has no ", name);
      found->copy_(value.view(found->sizes()));
    }
  }

  Json cells_;
  TeacherCell teacher_;
  at::ScalarType dtype_;
  UnifiedStore store_;
  TemporaryFolder folder_;
  StudentSides sides_;
  Batch batch_;
  std::vector<size_t> teacher_places_;  // of its views in the batch
  StepContext context_;
  std::shared_ptr<torch::nn::Module> root_ = std::make_shared<torch::nn::Module>();
  std::map<std::string, std::string> official_;  // by our names
};

}  // namespace lacuna::testing
