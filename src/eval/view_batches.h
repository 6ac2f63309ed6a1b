#pragma once
// The evaluation views of a source's samples in batches, those that cannot be decoded set aside: the one loop that
// everything which computes features runs over. Free of LibTorch.

#include <cstdint>
#include <string>
#include <vector>

#include "data/source/source.h"
#include "eval/view_stream.h"

namespace lacuna {

struct BadSample {
  std::string name;
  std::string reason;
};

struct ViewBatch {
  struct Bad {
    std::int64_t id = 0;
    std::string reason;
  };
  std::vector<std::uint8_t> pixels;  // [b,S,S,I]
  std::vector<std::int64_t> ids;     // [b], in the order asked for
  std::vector<Bad> bad;              // met while this batch was collected
  std::int64_t done = 0;             // samples looked at so far, this stream's alone

  std::int64_t size() const { return std::ssize(ids); }
};

// How many samples may be bad. `key` is the setting that says so, for the message.
class BadShare {
 public:
  BadShare(std::string key, double max_share, std::int64_t samples, std::int64_t met = 0)
      : key_(std::move(key)), max_share_(max_share), samples_(samples), met_(met) {}

  // Error(kBadData) when they are more than max(1, max_share of the samples), or all of them.
  void add(const std::string& reason);
  std::int64_t met() const { return met_; }

 private:
  std::string key_;
  double max_share_;
  std::int64_t samples_;
  std::int64_t met_;
  std::string first_;
};

class ViewBatches {
 public:
  // Source and share must outlive the batches. Each holds `batch` samples that could be decoded, the last one fewer.
  ViewBatches(const Source& source, std::vector<std::int64_t> ids, const FramedViewSpec& spec, int threads,
              std::int64_t batch, BadShare& share);

  // False when there are no more samples. Where the share throws, `out` holds what was met before.
  bool next(ViewBatch& out);
  double waited_seconds() const { return waited_seconds_; }  // for images, in all

 private:
  const std::vector<std::int64_t> ids_;
  const std::int64_t batch_;
  BadShare& share_;
  ViewStream views_;
  std::int64_t done_ = 0;
  double waited_seconds_ = 0;
};

}  // namespace lacuna
