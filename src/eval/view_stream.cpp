#include "eval/view_stream.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "data/view/framed_view.h"

namespace lacuna {

namespace {

std::vector<std::uint8_t> view_of(const Source& source, std::int64_t id, const FramedViewSpec& spec) {
  if (spec.spectrum == 0) return framed_view(source.image(id), spec.side, spec.kernel, spec.framing).pixels;
  Sheets sheets = source.sheets(id);
  for (Image& sheet : sheets) sheet = framed_view(sheet, spec.side, spec.kernel, spec.framing);
  std::vector<std::uint8_t> out(sheets[0].pixels.size() / 3 * static_cast<std::size_t>(spec.spectrum));
  interleave(sheets, spec.spectrum, out.data());
  return out;
}

}  // namespace

Framing center_crop(std::int64_t side, double crop_ratio) {
  return {.resized = static_cast<std::int64_t>(std::floor(static_cast<double>(side) / crop_ratio))};
}

int seen_spectrum(std::int64_t channels, const Source& source) {
  if (channels == source.spectrum()) return source.spectrum();
  check(channels == 3, "the network sees ", channels, " channels, and the images have ",
        source.spectrum() > 0 ? text(source.spectrum(), " by data.bands") : "red, green and blue",
        "; name the channels it was trained on by data.bands");
  return 0;
}

ViewStream::ViewStream(const Source& source, std::vector<std::int64_t> ids, const FramedViewSpec& spec, int threads,
                       std::int64_t window)
    : source_(source),
      ids_(std::move(ids)),
      spec_(spec),
      ring_(static_cast<std::size_t>(std::max<std::int64_t>(window, 1))) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back(&ViewStream::work, this);
}

ViewStream::~ViewStream() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  claimable_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

ViewStream::Item ViewStream::next() {
  std::unique_lock lock(mutex_);
  invariant(taken_ < count(), "ViewStream: next() after the last view");
  Slot& slot = slot_of(taken_);
  ready_.wait(lock, [&] { return slot.full; });
  Slot out = std::exchange(slot, Slot{});
  ++taken_;
  lock.unlock();
  claimable_.notify_one();
  if (out.failure) std::rethrow_exception(out.failure);
  return std::move(out.item);
}

void ViewStream::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    claimable_.wait(lock, [&] { return stopping_ || claimed_ == count() || claimed_ < taken_ + std::ssize(ring_); });
    if (stopping_ || claimed_ == count()) return;
    const std::int64_t position = claimed_++;
    if (claimed_ == count()) claimable_.notify_all();
    Slot& slot = slot_of(position);
    lock.unlock();
    fill(position, slot);
    lock.lock();
    slot.full = true;
    if (position == taken_) ready_.notify_one();
  }
}

void ViewStream::fill(std::int64_t position, Slot& slot) const {
  try {
    slot.item.pixels = view_of(source_, ids_[static_cast<std::size_t>(position)], spec_);
  } catch (const Error& error) {
    if (error.code() == ExitCode::kBadData) {
      slot.item.fault = error.what();
    } else {
      slot.failure = std::current_exception();
    }
  } catch (...) {
    slot.failure = std::current_exception();
  }
}

}  // namespace lacuna
