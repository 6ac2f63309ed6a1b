#include "mim/composition.h"

#include <map>
#include <set>

#include "base/error.h"
#include "nn/init.h"

namespace lacuna {
namespace {

constexpr int64_t kUsualSide = 224;
constexpr int64_t kUsualPatch = 16;

bool has_teacher(const ObjectiveConfig& c) { return c.kind == ObjectiveKind::kDistill && c.shares.empty(); }

// Teachers with a grid of their own come first: the student's open sides follow them.
std::vector<std::unique_ptr<Teacher>> open_files(const Composition& composition) {
  std::vector<std::unique_ptr<Teacher>> teachers;
  for (const ObjectiveConfig& c : composition.objectives) {
    const bool file = has_teacher(c) && origin_of(c.teacher.kind) == TeacherOrigin::kFile;
    teachers.push_back(file ? open_file_teacher(c.teacher, composition.student) : nullptr);
  }
  return teachers;
}

VitConfig settle_sides(const StudentConfig& student, const std::vector<std::unique_ptr<Teacher>>& teachers) {
  VitConfig vit = student.vit;
  if (student.spectrum > 0) vit.channels = student.spectrum;
  vit.image_side = student.image_side.value_or(kUsualSide);
  vit.patch_side = student.patch_side.value_or(kUsualPatch);
  for (const auto& teacher : teachers) {
    if (!teacher) continue;
    if (!student.image_side)
      vit.image_side = student.patch_side ? teacher->grid() * *student.patch_side : teacher->view().side;
    if (!student.patch_side) vit.patch_side = std::max<int64_t>(1, vit.image_side / teacher->grid());
    break;
  }
  validate(vit);
  return vit;
}

void check_stats(const StudentConfig& student) {
  const auto channels = static_cast<size_t>(student.spectrum > 0 ? student.spectrum : 3);
  check(student.stats.mean.size() == channels && student.stats.std.size() == channels,
        "student.mean and student.std: the student sees ", channels, " channels and needs as many numbers, found ",
        student.stats.mean.size(), " and ", student.stats.std.size(),
        "; lacuna data check PATH with the same data.bands measures them");
}

void check_grid(const Teacher& teacher, const VitConfig& vit) {
  check(teacher.grid() == vit.grid(), "teacher: its patches form a grid of ", teacher.grid(), " x ", teacher.grid(),
        " (input ", teacher.view().side, " px), but the student's form ", vit.grid(), " x ", vit.grid(),
        " (student.image_side ", vit.image_side, ", student.patch_side ", vit.patch_side,
        "). Use a student.image_side of ", teacher.grid() * vit.patch_side,
        " with this patch side, a teacher.image_side of ", vit.grid() * teacher.patch_side(),
        ", or leave the student's sides open to follow the teacher");
}

void check_names(const Composition& composition) {
  check(!composition.objectives.empty(), "objective: none has a weight above 0, so nothing would be learnt");
  std::set<std::string> names;
  for (const ObjectiveConfig& objective : composition.objectives) {
    const bool plain = objective.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
    check(plain && !objective.name.empty(), "objective: name '", objective.name,
          "' must be of lower-case letters, digits and _");
    check(names.insert(objective.name).second, "objective: two are named '", objective.name,
          "'; give each its own name");
  }
}

// Builds the objectives in the order of the list, each with its teacher and head.
class Builder {
 public:
  Builder(const Composition& composition, const VitConfig& vit, Student student, TextStudent text,
          std::vector<std::unique_ptr<Teacher>> files)
      : composition_(composition),
        sides_{.image_side = vit.image_side,
               .patch_side = vit.patch_side,
               .stats = composition.student.stats,
               .kernel = composition.student.kernel,
               .spectrum = composition.student.spectrum},
        student_(std::move(student)),
        text_(std::move(text)),
        files_(std::move(files)) {}

  const StudentSides& sides() const { return sides_; }

  std::vector<std::shared_ptr<Objective>> build() {
    std::vector<std::shared_ptr<Objective>> out;
    for (size_t i = 0; i < composition_.objectives.size(); ++i) out.push_back(objective(i));
    return out;
  }

 private:
  std::shared_ptr<Objective> objective(size_t i) {
    const ObjectiveConfig& c = composition_.objectives[i];
    switch (c.kind) {
      case ObjectiveKind::kContrast:
        return std::make_shared<Contrast>(c.name, c.weight, c.contrast, text_, student_->vit->config().width);
      case ObjectiveKind::kMaskedLanguage:
        return std::make_shared<MaskedLanguage>(c.name, c.weight, c.words, text_);
      case ObjectiveKind::kDistill:
        break;
    }
    auto distill = c.shares.empty() ? own(i) : shared(c);
    distills_[c.name] = distill;
    return distill;
  }

  std::shared_ptr<Distill> shared(const ObjectiveConfig& c) {
    const auto found = distills_.find(c.shares);
    check(found != distills_.end(), "objective '", c.name, "': it shares head and teacher of '", c.shares,
          "', but no distill objective before it has that name");
    const Distill& owner = *found->second;
    return std::make_shared<Distill>(c.name, c.weight, c.distill, owner.teacher(), owner.head(), /*owns=*/false,
                                     composition_.crops);
  }

