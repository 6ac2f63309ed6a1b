#include "io/image_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "io/exif.h"

namespace lacuna {
namespace {

constexpr std::size_t kKept = std::size_t{64} << 20;  // what one buffer may keep after an unusual sample

// A buffer that an enormous sample has grown does not stay for the whole run.
void give_back_excess(std::vector<std::uint8_t>& buffer) {
  if (buffer.capacity() > kKept) std::vector<std::uint8_t>().swap(buffer);
}

class OpenFile {
 public:
  // Without waiting for a writer, should it be a pipe.
  explicit OpenFile(const std::string& name)
      : name_(name), file_(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (file_ < 0) fail_with(errno);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (file_ >= 0) ::close(file_);
  }

  std::int64_t size() const {
    struct stat status {};
    if (::fstat(file_, &status) != 0) fail_with(errno);
    if (!S_ISREG(status.st_mode)) fail_data(name_, ": is no regular file");
    return status.st_size;
  }

  void read(std::vector<std::uint8_t>& into) const {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t step = ::read(file_, into.data() + done, into.size() - done);
      if (step < 0 && errno == EINTR) continue;
      if (step < 0) fail_with(errno);
      if (step == 0) fail_data(name_, ": cannot be read to its end of ", into.size(), " bytes");
      done += static_cast<std::size_t>(step);
    }
  }

 private:
  [[noreturn]] void fail_with(int code) const {
    fail_data(name_, ": cannot be read: ", std::error_code(code, std::generic_category()).message());
  }

  const std::string& name_;
  int file_;
};

bool is_jpeg(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

}  // namespace

void ImageReader::open(const DecodeLimits& limits, const DecodeOptions& options) {
  const bool turned = options.orient && exif_orientation(bytes) != kUpright;
  if (!is_jpeg(bytes) || turned || !options.bands.empty()) return hold(decode_image(bytes, name, limits, options));
  decoded_ = false;
  give_back_excess(image_.pixels);
  size_ = jpeg_.open(bytes, name, limits);
}

void ImageReader::open_file(const DecodeLimits& limits, const DecodeOptions& options) {
  const OpenFile file(name);
  const std::int64_t size = file.size();
  if (size > limits.max_file_bytes) {
    fail_data(name, ": has ", size, " bytes, more than the limit of ", limits.max_file_bytes);
  }
  give_back_excess(bytes);
  bytes.resize(static_cast<std::size_t>(size));
  file.read(bytes);
  open(limits, options);
}

void ImageReader::hold(Image image) {
  image_ = std::move(image);
  size_ = {image_.width, image_.height};
  decoded_ = true;
}

int ImageReader::reduction_for(const Box& box, int side) const {
  int reduction = 1;
  while (!decoded_ && reduction < 8 && std::min(box.width, box.height) >= 3 * reduction * side) reduction *= 2;
  return reduction;
}

ImageView ImageReader::read_reduced(const Box& box, int reduction) {
  return reduction == 1 ? read(box) : jpeg_.read(reduced(box, reduction), image_, reduction);
}

ImageView ImageReader::read(const Box& box) {
  if (!decoded_) return jpeg_.read(box, image_);
  invariant(holds(size_.width, size_.height, box), "ImageReader: a box outside ", name);
  return ImageView(image_).part(box);
}

}  // namespace lacuna
