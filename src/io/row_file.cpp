#include "io/row_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "io/tensor/array_layout.h"
#include "io/work_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kCopyBytes = std::size_t{4} << 20;

std::int64_t row_elements(const RowArray& array) {
  return static_cast<std::int64_t>(row_bytes(array) / dtype_size(array.dtype));
}

// npz and safetensors. Every array has room for all rows from the start, so rows are written once; only where fewer
// rows came than there is room for the file is copied at the end.
class ArrayFile final : public RowFile {
 public:
  ArrayFile(const fs::path& path, const RowPlan& plan, std::unique_ptr<ArrayLayout> layout, const nlohmann::json* saved)
      : plan_(plan),
        layout_(std::move(layout)),
        places_(layout_->places(plan.max_rows)),
        crcs_(plan.arrays.size()),
        file_(path) {
    if (saved) {
      rows_ = saved->at("rows").get<std::int64_t>();
      crcs_ = saved->at("crcs").get<std::vector<std::uint32_t>>();
      if (rows_ < 0 || rows_ > plan.max_rows || crcs_.size() != plan.arrays.size() || file_.size() < places_.back())
        fail_data(path.string(), ": the working file is not as its index says; remove both and begin anew");
      file_.resize(places_.back());
      return;
    }
    file_.resize(0);
    const std::uint64_t available = free_bytes(path);
    check(available >= places_.back(), path.string(), ": the disk is too full: ", places_.back(), " bytes are needed, ",
          available, " are free; make room or choose another folder");
    file_.resize(places_.back());
  }

  void append(std::span<const std::string> names, std::span<const std::span<const std::byte>> rows) override {
    invariant(rows.size() == plan_.arrays.size() && rows_ + std::ssize(names) <= plan_.max_rows,
              "RowFile: more arrays or rows than planned");
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::uint64_t bytes = row_bytes(plan_.arrays[i]);
      invariant(rows[i].size() == names.size() * bytes, "RowFile: ", plan_.arrays[i].name, " of another size");
      file_.write_at(places_[i] + static_cast<std::uint64_t>(rows_) * bytes, rows[i]);
      crcs_[i] = crc32_of(rows[i], crcs_[i]);
    }
    rows_ += std::ssize(names);
  }

  nlohmann::json save() override {
    file_.sync();
    return {{"rows", rows_}, {"crcs", crcs_}};
  }

  void finish(const fs::path& target, const NameOfRow& name) override {
    if (rows_ == plan_.max_rows) {
      layout_->frame(file_, rows_, crcs_, name);
      file_.become(target);
      return;
    }
    WorkFile copy(file_.path().string() + ".short");
    copy.resize(0);
    const std::vector<std::uint64_t> places = layout_->places(rows_);
    for (std::size_t i = 0; i < plan_.arrays.size(); ++i)
      copy_bytes(copy, places_[i], places[i], static_cast<std::uint64_t>(rows_) * row_bytes(plan_.arrays[i]));
    layout_->frame(copy, rows_, crcs_, name);
    copy.become(target);
    fs::remove(file_.path());
  }

 private:
  void copy_bytes(WorkFile& to, std::uint64_t from_place, std::uint64_t to_place, std::uint64_t bytes) const {
    std::vector<std::byte> buffer(std::min<std::uint64_t>(bytes, kCopyBytes));
    for (std::uint64_t done = 0; done < bytes; done += buffer.size()) {
      const std::span<std::byte> piece = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), bytes - done));
      file_.read_at(from_place + done, piece);
      to.write_at(to_place + done, piece);
    }
  }

  RowPlan plan_;
  std::unique_ptr<ArrayLayout> layout_;
  std::vector<std::uint64_t> places_;  // of the arrays with all rows, then of what follows them
  std::vector<std::uint32_t> crcs_;    // of the arrays so far
  std::int64_t rows_ = 0;
  WorkFile file_;
};

// The shortest digits that read back as the same number.
template <class T>
void print(std::string& out, const std::byte* from, std::string_view not_a_number) {
  T number;
  std::memcpy(&number, from, sizeof(T));
  if (!std::isfinite(number)) {
    out += not_a_number;
    return;
  }
  std::array<char, 32> digits;
  out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
}

void print_number(std::string& out, const RowArray& array, const std::byte* from, std::string_view not_a_number) {
  array.dtype == DType::kF64 ? print<double>(out, from, not_a_number) : print<float>(out, from, not_a_number);
}

// Rows as lines of text.
class TextFile : public RowFile {
 public:
  TextFile(const fs::path& path, const RowPlan& plan, const nlohmann::json* saved) : plan_(plan), file_(path) {
    for (const RowArray& array : plan.arrays)
      check(array.dtype == DType::kF32 || array.dtype == DType::kF64,
            "csv and jsonl hold decimal numbers: expected dtype=f32 or f64, found ", dtype_name(array.dtype));
    bytes_ = saved ? saved->at("bytes").get<std::uint64_t>() : 0;
    if (file_.size() < bytes_)
      fail_data(path.string(), ": the working file is shorter than its index says; remove both and begin anew");
    file_.resize(bytes_);
  }

