#include "io/tensor/foreign_format.h"

#include <filesystem>
#include <string_view>

#include "base/error.h"

namespace lacuna {
namespace {

using namespace std::string_view_literals;

// The pickled number with which torch.save began its files until 1.6, and the last byte of the protocol before it.
constexpr std::string_view kLegacyTorch = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv;
constexpr std::size_t kTarMagicAt = 257;

struct Format {
  std::string_view begins, what;
};

constexpr Format kFormats[] = {
    {"version https://git-lfs"sv, "a pointer that git-lfs left in place of the file; run git lfs pull"},
    {"<!DOCTYPE"sv, "a web page, not what it was to be fetched from; download the file itself"},
    {"<!doctype"sv, "a web page, not what it was to be fetched from; download the file itself"},
    {"<html"sv, "a web page, not what it was to be fetched from; download the file itself"},
    {"\x1f\x8b"sv, "compressed with gzip; unpack it first"},
    {"\x93NUMPY"sv, "an array of numpy; save tensors with safetensors instead"},
    {"\x89HDF\r\n"sv, "an HDF5 file; save its tensors with safetensors instead"},
    {"GGUF"sv, "a GGUF file, which holds no vision transformer that is read here"},
    {"Rar!"sv, "a RAR archive; unpack it first"},
    {"7z\xbc\xaf"sv, "a 7z archive; unpack it first"},
    {"\xfd"
     "7zXZ"sv,
     "compressed with xz; unpack it first"},
    {"\x28\xb5\x2f\xfd"sv, "compressed with zstd; unpack it first"},
};

bool is_pickle(std::string_view content) {
  return content.size() >= 2 && content[0] == '\x80' && content[1] >= 1 && content[1] <= 5;
}

[[noreturn]] void refuse_legacy(const std::string& file, const char* what) {
  const std::filesystem::path path(file);
  const std::filesystem::path target = path.parent_path() / (path.stem().string() + ".zip.pth");
  fail_data(file, ": ", what,
            ", which is not read; convert it once, trusting its source: python -c \"import sys, torch; ",
            "torch.save(torch.load(sys.argv[1], map_location='cpu'), sys.argv[2])\" ", file, " ", target.string());
}

}  // namespace

void refuse_foreign_format(std::span<const std::byte> bytes, const std::string& file) {
  const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (is_pickle(content)) {
    if (content.substr(2).starts_with(kLegacyTorch)) {
      refuse_legacy(file, "a torch file in the form that torch.save wrote before 1.6");
    }
    fail_data(file, ": a bare Python pickle, not made by torch.save; nothing in it is read. If its source is trusted, ",
              "open it in Python and save its tensors with safetensors.torch.save_file");
  }
  if (content.size() > kTarMagicAt + 5 && content.substr(kTarMagicAt, 5) == "ustar") {
    refuse_legacy(file, "a tar archive, as torch wrote before 0.1.10 or others pack with");
  }
  for (const Format& format : kFormats) {
    if (content.starts_with(format.begins)) fail_data(file, ": ", format.what);
  }
}

}  // namespace lacuna
