// fuzz: io
#include "io/tensor/zip.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  return fuzz::one_input(data, size, [](std::span<const std::byte> bytes) {
    const ZipArchive archive(bytes, "FILE");
    for (const ZipEntry& entry : archive.entries()) {
      if (entry.method == 0) archive.verify(entry);
      (void)archive.content(entry, 1 << 16);
    }
  });
}
