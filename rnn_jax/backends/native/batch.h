// What the loops are given, and how weights are packed for them.

#pragma once

#include <vector>

#include "memory.h"
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

// Some sequences, longest first.
struct Group {
  std::vector<int> rows;
  const int32_t* lengths;

  // How many of them, from the first, have not ended at step t.
  int64_t valid(int64_t t) const {
    return std::partition_point(rows.begin(), rows.end(), [&](int row) { return t < lengths[row]; }) - rows.begin();
  }
};

// A share of the panels of a matrix [K, gates * H]: each has the same units, a few blocks of them, of all gates, in
// panels of at most kWide vectors where that divides them. Returns whether all of it is finite.
constexpr int panel_of(int vectors) { return vectors % kPanel == 0 ? kPanel : vectors; }

template <int kBlocks, int kGates>
inline bool pack_gates(const float* w, int64_t depth, Columns units, Share share, Vector* packed) {
  Vector zeros = {};  // but for columns with something that is not finite: NaN
  for_tiles<kBlocks>(units.vectors(), 1, 1, share, [&](auto blocks, int64_t first, int64_t, int) {
    constexpr int V = decltype(blocks)::value * kGates, N = panel_of(V);
    Vector* out = packed + first * kGates * depth;
    for (int64_t k = 0; k < depth; ++k)
      for (int v = 0; v < V; ++v) {
        int64_t block = first + v / kGates;
        Vector some = load(w + (k * kGates + v % kGates) * units.count + block * kWidth, units.lanes(block));
        out[(v / N * depth + k) * N + v % N] = some;
        zeros += 0.0f * some;
      }
  });
  bool is_finite = true;
  for (int lane = 0; lane < kWidth; ++lane) is_finite &= zeros[lane] == 0.0f;
  return is_finite;
}

// Vectors of a row in a product with transposed weights: some lines of the cache, as many as a single row's sums fit.
constexpr int wide(int n) { return tile_rows(n) > 0 ? n : wide(n / 2); }
constexpr int kWide = wide(64 / kWidth);

// A share of the panels of the transpose of [count, depth], its columns rotated by `shift` to the right.
inline void pack_transposed(const float* w, Columns columns, int64_t depth, int64_t shift, Share share, Vector* packed) {
  constexpr int64_t kLine = 16;  // floats of a row of w that are read at once
  for_tiles<kWide>(columns.vectors(), 1, 1, share, [&](auto n, int64_t first, int64_t, int) {
    constexpr int64_t kFloats = panel_of(decltype(n)::value) * kWidth;
    for (int64_t panel = first * kWidth; panel < (first + n) * kWidth; panel += kFloats) {
      float* out = reinterpret_cast<float*>(packed) + panel * depth;
      for (int64_t line = 0; line < depth; line += kLine)
        for (int64_t j = 0; j < kFloats; ++j)
          for (int64_t k = line; k < std::min(line + kLine, depth); ++k) {
            int64_t to = k + shift < depth ? k + shift : k + shift - depth;
            out[to * kFloats + j] = panel + j < columns.count ? w[(panel + j) * depth + k] : 0.0f;
          }
    }
  });
}

}  // namespace rnn_jax