  void append(std::span<const std::string> names, std::span<const std::span<const std::byte>> rows) override {
    RunWriter out(file_, bytes_);
    if (bytes_ == 0) out.put(first_line());
    for (std::size_t row = 0; row < names.size(); ++row) out.put(line(names[row], rows, row));
    out.flush();
    bytes_ += out.written();
  }

  nlohmann::json save() override {
    file_.sync();
    return {{"bytes", bytes_}};
  }

  void finish(const fs::path& target, const NameOfRow&) override { file_.become(target); }

 protected:
  virtual std::string first_line() const = 0;
  virtual std::string line(const std::string& name, std::span<const std::span<const std::byte>> rows,
                           std::size_t row) const = 0;

  RowPlan plan_;

 private:
  WorkFile file_;
  std::uint64_t bytes_ = 0;
};

class CsvFile final : public TextFile {
 public:
  CsvFile(const fs::path& path, const RowPlan& plan, const nlohmann::json* saved) : TextFile(path, plan, saved) {
    for (const RowArray& array : plan.arrays)
      check(array.shape.size() == 1, "csv: '", array.name,
            "' has more than one vector a row; use npz, safetensors or jsonl for it");
  }

 private:
  std::string first_line() const override {
    std::string out = "name";
    for (const RowArray& array : plan_.arrays) {
      for (std::int64_t i = 0; i < row_elements(array); ++i) out += "," + array.name + "_" + std::to_string(i);
    }
    return out + "\n";
  }

  std::string line(const std::string& name, std::span<const std::span<const std::byte>> rows,
                   std::size_t row) const override {
    std::string out = quoted(name);
    for (std::size_t a = 0; a < rows.size(); ++a) {
      const RowArray& array = plan_.arrays[a];
      const std::byte* from = rows[a].data() + row * row_bytes(array);
      for (std::int64_t i = 0; i < row_elements(array); ++i, from += dtype_size(array.dtype)) {
        out += ',';
        print_number(out, array, from, "nan");
      }
    }
    return out + "\n";
  }

  // RFC 4180.
  static std::string quoted(const std::string& field) {
    if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
    std::string out = "\"";
    for (const char c : field) out += c == '"' ? std::string("\"\"") : std::string(1, c);
    return out + '"';
  }
};

class JsonlFile final : public TextFile {
 public:
  using TextFile::TextFile;

 private:
  std::string first_line() const override { return {}; }

  std::string line(const std::string& name, std::span<const std::span<const std::byte>> rows,
                   std::size_t row) const override {
    constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
    std::string out = "{\"name\":" + nlohmann::json(name).dump(-1, ' ', false, kReplace);
    for (std::size_t a = 0; a < rows.size(); ++a) {
      const RowArray& array = plan_.arrays[a];
      out += ",\"" + array.name + "\":";
      nested(out, array, 0, rows[a].data() + row * row_bytes(array));
    }
    return out + "}\n";
  }

  // Prints one dimension and what lies in it; returns where the next one begins.
  static const std::byte* nested(std::string& out, const RowArray& array, std::size_t dimension,
                                 const std::byte* from) {
    if (dimension == array.shape.size()) {
      print_number(out, array, from, "null");
      return from + dtype_size(array.dtype);
    }
    out += '[';
    for (std::int64_t i = 0; i < array.shape[dimension]; ++i) {
      if (i > 0) out += ',';
      from = nested(out, array, dimension + 1, from);
    }
    out += ']';
    return from;
  }
};

}  // namespace

std::uint64_t row_bytes(const RowArray& array) {
  const std::optional<std::uint64_t> bytes = byte_count(array.shape, array.dtype);
  invariant(bytes.has_value(), "RowArray: ", array.name, " is too large");
  return *bytes;
}

std::unique_ptr<RowFile> open_row_file(const fs::path& path, const RowPlan& plan, const nlohmann::json* saved) {
  switch (plan.format) {
    case RowFormat::kNpz:
      return std::make_unique<ArrayFile>(path, plan, npz_layout(plan), saved);
    case RowFormat::kSafetensors:
      return std::make_unique<ArrayFile>(path, plan, safetensors_layout(plan), saved);
    case RowFormat::kCsv:
      return std::make_unique<CsvFile>(path, plan, saved);
    case RowFormat::kJsonl:
      return std::make_unique<JsonlFile>(path, plan, saved);
  }
  invariant(false, "a format without a writer");
  return nullptr;
}

}  // namespace lacuna
