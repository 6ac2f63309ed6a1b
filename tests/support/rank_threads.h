#pragma once
// Several ranks in one process: a thread each, and collectives that meet. What is gathered stays in one autograd graph,
// so that the backward pass of the sum of all ranks' losses is what a gather with gradient has.

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "train/ranks.h"

namespace lacuna::testing {

class RankThreads {
 public:
  explicit RankThreads(int64_t world) : slots_(static_cast<size_t>(world)) {
    for (int64_t r = 0; r < world; ++r) ranks_.emplace_back(*this, r);
  }

  const Ranks& rank(int64_t r) const { return ranks_[static_cast<size_t>(r)]; }
  int64_t world() const { return static_cast<int64_t>(slots_.size()); }

  // Runs `work(r)` of all ranks at once. The first failure ends them all and is thrown here.
  void run(const std::function<void(int64_t)>& work) {
    std::vector<std::thread> threads;
    for (int64_t r = 0; r < world(); ++r) {
      threads.emplace_back([&, r] {
        try {
          work(r);
        } catch (...) {
          const std::lock_guard lock(mutex_);
          if (!failure_) failure_ = std::current_exception();
          met_.notify_all();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  class Rank : public Ranks {
   public:
    Rank(RankThreads& all, int64_t place) : all_(all), place_(place) {}
    int64_t rank() const override { return place_; }
    int64_t world() const override { return all_.world(); }
    at::Tensor gather(const at::Tensor& local) const override { return at::cat(all_.meet(place_, local)); }
    at::Tensor sum(const at::Tensor& local) const override {
      return at::stack(all_.meet(place_, local.detach())).sum(0);
    }

   private:
    RankThreads& all_;
    int64_t place_;
  };

  // Everybody's tensor, once everybody is here.
  std::vector<at::Tensor> meet(int64_t place, const at::Tensor& local) {
    std::unique_lock lock(mutex_);
    met_.wait(lock, [&] { return failure_ || !leaving_; });
    slots_[static_cast<size_t>(place)] = local;
    if (++inside_ == world()) {
      leaving_ = true;
      met_.notify_all();
    }
    met_.wait(lock, [&] { return failure_ || leaving_; });
    if (failure_) throw std::runtime_error("another rank failed");
    std::vector<at::Tensor> out = slots_;
    if (--inside_ == 0) {
      leaving_ = false;
      met_.notify_all();
    }
    return out;
  }

  std::mutex mutex_;
  std::condition_variable met_;
  std::vector<at::Tensor> slots_;
  std::vector<Rank> ranks_;
  int64_t inside_ = 0;
  bool leaving_ = false;
  std::exception_ptr failure_;
};

}  // namespace lacuna::testing
