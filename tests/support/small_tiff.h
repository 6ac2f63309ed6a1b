#pragma once
// Small uncompressed TIFF files for tests: any number of channels of 8, 16 or 32 bits, interleaved in one strip or one
// strip for each.

#include <cstdint>
#include <vector>

namespace lacuna::testing {

struct SmallTiff {
  int width = 0, height = 0, channels = 1, bits = 8;
  bool separate = false;  // planes one after the other
  int photometric = 1;    // 1: gray, 2: RGB
  int orientation = 1;
  int format = 1;                      // of the samples; 1: unsigned, 2: signed, 3: float
  std::vector<std::uint32_t> samples;  // in the order of the file, the bits of each
};

inline std::vector<std::uint8_t> tiff_bytes(const SmallTiff& tiff) {
  std::vector<std::uint8_t> out = {'I', 'I', 42, 0};
  const auto put = [&out](std::size_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  };
  std::vector<std::uint32_t> lists;  // values that do not fit into their entry
  constexpr std::size_t kEntries = 13, kDirectory = 8, kLists = kDirectory + 2 + kEntries * 12 + 4;
  constexpr std::size_t kShort = 3, kLong = 4;
  // Values are stored as 32 bits in the lists, so 16-bit ones are written in pairs of their own.
  const auto entry = [&](std::size_t tag, std::size_t type, const std::vector<std::size_t>& values) {
    put(tag, 2), put(type, 2), put(values.size(), 4);
    const std::size_t width = type == kShort ? 16 : 32, room = 32 / width;
    if (values.size() > room) put(kLists + lists.size() * 4, 4);
    std::vector<std::uint32_t> words((values.size() + room - 1) / room);
    for (std::size_t i = 0; i < values.size(); ++i) {
      words[i / room] |= static_cast<std::uint32_t>(values[i] << (i % room * width));
    }
    if (values.size() <= room)
      put(words.empty() ? 0 : words[0], 4);
    else
      lists.insert(lists.end(), words.begin(), words.end());
  };
  const auto number = [](int value) { return static_cast<std::size_t>(value); };
  const std::size_t channels = number(tiff.channels), strips = tiff.separate ? channels : 1;
  const std::size_t extra = channels - (tiff.photometric == 2 ? 3 : 1);
  const std::size_t strip_bytes = tiff.samples.size() * number(tiff.bits / 8) / strips;
  const auto words = [](std::size_t shorts) { return shorts > 2 ? (shorts + 1) / 2 : 0; };
  const std::size_t data = kLists + 4 * (2 * words(channels) + words(extra) + (strips > 1 ? 2 * strips : 0));
  std::vector<std::size_t> places;
  for (std::size_t s = 0; s < strips; ++s) places.push_back(data + s * strip_bytes);
  put(kDirectory, 4), put(kEntries, 2);
  entry(256, kLong, {number(tiff.width)});
  entry(257, kLong, {number(tiff.height)});
  entry(258, kShort, std::vector<std::size_t>(channels, number(tiff.bits)));
  entry(259, kShort, {1});
  entry(262, kShort, {number(tiff.photometric)});
  entry(273, kLong, places);
  entry(274, kShort, {number(tiff.orientation)});
  entry(277, kShort, {channels});
  entry(278, kLong, {number(tiff.height)});
  entry(279, kLong, std::vector<std::size_t>(strips, strip_bytes));
  entry(284, kShort, {tiff.separate ? 2u : 1u});
  entry(338, kShort, std::vector<std::size_t>(extra, 0));
  entry(339, kShort, std::vector<std::size_t>(channels, number(tiff.format)));
  put(0, 4);
  for (const std::uint32_t word : lists) put(word, 4);
  for (const std::uint32_t sample : tiff.samples) put(sample, tiff.bits / 8);
  return out;
}

}  // namespace lacuna::testing
