// load_weights FILE: opens a file of weights, copies every tensor into memory of its own, and prints one line of JSON:
// seconds to open and to copy, bytes, and the process's peak memory. One process per measurement; bench/load.py runs
// it.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/tensor/tensor_file.h"

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// A line of /proc/self/status in kilobytes: VmHWM counts mapped pages of the file, RssAnon does not.
long status(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return std::stol(line.substr(key.size() + 1));
  }
  return 0;
}

int run(const char* path) {
  const double start = seconds();
  const lacuna::TensorFile file(path);
  const double opened = seconds();
  std::vector<std::unique_ptr<std::byte[]>> copies;
  std::size_t bytes = 0;
  for (const std::string& name : file.names()) {
    const auto data = file.at(name).data;
    copies.push_back(std::make_unique_for_overwrite<std::byte[]>(data.size()));
    std::memcpy(copies.back().get(), data.data(), data.size());
    bytes += data.size();
    file.let_go(name);
  }
  const double copied = seconds();
  std::printf("{\"open\": %.6f, \"total\": %.6f, \"bytes\": %zu, \"peak_kb\": %ld, \"anon_kb\": %ld}\n", opened - start,
              copied - start, bytes, status("VmHWM"), status("RssAnon"));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "load_weights FILE\n");
    return 2;
  }
  try {
    return run(argv[1]);
  } catch (const lacuna::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
