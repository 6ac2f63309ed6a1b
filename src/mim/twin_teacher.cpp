// Teachers made from the student itself: a moving average, its weights of the moment, or an untrained twin.

#include "base/error.h"
#include "mim/teacher.h"

namespace lacuna {
namespace {

class TwinTeacher : public Teacher {
 public:
  TwinTeacher(const TeacherConfig& config, const StudentSides& sides, Student student, std::shared_ptr<Head> head,
              const HeadConfig& head_config)
      : config_(config), sides_(sides), student_(std::move(student)), online_head_(std::move(head)) {
    const VitConfig& vit = student_->vit->config();
    check(config.layer != TeacherLayer::kProjected && config.layer != TeacherLayer::kRawProjected,
          "teacher.layer: a twin of the student has no projection; use normed or last_block");
    check(config.top_blocks <= vit.depth, "teacher.top_blocks: ", config.top_blocks, ", but the student has ",
          vit.depth, " blocks");
    check(config.top_blocks == 0 || !online_head_,
          "teacher.top_blocks: prototypes are read from the last block; leave it 0");
    check(!online_head_ || student_->width() == token_width(),
          "teacher: prototypes are read from tokens of the student's ", student_->width(),
          " channels, but its encoder has ", token_width(), "; set completer.width=", vit.width);
    check(!online_head_ || head_config.kind != HeadKind::kDecoder,
          "teacher.with_head: a decoder attends among the tokens of one region, and a teacher makes all; use "
          "head.kind=mlp or projection");
    if (config.kind == TeacherKind::kSelf) {
      vit_ = student_->vit;
      head_ = online_head_;
      return;
    }
    vit_ = Vit(vit);
    config_.momentum.validate("teacher.momentum", 0, 1);
    if (online_head_)
      head_ = build_head(head_config, {.width = student_->width(), .out = online_head_->out(), .grid = vit.grid()});
  }

  ViewSpec view() const override { return sides_.view(); }
  int64_t grid() const override { return sides_.grid(); }
  int64_t patch_side() const override { return sides_.patch_side; }
  int64_t width() const override { return head_ ? head_->out() : token_width(); }
  bool sees_masked_only() const override { return of_masked(); }
  bool can_guide() const override { return true; }
  at::Tensor attention(const at::Tensor& images) override { return vit_->class_attention(images); }

  std::string describe() const override {
    const std::string what = of_masked() ? " on the hidden patches" : " on the whole image";
    if (config_.kind == TeacherKind::kSelf) return "the student's own weights" + what;
    if (config_.kind == TeacherKind::kRandom) return "an untrained twin of the student" + what;
    const Ramp& m = config_.momentum;
    const std::string end = m.end && *m.end != m.start ? text(" to ", *m.end) : "";
    return text("a moving average of the student, momentum ", m.start, end, what);
  }

  void begin(uint64_t seed) override {
    if (config_.kind == TeacherKind::kSelf) return;
    const at::NoGradGuard no_grad;
    const at::Tensor& like = student_->vit->patch_embed->weight;
    vit_->to(like.device(), like.scalar_type());
    if (head_) head_->to(like.device(), like.scalar_type());
    for (const auto& [own, source] : pairs(/*buffers=*/true)) own.copy_(source);
    if (config_.kind == TeacherKind::kRandom) initialize(*vit_, seed, InitScheme::kBeit, "twin.");
  }

  Observation observe(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop) override {
    const at::NoGradGuard no_grad;
    const int64_t first = vit_->config().depth - config_.top_blocks;
    Observation out{.grids = {}, .of_masked = of_masked()};
    const at::Tensor rows = of_masked() ? plan.masked : at::Tensor();
    at::Tensor x = vit_->run_blocks(images, rows, config_.drop_path ? drop : nullptr,
                                    [&](int64_t block, const at::Tensor& tokens) {
                                      if (config_.top_blocks > 0 && block >= first) out.grids.push_back(tokens);
                                    });
    if (config_.top_blocks > 0) return out;
    if (config_.layer != TeacherLayer::kLastBlock) x = vit_->normalize(x);
    if (adapted()) x = student_->completer->adapt(x);
    if (head_) x = head_->forward({.tokens = x, .places = {}}, nullptr);
    out.grids = {x};
    return out;
  }

  void before_update(const StepContext& context) override {
    if (config_.update == MomentumUpdate::kBeforeUpdate) follow(context);
  }
  void after_step(const StepContext& context) override {
    if (config_.update == MomentumUpdate::kAfterStep) follow(context);
  }

  NamedTensors state() override {
    if (config_.kind != TeacherKind::kMomentum) return {};
    NamedTensors out = named_tensors(*vit_, "vit.");
    if (head_) {
      for (auto& item : named_tensors(*head_, "head.")) out.push_back(std::move(item));
    }
    return out;
  }

  void to(at::Device device, at::ScalarType) override {  // an average of small steps needs full precision
    if (config_.kind == TeacherKind::kSelf) return;
    vit_->to(device);
    if (head_) head_->to(device);
  }

 private:
  bool of_masked() const { return config_.sees == TeacherSight::kMasked; }
  bool adapted() const {
    return of_masked() && config_.top_blocks == 0 && student_->completer && student_->completer->adapts();
  }
  int64_t token_width() const { return adapted() ? student_->width() : student_->vit->config().width; }

  // Own tensors beside the student's of the same name.
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs(bool buffers) const {
    std::vector<std::pair<at::Tensor, at::Tensor>> out;
    const auto add = [&](const torch::nn::Module& own, const torch::nn::Module& source) {
      const NamedTensors sources = named_tensors(source, "", buffers);
      for (const auto& [name, tensor] : named_tensors(own, "", buffers)) {
        const at::Tensor* found = find(sources, name);
        invariant(found != nullptr, "the student has no tensor ", name);
        out.emplace_back(tensor, *found);
      }
    };
    add(*vit_, *student_->vit);
    if (head_) add(*head_, *online_head_);
    return out;
  }

  // teacher <- m teacher + (1 - m) student, over parameters; index and position tables are the same in both.
  void follow(const StepContext& context) {
    if (config_.kind != TeacherKind::kMomentum) return;
    const at::NoGradGuard no_grad;
    const double m = config_.momentum.value(context.step, context.total_steps, context.steps_per_epoch);
    std::vector<at::Tensor> own, source;
    for (const auto& [mine, theirs] : pairs(/*buffers=*/false)) own.push_back(mine), source.push_back(theirs.detach());
    at::_foreach_mul_(own, m);
    at::_foreach_add_(own, source, 1 - m);
  }

  TeacherConfig config_;
  StudentSides sides_;
  Student student_;
  std::shared_ptr<Head> online_head_, head_;
  Vit vit_{nullptr};
};

}  // namespace

std::unique_ptr<Teacher> make_twin_teacher(const TeacherConfig& config, const StudentSides& sides, Student student,
                                           std::shared_ptr<Head> head, const HeadConfig& head_config) {
  return std::make_unique<TwinTeacher>(config, sides, std::move(student), std::move(head), head_config);
}

}  // namespace lacuna
