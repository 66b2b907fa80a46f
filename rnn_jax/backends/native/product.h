// Products of a few rows with a matrix that is read again and again.
//
// The matrix is packed into panels [K][N]: N vectors of columns of each of its K rows, in the order in which the
// innermost loop reads them. That loop holds M x N sums in registers: N loads and M broadcasts for M * N multiply-adds.

#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "vectors.h"

namespace rnn_jax {

// Vectors of columns in a panel, and rows in a tile: 6 x 4 sums in 32 registers, 6 x 2 in 16, 5 x 4 in NEON's 32. More
// rows at a time would need more pointers than there are registers for them.
constexpr int kPanel = kRegisters >= 32 ? 4 : 2;
constexpr int kRows = 6;

// The largest number of rows for which the sums and a row of a panel of n vectors fit the registers with a broadcast, or,
// where compilers load those of all rows ahead, one for each. x86 takes what a single row reads once from memory.
constexpr int tile_rows(int n) {
  if (kLoadsAhead) return std::min((kRegisters - n) / (n + 1), kRows);
  int rows = std::min((kRegisters - n - 1) / n, kRows);
  return rows == 0 && n + 2 <= kRegisters ? 1 : rows;
}

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How `columns` floats are cut into vectors, the last of which may hold fewer than kWidth.
struct Columns {
  int64_t count;

  int64_t vectors() const { return ceil_divide(count, kWidth); }
  int lanes(int64_t vector) const { return static_cast<int>(std::min<int64_t>(kWidth, count - vector * kWidth)); }
};

// sums[m * stride + p * N + n] += sum over k of left(m, k) * panel[p][k][n], for M rows and P panels. In this order of
// k whatever M and P are: so that a row's values do not depend on those beside it.
template <int M, int N, int P, class Left>
[[gnu::noinline]] void product(Vector* sums, int stride, const Left& left_rows, const Vector* panel, int64_t depth) {
  const Left left = left_rows;
  Vector s[M][P * N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < P * N; ++n) s[m][n] = sums[m * stride + n];
  }
  for (int64_t k = 0; k < depth; ++k, panel += N) {
    Vector row[P * N];
#pragma GCC unroll 16
    for (int n = 0; n < P * N; ++n) {
      row[n] = panel[n / N * depth * N + n % N];
      if (M > 1) in_register(row[n]);
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      float a = left(m, k);
#pragma GCC unroll 16
      for (int n = 0; n < P * N; ++n) s[m][n] += a * row[n];
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < P * N; ++n) sums[m * stride + n] = s[m][n];
  }
}

// `product` of at most kMost rows.
template <int N, int P, int kMost, class Left>
inline void product_of_rows(int rows, Vector* sums, int stride, const Left& left, const Vector* panel, int64_t depth) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return product_of_rows<N, P, kMost - 1>(rows, sums, stride, left, panel, depth);
  }
  product<kMost, N, P>(sums, stride, left, panel, depth);
}

// The same with V vectors of columns in panels of N, for at most tile_rows(N) rows. A few rows alone do not keep the
// machine busy with one panel: they take all panels at once, where the registers have room for that.
template <int V, int N, class Left>
inline void product_of_panels(int rows, Vector* sums, const Left& left, const Vector* panel, int64_t depth) {
  static_assert(V % N == 0);
  if constexpr (V > N) {
    constexpr int kFewRows = std::min(kRows / (V / N), tile_rows(V));
    if (rows <= kFewRows) return product_of_rows<N, V / N, kFewRows>(rows, sums, V, left, panel, depth);
  }
  for (int first = 0; first < V; first += N, panel += depth * N)
    product_of_rows<N, 1, tile_rows(N)>(rows, sums + first, V, left, panel, depth);
}

// The sum of all lanes.
inline float total(Vector v) {
  float lanes[kWidth];
  std::memcpy(lanes, &v, sizeof v);
  for (int half = kWidth / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

// out[m][r] += the sum over all columns of left[m] * row r of the right, M x R of them at once: a vector of either is then
// read for several. The right's rows are `stride` floats apart.
template <int M, int R>
inline void dots(const float* const* left, const float* right, int64_t stride, Columns columns, float (&out)[M][R]) {
  Vector sums[M][R] = {};
  auto add = [&](int64_t at, int lanes) {
    Vector a[M];
    for (int m = 0; m < M; ++m) a[m] = load(left[m] + at, lanes);
    for (int r = 0; r < R; ++r) {
      Vector b = load(right + r * stride + at, lanes);
      for (int m = 0; m < M; ++m) sums[m][r] += a[m] * b;
    }
  };
  int64_t whole = columns.count / kWidth * kWidth;
  for (int64_t at = 0; at < whole; at += kWidth) add(at, kWidth);
  if (whole < columns.count) add(whole, static_cast<int>(columns.count - whole));
  for (int m = 0; m < M; ++m)
    for (int r = 0; r < R; ++r) out[m][r] += total(sums[m][r]);
}

// The sum over all columns of a * b.
inline float dot(const float* a, const float* b, Columns columns) {
  float sum[1][1] = {};
  dots<1, 1>(&a, b, 0, columns, sum);
  return sum[0][0];
}

// Rows of floats at some pointers, for `product`.
struct Rows {
  const float* at[kRows];

  float operator()(int m, int64_t k) const { return at[m][k]; }
};

// The transpose of rows of floats at any number of pointers, from one of their columns on, for `product`.
struct Transposed {
  const float* const* at;
  int64_t first;

  float operator()(int m, int64_t k) const { return at[k][first + m]; }
};

// Calls f(N, first) for panels of at most kMost of `count` vectors: the rest by halves, few instances of the code.
template <int kMost, class F>
inline void for_panels(int64_t count, F&& f) {
  int64_t first = 0;
  for (; first + kMost <= count; first += kMost) f(std::integral_constant<int, kMost>(), first);
  if constexpr (kMost > 1) {
    if (first < count)
      for_panels<kMost / 2>(count - first, [&](auto n, int64_t inner) { f(n, first + inner); });
  }
}

// One of equal shares of some work.
struct Share {
  int index, count;

  int64_t begin(int64_t all) const { return all * index / count; }
  int64_t end(int64_t all) const { return all * (index + 1) / count; }
};

// Calls f(N, first vector, first row, rows) for a share of all tiles of at most `most` rows and panels of at most
// kMost vectors, a panel's tiles one after another. Tiles of a panel differ by a row at most.
template <int kMost, class F>
inline void for_tiles(int64_t vectors, int64_t rows, int most, Share share, F&& f) {
  int64_t tiles = ceil_divide(rows, most), begin = share.begin(vectors * tiles), end = share.end(vectors * tiles);
  for_panels<kMost>(vectors, [&](auto n, int64_t first) {
    auto tile = [&](int64_t at) { return std::clamp<int64_t>(ceil_divide(at - first * tiles, n), 0, tiles); };
    for (int64_t i = begin > first * tiles ? tile(begin) : 0, last = end > first * tiles ? tile(end) : 0; i < last; ++i)
      f(n, first, i * rows / tiles, static_cast<int>((i + 1) * rows / tiles - i * rows / tiles));
  });
}

}  // namespace rnn_jax
