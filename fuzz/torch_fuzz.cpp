// fuzz: io
// Whole torch checkpoints and TorchScript archives, as a file is read: by what it begins with.

#include "io/tensor/foreign_format.h"
#include "io/tensor/torch_file.h"
#include "io/tensor/zip.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  return fuzz::one_input(data, size, [](std::span<const std::byte> bytes) {
    if (!begins_like_zip(bytes)) refuse_foreign_format(bytes, "FILE");
    fuzz::touch(read_torch_file(bytes, "FILE"));
  });
}
