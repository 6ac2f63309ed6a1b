#include "eval/view_batches.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr std::int64_t kWindowBatches = 2;

}  // namespace

void BadShare::add(const std::string& reason) {
  if (first_.empty()) first_ = reason;
  ++met_;
  const bool tolerable = static_cast<double>(met_) <= std::max(1.0, max_share_ * static_cast<double>(samples_));
  if (tolerable && met_ < samples_) return;
  fail_data(met_, " of ", samples_, " samples could not be decoded; ", key_, " allows a share of ", max_share_,
            ". The first: ", first_, ". Repair or remove them, or raise the share");
}

ViewBatches::ViewBatches(const Source& source, std::vector<std::int64_t> ids, const FramedViewSpec& spec, int threads,
                         std::int64_t batch, BadShare& share)
    : ids_(std::move(ids)), batch_(batch), share_(share), views_(source, ids_, spec, threads, kWindowBatches * batch) {}

bool ViewBatches::next(ViewBatch& out) {
  if (done_ == std::ssize(ids_)) return false;
  out = {};
  while (out.size() < batch_ && done_ < std::ssize(ids_)) {
    const auto begin = std::chrono::steady_clock::now();
    ViewStream::Item item = views_.next();
    waited_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const std::int64_t id = ids_[static_cast<std::size_t>(done_++)];
    if (item.fault.empty()) {
      out.ids.push_back(id);
      out.pixels.insert(out.pixels.end(), item.pixels.begin(), item.pixels.end());
    } else {
      out.bad.push_back({id, item.fault});
      share_.add(item.fault);
    }
  }
  out.done = done_;
  return true;
}

}  // namespace lacuna
