#pragma once
// How the files of other programs name their tensors: one table per family, data only.

#include <string>
#include <utility>
#include <vector>

#include "io/image/pixel_stats.h"

namespace lacuna {

// How a tensor lies in the file compared with ours. kVector: [1,1,D] is stored [D]. kMatrix: [1,T,D] is stored [T,D].
// kConvolution: the patch embedding [D,I*P*P] is stored [D,I,P,P]. kTransposed: [K,D] is stored [D,K].
enum class Layout { kSame, kVector, kMatrix, kConvolution, kTransposed };

// One row: our tensor(s) and the file's. In `ours`, "vit." stands before a Vit's tensors, "projection." before the
// matrix into CLIP's common space; others are a Classifier's. "{p}" is the family's prefix in this file, "{i}" counts
// blocks. Several rows may fill the same tensor of ours; those whose tensors the file lacks are passed over.
struct NameRow {
  std::vector<std::string> ours;
  std::vector<std::string> theirs;
  Layout layout = Layout::kSame;
};

// Whose configuration lies beside the files of a family.
// kOpenClipTimm: OpenCLIP's, of a tower that it takes from timm.
enum class ConfigKind { kTransformers, kTimm, kOpenClip, kOpenClipTimm };

struct Family {
  std::string name;
  std::vector<std::string> prefixes;  // what {p} may be
  std::vector<std::string> marks;     // the file holds all of these, ...
  std::vector<std::string> foreign;   // ... and none of these
  std::vector<NameRow> rows;
  std::vector<std::pair<std::string, std::string>> unneeded;  // (prefix of names, reason)
  ConfigKind config = ConfigKind::kTimm;
  // What holds when the configuration is absent or silent.
  double norm_eps = 1e-6;
  const char* activation = "gelu";  // transformers' name
  PixelStats stats = kImageNetStats;
  std::vector<std::string> model_types = {};            // transformers' names of networks that compute this
  std::vector<std::pair<int64_t, int64_t>> heads = {};  // (width, heads) where no configuration tells
  bool any_side = false;  // its program resizes positions to whatever image comes, without being asked
};

// In the order in which they are tried.
const std::vector<Family>& vit_families();
const Family& clip_family();         // vision towers as transformers names them, also among the above
const Family& openai_clip_family();  // as OpenAI and OpenCLIP name them, also among the above
const Family& vqkd_family();         // the encoder inside BEiT v2's tokenizer

// Text towers of CLIP; ours are "text." + TextTower's and "text_projection.weight". For OpenAI's names {p} is "text."
// where the tower is a module of its own.
const std::vector<NameRow>& clip_text_rows();
const std::vector<NameRow>& openai_clip_text_rows();

}  // namespace lacuna
