// libjpeg reports errors by a callback that must not return. Ours jumps back to the `run_guarded` that called into the
// library. No object with a destructor lives between the two: everything is held by the session, whose owner outlives
// the jump.

#include "io/image/jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "base/error.h"
#include "io/image/decoders.h"
#include "io/image/jpeg_memory.h"

// After <cstdio>, which it needs.
#include <jerror.h>
#include <jpeglib.h>

namespace lacuna {

struct JpegSession {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  JpegMemory memory;
  std::jmp_buf escape{};
  char message[JMSG_LENGTH_MAX]{};
  std::string name;
  std::vector<std::uint8_t> line;  // a row that is not RGB, or not wanted
  int max_scans = 0;
  bool created = false;

  JpegSession() = default;
  JpegSession(const JpegSession&) = delete;
  JpegSession& operator=(const JpegSession&) = delete;
  ~JpegSession() { jpeg_destroy_decompress(&info); }

  template <class Step>
  void run(Step step);
  [[noreturn]] void refuse() const { fail_data(name, ": damaged JPEG: ", message); }
};

namespace {

template <class Info>
JpegSession& session_of(Info info) {
  return *static_cast<JpegSession*>(info->client_data);
}

[[noreturn]] void escape_with(JpegSession& session, const char* message) {
  std::snprintf(session.message, sizeof session.message, "%s", message);
  std::longjmp(session.escape, 1);
}

extern "C" {

[[noreturn]] static void on_error(j_common_ptr info) {
  JpegSession& session = session_of(info);
  info->err->format_message(info, session.message);
  std::longjmp(session.escape, 1);
}

// Damage that libjpeg can conceal is accepted, as Pillow accepts it.
static void on_message(j_common_ptr, int) {}

static void on_progress(j_common_ptr info) {
  JpegSession& session = session_of(info);
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
bool run_guarded(JpegSession& session, Step step) {
  if (setjmp(session.escape) != 0) return false;
  step(session.info);
  return true;
}

void create(JpegSession& session) {
  session.info.err = jpeg_std_error(&session.errors);
  session.errors.error_exit = on_error;
  session.errors.emit_message = on_message;
  session.info.client_data = &session;
  session.progress.progress_monitor = on_progress;
  const bool done = run_guarded(session, [](jpeg_decompress_struct& info) {
    jpeg_create_decompress(&info);  // keeps err and client_data, clears the rest
  });
  if (!done) session.refuse();
  session.memory.install(session.info);
  session.info.src = &session.source;
  session.info.progress = &session.progress;
  session.created = true;
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

// Ends whatever the image before left, its tables too: libjpeg would lend them to a file that lacks its own.
void begin_anew(JpegSession& session) {
  jpeg_decompress_struct& info = session.info;
  jpeg_abort_decompress(&info);
  std::fill(std::begin(info.quant_tbl_ptrs), std::end(info.quant_tbl_ptrs), nullptr);
  std::fill(std::begin(info.dc_huff_tbl_ptrs), std::end(info.dc_huff_tbl_ptrs), nullptr);
  std::fill(std::begin(info.ac_huff_tbl_ptrs), std::end(info.ac_huff_tbl_ptrs), nullptr);
  session.memory.pool(JPOOL_PERMANENT).empty();  // which holds nothing but tables
}

// Whether rows and columns can be left out with the same bytes for the others.
bool can_read_parts(jpeg_decompress_struct& info) {
  if (info.progressive_mode || info.arith_code || jpeg_has_multiple_scans(&info)) return false;
  if (info.num_components == 1) return true;
  if (info.num_components != 3) return false;
  const jpeg_component_info* colour = info.comp_info;
  const auto is_plain = [](const jpeg_component_info& c) { return c.h_samp_factor == 1 && c.v_samp_factor == 1; };
  return colour[0].h_samp_factor <= 2 && colour[0].v_samp_factor <= 2 && is_plain(colour[1]) && is_plain(colour[2]);
}

// Leaves out what lies left, right and above of the box; moves the box into what remains.
void skip_to(jpeg_decompress_struct& info, Box& box) {
  const int margin = info.max_h_samp_factor;  // one chroma sample
  const int begin = std::max(box.left - margin, 0);
  const int end = std::min(box.left + box.width + margin, static_cast<int>(info.output_width));
  JDIMENSION left = static_cast<JDIMENSION>(begin), width = static_cast<JDIMENSION>(end - begin);
  jpeg_crop_scanline(&info, &left, &width);
  jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(box.top));
  box.left -= static_cast<int>(left);
  box.top = 0;
}

void read_rows(jpeg_decompress_struct& info, std::uint8_t* out, std::size_t stride, JDIMENSION end) {
  while (info.output_scanline < end) {
    JSAMPROW row = out;
    jpeg_read_scanlines(&info, &row, 1);
    out += stride;
  }
}

void read_cmyk_rows(jpeg_decompress_struct& info, std::uint8_t* out, std::uint8_t* line) {
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = line;
    jpeg_read_scanlines(&info, &row, 1);
    inverted_cmyk_to_rgb(line, out, static_cast<int>(info.output_width));
    out += std::size_t{3} * info.output_width;
  }
}

// Whether libjpeg meets an end marker before it can run out of data.
bool has_end_ahead(const jpeg_decompress_struct& info) {
  if (info.unread_marker == JPEG_EOI) return true;
  const std::uint8_t* begin = info.src->next_input_byte;
  const std::uint8_t* end = begin + info.src->bytes_in_buffer;
  constexpr std::uint8_t kEnd[] = {0xFF, JPEG_EOI};
  if (end - begin >= 2 && std::equal(kEnd, kEnd + 2, end - 2)) return true;
  return std::search(begin, end, kEnd, kEnd + 2) != end;
}

}  // namespace

template <class Step>
void JpegSession::run(Step step) {
  if (!run_guarded(*this, step)) refuse();
}

JpegReader::JpegReader() : session_(std::make_unique<JpegSession>()) {}
JpegReader::~JpegReader() = default;

ImageSize JpegReader::open(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits) {
  JpegSession& session = *session_;
  session.name = name;
  if (!session.created) create(session);
  session.source = {bytes.data(),   bytes.size(),           on_source_start, on_source_empty,
                    on_source_skip, jpeg_resync_to_restart, on_source_end};
  session.max_scans = limits.max_progressive_scans;
  begin_anew(session);
  session.run([](jpeg_decompress_struct& info) { jpeg_read_header(&info, TRUE); });
  const int components = session.info.num_components;
  if (components != 1 && components != 3 && components != 4) {
    fail_data(name, ": JPEG with ", components, " components; 1 (gray), 3 (colour) or 4 (CMYK) can be read");
  }
  check_image_size(session.info.image_width, session.info.image_height, name, limits);
  return {static_cast<int>(session.info.image_width), static_cast<int>(session.info.image_height)};
}

ImageView JpegReader::read(const Box& box, Image& image, int reduction) {
  JpegSession& session = *session_;
  jpeg_decompress_struct& info = session.info;
  const bool cmyk = info.num_components == 4;
  info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(reduction);
  session.run([](jpeg_decompress_struct& d) { jpeg_start_decompress(&d); });
  const int width = static_cast<int>(info.output_width), height = static_cast<int>(info.output_height);
  invariant(holds(width, height, box), "JpegReader: a box outside ", session.name);
  const bool part = box != Box{0, 0, width, height} && can_read_parts(info);
  Box place = box;
  if (part) session.run([&](jpeg_decompress_struct& d) { skip_to(d, place); });

  image.width = static_cast<int>(info.output_width);
  image.height = part ? box.height : height;
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  image.pixels.resize(stride * static_cast<std::size_t>(image.height));
  session.line.resize(std::max(session.line.size(), static_cast<std::size_t>(image.width) * 4));
  std::uint8_t* line = session.line.data();
  session.run([&](jpeg_decompress_struct& d) {
    if (cmyk) return read_cmyk_rows(d, image.pixels.data(), line);
    read_rows(d, image.pixels.data(), stride, part ? static_cast<JDIMENSION>(box.top + box.height) : d.output_height);
    if (part && !has_end_ahead(d)) read_rows(d, line, 0, d.output_height);
  });
  return ImageView(image).part(place);
}

Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name, const DecodeLimits& limits) {
  JpegReader reader;
  const ImageSize size = reader.open(bytes, name, limits);
  Image image;
  reader.read({0, 0, size.width, size.height}, image);
  return image;
}

}  // namespace lacuna
