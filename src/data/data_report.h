#pragma once
// Looks at every sample of a source: what there is, what is broken, what is there twice.

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/source/source.h"

namespace lacuna {

// The least, the quartiles and the greatest of a set of numbers; all 0 of none.
struct Spread {
  std::int64_t least = 0, lower = 0, middle = 0, upper = 0, greatest = 0;
};

Spread spread_of(std::vector<std::int64_t> values);

struct CaptionReport {
  std::int64_t count = 0;
  std::int64_t samples_without = 0;
  Spread characters;           // code points of a caption
  std::int64_t not_ascii = 0;  // captions with a character beyond ASCII
  std::int64_t not_utf8 = 0;   // captions with bytes that are no UTF-8
  std::int64_t control = 0;    // captions with a control character
  std::int64_t repeated = 0;   // captions that are equal to an earlier one
};

struct BrokenSample {
  std::int64_t id = 0;
  std::string name, reason;
};

// Files that are equal byte by byte, by their names.
using EqualFiles = std::vector<std::string>;

// Mean and standard deviation of a channel, scaled to [0, 1]; each image counts the same.
struct ChannelReport {
  double mean = 0, std = 0;
};

struct DataReport {
  std::int64_t samples = 0, readable = 0;
  std::uint64_t bytes = 0;                      // of the files
  std::map<std::string, std::int64_t> formats;  // by content, of the readable ones
  Spread widths, heights;
  std::vector<ChannelReport> channels;  // of the spectrum where there is one, else red, green and blue
  std::vector<BrokenSample> broken;     // in the order of the samples
  std::vector<EqualFiles> duplicates;   // in the order of the first of each
  std::vector<std::pair<std::string, std::int64_t>> classes;  // every class and how many samples it has
  std::int64_t unlabelled = 0;
  CaptionReport captions;
  std::vector<std::array<std::uint64_t, 2>>
      contents;  // hash of each sample's file, by sample; zeros where there is none
};

// Decodes everything, with several threads; the result does not depend on their number. `progress` is told now and then
// how many samples are done, from one thread at a time.
DataReport look_at(const Source& source, int threads, const std::function<void(std::int64_t done)>& progress = {});

// What a file is by its first bytes: "JPEG", "PNG", …; "other" for what is none of the formats that can be read.
std::string format_of(std::span<const std::uint8_t> bytes);

}  // namespace lacuna
