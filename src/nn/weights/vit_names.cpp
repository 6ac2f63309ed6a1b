#include "nn/weights/vit_names.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "nn/shapes.h"
#include "nn/weights/weight_file.h"

namespace lacuna {
namespace {

constexpr int64_t kMaxDepth = 1024;
constexpr int64_t kMaxBiasGrid = 64;  // a bias takes the fourth power of this
constexpr const char* kBlock = "vit.blocks.{i}.";
constexpr const char* kSharedTable = "vit.relative_biases.0.relative_position_bias_table";
constexpr const char* kBlockTable = "vit.relative_biases.{i}.relative_position_bias_table";

std::string replace_all(std::string text_in, const std::string& what, const std::string& with) {
  for (size_t at = text_in.find(what); at != std::string::npos; at = text_in.find(what, at + with.size()))
    text_in.replace(at, what.size(), with);
  return text_in;
}

std::string their_name(const std::string& name, const std::string& prefix, int64_t block) {
  return replace_all(replace_all(name, "{p}", prefix), "{i}", std::to_string(block));
}

// Looks tensors of a file up by our names.
class Finder {
 public:
  Finder(const TensorFile& file, const NamedVit& named) : file_(file), named_(named) {}

  // The first tensor that fills `ours` in this file, for block `block` where the name counts them; null without one.
  const TensorInfo* find(const std::string& ours, int64_t block = 0) const {
    const NameRow* row = row_of(ours, block);
    return row == nullptr ? nullptr : &file_.at(their_name(row->theirs[0], named_.prefix, block));
  }
  bool has(const std::string& ours) const { return row_of(ours, 0) != nullptr; }
  // How many of the file's tensors, one after the other, make up `ours`.
  int64_t parts(const std::string& ours) const {
    const NameRow* row = row_of(ours, 0);
    return row == nullptr ? 0 : static_cast<int64_t>(row->theirs.size());
  }

  // Its shape, which must have `dimensions`.
  std::vector<int64_t> shape(const std::string& ours, size_t dimensions) const {
    const TensorInfo* tensor = find(ours);
    check(tensor != nullptr, file_.path().string(), ": looks like ", named_.family->name, ", but has no tensor for ",
          replace_all(ours, "{i}", "0"));
    const auto bad = [](int64_t extent) { return extent < 1; };
    check(tensor->shape.size() == dimensions && std::none_of(tensor->shape.begin(), tensor->shape.end(), bad),
          file_.path().string(), ": the tensor for ", replace_all(ours, "{i}", "0"), " has shape ",
          shape_text(at::IntArrayRef(tensor->shape)), ", expected ", dimensions, " dimensions, none of them empty");
    return tensor->shape;
  }
  const TensorFile& file() const { return file_; }

 private:
  // The first row for `ours` whose tensors the file holds; null without one.
  const NameRow* row_of(const std::string& ours, int64_t block) const {
    for (const NameRow& row : named_.family->rows) {
      if (row.ours[0] != ours) continue;
      const bool complete = std::all_of(row.theirs.begin(), row.theirs.end(), [&](const std::string& theirs) {
        return file_.has(their_name(theirs, named_.prefix, block));
      });
      if (complete) return &row;
    }
    return nullptr;
  }

