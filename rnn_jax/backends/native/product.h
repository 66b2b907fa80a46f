// Products of a few rows with a matrix that is read again and again.
//
// The matrix is packed into panels [K][N]: N vectors of columns of each of its K rows, in the order in which the
// innermost loop reads them. That loop holds M x N sums in registers: N loads and M broadcasts for M * N multiply-adds.

#pragma once

#include <algorithm>
#include <memory>
#include <type_traits>

#include "vectors.h"

namespace rnn_jax {

// The largest M for which M * N sums, N columns and a broadcast fit the registers.
constexpr int tile_rows(int n) { return std::min((kRegisters - n - 1) / n, 12); }

using Vectors = std::unique_ptr<Vector[]>;

inline Vectors zeros(int64_t count) { return Vectors(new Vector[count]()); }

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How `columns` floats are cut into vectors, the last of which may hold fewer than kWidth.
struct Columns {
  int64_t count;

  int64_t vectors() const { return ceil_divide(count, kWidth); }
  int lanes(int64_t vector) const { return static_cast<int>(std::min<int64_t>(kWidth, count - vector * kWidth)); }
};

// sums[m][n] += sum over k of left(m, k) * panel[k][n]
template <int M, int N, class Left>
inline void product(Vector (&sums)[M][N], const Left& left, const Vector* panel, int64_t depth) {
  Vector s[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) s[m][n] = sums[m][n];
  }
  for (int64_t k = 0; k < depth; ++k, panel += N) {
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      float a = left(m, k);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) s[m][n] += a * panel[n];
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) sums[m][n] = s[m][n];
  }
}

// The sum over all columns of a * b.
inline float dot(const float* a, const float* b, Columns columns) {
  Vector sums = {};
  for (int64_t v = 0; v < columns.vectors(); ++v)
    sums += load(a + v * kWidth, columns.lanes(v)) * load(b + v * kWidth, columns.lanes(v));
  float total = 0.0f;
  for (int lane = 0; lane < kWidth; ++lane) total += sums[lane];
  return total;
}

// Rows of floats at M pointers, for `product`.
template <int M>
struct Rows {
  const float* at[M];

  float operator()(int m, int64_t k) const { return at[m][k]; }
};

// The transpose of rows of floats at any number of pointers, from one of their columns on, for `product`.
struct Transposed {
  const float* const* at;
  int64_t first;

  float operator()(int m, int64_t k) const { return at[k][first + m]; }
};

// Calls f(M, first) for tiles of at most kMost of `count` rows.
template <int kMost, class F>
inline void for_tiles(int64_t count, F&& f) {
  int64_t first = 0;
  for (; first + kMost <= count; first += kMost) f(std::integral_constant<int, kMost>(), first);
  if constexpr (kMost > 1) {
    // The rest by halves: few instances of the code, and no row is computed that is not there.
    if (first < count)
      for_tiles<kMost / 2>(count - first, [&](auto rows, int64_t inner) { f(rows, first + inner); });
  }
}

}  // namespace rnn_jax
