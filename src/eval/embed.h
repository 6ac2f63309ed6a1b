#pragma once
// Features of all images of a source into a file, row by row: never all in memory, and gone on with after a kill.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/config.h"
#include "data/source/source.h"
#include "eval/taps.h"
#include "io/row_file.h"

namespace lacuna {

inline constexpr Named<RowFormat> kRowFormats[] = {
    {RowFormat::kNpz, "npz", "NumPy"},
    {RowFormat::kSafetensors, "safetensors"},
    {RowFormat::kCsv, "csv", "one line an image; class, mean, projected"},
    {RowFormat::kJsonl, "jsonl", "one object an image"}};

enum class FeatureType { kF64, kF32, kF16, kBf16 };
inline constexpr Named<FeatureType> kFeatureTypes[] = {
    {FeatureType::kF32, "f32"},
    {FeatureType::kF64, "f64", "computed in double, from the pixels on"},
    {FeatureType::kF16, "f16", "computed as f32, stored as f16"},
    {FeatureType::kBf16, "bf16", "computed as f32 (or precision=bf16), stored as bf16; safetensors only"}};

enum class BadImages { kLeaveOut, kNan };
inline constexpr Named<BadImages> kBadImages[] = {
    {BadImages::kLeaveOut, "leave_out", "no row for them"},
    {BadImages::kNan, "nan", "a row of NaN each, so that rows match the list"}};

struct EmbedConfig {
  std::string features = {};  // as choose_taps reads them
  std::string layer = "last";
  std::optional<RowFormat> to = {};
  FeatureType dtype = FeatureType::kF32;
  bool normalize = false;
  std::optional<double> crop_ratio = {};
  std::int64_t batch = 64;
  std::optional<int> workers = {};
  BadImages bad = BadImages::kLeaveOut;
  double max_bad_share = 0.01;
  double save_every = 10;
  bool overwrite = false;
  bool bf16 = false;  // not a field: the command line resolves a Precision for the device

  void fields(Fields& f);
};

struct EmbedProgress {
  std::int64_t done = 0, total = 0;  // images
  double rate = 0;                   // images a second, of this process
  double waited_share = 0;           // of its time, spent waiting for images
};

struct EmbedResult {
  std::int64_t rows = 0;
  std::int64_t bad = 0;
  std::int64_t done = 0;      // images looked at
  std::int64_t begun_at = 0;  // of these, by an earlier process
  double seconds = 0;
  bool stopped = false;  // by `stop`; what is done is saved
};

// Writes `target` and, where images could not be read, `target`.skipped.jsonl. Meanwhile `target`.partial and
// `target`.partial.json hold what is done; a repeated call goes on from there to the same bytes, and is refused where
// the model, the images or a setting is another. Throws Error(kBadData) when more images than allowed cannot be read.
// `model` runs on the device that holds its weights, in the type that `config` names (it is converted in place).
struct EmbedCall {
  std::filesystem::path target;
  std::function<void(const EmbedProgress&)> progress = nullptr;
  std::function<bool()> stop = nullptr;  // asked after each batch
};
EmbedResult embed(FrozenVit& model, const Source& images, const EmbedConfig& config, const EmbedCall& call);

// XXH3-128 of the names and values of the network's tensors: the same weights from another container have the same.
std::string weights_hash(const FrozenVit& model);

}  // namespace lacuna
