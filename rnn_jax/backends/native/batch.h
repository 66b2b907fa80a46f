// What the loops are given, and how weights are packed for them.

#pragma once

#include <vector>

#include "product.h"

namespace rnn_jax {

struct Sizes {
  int64_t steps, batch, inputs, hidden;
  bool reverse;

  Columns units() const { return {hidden}; }
  int64_t time(int64_t step) const { return reverse ? steps - 1 - step : step; }
};

// Where a block of units of a sequence at step t lies in what the forward pass saves, [T, B, blocks, Cell::kSaved].
template <class Cell, class AnyVector>
inline AnyVector* saved_at(AnyVector* saved, const Sizes& s, int64_t t, int64_t row, int64_t block) {
  return saved + ((t * s.batch + row) * s.units().vectors() + block) * Cell::kSaved;
}

// The sequences of one thread, longest first.
struct Group {
  std::vector<int> rows;
  const int32_t* lengths;

  // How many of them, from the first, have not ended at step t.
  int64_t valid(int64_t t) const {
    return std::partition_point(rows.begin(), rows.end(), [&](int row) { return t < lengths[row]; }) - rows.begin();
  }
};

// [K, gates * H] packed so that a panel has the same hidden units of all gates.
inline Vectors pack_gates(const float* w, int64_t depth, int gates, Columns units) {
  Vectors packed = zeros(units.vectors() * depth * gates);
  Vector* at = packed.get();
  for (int64_t block = 0; block < units.vectors(); ++block)
    for (int64_t k = 0; k < depth; ++k)
      for (int g = 0; g < gates; ++g)
        *at++ = load(w + (k * gates + g) * units.count + block * kWidth, units.lanes(block));
  return packed;
}

constexpr int kBack = 2;  // vectors of columns in a panel of a product with transposed weights

// The transpose of [count, gates * H], the blocks of H columns rotated to the right by `rotate`, packed into panels.
inline Vectors pack_transposed(const float* w, int64_t count, int gates, int64_t hidden, int rotate) {
  constexpr int64_t kPanel = kBack * kWidth;
  int64_t depth = gates * hidden;
  Vectors packed = zeros(ceil_divide(count, kPanel) * depth * kBack);
  float* out = reinterpret_cast<float*>(packed.get());
  for (int64_t j = 0; j < count; ++j)
    for (int64_t k = 0; k < depth; ++k)
      out[((j / kPanel) * depth + (k + rotate * hidden) % depth) * kPanel + j % kPanel] = w[j * depth + k];
  return packed;
}

// out(row)[0..count) += left(row) W^T for rows 0..rows, W packed by pack_transposed.
template <class Left, class Out>
inline void times_transposed(int64_t rows, Columns columns, int64_t depth, const Vector* w, const Left& left,
                             const Out& out) {
  for (int64_t first = 0; first < columns.vectors(); first += kBack, w += depth * kBack)
    for_tiles<tile_rows(kBack)>(rows, [&](auto tile, int64_t row) {
      constexpr int M = decltype(tile)::value;
      Vector sums[M][kBack] = {};
      Rows<M> left_rows;
      for (int m = 0; m < M; ++m) left_rows.at[m] = left(row + m);
      product<M, kBack>(sums, left_rows, w, depth);
      for (int m = 0; m < M; ++m)
        for (int n = 0; n < kBack && first + n < columns.vectors(); ++n) {
          float* at = out(row + m) + (first + n) * kWidth;
          int lanes = columns.lanes(first + n);
          store(at, load(at, lanes) + sums[m][n], lanes);
        }
    });
}

}  // namespace rnn_jax
