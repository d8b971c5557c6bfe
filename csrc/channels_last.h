// The passes over one sample [P, C], a few positions at a time.
#pragma once

#include <algorithm>
#include <vector>

#include "channels_first.h"

namespace gcnet {
namespace {

template <class T>
struct ChannelsLast {
  static constexpr int64_t kTileBytes = 64 << 10;

  static int64_t tile(int64_t channels) {
    return std::clamp<int64_t>(kTileBytes / (channels * (int64_t)sizeof(T)), 4, 256);
  }

  static float inner(const T* a, const float* b, int64_t n) {
    Floats s0 = splat(0), s1 = splat(0);
    int64_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes)
      s0 += load(a + i) * load(b + i), s1 += load(a + i + kLanes) * load(b + i + kLanes);
    for (; i + kLanes <= n; i += kLanes) s0 += load(a + i) * load(b + i);
    return sum(s0 + s1 + (i < n ? load_part(a + i, n - i) * load_part(b + i, n - i) : splat(0)));
  }

  // Four positions at a time: out[p] = <v, x_p>
  static void columns(const T* x, int64_t channels, const float* v, int64_t length, float* out) {
    int64_t p = 0;
    for (; p + 4 <= length; p += 4) {
      const T *x0 = x + p * channels, *x1 = x0 + channels, *x2 = x1 + channels, *x3 = x2 + channels;
      Floats s0 = splat(0), s1 = splat(0), s2 = splat(0), s3 = splat(0);
      int64_t c = 0;
      for (; c + kLanes <= channels; c += kLanes) {
        const Floats w = load(v + c);
        s0 += w * load(x0 + c), s1 += w * load(x1 + c), s2 += w * load(x2 + c), s3 += w * load(x3 + c);
      }
      if (c < channels) {
        const int64_t rest = channels - c;
        const Floats w = load_part(v + c, rest);
        s0 += w * load_part(x0 + c, rest), s1 += w * load_part(x1 + c, rest);
        s2 += w * load_part(x2 + c, rest), s3 += w * load_part(x3 + c, rest);
      }
      out[p] = sum(s0), out[p + 1] = sum(s1), out[p + 2] = sum(s2), out[p + 3] = sum(s3);
    }
    for (; p < length; p++) out[p] = inner(x + p * channels, v, channels);
  }

  // sums[c] = sums[c] * decay + sum_p weights[p] x_p[c]; without weights a plain sum. The tile is summed by itself: one
  // running sum over all positions would round more.
  static void rows(const T* x, int64_t channels, const float* weights, int64_t length, float decay, float* sums) {
    const Floats d = splat(decay);
    auto weight = [&](int64_t p) { return splat(weights ? weights[p] : 1.0f); };
    int64_t c = 0;
    for (; c + 2 * kLanes <= channels; c += 2 * kLanes) {
      Floats s0 = splat(0), s1 = splat(0);
      const T* row = x + c;
      for (int64_t p = 0; p < length; p++, row += channels) {
        const Floats w = weight(p);
        s0 += w * load(row), s1 += w * load(row + kLanes);
      }
      store(sums + c, load(sums + c) * d + s0), store(sums + c + kLanes, load(sums + c + kLanes) * d + s1);
    }
    for (; c < channels; c += kLanes) {
      const int64_t rest = std::min(kLanes, channels - c);
      Floats s = splat(0);
      for (int64_t p = 0; p < length; p++) s += weight(p) * load_part(x + p * channels + c, rest);
      store_part(sums + c, load_part(sums + c, rest) * d + s, rest);
    }
  }

  static void pool(const T* x, int64_t channels, int64_t, const float* key, int64_t begin, int64_t end,
                   Partial& partial, float* context, float* weights, std::vector<float>&) {
    std::fill(context, context + channels, 0.0f);
    const int64_t size = tile(channels);
    partial = Partial();
    for (int64_t p = begin; p < end; p += size) {
      const int64_t length = std::min(size, end - p);
      if (!key) {
        rows(x + p * channels, channels, nullptr, length, 1, context);
        continue;
      }
      float* logits = weights + p;
      columns(x + p * channels, channels, key, length, logits);
      float top = logits[0];
      for (int64_t i = 0; i < length; i++) top = logits[i] > top ? logits[i] : top;
      const float before = partial.max;
      if (top > before) partial.max = top;
      const float decay = before == partial.max ? 1 : std::exp(before - partial.max);
      const Floats shift = splat(partial.max);
      Floats s = splat(0);
      int64_t i = 0;
      for (; i + kLanes <= length; i += kLanes) {
        const Floats e = exponential(load(logits + i) - shift);
        store(logits + i, e);
        s += e;
      }
      float total = sum(s);
      for (; i < length; i++) total += logits[i] = exponential(splat(logits[i]) - shift)[0];
      partial.sum = partial.sum * decay + total;
      partial.tile_max.push_back(partial.max);
      rows(x + p * channels, channels, logits, length, decay, context);
    }
  }

  static void normalise(const Partial& partial, int64_t channels, int64_t begin, int64_t end, float max, float inverse,
                        float* weights) {
    const int64_t size = tile(channels);
    size_t index = 0;
    for (int64_t p = begin; p < end; p += size) {
      const float factor = std::exp(partial.tile_max[index++] - max) * inverse;
      for (int64_t i = p; i < std::min(p + size, end); i++) weights[i] *= factor;
    }
  }

