// Backpropagation through time for some sequences of a batch.
//
// Steps are taken in chunks. dz of a chunk stays in cache, where the gradients of inputs and weights are formed from
// it: sums over (step, sequence) pairs, a product of few rows and columns and great depth.

#pragma once

#include "batch.h"
#include "cells.h"
#include "team.h"

namespace rnn_jax {

constexpr int64_t kDepth = 256;  // pairs in a chunk, if the group has no more sequences than that
constexpr int64_t kFew = 8;      // inputs for which a product of whole vectors is a waste

// What a group adds up: gradients of the weights and biases, every row padded to whole vectors. The first chunk sets
// them.
struct Sums {
  Vectors w_ih, w_hh, b;
};

// The sum of some groups' parts of a gradient [count, columns], in the order of the groups, so that it does not depend on
// who was first: a share of its rows. Columns are rotated by `shift` to the left.
inline void add_up(const std::vector<const Vector*>& parts, int64_t count, Columns columns, int64_t shift, Share share,
                   float* out) {
  int64_t padded = columns.vectors() * kWidth;
  for (int64_t i = share.begin(count); i < share.end(count); ++i)
    for (size_t part = 0; part < parts.size(); ++part) {
      const float* from = reinterpret_cast<const float*>(parts[part]) + i * padded;
      auto add = [&](const float* from, int64_t columns, float* to) {
        for (int64_t k = 0; k < columns; ++k) to[k] = part == 0 ? from[k] : to[k] + from[k];
      };
      add(from + shift, columns.count - shift, out + i * columns.count);
      add(from, shift, out + (i + 1) * columns.count - shift);
    }
}

template <class Cell>
struct Backward {
  static constexpr int kColumns = Cell::kGates + Cell::kShift;
  static constexpr int kMost = tile_rows(kPanel);  // rows in a tile

  Sizes sizes;
  const float *xs, *w_ih, *h0, *c0, *hs, *dys;
  const Vector* saved;
  float *dxs, *dh, *dc;  // dh and dc begin as the derivative of the final carry and end as that of the initial one
  Vectors w_ih_packed = uninitialized(Columns{sizes.inputs}.vectors() * gate_columns().count),
          w_hh = uninitialized(sizes.units().vectors() * gate_columns().count);

  Columns columns() const { return {kColumns * sizes.hidden}; }
  Columns gate_columns() const { return {Cell::kGates * sizes.hidden}; }

  void pack(const float* recurrent, Share share) const {
    int64_t depth = gate_columns().count;
    if (sizes.inputs > kFew) pack_transposed(w_ih, {sizes.inputs}, depth, 0, share, w_ih_packed.get());
    pack_transposed(recurrent, sizes.units(), depth, Cell::kShift * sizes.hidden, share, w_hh.get());
  }

  // What one group works with.
  struct Work {
    int64_t steps;  // in a chunk
    Vectors dz;
    Sums sums;
  };

  Work work(int64_t rows) const {
    int64_t vectors = gate_columns().vectors(), steps = std::max<int64_t>(1, kDepth / std::max<int64_t>(1, rows));
    steps = std::min(steps, std::max<int64_t>(1, sizes.steps));
    return {steps, uninitialized(ceil_divide(steps * rows * columns().count, kWidth)),
            {uninitialized(sizes.inputs * vectors), uninitialized(sizes.hidden * vectors),
             uninitialized(columns().vectors())}};
  }

  // At least one step.
  void run(const Group& group, const Work& work, Member& member) const {
    Chunk chunk;
    Vectors panel = uninitialized(work.steps * group.rows.size() * kPanel);
    for (int64_t end = sizes.steps; end > 0; end -= work.steps) {
      int64_t begin = std::max<int64_t>(0, end - work.steps);
      bool is_first = end == sizes.steps;
      chunk.begin(*this, group, work, begin, end);
      member.phase([&](Share share) { back(group, chunk, end, end - 1, share); });
      for (int64_t step = end - 1; step >= begin; --step)
        member.phase([&](Share share) {
          back(group, chunk, step, step > begin ? step - 1 : -1, share);
          if (step > begin) return;
          inputs(group, chunk, share);
          add_products(chunk, chunk.xs, sizes.inputs, Cell::kShift, share, is_first, panel.get(), work.sums.w_ih.get());
          add_products(chunk, chunk.hs, sizes.hidden, 0, share, is_first, panel.get(), work.sums.w_hh.get());
          add_biases(chunk, share, is_first, work.sums.b.get());
        });
    }
  }

