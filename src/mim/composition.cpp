#include "mim/composition.h"

#include <set>

#include "base/error.h"
#include "nn/init.h"

namespace lacuna {
namespace {

constexpr int64_t kUsualSide = 224;
constexpr int64_t kUsualPatch = 16;

std::vector<std::unique_ptr<Teacher>> open_teachers(const Composition& composition) {
  std::vector<std::unique_ptr<Teacher>> teachers;
  for (const ObjectiveConfig& objective : composition.objectives)
    teachers.push_back(objective.kind == ObjectiveKind::kDistill ? open_teacher(objective.teacher) : nullptr);
  return teachers;
}

// Sides left open follow the first teacher, so that the grids agree.
VitConfig settle_sides(const StudentConfig& student, const std::vector<std::unique_ptr<Teacher>>& teachers) {
  VitConfig vit = student.vit;
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

void check_grid(const Teacher& teacher, const VitConfig& vit) {
  check(teacher.grid() == vit.grid(), "teacher: its patches form a grid of ", teacher.grid(), " x ", teacher.grid(),
        " (input ", teacher.view().side, " px), but the student's form ", vit.grid(), " x ", vit.grid(),
        " (student.image_side ", vit.image_side, ", student.patch_side ", vit.patch_side,
        "). Use a student.image_side of ", teacher.grid() * vit.patch_side,
        " with this patch side, or leave both open to follow the teacher");
}

std::shared_ptr<Objective> build_objective(const ObjectiveConfig& c, std::unique_ptr<Teacher> teacher,
                                           const std::shared_ptr<const Tokenizer>& tokenizer, int64_t student_width) {
  if (c.kind == ObjectiveKind::kContrast) {
    invariant(tokenizer != nullptr, "an objective reads captions, but no tokenizer was given");
    return std::make_shared<Contrast>(c.name, c.weight, c.contrast, tokenizer, student_width);
  }
  const Regions& r = c.distill.regions;
  check(r.cls + r.visible + r.masked > 0, "objective '", c.name,
        "': all regions have weight 0, so nothing is supervised");
  return std::make_shared<Distill>(c.name, c.weight, c.distill, std::move(teacher), student_width);
}

void check_names(const Composition& composition) {
  check(!composition.objectives.empty(), "objective: the list is empty, so nothing would be learnt");
  std::set<std::string> names;
  for (const ObjectiveConfig& objective : composition.objectives) {
    const bool plain = objective.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
    check(plain && !objective.name.empty(), "objective: name '", objective.name,
          "' must be of lower-case letters, digits and _");
    check(names.insert(objective.name).second, "objective: two are named '", objective.name,
          "'; give each its own name");
  }
}

}  // namespace

void ObjectiveConfig::fields(Fields& f) {
  f.add("name", name, {.help = "name in logs and checkpoints"});
  f.add("kind", kind, kObjectiveKinds, {.help = "what sort of objective"});
  f.add("weight", weight, {.help = "its share in the total loss", .min = 0});
  f.table("teacher", teacher,
          {.help = "what makes the targets; an empty path takes the run's teacher", .shorthand = "path"});
  f.add("normalize", distill.normalize, kNormalizeKinds, {.help = "how targets are shaped"});
  f.table("regions", distill.regions, {.help = "which tokens are supervised, and how much"});
  f.add("reduction", distill.reduction, kReductions, {.help = "how tokens' losses become one number"});
  f.table("head", distill.head, {.help = "from the student's width to the target's"});
  f.table("loss", distill.loss, {.help = "distance of prediction and target", .shorthand = "kind"});
  f.table("text", contrast, {.help = "text tower of a contrast objective"});
}

void Composition::fields(Fields& f) {
  f.table("mask", mask, {.help = "which patches are hidden"});
  f.table("student", student, {.help = "the ViT that is pretrained"});
  f.table("completer", completer, {.help = "how masked latents are made"});
  f.list("objective", objectives, {.help = "terms of the loss"});
}

bool reads_captions(const Composition& composition) {
  for (const ObjectiveConfig& objective : composition.objectives) {
    if (objective.kind == ObjectiveKind::kContrast) return true;
  }
  return false;
}

std::unique_ptr<Method> build_method(const Composition& c, const std::shared_ptr<const Tokenizer>& tokenizer,
                                     uint64_t seed) {
  check_names(c);
  auto teachers = open_teachers(c);
  const VitConfig vit = settle_sides(c.student, teachers);
  Student student(vit, c.completer);
  std::vector<std::shared_ptr<Objective>> objectives;
  for (size_t i = 0; i < c.objectives.size(); ++i) {
    if (teachers[i]) check_grid(*teachers[i], vit);
    objectives.push_back(build_objective(c.objectives[i], std::move(teachers[i]), tokenizer, student->width()));
  }
  const ViewSpec view{.side = static_cast<int>(vit.image_side), .kernel = Kernel::kBicubic, .stats = c.student.stats};
  auto method = std::make_unique<Method>(view, Masker(c.mask, vit.grid()), student, std::move(objectives));
  initialize(method->module(), seed);
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
  return reason.empty() ? "" : "the export cannot be opened by timm: " + reason;
}

}  // namespace lacuna
