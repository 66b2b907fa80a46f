// The cells, one vector of hidden units at a time: the equations of rnn_jax/cells, and the steps of rnn_jax/bptt.
//
// forward: from the gates' sums on the input side, x_t W_ih + b, and on the recurrent side, h_{t-1} W_hh + b', to h_t;
// with kOneSum the first are given as the sums of both. c is updated in place; `saved` is what the backward step needs,
// kSaved vectors, among them c at kCell.
// backward: from dL/dh_t to dz, the derivatives of the gates' sums; dc is updated in place; returns what reaches
// dh_{t-1} without passing W_hh. dz has kGates + kShift vectors: the first kGates are those on the recurrent side, the
// last kGates those on the input side.

#pragma once

#include "vectors.h"

namespace rnn_jax {

struct Lstm {
  // saved: i, f, g, o, c
  static constexpr int kGates = 4, kSaved = 5, kCell = 4, kShift = 0;
  static constexpr bool kOneSum = true;

  static Vector forward(const Vector* z, const Vector*, Vector, Vector& c, Vector* saved) {
    Vector i = sigmoid(z[0]), f = sigmoid(z[1]), g = tanh(z[2]), o = sigmoid(z[3]);
    c = f * c + i * g;
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o, saved[4] = c;
    return o * tanh(c);
  }

  static Vector backward(const Vector* saved, Vector, Vector, Vector c_before, Vector dh, Vector& dc, Vector* dz) {
    Vector i = saved[0], f = saved[1], g = saved[2], o = saved[3], tanh_c = tanh(saved[4]);
    dc += dh * o * (1.0f - tanh_c * tanh_c);
    dz[0] = dc * g * i * (1.0f - i);
    dz[1] = dc * c_before * f * (1.0f - f);
    dz[2] = dc * i * (1.0f - g * g);
    dz[3] = dh * tanh_c * o * (1.0f - o);
    dc *= f;
    return Vector{};
  }
};

struct Gru {
  // saved: r, z, n and the recurrent sum of n. dz: n on the recurrent side, r, z, n on the input side.
  static constexpr int kGates = 3, kSaved = 4, kCell = -1, kShift = 1;
  static constexpr bool kOneSum = false;

  static Vector forward(const Vector* x, const Vector* a, Vector h, Vector&, Vector* saved) {
    Vector r = sigmoid(x[0] + a[0]), z = sigmoid(x[1] + a[1]), n = tanh(x[2] + r * a[2]);
    saved[0] = r, saved[1] = z, saved[2] = n, saved[3] = a[2];
    return (1.0f - z) * n + z * h;
  }

  static Vector backward(const Vector* saved, Vector, Vector h_before, Vector, Vector dh, Vector&, Vector* dz) {
    Vector r = saved[0], z = saved[1], n = saved[2];
    Vector dz_n = dh * (1.0f - z) * (1.0f - n * n);
    dz[0] = dz_n * r;
    dz[1] = dz_n * saved[3] * r * (1.0f - r);
    dz[2] = dh * (h_before - n) * z * (1.0f - z);
    dz[3] = dz_n;
    return dh * z;
  }
};

enum class Activation { kTanh, kRelu, kIdentity };

template <Activation kActivation>
struct Rnn {
  static constexpr int kGates = 1, kSaved = 0, kCell = -1, kShift = 0;
  static constexpr bool kOneSum = true;

  static Vector forward(const Vector* sums, const Vector*, Vector, Vector&, Vector*) {
    Vector z = sums[0];
    if (kActivation == Activation::kTanh) return tanh(z);
    if (kActivation == Activation::kRelu) return z < 0.0f ? Vector{} : z;
    return z;
  }

  static Vector backward(const Vector*, Vector h, Vector, Vector, Vector dh, Vector&, Vector* dz) {
    dz[0] = dh;
    if (kActivation == Activation::kTanh) dz[0] = dh * (1.0f - h * h);
    if (kActivation == Activation::kRelu) dz[0] = h > 0.0f ? dh : Vector{};
    return Vector{};
  }
};

}  // namespace rnn_jax
