#pragma once
// Writes a source as tar shards by WebDataset's convention, with an index.
//
//   OUT/shard-000000.tar …   KEY.jpg (or .png, …), KEY.cls, KEY.txt (one caption) or KEY.json (several)
//   OUT/classes.tsv          names of the classes, where there are labels
//   OUT/index.lacuna         where each member lies (portable_index.h)
//   OUT/pack.json            what was packed, how, and each shard's hash; samples left out, with reasons
//
// Samples keep their order. A shard appears under its name when it is complete; pack.json lists it once it was read
// back and every member compared. A pack that was interrupted goes on where it stopped when it is asked for again with
// the same source and settings. Every image is decoded first: broken ones are left out and named.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/config.h"
#include "data/data_report.h"
#include "data/source/source.h"
#include "io/image/image.h"

namespace lacuna {

struct PackConfig {
  std::int64_t shard_megabytes = 256;
  int side = 0;  // 0: files are stored byte for byte
  int quality = 95;
  DecodeOptions decode = {};  // how `source` decodes: what is written anew has those pixels

  void fields(Fields& f);
};

struct PackReport {
  std::int64_t samples = 0;  // stored
  std::int64_t shards = 0;
  std::int64_t kept = 0;  // shards that an earlier call had finished
  std::uint64_t bytes = 0;
  std::vector<BrokenSample> broken;
};

// Throws Error when OUT holds anything but an unfinished pack of the same source and settings, and when the disk cannot
// be written or gives back other bytes.
PackReport pack(const Source& source, const std::filesystem::path& out, const PackConfig& config, int threads,
                const std::function<void(std::int64_t done)>& progress = {});

}  // namespace lacuna
