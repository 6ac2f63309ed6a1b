#pragma once
// A method as configuration: the cells of the unified table. A preset fills them, a recipe may change any of them, and
// one function builds the method from them.

#include <memory>
#include <string>
#include <vector>

#include "mim/contrast.h"
#include "mim/distill.h"
#include "mim/masked_language.h"
#include "mim/method.h"

namespace lacuna {

enum class ObjectiveKind { kDistill, kContrast, kMaskedLanguage };
inline constexpr Named<ObjectiveKind> kObjectiveKinds[] = {
    {ObjectiveKind::kDistill, "distill", "teacher -> normalize @ region -> head -> loss"},
    {ObjectiveKind::kContrast, "contrast", "image against caption"},
    {ObjectiveKind::kMaskedLanguage, "masked_language", "hidden words of the caption"}};

struct ObjectiveConfig {
  std::string name = "target";
  ObjectiveKind kind = ObjectiveKind::kDistill;
  double weight = 1.0;    // 0 leaves the objective out: it is not built at all
  std::string shares;     // another distill objective whose head and teacher this one uses
  TeacherConfig teacher;  // an empty path takes the run's teacher
  DistillConfig distill;
  ContrastConfig contrast;
  MaskedLanguageConfig words;

  void fields(Fields& f);
};

struct Composition {
  MaskConfig mask;
  int64_t crops = 1;
  StudentConfig student;
  CompleterConfig completer;
  TextTowerConfig text_tower;
  std::vector<ObjectiveConfig> objectives;

  void fields(Fields& f);
};

// Opens the teachers, settles the student's sides, checks that the cells fit, builds and initialises. `tokenizer` may
// be null when no objective reads captions. Throws Error that names what does not fit and what would.
std::unique_ptr<Method> build_method(const Composition& composition, const std::shared_ptr<const Tokenizer>& tokenizer,
                                     uint64_t seed);

// The student's network as it stands alone.
BackboneConfig backbone_config(const Method& method);

// Writes the student: with its text tower where it has one, as a backbone otherwise. Returns a note for the user, or an
// empty string.
std::string export_student(const Method& method, const std::filesystem::path& folder);

bool reads_captions(const Composition& composition);

}  // namespace lacuna