  // y = x * factor + shift over the channels of one position; either may be null.
  template <bool kStream, bool kResidual>
  static void fuse_position(const T* x, const float* factor, const float* shift, const T* residual, bool cut,
                            int64_t channels, T* y) {
    auto one = [&](Floats v, Floats f, Floats t, Floats r) {
      v = v * f + t;
      if (kResidual) v = rounded(v, x) + r;
      return cut ? relu(v) : v;
    };
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Floats v = one(load(x + c), factor ? load(factor + c) : splat(1), shift ? load(shift + c) : splat(0),
                       kResidual ? load(residual + c) : splat(0));
      if (kStream) stream(y + c, v);
      else store(y + c, v);
    }
    if (c < channels) {
      const int64_t rest = channels - c;
      const Floats v = one(load_part(x + c, rest), factor ? load_part(factor + c, rest) : splat(1),
                       shift ? load_part(shift + c, rest) : splat(0), kResidual ? load_part(residual + c, rest) : splat(0));
      store_part(y + c, v, rest);
    }
  }

  // Positions [begin, end).
  static void fuse(const T* x, int64_t begin, int64_t end, int64_t channels, const float* factor, const float* shift,
                   const T* residual, bool cut, bool streaming, T* y) {
    for (int64_t o = begin * channels; o < end * channels; o += channels) {
      if (residual && streaming) fuse_position<true, true>(x + o, factor, shift, residual + o, cut, channels, y + o);
      else if (residual) fuse_position<false, true>(x + o, factor, shift, residual + o, cut, channels, y + o);
      else if (streaming) fuse_position<true, false>(x + o, factor, shift, nullptr, cut, channels, y + o);
      else fuse_position<false, false>(x + o, factor, shift, nullptr, cut, channels, y + o);
    }
  }

  static void add_to(float* sums, Floats v, int64_t count) {
    if (count < kLanes) store_part(sums, load_part(sums, count) + v, count);
    else store(sums, load(sums) + v);
  }

  // Positions [begin, end): adds to dfactor and dshift [C], some positions at a time as in `rows`.
  static void sums(const T* g, const T* x, const T* y, int64_t begin, int64_t end, int64_t channels, float* dfactor,
                   float* dshift, T* masked) {
    const int64_t size = tile(channels);
    for (int64_t p = begin; p < end; p += size)
      sums_of_tile(g, x, y, p, std::min(p + size, end), channels, dfactor, dshift, masked);
  }

  static void sums_of_tile(const T* g, const T* x, const T* y, int64_t begin, int64_t end, int64_t channels,
                           float* dfactor, float* dshift, T* masked) {
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int64_t count = std::min(kLanes, channels - c);
      const bool part = count < kLanes;
      Floats direct = splat(0), product = splat(0);
      for (int64_t o = begin * channels + c; o < end * channels; o += channels) {
        Floats v = part ? load_part(g + o, count) : load(g + o);
        if (y) {
          v = keep_if(~((part ? load_part(y + o, count) : load(y + o)) <= splat(0)), v);
          if (part) store_part(masked + o, v, count);
          else store(masked + o, v);
        }
        direct += v;
        if (dfactor) product += v * (part ? load_part(x + o, count) : load(x + o));
      }
      if (dshift) add_to(dshift + c, direct, count);
      if (dfactor) add_to(dfactor + c, product, count);
    }
  }

  // The tile keeps x and g in the L1 and L2 caches between the two products with x.
  static void spread(const T* g, const T* x, int64_t channels, int64_t, const float* factor, const float* key,
                     const float* weights, float mean, const float* dcontext, int64_t begin, int64_t end,
                     bool streaming, T* dx, float* dkey, std::vector<float>& buffer) {
    const int64_t size = tile(channels);
    buffer.resize(size);
    float* dlogits = buffer.data();
    for (int64_t p = begin; p < end; p += size) {
      const int64_t length = std::min(size, end - p);
      columns(x + p * channels, channels, dcontext, length, dlogits);
      for (int64_t i = 0; i < length; i++) {
        dlogits[i] = weights[p + i] * (dlogits[i] - mean);
        const int64_t o = (p + i) * channels;
        const Floats m = splat(weights[p + i]), l = splat(dlogits[i]);
        int64_t c = 0;
        for (; c + kLanes <= channels; c += kLanes) {
          const Floats direct = factor ? load(g + o + c) * load(factor + c) : load(g + o + c);
          const Floats v = direct + (m * load(dcontext + c) + l * load(key + c));
          if (streaming) stream(dx + o + c, v);
          else store(dx + o + c, v);
        }
        if (c < channels) {
          const int64_t rest = channels - c;
          const Floats direct = load_part(g + o + c, rest) * (factor ? load_part(factor + c, rest) : splat(1));
          const Floats v = direct + (m * load_part(dcontext + c, rest) + l * load_part(key + c, rest));
          store_part(dx + o + c, v, rest);
        }
      }
      rows(x + p * channels, channels, dlogits, length, 1, dkey);
    }
  }

  static void spread_mean(const T* g, int64_t begin, int64_t end, int64_t channels, const float* factor,
                          const float* shift, bool streaming, T* dx) {
    fuse(g, begin, end, channels, factor, shift, nullptr, false, streaming, dx);
  }
};

}  // namespace
}  // namespace gcnet
