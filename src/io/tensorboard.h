#pragma once
// Scalars for TensorBoard: event files in the TFRecord framing (length, masked CRC-32C of it, payload, masked CRC-32C
// of that), each payload a tensorflow.Event message, encoded by hand. Non-goals: images, histograms, reading.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace lacuna {

// Used from one thread. Points appear on disk when flushed or when the writer is destroyed. A folder may hold several
// event files; TensorBoard reads them in the order of their names as one run.
class TensorBoardWriter {
 public:
  // Creates the folder if needed, and in it `events.out.tfevents.<unix_time>.lacuna`, or that with ".2", ".3" ... if
  // the name is taken: an existing file is never changed.
  TensorBoardWriter(const std::filesystem::path& folder, std::uint64_t unix_time);

  void scalar(std::string_view tag, std::int64_t step, double value);  // stored as a 32-bit float, as TensorBoard does
  // Says that the run goes on after `last_step`, so that TensorBoard drops the later points of earlier files.
  void resume(std::int64_t last_step);
  void flush();  // Error if anything since the last flush could not be written

  const std::filesystem::path& path() const { return path_; }

 private:
  void record(const std::string& event);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace lacuna