  std::shared_ptr<Distill> own(size_t i) {
    const ObjectiveConfig& c = composition_.objectives[i];
    std::unique_ptr<Teacher> teacher = std::move(files_[i]);
    if (origin_of(c.teacher.kind) == TeacherOrigin::kImage) teacher = make_image_teacher(c.teacher, sides_);
    std::shared_ptr<Head> head;
    if (origin_of(c.teacher.kind) == TeacherOrigin::kTwin) {
      const bool projection = c.distill.head.kind == HeadKind::kProjection;
      if (projection || c.teacher.with_head)
        head = build_head(c.distill.head, head_sizes(c.distill.head.bottleneck, {}));
      teacher = make_twin_teacher(c.teacher, sides_, student_, head, c.distill.head);
    }
    check(
        head || c.distill.head.kind != HeadKind::kProjection, "objective '", c.name,
        "': a projection's prototypes are what a twin of student and head gives (teacher.kind=momentum or self), not ",
        teacher->describe(), "; use head.kind=linear or mlp");
    check_grid(*teacher, student_->vit->config());
    if (!head) head = build_head(c.distill.head, head_sizes(teacher->width(), teacher->codebook()));
    return std::make_shared<Distill>(c.name, c.weight, c.distill, std::make_shared<SharedTeacher>(std::move(teacher)),
                                     head, /*owns=*/true, composition_.crops);
  }

  HeadSizes head_sizes(int64_t out, const at::Tensor& codebook) const {
    return {.width = student_->width(), .out = out, .grid = sides_.grid(), .codebook = codebook};
  }

  const Composition& composition_;
  StudentSides sides_;
  Student student_;
  TextStudent text_;
  std::vector<std::unique_ptr<Teacher>> files_;  // by objective; null where it has another kind
  std::map<std::string, std::shared_ptr<Distill>> distills_;
};

}  // namespace

void ObjectiveConfig::fields(Fields& f) {
  f.add("name", name, {.help = "name in logs and checkpoints"});
  f.add("kind", kind, kObjectiveKinds, {.help = "what sort of objective"});
  f.add("weight", weight, {.help = "its share in the total loss; 0 leaves it out", .min = 0});
  f.add("shares", shares, {.help = "distill: an earlier objective whose teacher and head this one uses"});
  f.table("teacher", teacher,
          {.help = "what makes the targets; an empty path takes the run's teacher", .shorthand = "path"});
  distill.fields(f);
  f.table("contrast", contrast, {.help = "of a contrast objective"});
  f.table("words", words, {.help = "of a masked_language objective"});
}

void Composition::fields(Fields& f) {
  f.table("mask", mask, {.help = "which patches are hidden"});
  f.add("crops", crops, {.help = "independent crops of each image in a step", .min = 1, .max = 16});
  f.table("student", student, {.help = "the ViT that is pretrained"});
  f.table("completer", completer, {.help = "how masked latents are made"});
  f.table("text_tower", text_tower, {.help = "the student of captions, where an objective reads them"});
  f.list("objective", objectives, {.help = "terms of the loss"});
}

bool reads_captions(const Composition& composition) {
  return std::any_of(composition.objectives.begin(), composition.objectives.end(),
                     [](const ObjectiveConfig& c) { return c.weight > 0 && c.kind != ObjectiveKind::kDistill; });
}

std::unique_ptr<Method> build_method(const Composition& composition, const std::shared_ptr<const Tokenizer>& tokenizer,
                                     uint64_t seed) {
  Composition c = composition;
  std::erase_if(c.objectives, [](const ObjectiveConfig& objective) { return objective.weight == 0; });
  check_names(c);
  check_stats(c.student);
  auto files = open_files(c);
  const VitConfig vit = settle_sides(c.student, files);
  Student student(c.student, vit, c.completer);
  TextStudent text{nullptr};
  if (reads_captions(c)) {
    invariant(tokenizer != nullptr, "an objective reads captions, but no tokenizer was given");
    text = TextStudent(c.text_tower, tokenizer);
  }
  Builder builder(c, vit, student, text, std::move(files));
  const ViewSpec view = builder.sides().view();
  auto objectives = builder.build();  // before the mask: it checks the grids
  auto method = std::make_unique<Method>(MethodParts{.student_view = view,
                                                     .masker = Masker(c.mask, vit.grid()),
                                                     .student = student,
                                                     .text = text,
                                                     .objectives = std::move(objectives),
                                                     .crops = c.crops});
  initialize(method->module(), seed, c.student.init);
  method->begin(seed);
  return method;
}

BackboneConfig backbone_config(const Method& method) {
  const ViewSpec view = method.views().at(0);
  return {.vit = method.student()->vit->config(), .stats = view.stats, .kernel = view.kernel};
}

std::string export_student(const Method& method, const std::filesystem::path& folder) {
  const BackboneConfig config = backbone_config(method);
  for (const auto& objective : method.objectives()) {
    if (objective->write_towers(folder, method.student()->vit, config)) return "";
  }
  const std::string reason = write_backbone(folder, method.student()->vit, config);
  if (!reason.empty()) return "the export cannot be opened by timm: " + reason;
  if (!method.text()) return "";
  const std::string vision = why_not_clip(config.vit);
  return "the export holds the vision tower; text tower and projections stay in the checkpoints (lacuna export RUN OUT "
         "--to openclip writes them where OpenCLIP has such towers): " +
         (vision.empty() ? why_not_clip(method.text()->tower->config()) : vision);
}

}  // namespace lacuna
