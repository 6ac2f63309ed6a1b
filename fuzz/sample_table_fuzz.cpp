// fuzz: data
// An index that came with somebody's data: refused, or sound in every column.

#include <cstdlib>
#include <string_view>

#include "data/source/sample_table.h"
#include "target.h"

namespace {

using namespace lacuna;

void read_index(std::span<const std::byte> bytes) {
  const SampleTable table = SampleTable::from_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  std::size_t read = 0;
  for (std::size_t i = 0; i < table.size(); ++i) {
    read += table.names[i].size() + table.fault(i).size();
    if (table.labels[i] >= std::ssize(table.classes)) std::abort();
    if (!table.extents.empty() && table.extents[i].archive >= table.archives.size()) std::abort();
  }
  for (std::size_t i = 0; i < table.captions.size(); ++i) read += table.captions[i].size();
  if (read > bytes.size()) std::abort();
  if (SampleTable::from_bytes(table.to_bytes()).fingerprint() != table.fingerprint()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::one_input(data, size, read_index);
}
