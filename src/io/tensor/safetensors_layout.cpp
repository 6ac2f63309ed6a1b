#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/tensor/array_layout.h"

namespace lacuna {
namespace {

constexpr std::uint64_t kLengthBytes = 8;

class SafetensorsLayout final : public ArrayLayout {
 public:
  explicit SafetensorsLayout(const RowPlan& plan) : plan_(plan) {
    plan_.metadata.try_emplace("format", "pt");
    // Room for the longest header there can be: fewer rows and shorter names leave blanks at its end.
    header_bytes_ = (header(plan.max_rows, std::numeric_limits<std::int64_t>::max()).size() + 7) / 8 * 8;
  }

  std::vector<std::uint64_t> places(std::int64_t rows) const override {
    std::vector<std::uint64_t> places;
    std::uint64_t place = kLengthBytes + header_bytes_;
    for (const RowArray& array : plan_.arrays) {
      places.push_back(place);
      place += static_cast<std::uint64_t>(rows) * row_bytes(array);
    }
    places.push_back(place);
    return places;
  }

  void frame(WorkFile& file, std::int64_t rows, std::span<const std::uint32_t>, const NameOfRow& name) const override {
    const std::uint64_t end = places(rows).back();
    RunWriter names(file, end);
    for (std::int64_t row = 0; row < rows; ++row) names.put(name(row) + '\0');
    names.flush();
    file.resize(end + names.written());
    std::string text = header(rows, static_cast<std::int64_t>(names.written()));
    text.resize(header_bytes_, ' ');
    RunWriter head(file, 0);
    head.put({reinterpret_cast<const char*>(&header_bytes_), kLengthBytes});
    head.put(text);
    head.flush();
  }

 private:
  std::string header(std::int64_t rows, std::int64_t name_bytes) const {
    nlohmann::ordered_json out;
    out["__metadata__"] = plan_.metadata;
    std::uint64_t begin = 0;
    const auto add = [&](const std::string& name, DType dtype, const std::vector<std::int64_t>& shape,
                         std::uint64_t bytes) {
      out[name] = {{"dtype", dtype_name(dtype)}, {"shape", shape}, {"data_offsets", {begin, begin + bytes}}};
      begin += bytes;
    };
    for (const RowArray& array : plan_.arrays) {
      std::vector<std::int64_t> shape = array.shape;
      shape.insert(shape.begin(), rows);
      add(array.name, array.dtype, shape, static_cast<std::uint64_t>(rows) * row_bytes(array));
    }
    add("names", DType::kU8, {name_bytes}, static_cast<std::uint64_t>(name_bytes));
    try {
      return out.dump();
    } catch (const nlohmann::json::exception&) {
      fail("expected the words that describe the features in UTF-8, found other bytes");
    }
  }

  RowPlan plan_;
  std::uint64_t header_bytes_ = 0;
};

}  // namespace

std::unique_ptr<ArrayLayout> safetensors_layout(const RowPlan& plan) {
  return std::make_unique<SafetensorsLayout>(plan);
}

}  // namespace lacuna
