#include "data/pack.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "data/parallel.h"
#include "data/source/archive_listing.h"
#include "data/source/portable_index.h"
#include "data/source/text_file.h"
#include "io/files.h"
#include "io/image/jpeg_writer.h"
#include "io/image/resize.h"
#include "io/tar.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

constexpr const char* kManifest = "pack.json";
constexpr int kFormat = 1;
constexpr std::int64_t kChunkPerThread = 16;  // samples in memory at once

std::span<const std::byte> as_bytes(const std::string& value) {
  return std::as_bytes(std::span(value.data(), value.size()));
}

std::string as_text(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string numbered(const char* format, std::int64_t number) {
  char out[64];
  std::snprintf(out, sizeof out, format, static_cast<long long>(number));
  return out;
}

// A sample ready to be written.
struct Packed {
  std::string ending;
  std::vector<std::uint8_t> bytes;
  std::string fault;
};

std::string ending_of(std::span<const std::uint8_t> bytes) {
  const std::string format = lower_case(format_of(bytes));
  return format == "jpeg" ? "jpg" : format == "tiff" ? "tif" : format;
}

Packed prepare(const Source& source, std::int64_t index, const PackConfig& config) {
  Packed packed;
  try {
    const Image image = source.image(index);
    const bool stored = config.side == 0 && source.encoded(index, packed.bytes);
    if (stored) {
      packed.ending = ending_of(packed.bytes);
    } else {
      packed.ending = "jpg";
      packed.bytes = encode_jpeg(config.side == 0 ? image : shrunk(image, config.side), config.quality);
    }
  } catch (const Error& error) {
    if (error.code() != ExitCode::kBadData) throw;
    packed.fault = error.what();
  }
  return packed;
}

class Packing {
 public:
  Packing(const Source& source, fs::path out, const PackConfig& config, int threads,
          const std::function<void(std::int64_t)>& progress)
      : source_(source), out_(std::move(out)), config_(config), threads_(threads), progress_(progress) {}

  PackReport run() {
    begin();
    while (next_ < source_.size()) write_shard();
    write_classes();
    write_index();
    manifest_["finished"] = true;
    save();
    return std::move(report_);
  }

 private:
  json settings() const {
    json out = {{"format", kFormat},
                {"source_fingerprint", source_.fingerprint()},
                {"source_samples", source_.size()},
                {"shard_megabytes", config_.shard_megabytes},
                {"side", config_.side},
                {"images", config_.side == 0 ? "stored byte for byte"
                                             : text("JPEG of quality ", config_.quality, ", 4:2:0, short side at most ",
                                                    config_.side, " (bicubic)")}};
    if (config_.side > 0) {
      const DecodeOptions& how = config_.decode;
      out["decoding"] = {{"exif", how.orient}, {"gray16_scaled", how.scale_gray16}, {"bands", how.bands}};
      if (how.range) out["decoding"]["range"] = *how.range;
    }
    return out;
  }

  void begin() {
    check(config_.side == 0 || source_.spectrum() == 0,
          "side: what is made smaller is written as JPEG, which has three channels, and data.bands chooses ",
          source_.spectrum(), "; leave side 0, which stores the files as they are");
    std::error_code ignored;
    fs::create_directories(out_);
    const bool begun = fs::exists(out_ / kManifest, ignored);
    check(begun || fs::is_empty(out_), out_.string(), ": expected a new or empty folder, found other files in it");
    manifest_ = {{"settings", settings()}, {"finished", false}, {"shards", json::array()}, {"left_out", json::array()}};
    if (begun) resume(json::parse(read_file(out_ / kManifest, std::uint64_t{1} << 30), nullptr, false));
  }

  void resume(const json& earlier) {
    check(earlier.is_object() && earlier.contains("settings") && earlier.contains("finished"),
          (out_ / kManifest).string(), ": is no manifest of a pack; name another folder");
    check(earlier["settings"] == settings(), out_.string(),
          ": holds a pack of other data or settings; name another folder");
    check(earlier["finished"] == false, out_.string(), ": holds this pack already");
    manifest_ = earlier;
    for (const json& shard : manifest_["shards"]) {
      next_ = shard.at("end").get<std::int64_t>();
      stored_ += shard.at("samples").get<std::int64_t>();
      report_.bytes += shard.at("bytes").get<std::uint64_t>();
    }
    report_.kept = report_.shards = std::ssize(manifest_["shards"]);
    report_.samples = stored_;
    for (const json& sample : manifest_["left_out"])
      report_.broken.push_back({sample.at("id"), sample.at("name"), sample.at("reason")});
  }

  void write_shard() {
    const std::string name = numbered("shard-%06lld.tar", report_.shards);
    const std::int64_t first = next_, stored_before = stored_;
    const auto limit = static_cast<std::uint64_t>(config_.shard_megabytes) << 20;
    AtomicFile file(out_ / name, 0);
    TarWriter tar([&file](std::span<const std::byte> part) { file.write(part); });
    std::vector<std::pair<std::string, std::string>> written;  // member and hash
    while (next_ < source_.size() && tar.written() < limit) write_chunk(tar, written, limit);
    tar.finish();
    const std::string hash = file.commit();
    verify(out_ / name, written);
    report_.bytes += tar.written();
    report_.samples = stored_;
    ++report_.shards;
    manifest_["shards"].push_back({{"file", name},
                                   {"first", first},
                                   {"end", next_},
                                   {"samples", stored_ - stored_before},
                                   {"bytes", tar.written()},
                                   {"xxh128", hash}});
    save();
  }

  // Some samples, made by all threads and written in order. Those beyond the end of the shard are made anew for the
  // next.
  void write_chunk(TarWriter& tar, std::vector<std::pair<std::string, std::string>>& written, std::uint64_t limit) {
    const std::int64_t first = next_;
    const std::int64_t count = std::min(source_.size() - first, kChunkPerThread * threads_);
    std::vector<Packed> chunk(static_cast<std::size_t>(count));
    for_each_index(count, threads_,
                   [&](std::int64_t i) { chunk[static_cast<std::size_t>(i)] = prepare(source_, first + i, config_); });
    for (std::size_t i = 0; i < chunk.size() && tar.written() < limit; ++i) add(tar, next_++, chunk[i], written);
    if (progress_) progress_(next_);
  }

  void add(TarWriter& tar, std::int64_t id, const Packed& packed,
           std::vector<std::pair<std::string, std::string>>& written) {
    if (!packed.fault.empty()) {
      report_.broken.push_back({id, source_.name(id), packed.fault});
      manifest_["left_out"].push_back({{"id", id}, {"name", source_.name(id)}, {"reason", packed.fault}});
      return;
    }
    const std::string key = numbered("%09lld", stored_++);
    const auto put = [&](const std::string& ending, std::span<const std::byte> content) {
      tar.add(key + '.' + ending, content);
      ContentHash hash;
      hash.update(content);
      written.emplace_back(key + '.' + ending, hash.hex());
    };
    put(packed.ending, std::as_bytes(std::span(packed.bytes)));
    if (source_.label(id) != kNoLabel) put("cls", as_bytes(std::to_string(source_.label(id))));
    const std::vector<std::string> captions = source_.captions(id);
    if (captions.size() == 1) put("txt", as_bytes(captions[0]));
    if (captions.size() > 1) put("json", as_bytes(as_text({{"captions", captions}})));
  }

  // Reads a shard back from the disk and compares every member.
  static void verify(const fs::path& path, const std::vector<std::pair<std::string, std::string>>& written) {
    const MappedFile file(path);
    TarReader tar(
        [&file](std::uint64_t offset, std::span<std::byte> into) {
          const auto part = file.bytes().subspan(static_cast<std::size_t>(offset), into.size());
          std::copy(part.begin(), part.end(), into.begin());
        },
        file.bytes().size(), path.string());
    TarMember member;
    for (const auto& [name, expected] : written) {
      ContentHash hash;
      const bool found = tar.next(member) && member.name == name;
      if (found) hash.update(file.bytes().subspan(member.offset, member.size));
      check(found && hash.hex() == expected, path.string(), ": ", name,
            " was read back with other bytes than were written; check the disk");
    }
    check(!tar.next(member), path.string(), ": holds more than was written; check the disk");
  }

  void write_classes() const {
    if (source_.classes().empty()) return;
    std::string table = "dir\tname\n";
    for (std::size_t i = 0; i < source_.classes().size(); ++i)
      table += std::to_string(i) + '\t' + source_.classes()[i] + '\n';
    write_file_atomic(out_ / "classes.tsv", table);
  }

  void write_index() const {
    std::vector<fs::path> files;
    SampleTable table;
    for (const json& shard : manifest_["shards"]) {
      table.archives.push_back(shard["file"]);
      files.push_back(out_ / table.archives.back());
    }
    std::vector<std::string> labels;
    for (const ArchiveSample& sample : read_archives(files)) {
      table.add(sample.name, sample.extent, sample.captions);
      labels.push_back(sample.label);
    }
    check(table.size() > 0, out_.string(), ": none of the ", source_.size(), " samples could be packed");
    set_labels(table, labels);
    write_portable_index(out_, table);
  }

  void save() {
    write_file_atomic(out_ / kManifest, manifest_.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  }

  const Source& source_;
  const fs::path out_;
  const PackConfig config_;
  const int threads_;
  const std::function<void(std::int64_t)>& progress_;
  json manifest_;
  PackReport report_;
  std::int64_t next_ = 0;    // sample of the source
  std::int64_t stored_ = 0;  // samples written so far, in all shards
};

}  // namespace

void PackConfig::fields(Fields& f) {
  f.add("shard_megabytes", shard_megabytes,
        {.help = "a shard ends with the sample that passes this", .min = 1, .max = 1 << 20});
  f.add("side", side,
        {.help = "re-encode as JPEG with the short side at most this; 0 stores files byte for byte",
         .min = 0,
         .max = 1 << 14});
  f.add("quality", quality, {.help = "of re-encoding, libjpeg's scale", .min = 1, .max = 100});
}

PackReport pack(const Source& source, const fs::path& out, const PackConfig& config, int threads,
                const std::function<void(std::int64_t)>& progress) {
  return Packing(source, out, config, threads, progress).run();
}

}  // namespace lacuna
