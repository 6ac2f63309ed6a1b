#include "io/image/jpeg_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

// After <cstdio>, which it needs.
#include <jerror.h>

// libjpeg leaves these two to its memory manager.
struct jvirt_sarray_control {
  JSAMPARRAY rows;
  JDIMENSION count;
};
struct jvirt_barray_control {
  JBLOCKARRAY rows;
  JDIMENSION count;
};

namespace lacuna {
namespace {

constexpr std::size_t kAlignment = 64;  // libjpeg-turbo's own is 32; its vectors also run to the end of a row's last 64
constexpr std::size_t kSmallestBlock = std::size_t{1} << 20;
constexpr std::size_t kLargestRequest = 1'000'000'000;  // libjpeg's own limit

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

JpegMemory& memory_of(j_common_ptr info) {
  static_assert(std::is_standard_layout_v<JpegMemory>);
  return *reinterpret_cast<JpegMemory*>(info->mem);
}

[[noreturn]] void out_of_memory(j_common_ptr info) {
  info->err->msg_code = JERR_OUT_OF_MEMORY;
  info->err->msg_parm.i[0] = 0;
  info->err->error_exit(info);
  std::abort();  // error_exit does not return
}

void* take(j_common_ptr info, int pool, std::size_t bytes) {
  void* memory = bytes > kLargestRequest ? nullptr : memory_of(info).pool(pool).take(bytes);
  if (memory == nullptr) out_of_memory(info);
  return memory;
}

// Row pointers and rows, in one piece: no arithmetic here passes 2^64, since each count is below 2^32.
template <class Item>
Item** take_rows(j_common_ptr info, int pool, std::size_t row_bytes, JDIMENSION count) {
  if (count > 0 && row_bytes > kLargestRequest / count) out_of_memory(info);
  auto** rows = static_cast<Item**>(take(info, pool, count * sizeof(Item*)));
  auto* bytes = static_cast<std::uint8_t*>(take(info, pool, row_bytes * count));
  for (JDIMENSION y = 0; y < count; ++y, bytes += row_bytes) rows[y] = reinterpret_cast<Item*>(bytes);
  return rows;
}

extern "C" {

static void* take_object(j_common_ptr info, int pool, size_t bytes) { return take(info, pool, bytes); }

static JSAMPARRAY take_samples(j_common_ptr info, int pool, JDIMENSION width, JDIMENSION rows) {
  return take_rows<JSAMPLE>(info, pool, aligned(width), rows);
}

static JBLOCKARRAY take_blocks(j_common_ptr info, int pool, JDIMENSION width, JDIMENSION rows) {
  return take_rows<JBLOCK>(info, pool, width * sizeof(JBLOCK), rows);
}

static jvirt_sarray_ptr request_samples(j_common_ptr info, int pool, boolean zeroed, JDIMENSION width, JDIMENSION rows,
                                        JDIMENSION) {
  auto* array = static_cast<jvirt_sarray_ptr>(take(info, pool, sizeof(jvirt_sarray_control)));
  *array = {take_samples(info, pool, width, rows), rows};
  if (zeroed) std::memset(array->rows[0], 0, aligned(width) * rows);
  return array;
}

static jvirt_barray_ptr request_blocks(j_common_ptr info, int pool, boolean zeroed, JDIMENSION width, JDIMENSION rows,
                                       JDIMENSION) {
  auto* array = static_cast<jvirt_barray_ptr>(take(info, pool, sizeof(jvirt_barray_control)));
  *array = {take_blocks(info, pool, width, rows), rows};
  if (zeroed) std::memset(array->rows[0], 0, width * sizeof(JBLOCK) * rows);
  return array;
}

static void realize_nothing(j_common_ptr) {}

static void check_access(j_common_ptr info, JDIMENSION start, JDIMENSION count, JDIMENSION rows) {
  if (start <= rows && count <= rows - start) return;
  info->err->msg_code = JERR_BAD_VIRTUAL_ACCESS;
  info->err->error_exit(info);
}

static JSAMPARRAY access_samples(j_common_ptr info, jvirt_sarray_ptr array, JDIMENSION start, JDIMENSION count,
                                 boolean) {
  check_access(info, start, count, array->count);
  return array->rows + start;
}

static JBLOCKARRAY access_blocks(j_common_ptr info, jvirt_barray_ptr array, JDIMENSION start, JDIMENSION count,
                                 boolean) {
  check_access(info, start, count, array->count);
  return array->rows + start;
}

static void empty_pool(j_common_ptr info, int pool) { memory_of(info).pool(pool).empty(); }

static void end_memory(j_common_ptr info) {
  JpegMemory& memory = memory_of(info);
  for (int pool = 0; pool < JPOOL_NUMPOOLS; ++pool) memory.pool(pool).empty();
  info->mem = memory.original();
  info->mem->self_destruct(info);
}

}  // extern "C"

}  // namespace

struct JpegArena::Block {
  Block* below;
  std::size_t size;  // of the bytes behind it, which begin at the next multiple of kAlignment
};

void* JpegArena::take(std::size_t bytes) noexcept {
  bytes = aligned(std::max<std::size_t>(bytes, 1));
  if (top_ == nullptr || bytes > top_->size - used_) {
    const std::size_t size = std::max({bytes, total_, kSmallestBlock});
    void* memory = std::aligned_alloc(kAlignment, kAlignment + size);
    if (memory == nullptr) return nullptr;
    top_ = new (memory) Block{top_, size};
    used_ = 0;
    total_ += size;
  }
  void* taken = reinterpret_cast<std::uint8_t*>(top_) + kAlignment + used_;
  used_ += bytes;
  return taken;
}

// One block is kept, so several are replaced by one of their size when the next image comes.
void JpegArena::empty() noexcept {
  used_ = 0;
  if (top_ == nullptr || (top_->below == nullptr && total_ <= kKept)) return;
  const std::size_t wanted = total_ <= kKept ? total_ : 0;
  release();
  if (wanted > 0) take(wanted);
  used_ = 0;
}

void JpegArena::release() noexcept {
  while (top_ != nullptr) {
    Block* below = top_->below;
    std::free(top_);
    top_ = below;
  }
  used_ = total_ = 0;
}

void JpegMemory::install(jpeg_decompress_struct& info) {
  original_ = info.mem;
  methods_ = {take_object,
              take_object,
              take_samples,
              take_blocks,
              request_samples,
              request_blocks,
              realize_nothing,
              access_samples,
              access_blocks,
              empty_pool,
              end_memory,
              original_->max_memory_to_use,
              original_->max_alloc_chunk};
  info.mem = &methods_;
}

}  // namespace lacuna
