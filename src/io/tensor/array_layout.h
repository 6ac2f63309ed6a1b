#pragma once
// Where the rows of each array lie in a file of arrays, and the bytes around them. Used by io/row_file alone.

#include <cstdint>
#include <memory>
#include <vector>

#include "io/row_file.h"
#include "io/work_file.h"

namespace lacuna {

class ArrayLayout {
 public:
  virtual ~ArrayLayout() = default;

  // The first byte of each array when there are `rows` rows of it.
  virtual std::vector<std::uint64_t> places(std::int64_t rows) const = 0;
  // Writes everything but the rows and sets the file's size. `crcs` are the CRC-32 of the arrays' bytes.
  virtual void frame(WorkFile& file, std::int64_t rows, std::span<const std::uint32_t> crcs,
                     const NameOfRow& name) const = 0;
};

std::unique_ptr<ArrayLayout> safetensors_layout(const RowPlan& plan);
std::unique_ptr<ArrayLayout> npz_layout(const RowPlan& plan);

}  // namespace lacuna
