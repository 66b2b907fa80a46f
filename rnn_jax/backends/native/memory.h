// Memory that is written before it is read.

#pragma once

#include <memory>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "vectors.h"

namespace rnn_jax {

// Fresh memory in pages of 2 MiB instead of 4 KiB: touching it for the first time else takes up to a third of the time.
inline void in_large_pages(void* begin, size_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t kPage = 2 << 20;
  uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + kPage - 1) / kPage * kPage;
  uintptr_t last = (reinterpret_cast<uintptr_t>(begin) + bytes) / kPage * kPage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

using Vectors = std::unique_ptr<Vector[]>;

inline Vectors uninitialized(int64_t count) {
  Vectors vectors(new Vector[count]);
  in_large_pages(vectors.get(), count * sizeof(Vector));
  return vectors;
}

}  // namespace rnn_jax
