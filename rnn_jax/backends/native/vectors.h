// Vectors of floats, as wide as the machine has them, and the two nonlinearities of gated cells.
//
// GCC's and Clang's vector types: arithmetic on whole vectors without naming an instruction set.

#pragma once

#include <cstdint>
#include <cstring>

namespace rnn_jax {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
constexpr int kRegisters = 32;
constexpr const char* kInstructionSet = "AVX-512";
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int kWidth = 8;
constexpr int kRegisters = 16;
constexpr const char* kInstructionSet = "AVX2";
#elif defined(__AVX__)
constexpr int kWidth = 8;
constexpr int kRegisters = 16;
constexpr const char* kInstructionSet = "AVX";
#elif defined(__aarch64__)
constexpr int kWidth = 4;
constexpr int kRegisters = 32;
constexpr const char* kInstructionSet = "NEON";
#else
constexpr int kWidth = 4;
constexpr int kRegisters = 16;
constexpr const char* kInstructionSet = "128 bits";
#endif
#if defined(__aarch64__)
constexpr bool kLoadsAhead = true;  // compilers load the operands of several instructions before the first of them
#else
constexpr bool kLoadsAhead = false;
#endif
typedef float Vector __attribute__((vector_size(4 * kWidth)));
typedef int32_t Integers __attribute__((vector_size(4 * kWidth)));

// The first n floats at p, zeros after them.
inline Vector load(const float* p, int n = kWidth) {
  Vector v = {};
  if (n >= kWidth) {
    std::memcpy(&v, p, sizeof v);
  } else {
    std::memcpy(&v, p, sizeof(float) * n);
  }
  return v;
}

inline void store(float* p, Vector v, int n = kWidth) {
  if (n >= kWidth) {
    std::memcpy(p, &v, sizeof v);
  } else {
    std::memcpy(p, &v, sizeof(float) * n);
  }
}

// Keeps v in a register, from which it is read more than once: GCC may else read memory as often.
inline void in_register(Vector& v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#else
  (void)v;
#endif
}

inline Vector all(float x) { return x - Vector{}; }

// e^x - 1, relatively exact also near 0. x = n ln 2 + r, |r| <= ln(2) / 2, Taylor's series of e^r - 1 to r^7, whose
// rest is below a fourth of float32's last place. NaN stays NaN; beyond +-80 it is what it is at 80.
[[gnu::always_inline]] inline Vector expm1(Vector x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which its low bits then hold
  x = x > 80.0f ? all(80.0f) : x;
  x = x < -80.0f ? all(-80.0f) : x;
  Vector shifted = x * 1.44269504f + kRound;
  Vector n = shifted - kRound;
  Vector r = x - n * 0.693359375f;  // ln 2 in two parts, the first of few digits
  r = r + n * 2.12194440e-4f;
  Vector p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r;
  Integers bits = ((Integers)shifted + (127 - 0x4B400000)) << 23;  // 2^n
  Vector power = (Vector)bits;
  return power * p + (power - 1.0f);
}

inline Vector sigmoid(Vector x) { return 1.0f / (2.0f + expm1(-x)); }

inline Vector tanh(Vector x) {
  Vector e = expm1(2.0f * x);
  return e / (e + 2.0f);
}

}  // namespace rnn_jax
