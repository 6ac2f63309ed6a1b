#pragma once
// Fills batches on its own threads, ahead of the training loop.
//
// The stream of batches is a function of (source, views, augmentation, seed, batch size, rank, world) and of nothing
// else: threads claim single samples by their global position and write into the slot that belongs to it, and all
// randomness is named by (seed, epoch, sample). Any number of threads gives the same bytes, and so does a stream that
// starts in the middle of an epoch. At most `prefetch` batches are made ahead of the one in use.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data/quarantine.h"
#include "data/sampler.h"
#include "data/source/source.h"
#include "data/view/view.h"

namespace lacuna {

struct LoaderConfig {
  std::int64_t batch_size = 0;  // over all ranks
  int threads = 2;
  int prefetch = 3;  // batches
  std::uint64_t seed = 0;
  double max_bad_share = 0.01;  // of the source's samples
  bool captions = false;
  std::int64_t rank = 0;
  std::int64_t world = 1;
  // Told while a batch is waited for and one of its samples has been in work for `stall_seconds`, again after as long.
  std::function<void(const std::string&)> tell;
  double stall_seconds = 30;
};

struct HostBatch {
  std::int64_t step = 0;  // global
  std::int64_t epoch = 0;
  std::int64_t size = 0;                         // B = batch_size / world
  std::vector<std::vector<std::uint8_t>> views;  // one [B, side, side, channels] for each ViewSpec
  std::vector<std::int64_t> ids;      // [B]; draws of the order (sampler.h); substitutes where a sample was bad
  std::vector<std::int64_t> labels;   // [B]
  std::vector<std::string> captions;  // [B] when asked for, else empty
};

struct BadReport {
  std::int64_t samples = 0;        // distinct samples that could not be decoded
  std::int64_t substitutions = 0;  // slots they would have filled, those of batches made ahead included
  std::filesystem::path list;      // where they are named; empty when no list is kept
};

class Loader {
 public:
  // The source must outlive the loader. `quarantine_file` may be empty. Throws Error for settings out of range and for
  // a batch larger than the source.
  Loader(const Source& source, std::vector<ViewSpec> views, const AugmentConfig& augment, const LoaderConfig& config,
         const std::filesystem::path& quarantine_file);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Begins, or begins anew, with the batch of `global_step`.
  void start(std::int64_t global_step);

  // The next batch, in order; valid until the following call of next() or start(). A fault met while batches are made
  // ahead is thrown here as soon as it is known, and by every later call: Error(kBadData) when too many samples are
  // bad.
  const HostBatch& next();

  std::int64_t steps_per_epoch() const { return order_.steps_per_epoch(); }
  std::int64_t batch_size() const { return config_.batch_size; }
  double waited_seconds() const { return waited_seconds_; }  // spent inside next(), in all
  BadReport bad() const;

 private:
  struct Slot {
    HostBatch batch;
    std::int64_t missing = 0;  // samples still to be written
  };
  struct Worker;  // what a thread keeps from sample to sample

  // What a thread is at, since when.
  struct Task {
    std::int64_t item = -1;  // none
    std::chrono::steady_clock::time_point since;
  };

  void stop();
  void work(std::size_t thread);
  void tell_of_stall(std::unique_lock<std::mutex>& lock) const;
  void fill(std::int64_t item, Worker& worker);
  std::int64_t render(HostBatch& batch, std::size_t slot, std::int64_t draw, Worker& worker);
  bool try_render(HostBatch& batch, std::size_t slot, std::int64_t draw, Worker& worker);
  void prepare(std::int64_t step);
  Slot& slot_of(std::int64_t step) { return ring_[static_cast<std::size_t>(step % std::ssize(ring_))]; }

  const Source& source_;
  const std::vector<ViewSpec> views_;
  const AugmentConfig augment_;
  const LoaderConfig config_;
  const Order order_;
  Quarantine quarantine_;
  std::atomic<std::int64_t> substitutions_{0};
  double waited_seconds_ = 0;
  std::int64_t next_step_ = 0;  // of the batch the caller gets next; used by the caller's thread alone
  bool holds_batch_ = false;    // the caller still reads the batch before next_step_

  std::mutex mutex_;                   // guards what follows
  std::condition_variable claimable_;  // a slot became free, or the threads shall end
  std::condition_variable ready_;      // a batch became complete, or a thread failed
  std::vector<Slot> ring_;             // prefetch + the batch in use; contents belong to their writers until complete
  std::int64_t claimed_ = 0;           // next item: global step * B + slot within the batch
  std::int64_t claim_end_ = 0;         // first item without a free slot
  std::vector<Task> tasks_;            // of each thread
  bool stopping_ = false;
  std::exception_ptr failure_;

  std::vector<std::thread> threads_;
};

}  // namespace lacuna
