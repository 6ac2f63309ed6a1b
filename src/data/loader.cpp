#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "data/view/render.h"

namespace lacuna {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxPrefetch = 1024;
constexpr int kMaxSubstitutes = 64;  // by then the share of bad samples is past any sensible limit

Order checked_order(const Source& source, const LoaderConfig& config) {
  check(config.threads >= 1 && config.threads <= kMaxThreads, "data.threads: expected 1 to ", kMaxThreads, ", found ",
        config.threads);
  check(config.prefetch >= 1 && config.prefetch <= kMaxPrefetch, "data.prefetch: expected 1 to ", kMaxPrefetch,
        " batches, found ", config.prefetch);
  return {source.parts(), config.batch_size, config.seed, config.rank, config.world};
}

HostBatch allocated(const std::vector<ViewSpec>& views, std::int64_t batch_size, bool captions) {
  const auto size = static_cast<std::size_t>(batch_size);
  HostBatch batch;
  batch.size = batch_size;
  for (const ViewSpec& view : views) batch.views.emplace_back(size * view.bytes());
  batch.ids.resize(size);
  batch.labels.resize(size);
  if (captions) batch.captions.resize(size);
  return batch;
}

}  // namespace

struct Loader::Worker {
  ImageReader image;
  ViewRenderer renderer;
  std::vector<std::uint8_t*> places;  // where the views of a sample go
};

Loader::Loader(const Source& source, std::vector<ViewSpec> views, const AugmentConfig& augment,
               const LoaderConfig& config, const std::filesystem::path& quarantine_file)
    : source_(source),
      views_(std::move(views)),
      augment_(augment),
      config_(config),
      order_(checked_order(source, config)),
      quarantine_(quarantine_file, source.size(), config.max_bad_share) {
  for (const ViewSpec& view : views_) invariant(view.side > 0, "Loader: a view of side ", view.side);
  ring_.resize(static_cast<std::size_t>(config_.prefetch) + 1);
  for (Slot& slot : ring_) slot.batch = allocated(views_, order_.local_batch(), config_.captions);
}

Loader::~Loader() { stop(); }

void Loader::start(std::int64_t global_step) {
  invariant(global_step >= 0, "Loader: start at step ", global_step);
  stop();
  const std::int64_t end = global_step + std::ssize(ring_);
  for (std::int64_t step = global_step; step < end; ++step) prepare(step);
  claimed_ = global_step * order_.local_batch();
  claim_end_ = end * order_.local_batch();
  next_step_ = global_step;
  holds_batch_ = false;
  stopping_ = false;
  failure_ = nullptr;
  tasks_.assign(static_cast<std::size_t>(config_.threads), {});
  for (std::size_t i = 0; i < tasks_.size(); ++i) threads_.emplace_back(&Loader::work, this, i);
}

void Loader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  claimable_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Loader::prepare(std::int64_t step) {
  Slot& slot = slot_of(step);
  slot.batch.step = step;
  slot.batch.epoch = order_.epoch_of(step);
  slot.missing = order_.local_batch();
}

const HostBatch& Loader::next() {
  invariant(!threads_.empty(), "Loader: next() before start()");
  const auto begin = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  if (std::exchange(holds_batch_, false)) {
    prepare(next_step_ - 1 + std::ssize(ring_));
    claim_end_ += order_.local_batch();
    claimable_.notify_all();
  }
  const Slot& slot = slot_of(next_step_);
  const auto ended = [&] { return slot.missing == 0 || failure_; };
  while (!ready_.wait_for(lock, std::chrono::duration<double>(config_.stall_seconds), ended)) tell_of_stall(lock);
  waited_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (failure_) std::rethrow_exception(failure_);
  ++next_step_;
  holds_batch_ = true;
  return slot.batch;
}

