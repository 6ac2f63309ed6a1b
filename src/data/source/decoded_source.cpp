#include "data/source/decoded_source.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "data/parallel.h"
#include "io/files.h"
#include "io/image/resize.h"
#include "io/positioned_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMagic = 0x31'6c'78'70'61'6e'63'6c;  // "lcnapxl1"
constexpr std::int64_t kProbes = 256;
constexpr std::int64_t kChunkPerThread = 16;  // samples in memory at once

// Where a sample lies: its pixels, or, with a width of 0, `height` bytes that say why it has none.
struct Entry {
  std::uint64_t offset = 0, hash = 0;
  std::uint32_t width = 0, height = 0;

  std::uint64_t bytes(std::uint64_t sheets) const {
    return width == 0 ? height : std::uint64_t{3} * width * height * sheets;
  }
};

struct Footer {
  std::uint64_t magic = kMagic;
  std::uint64_t fingerprint = 0, stamp = 0, settings = 0;  // of what was kept
  std::uint64_t count = 0, table = 0;                      // samples, and where their entries begin
  std::uint64_t table_hash = 0;
};

template <class T>
std::span<const std::byte> bytes_of(const T& values) {
  return std::as_bytes(std::span(values));
}

Footer footer_for(const Source& source, const KeepDecoded& config) {
  return {.fingerprint = source.fingerprint(),
          .stamp = source.stamp(),
          .settings = hash_name(text(config.side, '|', config.options)),
          .count = static_cast<std::uint64_t>(source.size())};
}

bool is_same(const Footer& a, const Footer& b) {
  return a.magic == b.magic && a.fingerprint == b.fingerprint && a.stamp == b.stamp && a.settings == b.settings &&
         a.count == b.count;
}

// The entries of a file that was made for `wanted`; nothing for any other.
std::optional<std::vector<Entry>> read_table(const PositionedFile& file, const Footer& wanted, std::uint64_t sheets) {
  const std::uint64_t size = file.stamp().size;
  Footer footer;
  if (size < sizeof footer) return std::nullopt;
  file.read(size - sizeof footer, std::as_writable_bytes(std::span(&footer, 1)));
  if (!is_same(footer, wanted)) return std::nullopt;
  const std::uint64_t room = size - sizeof footer;
  if (footer.table > room || (room - footer.table) / sizeof(Entry) != footer.count) return std::nullopt;
  std::vector<Entry> entries(static_cast<std::size_t>(footer.count));
  file.read(footer.table, std::as_writable_bytes(std::span(entries)));
  if (content_hash64(bytes_of(entries)) != footer.table_hash) return std::nullopt;
  const bool sound = std::all_of(entries.begin(), entries.end(), [&](const Entry& entry) {
    return entry.width < (1u << 20) && entry.height < (1u << 20) && entry.offset <= footer.table &&
           entry.bytes(sheets) <= footer.table - entry.offset;
  });
  return sound ? std::optional(std::move(entries)) : std::nullopt;
}

std::uint64_t sheet_count(const Source& source) {
  return static_cast<std::uint64_t>(source.spectrum() == 0 ? 1 : sheets_of(source.spectrum()) + 1);
}

class DecodedSource final : public Source {
 public:
  DecodedSource(std::unique_ptr<Source> source, const fs::path& file, const Footer& wanted)
      : source_(std::move(source)), file_(file) {
    auto entries = read_table(file_, wanted, sheet_count(*source_));
    if (!entries) fail_data(file.string(), ": was not made for these images");
    entries_ = std::move(*entries);
  }

  std::int64_t size() const override { return source_->size(); }
  std::string name(std::int64_t index) const override { return source_->name(index); }
  std::int64_t label(std::int64_t index) const override { return source_->label(index); }
  std::string caption(std::int64_t index, Rng& rng) const override { return source_->caption(index, rng); }
  std::vector<std::string> captions(std::int64_t index) const override { return source_->captions(index); }
  const std::vector<std::string>& classes() const override { return source_->classes(); }
  std::uint64_t fingerprint() const override { return source_->fingerprint(); }
  std::uint64_t stamp() const override { return source_->stamp(); }

  int spectrum() const override { return source_->spectrum(); }
  Image image(std::int64_t index) const override { return std::move(sheets(index).back()); }

  Sheets sheets(std::int64_t index) const override {
    const Entry& entry = entries_.at(static_cast<std::size_t>(index));
    std::vector<std::uint8_t> bytes;
    read(entry, index, bytes);
    Sheets sheets;
    for (auto at = bytes.cbegin(); at < bytes.cend(); at += std::ssize(sheets.back().pixels)) {
      Image& sheet = sheets.emplace_back(static_cast<int>(entry.width), static_cast<int>(entry.height));
      std::copy_n(at, sheet.pixels.size(), sheet.pixels.begin());
    }
    return sheets;
  }

  void open(std::int64_t index, ImageReader& reader) const override {
    const Entry& entry = entries_.at(static_cast<std::size_t>(index));
    reader.begin();
    read(entry, index, reader.bytes);
    reader.hold_bytes(static_cast<int>(entry.width), static_cast<int>(entry.height),
                      static_cast<int>(sheet_count(*source_)));
  }

