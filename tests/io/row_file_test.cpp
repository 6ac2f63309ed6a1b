// Files of rows, read back by what this test knows of their formats.

#include "io/row_file.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "io/work_file.h"
#include "support/process.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using testing::content_of;
using testing::TemporaryFolder;

// ---- Rows to write -------------------------------------------------------------------------------------------------

const std::vector<std::string> kNames = {"a.png", "zwei, \"drei\".png", "\xC3\xA9t\xC3\xA9/\xF0\x9F\x8C\x9E.png", "b"};

RowPlan plan_of(RowFormat format, std::int64_t max_rows) {
  const bool csv = format == RowFormat::kCsv;
  return {.format = format,
          .arrays = {{"class", DType::kF32, {3}},
                     csv ? RowArray{"mean", DType::kF32, {2}} : RowArray{"patches", DType::kF32, {2, 2}}},
          .max_rows = max_rows,
          .metadata = {{"model", "toy"}}};
}

// Element `i` of an array's row: digits that need all of a float, and a NaN.
float value_of(std::size_t array, std::int64_t row, std::size_t i) {
  if (array == 0 && row == 1 && i == 2) return std::numeric_limits<float>::quiet_NaN();
  return std::sin(static_cast<float>(100 * array + 10 * static_cast<std::size_t>(row) + i));
}

void append(RowFile& file, const RowPlan& plan, std::int64_t first, std::int64_t count) {
  std::vector<std::vector<float>> values;
  std::vector<std::span<const std::byte>> rows;
  for (std::size_t a = 0; a < plan.arrays.size(); ++a) {
    const std::size_t elements = row_bytes(plan.arrays[a]) / sizeof(float);
    values.emplace_back();
    for (std::int64_t row = first; row < first + count; ++row) {
      for (std::size_t i = 0; i < elements; ++i) values.back().push_back(value_of(a, row, i));
    }
    rows.push_back(std::as_bytes(std::span(values.back())));
  }
  file.append(std::span(kNames).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), rows);
}

NameOfRow names() {
  return [](std::int64_t row) { return kNames[static_cast<std::size_t>(row)]; };
}

std::string written(const TemporaryFolder& folder, RowFormat format, std::int64_t rows, std::int64_t max_rows) {
  const RowPlan plan = plan_of(format, max_rows);
  const auto file = open_row_file(folder / "work", plan, nullptr);
  append(*file, plan, 0, 1);
  append(*file, plan, 1, rows - 1);
  file->finish(folder / "done", names());
  EXPECT_FALSE(fs::exists(folder / "work"));
  return content_of(folder / "done");
}

// ---- A reader of .npz ----------------------------------------------------------------------------------------------

struct Npy {
  std::string header;
  std::string data;
  std::uint64_t place = 0;  // of the data in the archive
};

template <class T>
T number_at(const std::string& bytes, std::uint64_t place) {
  T out;
  std::memcpy(&out, bytes.data() + place, sizeof(T));
  return out;
}

// By way of the directory at the end, checking what it says against the entries' own headers and bytes.
std::map<std::string, Npy> read_npz(const std::string& bytes) {
  std::map<std::string, Npy> out;
  const std::uint64_t end = bytes.size() - 22;
  EXPECT_EQ(number_at<std::uint32_t>(bytes, end), 0x06054b50u);
  EXPECT_EQ(number_at<std::uint32_t>(bytes, end - 20), 0x07064b50u);
  const auto end64 = number_at<std::uint64_t>(bytes, end - 12);
  EXPECT_EQ(number_at<std::uint32_t>(bytes, end64), 0x06064b50u);
  const auto count = number_at<std::uint64_t>(bytes, end64 + 32);
  auto place = number_at<std::uint64_t>(bytes, end64 + 48);
  EXPECT_EQ(place + number_at<std::uint64_t>(bytes, end64 + 40), end64);
  for (std::uint64_t i = 0; i < count; ++i) {
    EXPECT_EQ(number_at<std::uint32_t>(bytes, place), 0x02014b50u);
    const auto crc = number_at<std::uint32_t>(bytes, place + 16);
    const auto name_size = number_at<std::uint16_t>(bytes, place + 28),
               extra = number_at<std::uint16_t>(bytes, place + 30);
    const std::string name = bytes.substr(place + 46, name_size);
    const auto size = number_at<std::uint64_t>(bytes, place + 46 + name_size + 4);
    const auto local = number_at<std::uint64_t>(bytes, place + 46 + name_size + 20);
    place += 46u + name_size + extra;
    EXPECT_EQ(number_at<std::uint32_t>(bytes, local), 0x04034b50u);
    EXPECT_EQ(number_at<std::uint32_t>(bytes, local + 14), crc);
    EXPECT_EQ(bytes.substr(local + 30, name_size), name);
    EXPECT_EQ(number_at<std::uint64_t>(bytes, local + 30 + name_size + 4), size);
    const std::uint64_t npy = local + 30 + name_size + number_at<std::uint16_t>(bytes, local + 28);
    EXPECT_EQ(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data() + npy), size), crc) << name;
    EXPECT_EQ(bytes.substr(npy, 8), std::string("\x93NUMPY\x01\x00", 8));
    const auto header = number_at<std::uint16_t>(bytes, npy + 8);
    out[name] = {bytes.substr(npy + 10, header), bytes.substr(npy + 10 + header, size - 10 - header),
                 npy + 10 + header};
  }
  return out;
}

