#pragma once
// What the student is to predict. A teacher is never part of the trained module tree.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "data/view.h"
#include "mim/tokens.h"
#include "train/task.h"

namespace lacuna {

enum class TeacherKind { kClip };
inline constexpr Named<TeacherKind> kTeacherKinds[] = {
    {TeacherKind::kClip, "clip", "the vision tower of a CLIP folder, frozen"}};

// Which features are taken: after final norm and projection, after the final norm, or the plain output of the last
// block.
enum class TeacherLayer { kProjected, kNormed, kLastBlock };
inline constexpr Named<TeacherLayer> kTeacherLayers[] = {
    {TeacherLayer::kProjected, "projected", "final norm and projection on every token"},
    {TeacherLayer::kNormed, "normed", "final norm on every token"},
    {TeacherLayer::kLastBlock, "last_block", "before the final norm"}};

struct TeacherConfig {
  TeacherKind kind = TeacherKind::kClip;
  std::filesystem::path path;
  TeacherLayer layer = TeacherLayer::kProjected;

  void fields(Fields& f);
};

class Teacher {
 public:
  virtual ~Teacher() = default;
  virtual ViewSpec view() const = 0;
  virtual int64_t grid() const = 0;  // must equal the student's
  virtual int64_t patch_side() const = 0;
  virtual int64_t width() const = 0;  // K
  virtual std::string describe() const = 0;

  // Targets of every token for the teacher's own view [B,3,S,S], split by the plan. No gradient.
  virtual Tokens observe(const at::Tensor& images, const MaskPlan& plan) = 0;
  virtual void to(at::Device device, at::ScalarType dtype) = 0;
};

// Reads and checks the folder; throws Error that says what does not fit.
std::unique_ptr<Teacher> open_teacher(const TeacherConfig& config);

}  // namespace lacuna
