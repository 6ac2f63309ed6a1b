#pragma once
// The model card beside exported weights: a README.md with the front matter that model hubs read. It states what is
// known of the model and nothing else; what is not known is said to be so.

#include <filesystem>
#include <optional>
#include <string>

#include "cli/export_source.h"

namespace lacuna {

enum class ExportTarget { kTimm, kHf, kOpenClip, kSafetensors };
enum class ExportPart { kStudent, kTeacher, kAll };

inline constexpr const char* kCardFile = "README.md";
inline constexpr std::size_t kMaxCardBytes = 4u << 20;

struct CardFacts {
  ExportTarget target;
  ExportPart part;
  std::string source;              // what was exported, as it was named
  std::optional<PortableVit> vit;  // nothing where the whole state is stored
  bool both_towers = false;
};

// The line by which an export knows an earlier one of its kind.
std::string card_mark(const CardFacts& facts);

// The card as text; `state` of a run or a checkpoint.
std::string model_card(const CardFacts& facts, const std::optional<TrainedState>& state);
void write_card(const std::filesystem::path& folder, const CardFacts& facts, const std::optional<TrainedState>& state);

}  // namespace lacuna
