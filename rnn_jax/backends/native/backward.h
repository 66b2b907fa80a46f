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

// The most sequences for which W_hh is read as it lies, where its rows have so many columns for each: to pack its transpose
// takes as long as tens of steps. With more sequences or shorter rows adding up the lanes takes longer (measured).
// Their sums are in another order, so that a sequence's gradients depend in the last bits on how many are beside it.
constexpr int64_t kAsTheyLie = 4, kColumnsForEach = 1024;

// A gradient [count, columns] to which every group adds a part, which its first chunk sets. Rows of a part are whole
// vectors; the first part is the result itself, where that has such rows too, and begins where a vector may. The result's
// columns are those of dz rotated by `shift` to the left.
class Gradient {
 public:
  Gradient(int64_t count, Columns columns, int64_t shift, size_t groups, float* result)
      : count_(count), columns_(columns),
        in_place_(columns.count % kWidth == 0 && shift % kWidth == 0 &&
                  reinterpret_cast<uintptr_t>(result) % alignof(Vector) == 0),
        shift_(in_place_ ? 0 : shift), turn_(in_place_ ? shift / kWidth : 0), result_(result) {
    for (size_t group = 0; group < groups; ++group) {
      bool is_result = group == 0 && in_place_;
      memory_.push_back(is_result ? nullptr : uninitialized(count * columns.vectors()));
      parts_.push_back(is_result ? reinterpret_cast<Vector*>(result) : memory_.back().get());
    }
  }

  // Of a group's part, where the vector of dz goes.
  Vector& at(int group, int64_t row, int64_t vector) const {
    int64_t turned = vector < turn_ ? vector - turn_ + columns_.vectors() : vector - turn_;
    return parts_[group][row * columns_.vectors() + turned];
  }

  // The sum in the order of the groups, so that it does not depend on who was first: a share of its rows.
  void add_up(Share share) const {
    int64_t padded = columns_.vectors() * kWidth;
    for (int64_t i = share.begin(count_); i < share.end(count_); ++i)
      for (size_t part = in_place_; part < parts_.size(); ++part) {
        const float* from = reinterpret_cast<const float*>(parts_[part]) + i * padded;
        auto add = [&](const float* from, int64_t columns, float* to) {
          for (int64_t k = 0; k < columns; ++k) to[k] = part == 0 ? from[k] : to[k] + from[k];
        };
        add(from + shift_, columns_.count - shift_, result_ + i * columns_.count);
        add(from, shift_, result_ + (i + 1) * columns_.count - shift_);
      }
  }

 private:
  int64_t count_;
  Columns columns_;
  bool in_place_;
  int64_t shift_, turn_;
  float* result_;
  std::vector<Vectors> memory_;
  std::vector<Vector*> parts_;
};

template <class Cell>
struct Backward {
  static constexpr int kColumns = Cell::kGates + Cell::kShift;
  static constexpr int kMost = tile_rows(kPanel);  // rows in a tile

  Sizes sizes;
  const float *xs, *w_ih, *w_hh, *h0, *c0, *hs, *dys;
  const Vector* saved;
  float *dxs, *dh, *dc;  // dh and dc begin as the derivative of the final carry and end as that of the initial one
  float *dw_ih, *dw_hh, *db;
  size_t groups;
  Vectors w_ih_packed = uninitialized(Columns{sizes.inputs}.vectors() * gate_columns().count),
          w_hh_packed = uninitialized(as_it_lies() ? 0 : sizes.units().vectors() * gate_columns().count);
  Gradient to_w_ih = {sizes.inputs, gate_columns(), 0, groups, dw_ih},
           to_w_hh = {sizes.hidden, gate_columns(), Cell::kShift * sizes.hidden, groups, dw_hh},
           to_b = {1, columns(), 0, groups, db};

  Columns columns() const { return {kColumns * sizes.hidden}; }
  Columns gate_columns() const { return {Cell::kGates * sizes.hidden}; }

  void pack(Share share) const {
    int64_t depth = gate_columns().count;
    if (sizes.inputs > kFew) pack_transposed(w_ih, {sizes.inputs}, depth, 0, share, w_ih_packed.get());
    if (!as_it_lies()) pack_transposed(w_hh, sizes.units(), depth, Cell::kShift * sizes.hidden, share, w_hh_packed.get());
  }

  // What the members of a group share.
  struct Work {
    int group;
    int64_t steps;  // in a chunk
    Vectors dz;
  };

