// A cell over time for some sequences of a batch.

#pragma once

#include "batch.h"
#include "cells.h"
#include "team.h"

namespace rnn_jax {

template <class Cell>
struct Forward {
  static constexpr int kBlocks = std::max(1, kPanel / Cell::kGates);  // blocks of units in a tile

  Sizes sizes;
  const float *xs, *h0;
  float *hs, *c;  // [T, B, H] and, for an LSTM, [B, H], which begins as the initial c
  Vector* saved;  // [T, B, blocks, kSaved], or null
  Vectors w_ih = uninitialized(sizes.units().vectors() * Cell::kGates * sizes.inputs),  // packed
      w_hh = uninitialized(sizes.units().vectors() * Cell::kGates * sizes.hidden),
          b = uninitialized(sizes.units().vectors() * Cell::kGates),
          b_recurrent = uninitialized(sizes.units().vectors() * Cell::kGates);
  std::atomic<bool> is_finite{true};  // w_hh

  void pack(const float* input, const float* recurrent, const float* bias, const float* recurrent_bias,
            Share share) {
    pack_gates<kBlocks, Cell::kGates>(input, sizes.inputs, sizes.units(), share, w_ih.get());
    if (!pack_gates<kBlocks, Cell::kGates>(recurrent, sizes.hidden, sizes.units(), share, w_hh.get())) is_finite = false;
    pack_gates<kBlocks, Cell::kGates>(bias, 1, sizes.units(), share, b.get());
    pack_gates<kBlocks, Cell::kGates>(recurrent_bias, 1, sizes.units(), share, b_recurrent.get());
  }

  void run(const Group& group, Member& member) const {
    bool from_zero = is_finite && begins_at_zero(group);
    for (int64_t step = 0; step < sizes.steps; ++step) {
      int64_t t = sizes.time(step), valid = group.valid(t);
      const float* before = step == 0 ? h0 : hs + sizes.time(step - 1) * sizes.batch * sizes.hidden;
      member.phase([&](Share share) {
        constexpr int kMost = tile_rows(panel_of(kBlocks * Cell::kGates));
        for_tiles<kBlocks>(sizes.units().vectors(), valid, kMost, share,
                           [&](auto blocks, int64_t block, int64_t first, int rows) {
                             tile<decltype(blocks)::value>(t, before, step == 0 && from_zero, &group.rows[first], rows, block);
                           });
        int64_t ended = group.rows.size() - valid;
        for (int64_t i = valid + share.begin(ended); i < valid + share.end(ended); ++i) hold(t, before, group.rows[i]);
      });
    }
  }

 private:
  // Most sequences do, and then the first step needs no recurrent product: it is zero where weights are finite.
  bool begins_at_zero(const Group& group) const {
    return std::all_of(group.rows.begin(), group.rows.end(), [&](int row) {
      const float* h = h0 + row * sizes.hidden;
      return std::all_of(h, h + sizes.hidden, [](float value) { return value == 0.0f; });
    });
  }

  template <int kSome>
  void tile(int64_t t, const float* before, bool is_zero, const int* rows, int count, int64_t block) const {
    constexpr int V = kSome * Cell::kGates, N = panel_of(V);
    Vector x[kRows][V], r[kRows][V], unused[Cell::kSaved + 1];
    Rows x_rows = {}, h_rows = {};
    for (int m = 0; m < count; ++m) {
      x_rows.at[m] = xs + (t * sizes.batch + rows[m]) * sizes.inputs;
      h_rows.at[m] = before + rows[m] * sizes.hidden;
      for (int v = 0; v < V; ++v)
        x[m][v] = b[block * Cell::kGates + v], r[m][v] = b_recurrent[block * Cell::kGates + v];
    }
    product_of_panels<V, N>(count, x[0], x_rows, w_ih.get() + block * Cell::kGates * sizes.inputs, sizes.inputs);
    if (!is_zero)
      product_of_panels<V, N>(count, Cell::kOneSum ? x[0] : r[0], h_rows, w_hh.get() + block * Cell::kGates * sizes.hidden, sizes.hidden);
    for (int m = 0; m < count; ++m)
      for (int i = 0; i < kSome; ++i) {
        int lanes = sizes.units().lanes(block + i);
        int64_t at = rows[m] * sizes.hidden + (block + i) * kWidth;
        Vector state = {};
        if (Cell::kCell >= 0) state = load(c + at, lanes);
        Vector h = load(h_rows.at[m] + (block + i) * kWidth, lanes);
        h = Cell::forward(x[m] + i * Cell::kGates, r[m] + i * Cell::kGates, h, state,
                          saved ? saved_at<Cell>(saved, sizes, t, rows[m], block + i) : unused);
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