void expect_rows(std::string_view bytes, std::size_t array, std::int64_t rows) {
  const std::size_t elements = bytes.size() / sizeof(float) / static_cast<std::size_t>(rows);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < elements; ++i) {
      float found = 0;
      std::memcpy(&found, bytes.data() + (static_cast<std::size_t>(row) * elements + i) * sizeof(float), sizeof(float));
      const float expected = value_of(array, row, i);
      EXPECT_TRUE(found == expected || (std::isnan(found) && std::isnan(expected))) << array << " " << row << " " << i;
    }
  }
}

// ---- Tests ---------------------------------------------------------------------------------------------------------

TEST(RowFile, NpzHoldsArraysNamesAndMetadata) {
  const TemporaryFolder folder;
  auto npz = read_npz(written(folder, RowFormat::kNpz, 4, 4));
  ASSERT_EQ(npz.size(), 4u);
  EXPECT_TRUE(npz["class.npy"].header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), }"));
  EXPECT_TRUE(npz["patches.npy"].header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2, 2), }"));
  EXPECT_TRUE(npz["names.npy"].header.starts_with("{'descr': '<U16', 'fortran_order': False, 'shape': (4,), }"));
  EXPECT_TRUE(npz["about.npy"].header.starts_with("{'descr': '<U15', 'fortran_order': False, 'shape': (), }"));
  for (const auto& [name, npy] : npz) EXPECT_EQ(npy.place % 64, 0u) << name;
  expect_rows(npz["class.npy"].data, 0, 4);
  expect_rows(npz["patches.npy"].data, 1, 4);
  std::u32string third(16, U'\0');
  std::memcpy(third.data(), npz["names.npy"].data.data() + 2 * 16 * 4, 16 * 4);
  EXPECT_EQ(third.substr(0, 9), U"\u00E9t\u00E9/\U0001F31E.png");
}

TEST(RowFile, NpzNamesKeepBytesThatAreNoUtf8) {
  const TemporaryFolder folder;
  const RowPlan plan{.format = RowFormat::kNpz, .arrays = {{"x", DType::kF64, {1}}}, .max_rows = 1, .metadata = {}};
  const auto file = open_row_file(folder / "work", plan, nullptr);
  const double one = 1;
  const std::span<const std::byte> row = std::as_bytes(std::span(&one, 1));
  const std::string name = "\xFF\xC0\x80\xED\xA0\x80z";
  file->append(std::span(&name, 1), std::span(&row, 1));
  file->finish(folder / "done", [&](std::int64_t) { return name; });
  const Npy names = read_npz(content_of(folder / "done"))["names.npy"];
  const char32_t expected[] = {0xDCFF, 0xDCC0, 0xDC80, 0xDCED, 0xDCA0, 0xDC80, U'z'};
  EXPECT_EQ(names.data, std::string(reinterpret_cast<const char*>(expected), sizeof(expected)));
}

