#include "io/tensorboard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"
#include "io/files.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

// An independent decoder: CRC-32C bit by bit, protobuf by its wire format.
std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc % 2 == 1) ? (crc / 2) ^ 0x82F63B78 : crc / 2;
  }
  return crc ^ 0xFFFFFFFF;
}

std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8; }

template <class Value>
Value take(std::string_view& bytes) {
  Value value;
  if (bytes.size() < sizeof(value)) throw std::runtime_error("ends early");
  std::memcpy(&value, bytes.data(), sizeof(value));
  bytes.remove_prefix(sizeof(value));
  return value;
}

std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<std::uint8_t>(bytes);
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
}

struct Event {
  double wall_time = 0;
  std::int64_t step = 0;
  std::string version;
  std::string tag;
  float value = 0;
  std::uint64_t session = 0;
};

// Walks nested messages by the path of field numbers, as one flat event.
void decode(std::string_view bytes, const std::string& path, Event& event) {
  while (!bytes.empty()) {
    const std::uint64_t key = take_varint(bytes);
    const std::string field = path + "/" + std::to_string(key >> 3);
    switch (key & 7) {
      case 0: {
        const std::uint64_t value = take_varint(bytes);
        if (field == "/2") event.step = static_cast<std::int64_t>(value);
        if (field == "/7/1") event.session = value;
        break;
      }
      case 1:
        event.wall_time = take<double>(bytes);
        break;
      case 2: {
        const std::size_t size = take_varint(bytes);
        const std::string_view inner = bytes.substr(0, size);
        if (inner.size() != size) throw std::runtime_error("ends early");
        bytes.remove_prefix(size);
        if (field == "/3")
          event.version = inner;
        else if (field == "/5/1/1")
          event.tag = inner;
        else
          decode(inner, field, event);
        break;
      }
      case 5:
        event.value = take<float>(bytes);
        break;
      default:
        throw std::runtime_error("unknown wire type");
    }
  }
}

std::vector<Event> read_events(const std::filesystem::path& path) {
  const std::string content = read_file(path, 1 << 24);
  std::string_view rest = content;
  std::vector<Event> events;
  while (!rest.empty()) {
    const std::string_view length_bytes = rest.substr(0, 8);
    const auto length = take<std::uint64_t>(rest);
    EXPECT_EQ(take<std::uint32_t>(rest), masked(crc32c(length_bytes)));
    const std::string_view payload = rest.substr(0, length);
    rest.remove_prefix(std::min<std::size_t>(length, rest.size()));
    EXPECT_EQ(take<std::uint32_t>(rest), masked(crc32c(payload)));
    decode(payload, "", events.emplace_back());
  }
  return events;
}

class TensorBoard : public ::testing::Test {
 protected:
  testing::TemporaryFolder folder_;
};

TEST_F(TensorBoard, TheChecksumIsCrc32c) { EXPECT_EQ(crc32c("123456789"), 0xE3069283u); }  // the catalogued check value

TEST_F(TensorBoard, ScalarsAreReadBackWithStepAndTime) {
  TensorBoardWriter writer(folder_ / "new/run", 1700000000);
  EXPECT_EQ(writer.path().filename(), "events.out.tfevents.1700000000.lacuna");
  const std::string long_tag(300, 't');
  writer.scalar("loss/total", 1, 0.5);
  writer.scalar(long_tag, std::int64_t{1} << 40, -1e-30);
  writer.scalar("nan", 0, std::numeric_limits<double>::quiet_NaN());
  writer.scalar("inf", 127, std::numeric_limits<double>::infinity());
  writer.scalar("", 128, 1e300);
  writer.flush();
  const std::vector<Event> events = read_events(writer.path());
  ASSERT_EQ(events.size(), 6u);
  EXPECT_EQ(events[0].version, "brain.Event:2");
  EXPECT_EQ(events[1].tag, "loss/total");
  EXPECT_EQ(events[1].step, 1);
  EXPECT_EQ(events[1].value, 0.5f);
  EXPECT_EQ(events[2].tag, long_tag);
  EXPECT_EQ(events[2].step, std::int64_t{1} << 40);
  EXPECT_EQ(events[2].value, -1e-30f);
  EXPECT_TRUE(std::isnan(events[3].value));
  EXPECT_TRUE(std::isinf(events[4].value));
  EXPECT_EQ(events[4].step, 127);
  EXPECT_EQ(events[5].step, 128);
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  for (const Event& event : events) EXPECT_NEAR(event.wall_time, now, 60);
}

TEST_F(TensorBoard, AResumedRunWritesANewFileThatSortsLater) {
  std::vector<std::string> names;
  for (int i = 0; i < 3; ++i) {
    TensorBoardWriter writer(folder_, 1700000000);
    if (i > 0) writer.resume(10 * i);
    writer.scalar("loss", 10 * i + 1, i);
    names.push_back(writer.path().filename());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"events.out.tfevents.1700000000.lacuna",
                                             "events.out.tfevents.1700000000.lacuna.2",
                                             "events.out.tfevents.1700000000.lacuna.3"}));
  EXPECT_EQ(read_events(folder_ / names[0]).size(), 2u);
  const std::vector<Event> events = read_events(folder_ / names[2]);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].session, 1u);
  EXPECT_EQ(events[1].step, 21);
  EXPECT_EQ(events[2].value, 2);
}

TEST_F(TensorBoard, AnImpossibleFolderIsAnError) {
  std::filesystem::create_directories(folder_);
  write_file_atomic(folder_ / "file", "x");
  EXPECT_THROW(TensorBoardWriter(folder_ / "file", 1), Error);
}

}  // namespace
}  // namespace lacuna
