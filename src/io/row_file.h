#pragma once
// Named arrays that grow row by row in a working file and end as one npz, safetensors, csv or jsonl file: results that
// fit no memory and take hours. What was saved can be gone on with after a kill.
//
//   npz          one NAME.npy for each array, `names` (unicode), `about` (metadata as JSON); stored, ZIP64
//   safetensors  the arrays, `names` (uint8: UTF-8, each name ended by a zero byte), metadata in the header
//   csv          header `name,ARRAY_0,ARRAY_1,…`, then one line a row; arrays of vectors only
//   jsonl        {"name": …, ARRAY: [ … ]} a line
//
// Numbers in text are the shortest that read back as the same float; NaN is `nan` in csv and null in jsonl.
// Non-goals: rows in another order than they come; reading (io/tensor/tensor_file.h reads safetensors).

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "io/tensor/tensor_file.h"

namespace lacuna {

enum class RowFormat { kNpz, kSafetensors, kCsv, kJsonl };

struct RowArray {
  std::string name;
  DType dtype = DType::kF32;        // a floating type
  std::vector<std::int64_t> shape;  // of one row
};
std::uint64_t row_bytes(const RowArray& array);

struct RowPlan {
  RowFormat format = RowFormat::kNpz;
  std::vector<RowArray> arrays;
  std::int64_t max_rows = 0;
  std::map<std::string, std::string> metadata;
};

using NameOfRow = std::function<std::string(std::int64_t row)>;

class RowFile {
 public:
  virtual ~RowFile() = default;

  // One name and one row of every array for each. Rows of one array stand one after the other, row-major.
  virtual void append(std::span<const std::string> names, std::span<const std::span<const std::byte>> rows) = 0;
  // Makes everything appended durable, and returns what `open_row_file` needs to go on from here.
  virtual nlohmann::json save() = 0;
  // Completes the file and renames it to `target`. `name` must tell for each row the name it was appended with.
  virtual void finish(const std::filesystem::path& target, const NameOfRow& name) = 0;
};

// Begins the working file `path` anew, or goes on with it from what save() returned. Throws Error for arrays that the
// format cannot hold, for a disk too full, and Error(kBadData) for a working file that is not as it was saved.
std::unique_ptr<RowFile> open_row_file(const std::filesystem::path& path, const RowPlan& plan,
                                       const nlohmann::json* saved);

}  // namespace lacuna