// Names the sample that has been in work the longest. The lock is let go while the message is told.
void Loader::tell_of_stall(std::unique_lock<std::mutex>& lock) const {
  const auto now = std::chrono::steady_clock::now();
  const Task* longest = nullptr;
  for (const Task& task : tasks_) {
    if (task.item >= 0 && (longest == nullptr || task.since < longest->since)) longest = &task;
  }
  if (longest == nullptr || !config_.tell) return;
  const double seconds = std::chrono::duration<double>(now - longest->since).count();
  if (seconds < config_.stall_seconds) return;
  const std::int64_t step = longest->item / order_.local_batch(), slot = longest->item % order_.local_batch();
  lock.unlock();
  config_.tell(text("the loader waits: ", source_.name(order_.sample(order_.at(step, slot))),
                    ", or a sample in its place, has been in work for ", static_cast<std::int64_t>(seconds),
                    " s. Its storage is slow or hangs"));
  lock.lock();
}

void Loader::work(std::size_t thread) {
  Worker worker;
  std::unique_lock lock(mutex_);
  for (;;) {
    claimable_.wait(lock, [&] { return stopping_ || failure_ || claimed_ < claim_end_; });
    if (stopping_ || failure_) return;
    const std::int64_t item = claimed_++;
    tasks_[thread] = {item, std::chrono::steady_clock::now()};
    lock.unlock();
    std::exception_ptr failure;
    try {
      fill(item, worker);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    tasks_[thread] = {};
    if (failure && !failure_) failure_ = failure;
    if (failure) claimable_.notify_all();
    if (failure || --slot_of(item / order_.local_batch()).missing == 0) ready_.notify_one();
  }
}

void Loader::fill(std::int64_t item, Worker& worker) {
  const std::int64_t step = item / order_.local_batch();
  const std::int64_t position = item % order_.local_batch();
  const auto slot = static_cast<std::size_t>(position);
  HostBatch& batch = slot_of(step).batch;
  const std::int64_t id = render(batch, slot, order_.at(step, position), worker);
  batch.ids[slot] = id;
  batch.labels[slot] = source_.label(order_.sample(id));
  if (!config_.captions) return;
  Rng rng(config_.seed, Purpose::kCaption, static_cast<std::uint64_t>(batch.epoch), static_cast<std::uint64_t>(id));
  batch.captions[slot] = source_.caption(order_.sample(id), rng);
}

// Renders the views of a draw, or of the first of its substitutes that can be decoded; returns which. The candidates
// are named by (seed, epoch, draw), so every thread, rank and resumed run finds the same one.
std::int64_t Loader::render(HostBatch& batch, std::size_t slot, std::int64_t draw, Worker& worker) {
  if (try_render(batch, slot, draw, worker)) return draw;
  substitutions_.fetch_add(1, std::memory_order_relaxed);
  Rng rng(config_.seed, Purpose::kSubstitute, static_cast<std::uint64_t>(batch.epoch),
          static_cast<std::uint64_t>(draw));
  for (int tries = 0; tries < kMaxSubstitutes; ++tries) {
    const std::int64_t candidate = rng.integer(0, source_.size() - 1);
    if (try_render(batch, slot, candidate, worker)) return candidate;
  }
  fail_data(source_.name(order_.sample(draw)), ": cannot be decoded, and neither can ", kMaxSubstitutes,
            " samples drawn in its place. Check that the source holds readable images");
}

bool Loader::try_render(HostBatch& batch, std::size_t slot, std::int64_t draw, Worker& worker) {
  worker.places.clear();
  for (std::size_t i = 0; i < views_.size(); ++i) {
    worker.places.push_back(batch.views[i].data() + slot * views_[i].bytes());
  }
  const std::int64_t sample = order_.sample(draw);
  try {
    source_.open(sample, worker.image);
    worker.renderer.render(worker.image, augment_, views_, config_.seed, static_cast<std::uint64_t>(batch.epoch),
                           static_cast<std::uint64_t>(draw), worker.places);
    return true;
  } catch (const Error& error) {
    if (error.code() != ExitCode::kBadData) throw;
    quarantine_.add(sample, source_.name(sample), error.what());
    return false;
  }
}

BadReport Loader::bad() const {
  return {quarantine_.met(), substitutions_.load(std::memory_order_relaxed), quarantine_.list()};
}

}  // namespace lacuna
