#include "io/tensorboard.h"

#include <array>
#include <bit>
#include <chrono>
#include <system_error>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78u : 0u);  // Castagnoli
    table[i] = value;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

// CRC-32C, rotated and offset as TFRecord wants it.
std::uint32_t masked_crc(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return std::rotr(~crc, 15) + 0xA282EAD8u;
}

template <class Integer>
void append_fixed(std::string& out, Integer value) {
  for (std::size_t i = 0; i < sizeof(value); ++i) out += static_cast<char>(value >> (8 * i));
}

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// A protobuf field's key: number and wire type (0 varint, 1 fixed64, 2 bytes, 5 fixed32).
void append_key(std::string& out, unsigned field, unsigned wire) { append_varint(out, field << 3 | wire); }

void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_key(out, field, 2);
  append_varint(out, bytes.size());
  out += bytes;
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; SessionLog session_log =
// 7 }
std::string event_at(std::int64_t step) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  std::string event;
  append_key(event, 1, 1);
  append_fixed(event, std::bit_cast<std::uint64_t>(now.count()));
  append_key(event, 2, 0);
  append_varint(event, static_cast<std::uint64_t>(step));
  return event;
}

std::filesystem::path unused_name(const std::filesystem::path& folder, std::uint64_t unix_time) {
  const std::string name = text("events.out.tfevents.", unix_time, ".lacuna");
  std::filesystem::path path = folder / name;
  for (int n = 2; std::filesystem::exists(path); ++n) path = folder / text(name, ".", n);
  return path;
}

}  // namespace

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder, std::uint64_t unix_time) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  check(!code, folder.string(), ": cannot create the folder for TensorBoard: ", code.message());
  path_ = unused_name(folder, unix_time);
  file_.open(path_, std::ios::binary);
  check(file_.is_open(), path_.string(), ": cannot create the file");
  std::string event = event_at(0);
  append_bytes(event, 3, "brain.Event:2");
  record(event);
  flush();
}

void TensorBoardWriter::scalar(std::string_view tag, std::int64_t step, double value) {
  std::string point;  // Summary.Value { string tag = 1; float simple_value = 2 }
  append_bytes(point, 1, tag);
  append_key(point, 2, 5);
  append_fixed(point, std::bit_cast<std::uint32_t>(static_cast<float>(value)));
  std::string summary;  // Summary { repeated Value value = 1 }
  append_bytes(summary, 1, point);
  std::string event = event_at(step);
  append_bytes(event, 5, summary);
  record(event);
}

void TensorBoardWriter::resume(std::int64_t last_step) {
  std::string session;  // SessionLog { SessionStatus status = 1 }, START = 1
  append_key(session, 1, 0);
  append_varint(session, 1);
  std::string event = event_at(last_step + 1);  // readers drop points at and after this step
  append_bytes(event, 7, session);
  record(event);
}

void TensorBoardWriter::flush() {
  file_.flush();
  check(file_.good(), path_.string(), ": cannot write to the file; is the disk full?");
}

void TensorBoardWriter::record(const std::string& event) {
  std::string length;
  append_fixed(length, std::uint64_t{event.size()});
  std::string frame = length;
  append_fixed(frame, masked_crc(length));
  frame += event;
  append_fixed(frame, masked_crc(event));
  file_.write(frame.data(), static_cast<std::streamsize>(frame.size()));
}

}  // namespace lacuna
