// A cell over time for some sequences of a batch.

#pragma once

#include "batch.h"
#include "cells.h"

namespace rnn_jax {

template <class Cell>
struct Forward {
  Sizes sizes;
  const float *xs, *h0;
  Vectors w_ih, w_hh, b, b_recurrent;  // packed
  float *hs, *c;                       // [T, B, H] and, for an LSTM, [B, H], which begins as the initial c
  Vector* saved;                       // [T, B, blocks, kSaved], or null

  void run(const Group& group) const {
    for (int64_t step = 0; step < sizes.steps; ++step) {
      int64_t t = sizes.time(step), valid = group.valid(t);
      const float* before = step == 0 ? h0 : hs + sizes.time(step - 1) * sizes.batch * sizes.hidden;
      for (int64_t block = 0; block < sizes.units().vectors(); ++block)
        for_tiles<tile_rows(Cell::kGates)>(valid, [&](auto count, int64_t first) {
          tile<decltype(count)::value>(t, before, &group.rows[first], block);
        });
      for (int64_t row = valid; row < static_cast<int64_t>(group.rows.size()); ++row) hold(t, before, group.rows[row]);
    }
  }

 private:
  template <int M>
  void tile(int64_t t, const float* before, const int* rows, int64_t block) const {
    constexpr int N = Cell::kGates;
    Vector x[M][N], r[M][N], unused[Cell::kSaved + 1];
    Rows<M> x_rows, h_rows;
    for (int m = 0; m < M; ++m) {
      x_rows.at[m] = xs + (t * sizes.batch + rows[m]) * sizes.inputs;
      h_rows.at[m] = before + rows[m] * sizes.hidden;
      for (int n = 0; n < N; ++n) x[m][n] = b[block * N + n], r[m][n] = b_recurrent[block * N + n];
    }
    product<M, N>(x, x_rows, w_ih.get() + block * sizes.inputs * N, sizes.inputs);
    product<M, N>(r, h_rows, w_hh.get() + block * sizes.hidden * N, sizes.hidden);
    int lanes = sizes.units().lanes(block);
    for (int m = 0; m < M; ++m) {
      int64_t at = rows[m] * sizes.hidden + block * kWidth;
      Vector state = {};
      if (Cell::kCell >= 0) state = load(c + at, lanes);
      Vector h = load(h_rows.at[m] + block * kWidth, lanes);
      h = Cell::forward(x[m], r[m], h, state, saved ? saved_at<Cell>(saved, sizes, t, rows[m], block) : unused);
      store(hs + t * sizes.batch * sizes.hidden + at, h, lanes);
      if (Cell::kCell >= 0) store(c + at, state, lanes);
    }
  }

  // Padding: the carry stays.
  void hold(int64_t t, const float* before, int64_t row) const {
    const float* h = before + row * sizes.hidden;
    std::copy(h, h + sizes.hidden, hs + (t * sizes.batch + row) * sizes.hidden);
    if (Cell::kCell < 0 || !saved) return;
    for (int64_t block = 0; block < sizes.units().vectors(); ++block)
      saved_at<Cell>(saved, sizes, t, row, block)[Cell::kCell] =
          load(c + row * sizes.hidden + block * kWidth, sizes.units().lanes(block));
  }
};

}  // namespace rnn_jax
