// fuzz: data
// An index that came with somebody's data: refused, or sound in every column.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "data/sample_table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lacuna;
  try {
    const SampleTable table = SampleTable::from_bytes({reinterpret_cast<const char*>(data), size});
    std::size_t read = 0;
    for (std::size_t i = 0; i < table.size(); ++i) {
      read += table.names[i].size() + table.fault(i).size();
      if (table.labels[i] >= std::ssize(table.classes)) std::abort();
      if (!table.extents.empty()) read += table.archives[table.extents[i].archive].size();
    }
    for (std::size_t i = 0; i < table.captions.size(); ++i) read += table.captions[i].size();
    if (read > size || SampleTable::from_bytes(table.to_bytes()).fingerprint() != table.fingerprint()) std::abort();
  } catch (const Error& error) {
    if (error.code() != ExitCode::kBadData) std::abort();
  }
  return 0;
}