TEST(RowFile, SafetensorsHoldTheSame) {
  const TemporaryFolder folder;
  written(folder, RowFormat::kSafetensors, 4, 4);
  const TensorFile file(folder / "done");
  EXPECT_EQ(file.at("class").shape, (std::vector<std::int64_t>{4, 3}));
  EXPECT_EQ(file.at("patches").shape, (std::vector<std::int64_t>{4, 2, 2}));
  const auto text_of = [&](const char* name) {
    const auto bytes = file.at(name).data;
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  expect_rows(text_of("class"), 0, 4);
  expect_rows(text_of("patches"), 1, 4);
  std::string all;
  for (const std::string& name : kNames) all += name + '\0';
  EXPECT_EQ(text_of("names"), all);
  EXPECT_EQ(file.metadata().at("model"), "toy");
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(RowFile, CsvHasOneQuotedLineARow) {
  const TemporaryFolder folder;
  std::istringstream lines(written(folder, RowFormat::kCsv, 4, 4));
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "name,class_0,class_1,class_2,mean_0,mean_1");
  std::getline(lines, line);
  EXPECT_TRUE(line.starts_with("a.png,0,0.84147096,")) << line;
  std::getline(lines, line);
  EXPECT_TRUE(line.starts_with("\"zwei, \"\"drei\"\".png\",")) << line;
  std::istringstream fields(line.substr(line.find("png\",") + 5));
  std::vector<std::string> numbers;
  for (std::string field; std::getline(fields, field, ',');) numbers.push_back(field);
  ASSERT_EQ(numbers.size(), 5u);
  EXPECT_EQ(std::stof(numbers[0]), value_of(0, 1, 0));
  EXPECT_EQ(numbers[2], "nan");
  EXPECT_EQ(std::stof(numbers[4]), value_of(1, 1, 1));
}

TEST(RowFile, JsonlHasOneObjectARow) {
  const TemporaryFolder folder;
  std::istringstream lines(written(folder, RowFormat::kJsonl, 4, 4));
  std::int64_t row = 0;
  for (std::string line; std::getline(lines, line); ++row) {
    const auto object = nlohmann::json::parse(line);
    EXPECT_EQ(object["name"], kNames[static_cast<std::size_t>(row)]);
    EXPECT_EQ(object["class"][1].get<float>(), value_of(0, row, 1));
    EXPECT_EQ(object["class"][2].is_null(), row == 1);
    EXPECT_EQ(object["patches"][1][0].get<float>(), value_of(1, row, 2));
  }
  EXPECT_EQ(row, 4);
}

TEST(RowFile, FewerRowsThanPlannedLeaveNoGap) {
  const TemporaryFolder folder;
  EXPECT_EQ(written(folder, RowFormat::kNpz, 3, 1000), written(folder, RowFormat::kNpz, 3, 3));
  written(folder, RowFormat::kSafetensors, 3, 100'000);
  const TensorFile file(folder / "done");
  EXPECT_EQ(file.at("patches").shape, (std::vector<std::int64_t>{3, 2, 2}));
  const auto bytes = file.at("patches").data;
  expect_rows({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, 1, 3);
  EXPECT_LT(fs::file_size(folder / "done"), 2000u);
}

TEST(RowFile, GoesOnFromWhatWasSavedToTheSameBytes) {
  for (const RowFormat format : {RowFormat::kNpz, RowFormat::kSafetensors, RowFormat::kCsv, RowFormat::kJsonl}) {
    const TemporaryFolder folder, other;
    const RowPlan plan = plan_of(format, 4);
    nlohmann::json saved;
    {
      const auto file = open_row_file(folder / "work", plan, nullptr);
      append(*file, plan, 0, 2);
      saved = file->save();
      append(*file, plan, 1, 2);  // rows that no one remembers, and others than those that will come
    }
    const auto file = open_row_file(folder / "work", plan, &saved);
    append(*file, plan, 2, 2);
    file->finish(folder / "done", names());
    EXPECT_EQ(content_of(folder / "done"), written(other, format, 4, 4)) << static_cast<int>(format);
  }
}

template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(RowFile, RefusesWhatAFormatCannotHold) {
  const TemporaryFolder folder;
  const auto refused = [&](RowFormat format, DType dtype, std::vector<std::int64_t> shape) {
    const RowPlan plan{.format = format, .arrays = {{"x", dtype, std::move(shape)}}, .max_rows = 1, .metadata = {}};
    return error_of([&] { open_row_file(folder / "work", plan, nullptr); });
  };
  EXPECT_EQ(refused(RowFormat::kNpz, DType::kF16, {2, 2}), "");
  EXPECT_NE(refused(RowFormat::kNpz, DType::kBF16, {2}).find("NumPy has no type for BF16"), std::string::npos);
  EXPECT_NE(refused(RowFormat::kCsv, DType::kF32, {2, 2}).find("more than one vector"), std::string::npos);
  EXPECT_NE(refused(RowFormat::kJsonl, DType::kF16, {2}).find("dtype=f32 or f64"), std::string::npos);
  EXPECT_NE(refused(RowFormat::kNpz, DType::kF32, {std::int64_t{1} << 58}).find("too full"), std::string::npos);
}

TEST(RowFile, RefusesAWorkingFileThatIsNotAsSaved) {
  for (const RowFormat format : {RowFormat::kNpz, RowFormat::kCsv}) {
    const TemporaryFolder folder;
    const RowPlan plan = plan_of(format, 4);
    nlohmann::json saved;
    {
      const auto file = open_row_file(folder / "work", plan, nullptr);
      append(*file, plan, 0, 3);
      saved = file->save();
    }
    fs::resize_file(folder / "work", 10);
    EXPECT_NE(error_of([&] { open_row_file(folder / "work", plan, &saved); }).find("begin anew"), std::string::npos);
  }
}

TEST(WorkFile, IsHeldByOneAlone) {
  const TemporaryFolder folder;
  const WorkFile first(folder / "x");
  EXPECT_NE(error_of([&] { WorkFile(folder / "x"); }).find("another process is writing"), std::string::npos);
  EXPECT_NE(error_of([&] { WorkFile(folder / "no/x"); }).find("does not exist"), std::string::npos);
  fs::create_directory(folder / "folder");
  EXPECT_NE(error_of([&] { WorkFile(folder / "folder"); }).find("cannot open"), std::string::npos);
}

}  // namespace
}  // namespace lacuna
