#include "data/data_report.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "base/error.h"
#include "data/parallel.h"
#include "data/text/unicode.h"
#include "io/files.h"

namespace lacuna {
namespace {

using namespace std::string_view_literals;
using Content = std::array<std::uint64_t, 2>;

// What one thread finds out about one sample.
struct Finding {
  std::int64_t width = 0, height = 0;
  std::uint64_t bytes = 0;
  std::string format;
  Content content{};
  std::string fault;  // empty: readable
};

Content hash_of(std::span<const std::uint8_t> bytes) {
  ContentHash hash;
  hash.update(std::as_bytes(bytes));
  const std::string digits = hash.hex();
  Content content{};
  std::from_chars(digits.data(), digits.data() + 16, content[0], 16);
  std::from_chars(digits.data() + 16, digits.data() + 32, content[1], 16);
  return content;
}

// Sums over images of a channel's mean and of its squares' mean, in steps of 2^-20 of a level, so that the order in
// which threads add them does not matter.
class ChannelSums {
 public:
  explicit ChannelSums(int channels) : sums_(static_cast<std::size_t>(2 * channels)) {}

  void add(const Sheets& sheets) {
    const double pixels = static_cast<double>(sheets[0].width) * sheets[0].height;
    for (std::size_t c = 0; c < sums_.size() / 2; ++c) {
      const std::vector<std::uint8_t>& levels = sheets[c / 3].pixels;
      std::uint64_t sum = 0, squares = 0;
      for (std::size_t i = c % 3; i < levels.size(); i += 3) {
        sum += levels[i];
        squares += std::uint64_t{levels[i]} * levels[i];
      }
      sums_[2 * c] += std::llround(kSteps * static_cast<double>(sum) / pixels);
      sums_[2 * c + 1] += std::llround(kSteps * static_cast<double>(squares) / pixels);
    }
  }

  std::vector<ChannelReport> over(std::int64_t images) const {
    std::vector<ChannelReport> out;
    const auto mean = [&](std::size_t i) {
      return static_cast<double>(sums_[i]) / kSteps / static_cast<double>(std::max<std::int64_t>(images, 1));
    };
    for (std::size_t i = 0; i < sums_.size(); i += 2) {
      const double level = mean(i), variance = std::max(mean(i + 1) - level * level, 0.0);
      out.push_back({.mean = level / 255, .std = std::sqrt(variance) / 255});
    }
    return out;
  }

 private:
  static constexpr double kSteps = 1 << 20;
  std::vector<std::atomic<std::int64_t>> sums_;  // of levels and of squares, by channel
};

Finding find_out(const Source& source, std::int64_t index, ChannelSums& channels) {
  Finding found;
  try {
    std::vector<std::uint8_t> bytes;
    if (source.encoded(index, bytes)) {
      found.bytes = bytes.size();
      found.content = hash_of(bytes);
      found.format = format_of(bytes);
    } else {
      found.format = "made on the fly";
    }
    const Sheets sheets = source.sheets(index);
    found.width = sheets[0].width;
    found.height = sheets[0].height;
    channels.add(sheets);
  } catch (const Error& error) {
    if (error.code() != ExitCode::kBadData) throw;
    found.fault = error.what();
  }
  return found;
}

std::vector<EqualFiles> equal_files(const Source& source, const std::vector<Content>& contents) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < contents.size(); ++i) {
    if (contents[i] != Content{}) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return contents[a] < contents[b]; });
  std::vector<std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool same = i > 0 && contents[order[i]] == contents[order[i - 1]];
    if (!same) groups.emplace_back();
    groups.back().push_back(order[i]);
  }
  std::erase_if(groups, [](const auto& group) { return group.size() < 2; });
  std::sort(groups.begin(), groups.end());
  std::vector<EqualFiles> named;
  for (const auto& group : groups) {
    EqualFiles names;
    for (const std::size_t sample : group) names.push_back(source.name(static_cast<std::int64_t>(sample)));
    // A list may name one file several times: that is no duplicate.
    if (std::any_of(names.begin(), names.end(), [&](const auto& name) { return name != names[0]; }))
      named.push_back(std::move(names));
  }
  return named;
}

void count_classes(const Source& source, DataReport& report) {
  for (const std::string& name : source.classes()) report.classes.emplace_back(name, 0);
  for (std::int64_t i = 0; i < source.size(); ++i) {
    const std::int64_t label = source.label(i);
    ++(label == kNoLabel ? report.unlabelled : report.classes[static_cast<std::size_t>(label)].second);
  }
}

CaptionReport count_captions(const Source& source) {
  CaptionReport report;
  std::vector<std::int64_t> lengths;
  std::unordered_set<std::uint64_t> seen;
  for (std::int64_t i = 0; i < source.size(); ++i) {
    const std::vector<std::string> captions = source.captions(i);
    report.samples_without += captions.empty() ? 1 : 0;
    for (const std::string& caption : captions) {
      const std::u32string points = decode_utf8(caption);
      const auto any = [&points](auto test) { return std::any_of(points.begin(), points.end(), test); };
      lengths.push_back(std::ssize(points));
      report.not_ascii += is_ascii(caption) ? 0 : 1;
      report.not_utf8 += encode_utf8(points) == caption ? 0 : 1;
      report.control += any([](char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0); }) ? 1 : 0;
      report.repeated += seen.insert(hash_name(caption)).second ? 0 : 1;
    }
  }
  report.count = std::ssize(lengths);
  report.characters = spread_of(std::move(lengths));
  return report;
}

}  // namespace

Spread spread_of(std::vector<std::int64_t> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&values](std::size_t quarters) { return values[(values.size() - 1) * quarters / 4]; };
  return {values.front(), at(1), at(2), at(3), values.back()};
}

std::string format_of(std::span<const std::uint8_t> bytes) {
  const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (content.starts_with("\xFF\xD8\xFF"sv)) return "JPEG";
  if (content.starts_with("\x89PNG\r\n\x1A\n"sv)) return "PNG";
  if (content.starts_with("RIFF"sv) && content.substr(std::min<std::size_t>(8, content.size())).starts_with("WEBP"sv))
    return "WebP";
  if (content.starts_with("GIF8"sv)) return "GIF";
  if (content.starts_with("II*\0"sv) || content.starts_with("MM\0*"sv)) return "TIFF";
  return "other";
}

DataReport look_at(const Source& source, int threads, const std::function<void(std::int64_t)>& progress) {
  std::vector<Finding> findings(static_cast<std::size_t>(source.size()));
  ChannelSums channels(source.spectrum() > 0 ? source.spectrum() : 3);
  for_each_index(
      source.size(), threads,
      [&](std::int64_t i) { findings[static_cast<std::size_t>(i)] = find_out(source, i, channels); }, progress);
  DataReport report;
  report.samples = source.size();
  std::vector<std::int64_t> widths, heights;
  for (std::size_t i = 0; i < findings.size(); ++i) {
    Finding& found = findings[i];
    report.bytes += found.bytes;
    report.contents.push_back(found.content);
    if (!found.fault.empty()) {
      const auto id = static_cast<std::int64_t>(i);
      report.broken.push_back({id, source.name(id), std::move(found.fault)});
      continue;
    }
    ++report.readable;
    ++report.formats[found.format];
    widths.push_back(found.width);
    heights.push_back(found.height);
  }
  report.widths = spread_of(std::move(widths));
  report.heights = spread_of(std::move(heights));
  report.channels = channels.over(report.readable);
  report.duplicates = equal_files(source, report.contents);
  count_classes(source, report);
  report.captions = count_captions(source);
  return report;
}

}  // namespace lacuna
