#pragma once
// A source whose images are decoded and made smaller once, and kept so in one file: for machines where decoding is the
// limit, and disks that hold it.
//
// What is kept of an image is resize(image) with its short side at most `side` (bicubic), or the image itself where it
// is no larger. So a view of a small image has the same pixels as without; of a larger one it is resized twice, once
// when it was kept and once by its crop.
//
//   FILE   the samples' bytes one behind the other, a table of them, a footer
//
// The file appears under its name when it is whole. It counts for the same samples, settings and stamp (Source::stamp);
// else it is made anew. Every sample is compared with its hash when it is read.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "data/source/source.h"

namespace lacuna {

struct KeepDecoded {
  std::filesystem::path file;
  int side = 0;
  std::string options;                               // how the images were decoded, in any words
  int threads = 1;                                   // that make the file
  std::function<void(const std::string&)> say = {};  // told the size before it is written, and how far it is
};

// Makes the file where it is missing or counts no longer. Throws Error where the disk is too full. Images that cannot
// be decoded stay samples that cannot be read, for the same reasons.
std::unique_ptr<Source> keep_decoded(std::unique_ptr<Source> source, const KeepDecoded& config);

}  // namespace lacuna
