// JPEG through libjpeg-turbo with its defaults (accurate integer DCT, fancy upsampling), which is what Pillow uses.
//
// libjpeg reports errors by a callback that must not return. Ours jumps back to the `run_guarded` that called into the
// library. No object with a destructor lives between the two: everything is held by Session, whose owner outlives the
// jump.

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "io/decoders.h"

// After <cstdio>, which it needs.
#include <jerror.h>
#include <jpeglib.h>

namespace lacuna {
namespace {

struct Session {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf escape{};
  char message[JMSG_LENGTH_MAX]{};
  int max_scans = 0;

  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() { jpeg_destroy_decompress(&info); }
};

template <class Info>
Session& session_of(Info info) {
  return *static_cast<Session*>(info->client_data);
}

[[noreturn]] void escape_with(Session& session, const char* message) {
  std::snprintf(session.message, sizeof session.message, "%s", message);
  std::longjmp(session.escape, 1);
}

extern "C" {

[[noreturn]] static void on_error(j_common_ptr info) {
  Session& session = session_of(info);
  info->err->format_message(info, session.message);
  std::longjmp(session.escape, 1);
}

// Damage that libjpeg can conceal is accepted, as Pillow accepts it.
static void on_message(j_common_ptr, int) {}

static void on_progress(j_common_ptr info) {
  Session& session = session_of(info);
  if (session.info.input_scan_number > session.max_scans) escape_with(session, "more progressive scans than the limit");
}

static void on_source_start(j_decompress_ptr) {}
static void on_source_end(j_decompress_ptr) {}

// All bytes were there from the start, so a request for more is a truncated file. No end marker is made up.
static boolean on_source_empty(j_decompress_ptr info) {
  escape_with(session_of(info), "the data end before the last row");
}

static void on_source_skip(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  jpeg_source_mgr& source = *info->src;
  const std::size_t step = std::min(static_cast<std::size_t>(count), source.bytes_in_buffer);
  source.next_input_byte += step;
  source.bytes_in_buffer -= step;
}

}  // extern "C"

// Runs one call into libjpeg; false when it failed, with the reason in session.message. `step` must own nothing.
template <class Step>
bool run_guarded(Session& session, Step step) {
  if (setjmp(session.escape) != 0) return false;
  step(session.info);
  return true;
}

void connect(Session& session, std::span<const std::uint8_t> bytes, const DecodeLimits& limits) {
  session.info.err = jpeg_std_error(&session.errors);
  session.errors.error_exit = on_error;
  session.errors.emit_message = on_message;
  session.info.client_data = &session;
  session.source = {bytes.data(),   bytes.size(),           on_source_start, on_source_empty,
                    on_source_skip, jpeg_resync_to_restart, on_source_end};
  session.progress.progress_monitor = on_progress;
  session.max_scans = limits.max_progressive_scans;
}

// a * b / 255 as Pillow rounds it.
int scaled_product(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// Stored bytes are taken as inverted, with the Adobe marker or without (Pillow's habit, and Photoshop's).
void inverted_cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb, int width) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int white = cmyk[3];
    for (int channel = 0; channel < 3; ++channel) {
      rgb[channel] = static_cast<std::uint8_t>(white - scaled_product(255 - cmyk[channel], white));
    }
  }
}

void read_rgb_rows(jpeg_decompress_struct& info, Image& image) {
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = image.row(static_cast<int>(info.output_scanline));
    jpeg_read_scanlines(&info, &row, 1);
  }
}

void read_cmyk_rows(jpeg_decompress_struct& info, Image& image, std::uint8_t* buffer) {
  while (info.output_scanline < info.output_height) {
    std::uint8_t* target = image.row(static_cast<int>(info.output_scanline));
    JSAMPROW row = buffer;
    jpeg_read_scanlines(&info, &row, 1);
    inverted_cmyk_to_rgb(buffer, target, image.width);
  }
}

}  // namespace

Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits) {
  Session session;
  connect(session, bytes, limits);
  const auto require = [&](bool done) {
    if (!done) fail_data(name, ": damaged JPEG: ", session.message);
  };

  require(run_guarded(session, [](jpeg_decompress_struct& info) {
    Session& owner = session_of(&info);
    jpeg_create_decompress(&info);  // keeps err and client_data, clears the rest
    info.src = &owner.source;
    info.progress = &owner.progress;
    jpeg_read_header(&info, TRUE);
  }));
  const int components = session.info.num_components;
  if (components != 1 && components != 3 && components != 4) {
    fail_data(name, ": JPEG with ", components, " components; 1 (gray), 3 (colour) or 4 (CMYK) can be read");
  }
  check_image_size(session.info.image_width, session.info.image_height, name, limits);

  session.info.out_color_space = components == 4 ? JCS_CMYK : JCS_RGB;
  require(run_guarded(session, [](jpeg_decompress_struct& info) { jpeg_start_decompress(&info); }));
  Image image(static_cast<int>(session.info.output_width), static_cast<int>(session.info.output_height));
  if (components == 4) {
    std::vector<std::uint8_t> buffer(static_cast<std::size_t>(image.width) * 4);
    require(run_guarded(session, [&](jpeg_decompress_struct& info) { read_cmyk_rows(info, image, buffer.data()); }));
  } else {
    require(run_guarded(session, [&](jpeg_decompress_struct& info) { read_rgb_rows(info, image); }));
  }
  return image;
}

}  // namespace lacuna
