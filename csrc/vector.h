// Eight floats at a time. The compiler lowers them to what the instruction set has: one AVX register, two of SSE or NEON.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace gcnet {
namespace {

typedef float F8 __attribute__((vector_size(32)));
typedef int32_t I8 __attribute__((vector_size(32)));
typedef uint32_t U8 __attribute__((vector_size(32)));
typedef uint16_t H8 __attribute__((vector_size(16)));

constexpr int64_t kLanes = 8;

struct bfloat16 {
  uint16_t bits;
};

inline F8 splat(float v) { return F8{v, v, v, v, v, v, v, v}; }

inline F8 load(const float* p) {
  F8 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline F8 load(const bfloat16* p) {
  H8 h;
  std::memcpy(&h, p, sizeof h);
  return (F8)(__builtin_convertvector(h, U8) << 16);
}

inline void store(float* p, F8 v) { std::memcpy(p, &v, sizeof v); }

// Round to nearest even; NaN stays NaN.
inline H8 narrow(F8 v) {
  const U8 bits = (U8)v;
  const U8 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const U8 quiet = (bits >> 16) | 0x40;
  return __builtin_convertvector(((U8)(v == v) & rounded) | ((U8)(v != v) & quiet), H8);
}

inline void store(bfloat16* p, F8 v) {
  const H8 h = narrow(v);
  std::memcpy(p, &h, sizeof h);
}

inline float to_float(float v) { return v; }
inline float to_float(bfloat16 v) {
  const uint32_t bits = (uint32_t)v.bits << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
inline void from_float(float* p, float v) { *p = v; }
inline void from_float(bfloat16* p, float v) {
  bfloat16 eight[kLanes];
  store(eight, splat(v));
  *p = eight[0];
}

// What a value becomes when it is stored and read again.
inline F8 rounded(F8 v, const float*) { return v; }
inline F8 rounded(F8 v, const bfloat16*) { return (F8)(__builtin_convertvector(narrow(v), U8) << 16); }

template <class T>
inline F8 load_part(const T* p, int64_t count) {
  F8 v = splat(0);
  for (int64_t i = 0; i < count; i++) v[i] = to_float(p[i]);
  return v;
}

template <class T>
inline void store_part(T* p, F8 v, int64_t count) {
  for (int64_t i = 0; i < count; i++) from_float(p + i, v[i]);
}

// Stores past the cache, for outputs that do not fit in it; p is aligned to the size of what is stored.
inline void stream(float* p, F8 v) {
#if defined(__AVX__)
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__SSE2__)
  typedef float F4 __attribute__((vector_size(16)));
  F4 halves[2];
  std::memcpy(halves, &v, sizeof v);
  _mm_stream_ps(p, (__m128)halves[0]);
  _mm_stream_ps(p + 4, (__m128)halves[1]);
#else
  store(p, v);
#endif
}

inline void stream(bfloat16* p, F8 v) {
#if defined(__SSE2__)
  const H8 h = narrow(v);
  __m128i bits;
  std::memcpy(&bits, &h, sizeof bits);
  _mm_stream_si128((__m128i*)p, bits);
#else
  store(p, v);
#endif
}

inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

inline F8 keep_if(I8 mask, F8 v) { return (F8)(mask & (I8)v); }
inline F8 choose(I8 mask, F8 yes, F8 no) { return (F8)((mask & (I8)yes) | (~mask & (I8)no)); }
inline F8 maximum(F8 a, F8 b) { return choose(a > b, a, b); }

// max(v, 0) that hands NaN on.
inline F8 relu(F8 v) { return keep_if(~(v <= splat(0)), v); }

inline float sum(F8 v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
inline float largest(F8 v) {
  float m = v[0];
  for (int i = 1; i < kLanes; i++) m = v[i] > m ? v[i] : m;
  return m;
}

// e^v within 2 ulp; 0 below the smallest normal number, NaN for NaN.
inline F8 exponential(F8 v) {
  const F8 low = splat(-87.33654f), high = splat(88.72283f);
  const I8 vanishes = v < low;
  v = choose(v > high, high, choose(vanishes, low, v));
  const F8 magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const F8 n = (v * splat(1.44269504f) + magic) - magic;
  const F8 r = (v - n * splat(0.693145752f)) - n * splat(1.42860677e-6f);
  F8 q = splat(1.9875691500e-4f);
  q = q * r + splat(1.3981999507e-3f);
  q = q * r + splat(8.3334519073e-3f);
  q = q * r + splat(4.1665795894e-2f);
  q = q * r + splat(1.6666665459e-1f);
  q = q * r + splat(5.0000001201e-1f);
  q = (q * r) * r + r + splat(1.0f);
  const I8 exponent = (__builtin_convertvector(n, I8) + 127) << 23;
  return keep_if(~vanishes, q * (F8)exponent);
}

}  // namespace
}  // namespace gcnet
