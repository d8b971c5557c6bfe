// Memory that was never touched: an allocator that gives large blocks back hands out such memory at every call.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace gcnet {
namespace {

// Whether the first write to each page of [start, start + bytes) will fault, judged by three pages.
inline bool is_fresh(const void* start, int64_t bytes) {
#if defined(__linux__)
  static const int64_t page = sysconf(_SC_PAGESIZE);
  const uintptr_t first = ((uintptr_t)start + page - 1) / page * page;
  for (int64_t at : {int64_t(0), bytes / 2, bytes - 2 * page}) {
    unsigned char resident = 1;
    void* address = (void*)(first + at / page * page);
    if (mincore(address, page, &resident) != 0 || (resident & 1)) return false;
  }
  return true;
#else
  return false;
#endif
}

// Asks for huge pages: one fault for 2 MB instead of 512.
inline void ask_for_huge_pages(void* start, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t huge = 2 << 20;
  const uintptr_t first = ((uintptr_t)start + huge - 1) / huge * huge, last = ((uintptr_t)start + bytes) / huge * huge;
  if (first < last) madvise((void*)first, last - first, MADV_HUGEPAGE);
#else
  (void)start, (void)bytes;
#endif
}

}  // namespace
}  // namespace gcnet