 private:
  void read(const Entry& entry, std::int64_t index, std::vector<std::uint8_t>& bytes) const {
    bytes.resize(static_cast<std::size_t>(entry.bytes(sheet_count(*source_))));
    file_.read(entry.offset, std::as_writable_bytes(std::span(bytes)));
    if (content_hash64(bytes_of(bytes)) != entry.hash) {
      fail_data(name(index), ": what was kept of it in ", file_.path().string(),
                " is damaged. Remove that file; it is made anew");
    }
    if (entry.width == 0) fail_data(std::string(bytes.begin(), bytes.end()));
  }

  std::unique_ptr<Source> source_;
  PositionedFile file_;
  std::vector<Entry> entries_;
};

// What is kept of one sample.
struct Kept {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  // of all sheets
  std::string fault;
};

Kept keep(const Source& source, std::int64_t index, int side) {
  Kept kept;
  try {
    for (Image& sheet : source.sheets(index)) {
      const Image small = shrunk(std::move(sheet), side);
      kept.width = small.width;
      kept.height = small.height;
      kept.pixels.insert(kept.pixels.end(), small.pixels.begin(), small.pixels.end());
    }
  } catch (const Error& error) {
    if (error.code() != ExitCode::kBadData) throw;
    kept.fault = error.what();
  }
  return kept;
}

// By the headers of some samples from everywhere.
std::uint64_t estimated_bytes(const Source& source, int side) {
  const std::int64_t probes = std::min(kProbes, source.size());
  ImageReader reader;
  double pixels = 0;
  std::int64_t read = 0;
  for (std::int64_t i = 0; i < probes; ++i) {
    try {
      source.open(i * source.size() / probes, reader);
      const double shorter = std::min(reader.width(), reader.height()), scale = std::min(1.0, side / shorter);
      pixels += scale * scale * reader.width() * reader.height();
      ++read;
    } catch (const Error& error) {
      if (error.code() != ExitCode::kBadData) throw;
    }
  }
  const double mean = pixels / static_cast<double>(std::max<std::int64_t>(read, 1));
  const double bytes = 3 * mean * static_cast<double>(sheet_count(source)) + sizeof(Entry);
  return static_cast<std::uint64_t>(bytes * static_cast<double>(source.size())) + sizeof(Footer);
}

// Tells how far it is, every few seconds.
class Telling {
 public:
  Telling(const KeepDecoded& config, std::int64_t total) : config_(config), total_(total) {}
  void operator()(std::int64_t done) {
    const auto now = std::chrono::steady_clock::now();
    if (!config_.say || now < next_) return;
    next_ = now + std::chrono::seconds(5);
    config_.say(text("decoding: ", done, " of ", total_));
  }

 private:
  const KeepDecoded& config_;
  std::int64_t total_;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::seconds(5);
};

void write(const Source& source, const KeepDecoded& config, Footer footer) {
  const std::uint64_t bytes = estimated_bytes(source, config.side);
  fs::create_directories(config.file.parent_path());
  if (config.say)
    config.say(text("keeping ", source.size(), " images decoded, short side at most ", config.side, ": about ",
                    human_bytes(bytes), " in ", config.file.string()));
  AtomicFile out(config.file, bytes);
  std::vector<Entry> entries;
  std::vector<Kept> chunk;
  Telling tell(config, source.size());
  for (std::int64_t first = 0; first < source.size(); first += std::ssize(chunk)) {
    chunk.assign(static_cast<std::size_t>(std::min(source.size() - first, kChunkPerThread * config.threads)), {});
    for_each_index(std::ssize(chunk), config.threads,
                   [&](std::int64_t i) { chunk[static_cast<std::size_t>(i)] = keep(source, first + i, config.side); });
    for (const Kept& kept : chunk) {
      const bool whole = kept.fault.empty();
      const auto content = whole ? bytes_of(kept.pixels) : bytes_of(kept.fault);
      entries.push_back({.offset = footer.table,
                         .hash = content_hash64(content),
                         .width = whole ? static_cast<std::uint32_t>(kept.width) : 0,
                         .height = static_cast<std::uint32_t>(whole ? kept.height : std::ssize(kept.fault))});
      out.write(content);
      footer.table += content.size();
    }
    tell(first + std::ssize(chunk));
  }
  footer.table_hash = content_hash64(bytes_of(entries));
  out.write(bytes_of(entries));
  out.write(std::as_bytes(std::span(&footer, 1)));
  out.commit();
}

}  // namespace

std::unique_ptr<Source> keep_decoded(std::unique_ptr<Source> source, const KeepDecoded& config) {
  const Footer wanted = footer_for(*source, config);
  std::error_code ignored;
  const bool there = fs::is_regular_file(config.file, ignored);
  if (!there || !read_table(PositionedFile(config.file), wanted, sheet_count(*source))) {
    if (there && config.say) config.say(config.file.string() + " was made for other images or settings");
    write(*source, config, wanted);
  }
  return std::make_unique<DecodedSource>(std::move(source), config.file, wanted);
}

}  // namespace lacuna
