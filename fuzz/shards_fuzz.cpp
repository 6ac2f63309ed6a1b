// fuzz: io
// The index of shards, beside two shards with the tensors a, b and c.

#include <fstream>

#include "io/tensor/safetensors.h"
#include "io/tensor/shards.h"
#include "support/temporary_folder.h"
#include "target.h"

namespace {

using namespace lacuna;

struct Folder : testing::TemporaryFolder {
  Folder() {
    const double value = 0;
    const TensorView a{"a", DType::kF64, {1}, &value}, b{"b", DType::kF64, {1}, &value},
        c{"c", DType::kF64, {1}, &value};
    write_safetensors(path() / "1.safetensors", std::vector{a, b});
    write_safetensors(path() / "2.safetensors", std::vector{c});
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder kFolder;
  return fuzz::one_input(data, size, [](std::span<const std::byte> bytes) {
    const std::filesystem::path index = kFolder / "model.safetensors.index.json";
    std::ofstream(index, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
    fuzz::touch(read_shards(index));
  });
}