  const TensorFile& file_;
  const NamedVit& named_;
};

// The whole number whose square is n; -1 when n is no square.
int64_t root(int64_t n) {
  const int64_t side = n < 1 ? 0 : std::llround(std::sqrt(static_cast<double>(n)));
  return side * side == n && side > 0 ? side : -1;
}

void measure_mlp(const Finder& in, VitConfig& c) {
  const std::string block = kBlock;
  const int64_t first = in.shape(block + "mlp.fc1.weight", 2)[0] * in.parts(block + "mlp.fc1.weight");
  const int64_t second = in.shape(block + "mlp.fc2.weight", 2)[1];
  check(first == second || first == 2 * second, in.file().path().string(), ": an MLP of ", first, " rows before and ",
        second, " columns after its activation is neither plain nor gated");
  c.hidden = second;
  if (first != second) c.activation = Activation::kSwiGlu;
}

void measure_attention(const Finder& in, VitConfig& c) {
  const std::string block = kBlock;
  c.qkv_bias = in.has(block + "attn.qkv.bias") ? QkvBias::kAll
               : in.has(block + "attn.q_bias") ? QkvBias::kQueryValue
                                               : QkvBias::kNone;
  if (in.has(block + "ls1.gamma")) c.layer_scale = 1.0;
  c.attention_norm = in.has(block + "attn.norm.weight");
  c.mlp_norm = in.has(block + "mlp.norm.weight");
  c.relative_bias = in.has(kBlockTable)    ? RelativeBiasKind::kPerBlock
                    : in.has(kSharedTable) ? RelativeBiasKind::kShared
                                           : RelativeBiasKind::kNone;
  while (c.depth < kMaxDepth && in.find(block + "norm1.weight", c.depth) != nullptr) ++c.depth;
}

// Rows of the position table and of the bias table tell the grid; they must agree.
void measure_grid(const Finder& in, VitMeasures& m) {
  VitConfig& c = m.vit;
  const std::string file = in.file().path().string();
  int64_t grid = 0;
  c.positions = Positions::kNone;
  if (const TensorInfo* table = in.find("vit.pos_embed")) {
    c.positions = Positions::kLearned;
    check(table->shape.size() >= 2 && table->shape.back() == c.width, file, ": the position table has shape ",
          shape_text(at::IntArrayRef(table->shape)), ", but the network's width is ", c.width);
    const int64_t rows = table->shape[table->shape.size() - 2], without = root(rows - c.class_tokens());
    m.positions_of_class = c.class_token && without > 0;
    grid = without > 0 ? without : root(rows);
    check(grid > 0, file, ": a position table of ", rows, " rows belongs to no square grid of patches");
  }
  if (c.relative_bias != RelativeBiasKind::kNone) {
    const bool shared = c.relative_bias == RelativeBiasKind::kShared;
    const auto shape = in.shape(shared ? kSharedTable : kBlockTable, 2);
    const int64_t side = root(shape[0] - 3);
    check(side > 0 && side % 2 == 1 && side < 2 * kMaxBiasGrid, file, ": a relative position table of ", shape[0],
          " rows belongs to no square grid of side 1 to ", kMaxBiasGrid);
    c.heads = shape[1];
    check(grid == 0 || grid == (side + 1) / 2, file, ": the position table is of a grid of side ", grid,
          ", the relative position table of one of side ", (side + 1) / 2);
    grid = (side + 1) / 2;
  }
  c.image_side = grid * c.patch_side;
}

void measure_head(const Finder& in, VitMeasures& m) {
  if (in.has("head.weight")) {
    const auto shape = in.shape("head.weight", 2);
    m.known_head = shape[1] == m.vit.width;
    if (m.known_head) m.head.classes = shape[0];
  }
  m.head.norm = in.has("fc_norm.weight");
  if (m.head.norm) m.head.pool = Pool::kMean;
  if (in.has("attention_pool.probe")) m.head.pool = Pool::kAttention;
  if (!in.has("projection.weight")) return;
  const auto shape = in.shape("projection.weight", 2);
  check(shape[0] == m.vit.width || shape[1] == m.vit.width, in.file().path().string(), ": the projection has shape ",
        shape_text(at::IntArrayRef(shape)), ", but the network's width is ", m.vit.width);
  m.embed = shape[0] == m.vit.width ? shape[1] : shape[0];
  m.embed_bias = in.has("projection.bias");
}

std::vector<int64_t> their_shape(Layout layout, const VitConfig& c) {
  switch (layout) {
    case Layout::kVector:
      return {c.width};
    case Layout::kMatrix:
      return {-1, c.width};
    case Layout::kConvolution:
      return {c.width, c.channels, c.patch_side, c.patch_side};
    case Layout::kSame:
    case Layout::kTransposed:
      break;
  }
  return {};
}

}  // namespace

bool bears_marks(const TensorFile& file, const NamedVit& named) {
  const auto in_file = [&](const std::string& name) { return file.has(their_name(name, named.prefix, 0)); };
  const Family& family = *named.family;
  return std::all_of(family.marks.begin(), family.marks.end(), in_file) &&
         std::none_of(family.foreign.begin(), family.foreign.end(), in_file);
}

std::optional<NamedVit> recognize(const TensorFile& file) {
  for (const Family& family : vit_families()) {
    for (const std::string& prefix : family.prefixes) {
      if (const NamedVit named{&family, prefix}; bears_marks(file, named)) return named;
    }
  }
  return std::nullopt;
}

std::optional<NearFamily> nearest_family(const TensorFile& file) {
  std::optional<NearFamily> out;
  std::ptrdiff_t most = 0;
  for (const Family& family : vit_families()) {
    for (const std::string& prefix : family.prefixes) {
      const auto in_file = [&](const std::string& name) { return file.has(their_name(name, prefix, 0)); };
      const std::ptrdiff_t shared = std::count_if(family.rows.begin(), family.rows.end(),
                                                  [&](const NameRow& row) { return in_file(row.theirs[0]); });
      const auto missing = std::find_if_not(family.marks.begin(), family.marks.end(), in_file);
      if (shared <= most || missing == family.marks.end()) continue;
      most = shared;
      out = {&family, their_name(*missing, prefix, 0)};
    }
  }
  return out;
}

double about_parameters(const VitConfig& c) {
  const auto width = static_cast<double>(c.width), hidden = static_cast<double>(c.hidden);
  const double block = 4 * width * width + 3 * width * hidden;
  return static_cast<double>(c.depth) * block +
         width * static_cast<double>(c.patches() + c.channels * c.patch_side * c.patch_side);
}

VitMeasures measure(const TensorFile& file, const NamedVit& named) {
  const Finder in(file, named);
  VitMeasures m;
  VitConfig& c = m.vit;
  const auto patch = in.shape("vit.patch_embed.weight", 4);
  check(patch[1] <= static_cast<int64_t>(kMaxChannels) && patch[2] == patch[3], file.path().string(),
        ": the patch embedding has shape ", shape_text(at::IntArrayRef(patch)), ", expected [D,I,P,P] with I up to ",
        kMaxChannels);
  c.channels = patch[1];
  c.width = patch[0];
  c.patch_side = patch[2];
  c.heads = c.depth = 0;
  c.patch_bias = in.has("vit.patch_embed.bias");
  c.class_token = in.has("vit.cls_token");
  if (in.has("vit.reg_token")) c.registers = in.shape("vit.reg_token", 3)[1];
  c.pre_norm = in.has("vit.norm_pre.weight");
  c.final_norm = in.has("vit.norm.weight");
  measure_attention(in, c);
  check(c.registers == 0 || c.relative_bias == RelativeBiasKind::kNone, file.path().string(),
        ": holds registers and relative position tables, which have no rows for them");
  measure_mlp(in, c);
  measure_grid(in, m);
  measure_head(in, m);
  check_plausible(file, about_parameters(c), "the shapes of its tensors");
  return m;
}

void add_rows(KeyMap& map, const std::vector<NameRow>& rows, const std::string& prefix, const VitConfig& vit,
              int64_t depth) {
  for (const NameRow& row : rows) {
    const bool counts = row.theirs[0].find("{i}") != std::string::npos;
    for (int64_t i = 0; i < (counts ? depth : 1); ++i) {
      KeyRule rule{.ours = row.ours,
                   .theirs = row.theirs,
                   .their_shape = their_shape(row.layout, vit),
                   .transposed = row.layout == Layout::kTransposed};
      for (std::string& name : rule.ours) name = their_name(name, "", i);
      for (std::string& name : rule.theirs) name = their_name(name, prefix, i);
      map.rules.push_back(std::move(rule));
    }
  }
}

KeyMap key_map(const NamedVit& named, const VitConfig& vit, const NamedTensors& destination) {
  KeyMap map;
  add_rows(map, named.family->rows, named.prefix, vit, vit.depth);
  std::erase_if(map.rules, [&](const KeyRule& rule) { return find(destination, rule.ours[0]) == nullptr; });
  for (const auto& [name, reason] : named.family->unneeded) {
    const bool counts = name.find("{i}") != std::string::npos;
    for (int64_t i = 0; i < (counts ? vit.depth : 1); ++i)
      map.unneeded.emplace_back(their_name(name, named.prefix, i), reason);
  }
  return map;
}

}  // namespace lacuna
