// fuzz: io
#include "io/tensor/safetensors.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  return fuzz::one_input(data, size,
                         [](std::span<const std::byte> bytes) { fuzz::touch(read_safetensors(bytes, "FILE")); });
}
