#pragma once
// The table of methods. A row is data: a .toml file of this folder, or one of the user's. It says where the method
// comes from and sets the keys of a run that the method has an opinion on; everything else keeps its default.
//
//   title = "..."              one line
//   source = "..."             paper and code
//   confidence = "..."         where the settings are from; see kConfidences
//   family = "main"            or "relative"
//   notes = ["...", ...]       what is triangulated, left open or different
//   [preset]                   keys of a run: mask.kind = "block", [[preset.objective]], train.base_lr = ...
//   [size.large]               the same for one size of the student, on top of it
//
// To add a method that recombines existing parts, add a file; nothing else.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "methods/recipe.h"

namespace lacuna {

enum class Confidence { kCode, kNotes, kTriangulated, kUnverified, kOwn };
inline constexpr Named<Confidence> kConfidences[] = {
    {Confidence::kCode, "code", "read in the official code"},
    {Confidence::kNotes, "notes", "from the paper or second-hand notes on it"},
    {Confidence::kTriangulated, "triangulated", "not published; several code bases agree"},
    {Confidence::kUnverified, "unverified", "no source for some of it"},
    {Confidence::kOwn, "own", "ours"}};

enum class MethodFamily { kMain, kRelative };
inline constexpr Named<MethodFamily> kMethodFamilies[] = {{MethodFamily::kMain, "main"},
                                                          {MethodFamily::kRelative, "relative"}};

struct MethodRow {
  std::string name;
  std::string title;
  std::string source;
  Confidence confidence = Confidence::kOwn;
  MethodFamily family = MethodFamily::kRelative;
  std::vector<std::string> notes;

  void fields(Fields& f);
};

// The main methods first, each part by name.
std::vector<MethodRow> methods();

// `name` is a row of the table or the path of a .toml file. Throws Error with the nearest name for one that is neither.
MethodRow method(const std::string& name);

// The defaults of a method for a student size ("micro", "tiny", ..., "huge").
Recipe recipe_of(const std::string& method_name, std::string_view size);

// A composition in the words of the table: mask, encode, complete and one entry per objective.
struct Cells {
  std::string mask, encode, complete;
  std::vector<std::string> objectives;
};
Cells cells_of(const Composition& composition);

}  // namespace lacuna
