#pragma once
// Decodes samples on its own threads and hands out their evaluation views in order. Free of LibTorch, so that no
// worker thread ever owns a pool of tensor threads.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/config.h"
#include "data/source/source.h"
#include "io/image/framing.h"
#include "io/image/image.h"
#include "io/image/resize.h"

namespace lacuna {

inline constexpr Named<Fit> kFits[] = {{Fit::kCrop, "crop"}, {Fit::kSquash, "squash"}, {Fit::kPad, "pad"}};

struct FramedViewSpec {
  int side = 224;
  Kernel kernel = Kernel::kBicubic;
  Framing framing = {};
  int spectrum = 0;  // as in ViewSpec
};

// What a network of so many channels sees of a source: 0, its red, green and blue, or its spectrum of `channels`.
// Throws Error where it has no such images.
int seen_spectrum(std::int64_t channels, const Source& source);

// The centre crop of the evaluation transform as timm states it: the short side is floor(side / crop_ratio).
Framing center_crop(std::int64_t side, double crop_ratio);

class ViewStream {
 public:
  struct Item {
    std::vector<std::uint8_t> pixels;  // [S,S,I]
    std::string fault;                 // why there is no view; empty when there is one
  };

  // The source must outlive the stream. At most `window` views wait or are being made.
  ViewStream(const Source& source, std::vector<std::int64_t> ids, const FramedViewSpec& spec, int threads,
             std::int64_t window);
  ~ViewStream();
  ViewStream(const ViewStream&) = delete;
  ViewStream& operator=(const ViewStream&) = delete;

  // The view of the next id; called once for each. A sample that cannot be decoded is an Item with a fault; any other
  // failure is thrown when its turn comes.
  Item next();

 private:
  struct Slot {
    Item item;
    std::exception_ptr failure;
    bool full = false;
  };

  void work();
  void fill(std::int64_t position, Slot& slot) const;
  std::int64_t count() const { return static_cast<std::int64_t>(ids_.size()); }
  Slot& slot_of(std::int64_t position) { return ring_[static_cast<std::size_t>(position % std::ssize(ring_))]; }

  const Source& source_;
  const std::vector<std::int64_t> ids_;
  const FramedViewSpec spec_;

  std::mutex mutex_;                   // guards what follows
  std::condition_variable claimable_;  // a slot became free, or the threads shall end
  std::condition_variable ready_;      // a slot became full
  std::vector<Slot> ring_;             // a claimed slot's contents belong to its thread until it is full
  std::int64_t claimed_ = 0;
  std::int64_t taken_ = 0;
  bool stopping_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace lacuna
