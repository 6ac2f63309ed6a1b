#pragma once
// Counts what the program asks of malloc, libraries included. Include in one file of a test program: it replaces
// malloc, which operator new calls. Sanitizers replace it themselves; then nothing is counted.

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define LACUNA_MALLOC_IS_TAKEN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define LACUNA_MALLOC_IS_TAKEN
#endif

namespace lacuna::testing {

namespace detail {
inline std::atomic<std::int64_t> g_allocations{0}, g_bytes{0};

inline void* counted(void* memory) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  if (memory != nullptr) g_bytes.fetch_add(static_cast<std::int64_t>(malloc_usable_size(memory)));
  return memory;
}
inline void discount(void* memory) {
  if (memory != nullptr) g_bytes.fetch_sub(static_cast<std::int64_t>(malloc_usable_size(memory)));
}
}  // namespace detail

inline std::int64_t allocations() { return detail::g_allocations.load(); }
inline std::int64_t allocated_bytes() { return detail::g_bytes.load(); }

#ifdef LACUNA_MALLOC_IS_TAKEN
inline bool counts_allocations() { return false; }
#else
inline bool counts_allocations() { return true; }
#endif

}  // namespace lacuna::testing

#ifndef LACUNA_MALLOC_IS_TAKEN
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) { return lacuna::testing::detail::counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) {
  return lacuna::testing::detail::counted(__libc_calloc(count, size));
}
void* realloc(void* memory, std::size_t size) {
  lacuna::testing::detail::discount(memory);
  return lacuna::testing::detail::counted(__libc_realloc(memory, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return lacuna::testing::detail::counted(__libc_memalign(alignment, size));
}
void* memalign(std::size_t alignment, std::size_t size) { return aligned_alloc(alignment, size); }
void free(void* memory) {
  lacuna::testing::detail::discount(memory);
  __libc_free(memory);
}
}
#endif