 private:
  // The pairs of some steps, the last of them first: dz, x_t, h_{t-1}, and where dx_t goes.
  struct Chunk {
    int64_t first_step, last_step;
    std::vector<int64_t> first;  // pair of a step
    std::vector<const float*> xs, hs;
    std::vector<float*> z, dxs;

    void begin(const Backward& loop, const Group& group, const Work& work, int64_t begin, int64_t end) {
      const Sizes& sizes = loop.sizes;
      first_step = begin, last_step = end - 1;
      first.assign(end - begin + 1, 0), z.clear(), xs.clear(), hs.clear(), dxs.clear();
      for (int64_t step = end - 1; step >= begin; --step) {
        int64_t t = sizes.time(step), valid = group.valid(t);
        const float* h = step == 0 ? loop.h0 : loop.hs + sizes.time(step - 1) * sizes.batch * sizes.hidden;
        first[step - begin] = z.size();
        for (int64_t i = 0; i < valid; ++i) {
          int64_t row = group.rows[i], at = t * sizes.batch + row;
          z.push_back(reinterpret_cast<float*>(work.dz.get()) + z.size() * loop.columns().count);
          xs.push_back(loop.xs + at * sizes.inputs);
          hs.push_back(h + row * sizes.hidden);
          dxs.push_back(loop.dxs + at * sizes.inputs);
        }
      }
    }
    int64_t pair(int64_t step) const { return first[step - first_step]; }
  };

  // dh_{t-1} += dz_t W_hh^T of the step `from`, if it is one of the chunk; then dz_t of the step `to`, likewise.
  void back(const Group& group, const Chunk& chunk, int64_t from, int64_t to, Share share) const {
    bool has_from = from <= chunk.last_step, has_to = to >= 0;
    int64_t valid_from = has_from ? group.valid(sizes.time(from)) : 0, valid_to = has_to ? group.valid(sizes.time(to)) : 0;
    int64_t depth = gate_columns().count;
    for_tiles<kWide>(
        sizes.units().vectors(), std::max(valid_from, valid_to), kMost, share,
        [&](auto n, int64_t block, int64_t first, int rows) {
          constexpr int N = decltype(n)::value;
          int count = static_cast<int>(std::clamp<int64_t>(valid_from - first, 0, rows));
          if (count > 0) {
            Vector sums[kRows][N];
            Rows left = {};
            for (int m = 0; m < count; ++m) {
              left.at[m] = chunk.z[chunk.pair(from) + first + m];
              for (int i = 0; i < N; ++i)
                sums[m][i] = load(dh + group.rows[first + m] * sizes.hidden + (block + i) * kWidth,
                                  sizes.units().lanes(block + i));
            }
            product_of_panels<N, panel_of(N)>(count, sums[0], left, w_hh.get() + block * depth, depth);
            for (int m = 0; m < count; ++m)
              for (int i = 0; i < N; ++i)
                store(dh + group.rows[first + m] * sizes.hidden + (block + i) * kWidth, sums[m][i],
                      sizes.units().lanes(block + i));
          }
          for (int64_t i = first; i < std::min<int64_t>(first + rows, valid_to); ++i)
            gates(to, group.rows[i], block, N, chunk.hs[chunk.pair(to) + i], chunk.z[chunk.pair(to) + i]);
        });
  }

