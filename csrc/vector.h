// Eight floats at a time, sixteen with AVX-512. The compiler lowers them to what the instruction set has: one register of
// AVX, two of SSE or NEON.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace gcnet {
namespace {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#else
constexpr int64_t kLanes = 8;
#endif

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

struct bfloat16 {
  uint16_t bits;
};

inline Floats splat(float v) { return v - Floats{}; }

inline Floats load(const float* p) {
  Floats v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline Floats load(const bfloat16* p) {
  Halves h;
  std::memcpy(&h, p, sizeof h);
  return (Floats)(__builtin_convertvector(h, Bits) << 16);
}

inline void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }

// Round to nearest even; NaN stays NaN.
inline Halves narrow(Floats v) {
  const Bits bits = (Bits)v;
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Bits quiet = (bits >> 16) | 0x40;
  return __builtin_convertvector(((Bits)(v == v) & rounded) | ((Bits)(v != v) & quiet), Halves);
}

inline void store(bfloat16* p, Floats v) {
  const Halves h = narrow(v);
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
  bfloat16 all[kLanes];
  store(all, splat(v));
  *p = all[0];
}

// What a value becomes when it is stored and read again.
inline Floats rounded(Floats v, const float*) { return v; }
inline Floats rounded(Floats v, const bfloat16*) { return (Floats)(__builtin_convertvector(narrow(v), Bits) << 16); }

template <class T>
inline Floats load_part(const T* p, int64_t count) {
  Floats v = splat(0);
  for (int64_t i = 0; i < count; i++) v[i] = to_float(p[i]);
  return v;
}

template <class T>
inline void store_part(T* p, Floats v, int64_t count) {
  for (int64_t i = 0; i < count; i++) from_float(p + i, v[i]);
}

// Stores past the cache, for outputs that do not fit in it; p is aligned to the size of what is stored.
inline void stream(float* p, Floats v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX__)
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

inline void stream(bfloat16* p, Floats v) {
#if defined(__AVX512F__)
  _mm256_stream_si256((__m256i*)p, (__m256i)narrow(v));
#elif defined(__SSE2__)
  const Halves h = narrow(v);
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

inline Floats keep_if(Ints mask, Floats v) { return (Floats)(mask & (Ints)v); }
inline Floats choose(Ints mask, Floats yes, Floats no) { return (Floats)((mask & (Ints)yes) | (~mask & (Ints)no)); }
inline Floats maximum(Floats a, Floats b) { return choose(a > b, a, b); }

// max(v, 0) that hands NaN on.
inline Floats relu(Floats v) { return keep_if(~(v <= splat(0)), v); }

// Halves are added until four floats are left.
inline float sum(Floats v) {
#if defined(__AVX__)
#if defined(__AVX512F__)
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
#else
  const __m256 eight = (__m256)v;
#endif
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
#else
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
#endif
}

// e^v within 2 ulp; 0 below the smallest normal number, NaN for NaN.
inline Floats exponential(Floats v) {
  const Floats low = splat(-87.33654f), high = splat(88.72283f);
  const Ints vanishes = v < low;
  v = choose(v > high, high, choose(vanishes, low, v));
  const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats n = (v * splat(1.44269504f) + magic) - magic;
  const Floats r = (v - n * splat(0.693145752f)) - n * splat(1.42860677e-6f);
  Floats q = splat(1.9875691500e-4f);
  q = q * r + splat(1.3981999507e-3f);
  q = q * r + splat(8.3334519073e-3f);
  q = q * r + splat(4.1665795894e-2f);
  q = q * r + splat(1.6666665459e-1f);
  q = q * r + splat(5.0000001201e-1f);
  q = (q * r) * r + r + splat(1.0f);
  const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
  return keep_if(~vanishes, q * (Floats)exponent);
}

}  // namespace
}  // namespace gcnet
