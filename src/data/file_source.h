#pragma once
// Images that are files of their own: found below a folder (folder_listing.h) or named by a list (list_file.h).

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/source.h"
#include "data/string_list.h"
#include "io/image.h"

namespace lacuna {

struct FileSample {
  std::string path;  // relative to the listing's root, or absolute
  std::int64_t label = kNoLabel;
  std::vector<std::string> captions;
};

// What a folder or a list says, before any image is opened.
struct FileListing {
  std::filesystem::path root;
  std::vector<FileSample> samples;
  std::vector<std::string> classes;  // folder names or class names; the label is the position in here
};

class FileSource final : public Source {
 public:
  // `caption_templates` ("a photo of a {}.", where {} stands for the class's name) serve labelled samples that bring no
  // caption of their own; without templates those have none. Throws Error when the listing is empty, a label names no
  // class or a template lacks its {}.
  //
  // Class names: a file classes.tsv in the root or in the folder above it, with the columns `wnid` (or `dir`) and
  // `name`, translates the names it lists; others stay as they are.
  explicit FileSource(FileListing listing, std::vector<std::string> caption_templates = {}, DecodeLimits limits = {},
                      DecodeOptions decode = {});

  std::int64_t size() const override { return static_cast<std::int64_t>(paths_.size()); }
  std::string name(std::int64_t index) const override;
  Image image(std::int64_t index) const override;
  void open(std::int64_t index, ImageReader& reader) const override;
  std::int64_t label(std::int64_t index) const override;
  std::string caption(std::int64_t index, Rng& rng) const override;
  const std::vector<std::string>& classes() const override { return classes_; }

  // Covers relative paths, labels, captions and classes: a folder may be moved, its content may not change names.
  std::uint64_t fingerprint() const override { return fingerprint_; }

 private:
  std::size_t checked(std::int64_t index) const;

  std::filesystem::path root_;
  StringList paths_;
  std::vector<std::int32_t> labels_;
  StringList captions_;
  std::vector<std::uint64_t> caption_ends_;  // captions of sample i: [caption_ends_[i - 1], caption_ends_[i])
  std::vector<std::string> classes_;
  std::vector<std::string> templates_;
  DecodeLimits limits_;
  DecodeOptions decode_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace lacuna
