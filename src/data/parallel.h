#pragma once
// A loop over numbered items on threads of its own, for work that is not the loader's.

#include <cstdint>
#include <functional>

namespace lacuna {

// Calls `work(i)` for each i in [0, count), in no particular order. The first exception ends the loop and is thrown
// again. `progress`, where given, is told how many are done, from one thread at a time.
void for_each_index(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work,
                    const std::function<void(std::int64_t)>& progress = {});

}  // namespace lacuna