  Work work(int group, int64_t rows) const {
    int64_t steps = std::max<int64_t>(1, kDepth / std::max<int64_t>(1, rows));
    steps = std::min(steps, std::max<int64_t>(1, sizes.steps));
    return {group, steps, uninitialized(ceil_divide(steps * rows * columns().count, kWidth))};
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
          add_products(chunk, chunk.xs, sizes.inputs, Cell::kShift, share, is_first, panel.get(), work.group, to_w_ih);
          add_products(chunk, chunk.hs, sizes.hidden, 0, share, is_first, panel.get(), work.group, to_w_hh);
          add_biases(chunk, share, is_first, work.group);
        });
    }
  }

  void add_up(Share share) const {
    for (const Gradient* each : {&to_w_ih, &to_w_hh, &to_b}) each->add_up(share);
  }

 private:
  bool as_it_lies() const { return sizes.batch <= kAsTheyLie && sizes.batch * kColumnsForEach <= gate_columns().count; }

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
          if (count > 0 && as_it_lies()) {
            const float* z[kAsTheyLie];
            float* out[kAsTheyLie];
            for (int m = 0; m < count; ++m)
              z[m] = chunk.z[chunk.pair(from) + first + m], out[m] = dh + group.rows[first + m] * sizes.hidden;
            int64_t begin = block * kWidth, end = std::min((block + N) * kWidth, sizes.hidden);
            add_dots_of_rows<kAsTheyLie>(count, z, begin, end, out);
          } else if (count > 0) {
            Vector sums[kRows][N];
            Rows left = {};
            for (int m = 0; m < count; ++m) {
              left.at[m] = chunk.z[chunk.pair(from) + first + m];
              for (int i = 0; i < N; ++i)
                sums[m][i] = load(dh + group.rows[first + m] * sizes.hidden + (block + i) * kWidth,
                                  sizes.units().lanes(block + i));
            }
            product_of_panels<N, panel_of(N)>(count, sums[0], left, w_hh_packed.get() + block * depth, depth);
            for (int m = 0; m < count; ++m)
              for (int i = 0; i < N; ++i)
                store(dh + group.rows[first + m] * sizes.hidden + (block + i) * kWidth, sums[m][i],
                      sizes.units().lanes(block + i));
          }
          for (int64_t i = first; i < std::min<int64_t>(first + rows, valid_to); ++i)
            gates(to, group.rows[i], block, N, chunk.hs[chunk.pair(to) + i], chunk.z[chunk.pair(to) + i]);
        });
  }

  // out[m][unit] += dz[m] . W_hh[unit], some units for M sequences; dz is rotated against the columns of W_hh
  template <int M>
  void add_dots(const float* const* z, int64_t begin, int64_t end, float* const* out) const {
    int64_t depth = gate_columns().count, shift = Cell::kShift * sizes.hidden;
    const float* after[M];
    for (int m = 0; m < M; ++m) after[m] = z[m] + shift;
    auto add = [&](int64_t unit, auto units) {
      constexpr int R = decltype(units)::value;
      float sums[M][R];
      for (int m = 0; m < M; ++m) std::copy_n(out[m] + unit, R, sums[m]);
      dots<M, R>(after, w_hh + unit * depth, depth, {depth - shift}, sums);
      if (shift > 0) dots<M, R>(z, w_hh + (unit + 1) * depth - shift, depth, {shift}, sums);
      for (int m = 0; m < M; ++m) std::copy_n(sums[m], R, out[m] + unit);
      return R;
    };
    constexpr int kAtOnce = std::min((kRegisters - M - 1) / M, 4);
    while (begin + kAtOnce <= end) begin += add(begin, std::integral_constant<int, kAtOnce>());
    while (begin < end) begin += add(begin, std::integral_constant<int, 1>());
  }

  template <int M>
  void add_dots_of_rows(int rows, const float* const* z, int64_t begin, int64_t end, float* const* out) const {
    if constexpr (M > 1) {
      if (rows < M) return add_dots_of_rows<M - 1>(rows, z, begin, end, out);
    }
    add_dots<M>(z, begin, end, out);
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

  // to[i] += sum over pairs of left[i] * dz, of the gates from block `shift` of the columns of dz on
  void add_products(const Chunk& chunk, const std::vector<const float*>& left, int64_t count, int shift, Share share, bool is_first,
                    Vector* panel, int group, const Gradient& to) const {
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
          Vector& sum = to.at(group, row + m, vector + i);
          sum = is_first ? s[m][i] : sum + s[m][i];
        }
    });
  }

  void add_biases(const Chunk& chunk, Share share, bool is_first, int group) const {
    int64_t begin = share.begin(columns().vectors()), end = share.end(columns().vectors());
    if (is_first)
      for (int64_t v = begin; v < end; ++v) to_b.at(group, 0, v) = Vector{};
    for (const float* z : chunk.z)
      for (int64_t v = begin; v < end; ++v) to_b.at(group, 0, v) += load(z + v * kWidth, columns().lanes(v));
  }
};

}  // namespace rnn_jax
