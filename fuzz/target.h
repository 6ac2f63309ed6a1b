#pragma once
// What the fuzz targets share. Reading may succeed or throw Error; anything else is a finding.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "io/tensor/tensor_file.h"

namespace lacuna::fuzz {

template <class Read>
int one_input(const std::uint8_t* data, std::size_t size, const Read& read) {
  try {
    read(std::as_bytes(std::span(data, size)));
  } catch (const Error&) {
  }
  return 0;
}

// Looks at the first and the last bytes of every tensor, so that a span beyond its memory is seen.
inline void touch(const TensorTable& table) {
  volatile unsigned sum = 0;
  for (const auto& [name, tensor] : table.tensors) {
    const std::size_t edge = tensor.data.size() < 256 ? tensor.data.size() : 256;
    for (const std::byte b : tensor.data.first(edge)) sum = sum + static_cast<unsigned>(b);
    for (const std::byte b : tensor.data.last(edge)) sum = sum + static_cast<unsigned>(b);
  }
}

}  // namespace lacuna::fuzz
