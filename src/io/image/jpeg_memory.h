#pragma once
// libjpeg's working memory, kept from image to image, so that decoding many of like size asks the system for none.

#include <cstddef>
#include <cstdio>

// After <cstdio>, which it needs.
#include <jpeglib.h>

namespace lacuna {

// A stack of blocks that is emptied at once. Grows to the largest content it had; what passes kKept bytes is given back
// when emptied. Nothing here throws: the callers are C.
class JpegArena {
 public:
  static constexpr std::size_t kKept = std::size_t{64} << 20;

  JpegArena() = default;
  JpegArena(const JpegArena&) = delete;
  JpegArena& operator=(const JpegArena&) = delete;
  ~JpegArena() { release(); }

  void* take(std::size_t bytes) noexcept;  // aligned for vectors, null when there is no memory
  void empty() noexcept;

 private:
  struct Block;

  void release() noexcept;

  Block* top_ = nullptr;   // the newest block
  std::size_t used_ = 0;   // of it
  std::size_t total_ = 0;  // bytes in all blocks
};

// Replaces the memory manager of a decompressor. Virtual arrays are whole arrays: what a header may ask for is bounded
// before libjpeg is asked to make it (DecodeLimits), and there are no temporary files.
class JpegMemory {
 public:
  // After jpeg_create_decompress and before anything else. Must outlive `info`, whose jpeg_destroy_decompress ends it.
  void install(jpeg_decompress_struct& info);

  JpegArena& pool(int id) { return pools_[id]; }
  jpeg_memory_mgr* original() { return original_; }

 private:
  jpeg_memory_mgr methods_{};  // first: libjpeg's callbacks find the object by it
  jpeg_memory_mgr* original_ = nullptr;
  JpegArena pools_[JPOOL_NUMPOOLS];
};

}  // namespace lacuna
