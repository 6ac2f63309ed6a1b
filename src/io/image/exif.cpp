#include "io/image/exif.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

namespace lacuna {
namespace {

using namespace std::string_view_literals;

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;  // TIFF's type of 16 bits
constexpr std::size_t kEntryBytes = 12;
constexpr std::size_t kMaxText = 1 << 20;  // of XMP that is searched

std::string_view content_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint32_t number(std::string_view bytes, std::size_t position, std::size_t count, bool little) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = position + (little ? count - 1 - i : i);
    value = value << 8 | static_cast<std::uint8_t>(bytes[at]);
  }
  return value;
}

bool holds(std::string_view bytes, std::size_t position, std::size_t count) {
  return position <= bytes.size() && count <= bytes.size() - position;
}

struct Metadata {
  std::string_view exif;  // a TIFF header and its directories
  std::string_view xmp;
};

// The tag in the first directory of a TIFF structure.
std::optional<int> orientation_tag(std::string_view tiff) {
  if (!holds(tiff, 0, 8) || (!tiff.starts_with("II"sv) && !tiff.starts_with("MM"sv))) return std::nullopt;
  const bool little = tiff[0] == 'I';
  const std::size_t directory = number(tiff, 4, 4, little);
  if (!holds(tiff, directory, 2)) return std::nullopt;
  const std::size_t entries = number(tiff, directory, 2, little);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (!holds(tiff, entry, kEntryBytes)) return std::nullopt;
    if (number(tiff, entry, 2, little) != kOrientationTag) continue;
    if (number(tiff, entry + 2, 2, little) != kShort || number(tiff, entry + 4, 4, little) != 1) return std::nullopt;
    return static_cast<int>(number(tiff, entry + 8, 2, little));
  }
  return std::nullopt;
}

// tiff:Orientation="6" or <tiff:Orientation>6
std::optional<int> orientation_property(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  xmp = xmp.substr(0, kMaxText);
  for (std::size_t at = xmp.find(kName); at != xmp.npos; at = xmp.find(kName, at + 1)) {
    std::string_view rest = xmp.substr(at + kName.size());
    if (rest.starts_with("=\""sv))
      rest.remove_prefix(2);
    else if (rest.starts_with('>'))
      rest.remove_prefix(1);
    else
      continue;
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return std::nullopt;
}

// The segments in front of the image data.
Metadata jpeg_metadata(std::string_view file) {
  constexpr std::string_view kExif = "Exif\0\0"sv;
  constexpr std::string_view kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;
  Metadata found;
  for (std::size_t position = 2; holds(file, position, 4) && file[position] == '\xFF';) {
    const auto marker = static_cast<std::uint8_t>(file[position + 1]);
    if (marker == 0xFF) {  // padding
      ++position;
      continue;
    }
    const std::size_t length = number(file, position + 2, 2, false);
    if (marker == 0xDA || length < 2 || !holds(file, position + 2, length)) break;
    const std::string_view data = file.substr(position + 4, length - 2);
    if (marker == 0xE1 && data.starts_with(kExif) && found.exif.empty()) found.exif = data.substr(kExif.size());
    if (marker == 0xE1 && data.starts_with(kXmp) && found.xmp.empty()) found.xmp = data.substr(kXmp.size());
    position += 2 + length;
  }
  return found;
}

Metadata png_metadata(std::string_view file) {
  constexpr std::string_view kXmp = "XML:com.adobe.xmp\0\0"sv;  // keyword and "not compressed"
  Metadata found;
  for (std::size_t position = 8; holds(file, position, 8);) {
    const std::size_t length = number(file, position, 4, false);
    const std::string_view type = file.substr(position + 4, 4);
    if (!holds(file, position + 8, length)) break;
    const std::string_view data = file.substr(position + 8, length);
    if (type == "eXIf"sv) found.exif = data;
    if (type == "iTXt"sv && data.starts_with(kXmp)) found.xmp = data.substr(kXmp.size());
    position += length + 12;
  }
  return found;
}

Metadata webp_metadata(std::string_view file) {
  Metadata found;
  for (std::size_t position = 12; holds(file, position, 8);) {
    const std::string_view type = file.substr(position, 4);
    const std::size_t length = number(file, position + 4, 4, true);
    if (!holds(file, position + 8, length)) break;
    const std::string_view data = file.substr(position + 8, length);
    if (type == "EXIF"sv) found.exif = data.starts_with("Exif\0\0"sv) ? data.substr(6) : data;
    if (type == "XMP "sv) found.xmp = data;
    position += 8 + length + length % 2;
  }
  return found;
}

Metadata metadata_of(std::string_view file) {
  if (file.starts_with("\xFF\xD8"sv)) return jpeg_metadata(file);
  if (file.starts_with("\x89PNG"sv)) return png_metadata(file);
  if (file.starts_with("RIFF"sv)) return webp_metadata(file);
  return {};
}

}  // namespace

int exif_orientation(std::span<const std::uint8_t> file) {
  const Metadata found = metadata_of(content_of(file));
  std::optional<int> orientation = orientation_tag(found.exif);
  if (!orientation) orientation = orientation_property(found.xmp);
  return orientation && *orientation >= 1 && *orientation <= 8 ? *orientation : kUpright;
}

Image upright(Image image, int orientation) {
  if (orientation <= kUpright || orientation > 8) return image;
  const bool turned = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out(turned ? image.height : image.width, turned ? image.width : image.height);
  for (int y = 0; y < out.height; ++y) {
    std::uint8_t* target = out.row(y);
    for (int x = 0; x < out.width; ++x, target += 3) {
      const int column = turned ? y : x, row = turned ? x : y;
      const int source_x = from_right ? image.width - 1 - column : column;
      const int source_y = from_bottom ? image.height - 1 - row : row;
      std::memcpy(target, image.row(source_y) + std::ptrdiff_t{3} * source_x, 3);
    }
  }
  return out;
}

}  // namespace lacuna
