// A composition in the words of the unified table. Derived, so that what is printed is what would run.

#include <cmath>
#include <sstream>

#include "methods/methods.h"
#include "nn/weights/vit_fields.h"

namespace lacuna {
namespace {

// "a, b, c"
class Words {
 public:
  template <class... Parts>
  void add(const Parts&... parts) {
    if (!text_.empty()) text_ += ", ";
    ((stream_ << parts), ...);
    text_ += stream_.str();
    stream_.str("");
  }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
  std::ostringstream stream_;
};

std::string mask_cell(const MaskConfig& m) {
  if (m.kind == MaskKind::kNone) return "none";
  Words words;
  words.add(name_of(kMaskKinds, m.kind));
  if (m.count) {
    words.add(*m.count, " patches");
  } else if (m.ratio_max) {
    words.add(std::round(100 * m.ratio), " to ", std::round(100 * *m.ratio_max), " %");
  } else {
    words.add(std::round(100 * m.ratio), " %");
  }
  if (m.unit > 1) words.add("squares of ", m.unit, " x ", m.unit);
  if (m.clean_share > 0) words.add(std::round(100 * m.clean_share), " % of the images clean");
  return words.str();
}

std::string encode_cell(const Composition& c) {
  Words words;
  const VitConfig& v = c.student.vit;
  words.add(c.mask.kind == MaskKind::kNone ? "all patches" : name_of(kStudentModes, c.student.mode));
  if (c.crops > 1) words.add(c.crops, " crops");
  if (v.positions != Positions::kNone) words.add(name_of(kPositions, v.positions));
  if (v.relative_bias != RelativeBiasKind::kNone)
    words.add(name_of(kRelativeBiases, v.relative_bias), " relative bias");
  if (c.student.aggregation.layer > 0) words.add("class-token aggregation from block ", c.student.aggregation.layer);
  return words.str();
}

std::string complete_cell(const CompleterConfig& c) {
  if (c.kind == CompleterKind::kNone) return "-";
  return name_of(kCompleterKinds, c.kind) + " of " + std::to_string(c.depth) + (c.depth == 1 ? " block" : " blocks");
}

std::string region_words(const Regions& r) {
  Words words;
  const auto add = [&](const char* name, double weight) {
    if (weight == 1) words.add(name);
    if (weight > 0 && weight != 1) words.add(name, " x ", weight);
  };
  add("class", r.cls);
  add("visible", r.visible);
  add("masked", r.masked);
  return words.str();
}

std::string teacher_words(const TeacherConfig& t) {
  std::string out = name_of(kTeacherKinds, t.kind);
  if (t.top_blocks > 0) return out + " (mean of the last " + std::to_string(t.top_blocks) + " blocks)";
  if (t.layer != TeacherLayer::kUsual) out += " (" + name_of(kTeacherLayers, t.layer) + ")";
  if (t.sees == TeacherSight::kMasked) out += " on the hidden patches";
  return out;
}

std::string loss_words(const LossConfig& loss) {
  std::ostringstream out;
  out << name_of(kLossKinds, loss.kind);
  if (loss.kind == LossKind::kSmoothL1) out << " (beta " << loss.beta << ")";
  return out.str();
}

std::string objective_cell(const ObjectiveConfig& o) {
  std::ostringstream out;
  switch (o.kind) {
    case ObjectiveKind::kContrast:
      out << "captions -> text tower @ class -> projection -> contrast over the batch";
      break;
    case ObjectiveKind::kMaskedLanguage:
      out << "captions, " << std::round(100 * o.words.ratio) << " % of the words hidden -> text decoder of "
          << o.words.depth << " blocks -> cross_entropy";
      break;
    case ObjectiveKind::kDistill: {
      const DistillConfig& d = o.distill;
      out << (o.shares.empty() ? teacher_words(o.teacher) : "teacher and head of " + o.shares) << " -> "
          << name_of(kNormalizeKinds, d.normalize.kind);
      if (d.normalize_mean.kind != NormalizeKind::kKeep) out << ", " << name_of(kNormalizeKinds, d.normalize_mean.kind);
      out << " @ " << region_words(d.region.weights()) << (d.crops == CropPairs::kOthers ? " of the other crops" : "");
      if (o.shares.empty())
        out << " -> " << (d.head.norm && d.head.kind == HeadKind::kLinear ? "norm + " : "")
            << name_of(kHeadKinds, d.head.kind);
      out << " -> " << loss_words(d.loss);
      break;
    }
  }
  if (o.weight != 1) out << ", x " << o.weight;
  return out.str();
}

}  // namespace

Cells cells_of(const Composition& c) {
  Cells cells{
      .mask = mask_cell(c.mask), .encode = encode_cell(c), .complete = complete_cell(c.completer), .objectives = {}};
  for (const ObjectiveConfig& objective : c.objectives) cells.objectives.push_back(objective_cell(objective));
  return cells;
}

}  // namespace lacuna