  // dz_t of some units, and in dh the part of dh_{t-1} that does not pass W_hh.
  void gates(int64_t step, int64_t row, int64_t first, int blocks, const float* h_before, float* z) const {
    int64_t t = sizes.time(step), now = (t * sizes.batch + row) * sizes.hidden, start = row * sizes.hidden;
    for (int64_t block = first; block < first + blocks; ++block) {
      int64_t j = block * kWidth;
      int lanes = sizes.units().lanes(block);
      Vector dz[kColumns], c_before = {}, state = {};
      if (Cell::kCell >= 0) {
        c_before = step == 0 ? load(c0 + start + j, lanes)
                             : saved_at<Cell>(saved, sizes, sizes.time(step - 1), row, block)[Cell::kCell];
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

  // dx_t = dz_t W_ih^T: as a product, or, where that would compute mostly what is not there, input by input
  void inputs(const Group& group, const Chunk& chunk, Share share) const {
    int64_t shift = Cell::kShift * sizes.hidden, pairs = chunk.z.size(), depth = gate_columns().count;
    for (int64_t step = chunk.first_step; step <= chunk.last_step; ++step) {
      int64_t t = sizes.time(step), valid = group.valid(t), ended = group.rows.size() - valid;
      for (int64_t i = valid + share.begin(ended); i < valid + share.end(ended); ++i)
        std::fill_n(dxs + (t * sizes.batch + group.rows[i]) * sizes.inputs, sizes.inputs, 0.0f);
    }
    if (sizes.inputs <= kFew) {
      for (int64_t i = share.begin(pairs); i < share.end(pairs); ++i)
        for (int64_t input = 0; input < sizes.inputs; ++input)
          chunk.dxs[i][input] = dot(chunk.z[i] + shift, w_ih + input * depth, gate_columns());
      return;
    }
    Columns columns{sizes.inputs};
    for_tiles<kWide>(columns.vectors(), pairs, kMost, share, [&](auto n, int64_t vector, int64_t first, int rows) {
      constexpr int N = decltype(n)::value;
      Vector sums[kRows][N] = {};
      Rows left = {};
      for (int m = 0; m < rows; ++m) left.at[m] = chunk.z[first + m] + shift;
      product_of_panels<N, panel_of(N)>(rows, sums[0], left, w_ih_packed.get() + vector * depth, depth);
      for (int m = 0; m < rows; ++m)
        for (int i = 0; i < N; ++i)
          store(chunk.dxs[first + m] + (vector + i) * kWidth, sums[m][i], columns.lanes(vector + i));
    });
  }

  // sums[i] += sum over pairs of left[i] * dz, of the gates from block `shift` of the columns of dz on
  void add_products(const Chunk& chunk, const std::vector<const float*>& left, int64_t count, int shift, Share share, bool is_first,
                    Vector* panel, Vector* sums) const {
    int64_t depth = chunk.z.size(), vectors = gate_columns().vectors(), packed = -1;
    for_tiles<kPanel>(vectors, count, kMost, share, [&](auto n, int64_t vector, int64_t row, int rows) {
      constexpr int N = decltype(n)::value;
      if (packed != vector) {
        for (int64_t k = 0; k < depth; ++k)
          for (int i = 0; i < N; ++i)
            panel[k * N + i] = load(chunk.z[k] + shift * sizes.hidden + (vector + i) * kWidth,
                                    gate_columns().lanes(vector + i));
        packed = vector;
      }
      Vector s[kRows][N] = {};
      product_of_panels<N, N>(rows, s[0], Transposed{left.data(), row}, panel, depth);
      for (int m = 0; m < rows; ++m)
        for (int i = 0; i < N; ++i) {
          Vector& sum = sums[(row + m) * vectors + vector + i];
          sum = is_first ? s[m][i] : sum + s[m][i];
        }
    });
  }

  void add_biases(const Chunk& chunk, Share share, bool is_first, Vector* sums) const {
    int64_t vectors = columns().vectors();
    if (is_first) std::fill(sums + share.begin(vectors), sums + share.end(vectors), Vector{});
    for (const float* z : chunk.z)
      for (int64_t v = share.begin(vectors); v < share.end(vectors); ++v)
        sums[v] += load(z + v * kWidth, columns().lanes(v));
  }
};

}  // namespace rnn_jax
