// A cell for a single step of a few sequences: the weights are read once, and so as they lie. To pack them would take
// longer than all that is to be computed.

#pragma once

#include "batch.h"
#include "cells.h"

namespace rnn_jax {

constexpr int64_t kFewSequences = 8;  // from which on packing pays also for a single step

template <class Cell>
struct Step {
  static constexpr int64_t kDeep = 8;  // rows of the weights at a time, each of which the processor fetches ahead

  Sizes sizes;
  const float *xs, *w_ih, *w_hh, *b, *b_recurrent, *h0;
  float *hs, *c;  // [B, H] and, for an LSTM, [B, H], which begins as the initial c
  Vector* saved;  // [B, blocks, kSaved], or null

  // A share of the units of all sequences.
  void run(const Group& group, Share share) const {
    int64_t all = sizes.units().vectors(), first = share.begin(all), count = share.end(all) - first;
    int64_t valid = group.valid(0), size = count * Cell::kGates;
    Vectors sums(new Vector[2 * valid * size]);
    Vector *x = sums.get(), *r = x + valid * size;
    for (int64_t m = 0; m < valid; ++m) {
      each(first, count, [&](int64_t i, int64_t column, int lanes) {
        x[m * size + i] = load(b + column, lanes), r[m * size + i] = load(b_recurrent + column, lanes);
      });
    }
    add_product(group, valid, xs, sizes.inputs, w_ih, first, count, x);
    add_product(group, valid, h0, sizes.hidden, w_hh, first, count, Cell::kOneSum ? x : r);
    for (int64_t m = 0; m < valid; ++m)
      for (int64_t i = 0; i < count; ++i) unit(group.rows[m], first + i, x + m * size + i, r + m * size + i, count);
    for (size_t m = valid; m < group.rows.size(); ++m)
      for (int64_t i = first; i < first + count; ++i) hold(group.rows[m], i);
  }

 private:
  // Calls f(number, column, lanes) for the vectors of some blocks of units, gate by gate.
  template <class F>
  void each(int64_t first, int64_t count, F&& f) const {
    for (int64_t gate = 0; gate < Cell::kGates; ++gate)
      for (int64_t i = 0; i < count; ++i)
        f(gate * count + i, gate * sizes.hidden + (first + i) * kWidth, sizes.units().lanes(first + i));
  }

  // sums += left * w, in the order in which `product` adds them.
  void add_product(const Group& group, int64_t rows, const float* left, int64_t depth, const float* w, int64_t first,
                   int64_t count, Vector* sums) const {
    int64_t columns = Cell::kGates * sizes.hidden, size = Cell::kGates * count, k = 0;
    auto add = [&](auto deep) {
      constexpr int64_t kSome = decltype(deep)::value;
      each(first, count, [&](int64_t i, int64_t column, int lanes) {
        Vector of_w[kSome];
        for (int64_t j = 0; j < kSome; ++j) {
          const float* at = w + (k + j) * columns + column;
          of_w[j] = lanes == kWidth ? load(at) : load(at, lanes);
        }
        for (int64_t m = 0; m < rows; ++m) {
          const float* a = left + group.rows[m] * depth + k;
          Vector sum = sums[m * size + i];
          for (int64_t j = 0; j < kSome; ++j) sum += a[j] * of_w[j];
          sums[m * size + i] = sum;
        }
      });
      k += kSome;
    };
    while (k + kDeep <= depth) add(std::integral_constant<int64_t, kDeep>());
    while (k < depth) add(std::integral_constant<int64_t, 1>());
  }

  void unit(int64_t row, int64_t block, const Vector* x, const Vector* r, int64_t stride) const {
    int lanes = sizes.units().lanes(block);
    int64_t at = row * sizes.hidden + block * kWidth;
    Vector of_x[Cell::kGates], of_r[Cell::kGates], unused[Cell::kSaved + 1], state = {};
    for (int gate = 0; gate < Cell::kGates; ++gate) of_x[gate] = x[gate * stride], of_r[gate] = r[gate * stride];
    if (Cell::kCell >= 0) state = load(c + at, lanes);
    Vector h = Cell::forward(of_x, of_r, load(h0 + at, lanes), state,
                             saved ? saved_at<Cell>(saved, sizes, 0, row, block) : unused);
    store(hs + at, h, lanes);
    if (Cell::kCell >= 0) store(c + at, state, lanes);
  }

  // Padding: the carry stays.
  void hold(int64_t row, int64_t block) const {
    int lanes = sizes.units().lanes(block);
    int64_t at = row * sizes.hidden + block * kWidth;
    store(hs + at, load(h0 + at, lanes), lanes);
    if (Cell::kCell >= 0 && saved) saved_at<Cell>(saved, sizes, 0, row, block)[Cell::kCell] = load(c + at, lanes);
  }
};

}  // namespace rnn_jax
