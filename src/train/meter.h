#pragma once
// Running means of a step's figures, kept on the device and read only when asked.

#include <map>
#include <string>
#include <vector>

#include "train/task.h"

namespace lacuna {

class Meter {
 public:
  void add(const std::string& name, const at::Tensor& value);  // 0-d
  // Means since the last take, in the order the names were first seen; waits for the device.
  std::vector<Metric> take();

 private:
  struct Sum {
    std::string name;
    at::Tensor total;
    int64_t count = 0;
  };
  std::vector<Sum> sums_;
};

}  // namespace lacuna
