// fuzz: io
// A pickle and the walk over its values, beside one storage of 64 bytes.

#include "io/tensor/pickle.h"
#include "io/tensor/torch_tree.h"
#include "support/torch_bytes.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  static const std::string kBytes = testing::zip_of({{.name = "a/data/0", .data = std::string(64, 'x')}});
  static const ZipArchive kArchive(std::as_bytes(std::span(kBytes)), "FILE");
  return fuzz::one_input(data, size, [](std::span<const std::byte> bytes) {
    const Pickle pickle(bytes, "FILE: data.pkl");
    TorchTensors tensors(kArchive, "a/data/", "FILE", /*copy_budget=*/1 << 20);
    TensorTable table;
    add_torch_values(table, pickle.root(), tensors, "FILE");
    fuzz::touch(table);
  });
}
