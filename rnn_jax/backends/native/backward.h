// Backpropagation through time for some sequences of a batch.
//
// Steps are taken in chunks. dz of a chunk stays in cache, where the gradients of inputs and weights are formed from
// it: sums over (step, sequence) pairs, a product of few rows and columns and great depth.

#pragma once

#include "batch.h"
#include "cells.h"

namespace rnn_jax {

constexpr int64_t kDepth = 256;  // pairs in a chunk, if the group has no more sequences than that
constexpr int kPanel = 4;        // vectors of columns of dz at once in a weight's gradient
constexpr int64_t kFew = 8;      // inputs for which a product of whole vectors is a waste

// What one thread adds up: gradients of the weights and biases, every row padded to whole vectors.
struct Sums {
  Vectors w_ih, w_hh, b;
};

template <class Cell>
struct Backward {
  Sizes sizes;
  const float *xs, *w_ih, *h0, *c0, *hs, *dys;
  const Vector* saved;
  Vectors w_ih_packed, w_hh;
  float *dxs, *dh, *dc;  // dh and dc begin as the derivative of the final carry and end as that of the initial one

  static constexpr int kColumns = Cell::kGates + Cell::kShift;

  Columns columns() const { return {kColumns * sizes.hidden}; }
  Columns gate_columns() const { return {Cell::kGates * sizes.hidden}; }

  Sums run(const Group& group) const {
    int64_t vectors = gate_columns().vectors(), rows = group.rows.size();
    Sums sums{zeros(sizes.inputs * vectors), zeros(sizes.hidden * vectors), zeros(columns().vectors())};
    int64_t steps = std::max<int64_t>(1, kDepth / std::max<int64_t>(1, rows));
    Chunk chunk{zeros(ceil_divide(steps * rows * columns().count, kWidth)), {}, {}, {}, {}};
    Vectors panel = zeros(steps * rows * kPanel);
    for (int64_t end = sizes.steps; end > 0; end -= steps) {
      chunk.clear();
      for (int64_t step = end - 1; step >= std::max<int64_t>(0, end - steps); --step) back(group, step, chunk);
      inputs(chunk);
      add_products(chunk, chunk.xs, sizes.inputs, Cell::kShift, panel.get(), sums.w_ih.get());
      add_products(chunk, chunk.hs, sizes.hidden, 0, panel.get(), sums.w_hh.get());
      for (const float* z : chunk.z)
        for (int64_t v = 0; v < columns().vectors(); ++v) sums.b[v] += load(z + v * kWidth, columns().lanes(v));
    }
    return sums;
  }

 private:
  // The pairs of some steps: dz, x_t, h_{t-1}, and where dx_t goes.
  struct Chunk {
    Vectors values;
    std::vector<const float*> z, xs, hs;
    std::vector<float*> dxs;

    void clear() { z.clear(), xs.clear(), hs.clear(), dxs.clear(); }
  };

  // One step back in time.
  void back(const Group& group, int64_t step, Chunk& chunk) const {
    int64_t t = sizes.time(step), valid = group.valid(t), first = chunk.z.size();
    for (int64_t i = 0; i < static_cast<int64_t>(group.rows.size()); ++i) {
      int64_t row = group.rows[i], at = t * sizes.batch + row;
      if (i >= valid) {
        std::fill_n(dxs + at * sizes.inputs, sizes.inputs, 0.0f);
        continue;
      }
      float* z = reinterpret_cast<float*>(chunk.values.get()) + chunk.z.size() * columns().count;
      const float* h = step == 0 ? h0 : hs + sizes.time(step - 1) * sizes.batch * sizes.hidden;
      chunk.z.push_back(z);
      chunk.xs.push_back(xs + at * sizes.inputs);
      chunk.hs.push_back(h + row * sizes.hidden);
      chunk.dxs.push_back(dxs + at * sizes.inputs);
      gates(t, step == 0 ? -1 : sizes.time(step - 1), row, chunk.hs.back(), z);
    }
    times_transposed(
        valid, sizes.units(), gate_columns().count, w_hh.get(), [&](int64_t i) { return chunk.z[first + i]; },
        [&](int64_t i) { return dh + group.rows[i] * sizes.hidden; });
  }

  // dz_t, and in dh the part of dh_{t-1} that does not pass W_hh.
  void gates(int64_t t, int64_t previous, int64_t row, const float* h_before, float* z) const {
    int64_t now = (t * sizes.batch + row) * sizes.hidden, start = row * sizes.hidden;
    for (int64_t block = 0; block < sizes.units().vectors(); ++block) {
      int64_t j = block * kWidth;
      int lanes = sizes.units().lanes(block);
      Vector dz[kColumns], c_before = {}, state = {};
      if (Cell::kCell >= 0) {
        c_before = previous < 0 ? load(c0 + start + j, lanes)
                                : saved_at<Cell>(saved, sizes, previous, row, block)[Cell::kCell];
        state = load(dc + start + j, lanes);
      }
      Vector total = load(dh + start + j, lanes) + load(dys + now + j, lanes);
      Vector direct = Cell::backward(saved_at<Cell>(saved, sizes, t, row, block), load(hs + now + j, lanes),
                                     load(h_before + j, lanes), c_before, total, state, dz);
      for (int k = 0; k < kColumns; ++k) store(z + k * sizes.hidden + j, dz[k], lanes);
      store(dh + start + j, direct, lanes);
      if (Cell::kCell >= 0) store(dc + start + j, state, lanes);
    }
  }

  // dx_t = dz_t W_ih^T: as a product, which computes kBack * kWidth inputs at least, or input by input
  void inputs(const Chunk& chunk) const {
    int64_t shift = Cell::kShift * sizes.hidden;
    if (sizes.inputs <= kFew) {
      for (size_t i = 0; i < chunk.z.size(); ++i)
        for (int64_t input = 0; input < sizes.inputs; ++input)
          chunk.dxs[i][input] = dot(chunk.z[i] + shift, w_ih + input * gate_columns().count, gate_columns());
      return;
    }
    for (float* dx : chunk.dxs) std::fill_n(dx, sizes.inputs, 0.0f);
    times_transposed(
        chunk.z.size(), {sizes.inputs}, gate_columns().count, w_ih_packed.get(),
        [&](int64_t i) { return chunk.z[i] + shift; }, [&](int64_t i) { return chunk.dxs[i]; });
  }

  // sums[i] += sum over pairs of left[i] * dz, of the gates from block `shift` of the columns of dz on
  void add_products(const Chunk& chunk, const std::vector<const float*>& left, int64_t count, int shift, Vector* panel,
                    Vector* sums) const {
    int64_t depth = chunk.z.size(), vectors = gate_columns().vectors();
    for (int64_t first = 0; first < vectors; first += kPanel) {
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t n = 0; n < kPanel; ++n)
          panel[k * kPanel + n] = first + n < vectors ? load(chunk.z[k] + shift * sizes.hidden + (first + n) * kWidth,
                                                             gate_columns().lanes(first + n))
                                                      : Vector{};
      for_tiles<tile_rows(kPanel)>(count, [&](auto tile, int64_t row) {
        constexpr int M = decltype(tile)::value;
        Vector s[M][kPanel] = {};
        product<M, kPanel>(s, Transposed{left.data(), row}, panel, depth);
        for (int m = 0; m < M; ++m)
          for (int64_t n = 0; n < kPanel && first + n < vectors; ++n) sums[(row + m) * vectors + first + n] += s[m][n];
      });
    }
  }
};

}  // namespace rnn_jax
