// The passes over one sample [C, P] in tiles of positions that stay in the L2 cache.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "vector.h"

namespace gcnet {
namespace {

// Half of the second-level cache, which a core has to itself: a tile that is read twice stays in it.
inline int64_t tile_bytes() {
  static const int64_t half = std::max<int64_t>(sysconf(_SC_LEVEL2_CACHE_SIZE), 512 << 10) / 2;
  return half;
}

// Softmax-weighted sums over some of the positions, relative to the largest logit among them.
struct Partial {
  float max = -INFINITY, sum = 0;
  std::vector<float> tile_max;
};

template <class T>
struct ChannelsFirst {

  static int64_t tile(int64_t channels, int64_t positions) {
    const int64_t most = std::max<int64_t>(tile_bytes() / (channels * (int64_t)sizeof(T)) / kLanes * kLanes, 64);
    const int64_t tiles = (positions + most - 1) / most;
    return ((positions + tiles - 1) / tiles + kLanes - 1) / kLanes * kLanes;
  }

  // One row piece: whole vectors, then the rest as one masked vector that starts at `tail`.
  struct Row {
    int64_t whole, rest, tail;
    Ints mask;
    explicit Row(int64_t length) : whole(length / kLanes), rest(length % kLanes), tail(length >= kLanes ? length - kLanes : 0) {
      for (int i = 0; i < kLanes; i++) mask[i] = (length >= kLanes ? i >= kLanes - rest : i < rest) ? -1 : 0;
    }
    // The last whole vector of a row, which overlaps the one before it; a row of less than a vector filled with zeros.
    Floats load_last(const T* row) const { return whole ? load(row + tail) : load_part(row, rest); }
    Floats load_rest(const T* row) const { return keep_if(mask, load_last(row)); }
    void store_last(T* row, Floats v) const {
      if (whole) store(row + tail, v);
      else store_part(row, v, rest);
    }
  };

  // out[p] = sum_c v[c] x[c, p]; room for a whole number of vectors in out
  template <int kWhole>
  static void columns_short(const T* x, int64_t channels, int64_t stride, const float* v, const Row& row, float* out) {
    Floats acc[kWhole + 1];
    for (int j = 0; j <= kWhole; j++) acc[j] = splat(0);
    for (int64_t c = 0; c < channels; c++, x += stride) {
      const Floats f = splat(v[c]);
      for (int j = 0; j < kWhole; j++) acc[j] += f * load(x + j * kLanes);
      if (row.rest) acc[kWhole] += f * row.load_rest(x);
    }
    if (row.rest) store(out + row.tail, acc[kWhole]);
    for (int j = 0; j < kWhole; j++) store(out + j * kLanes, acc[j]);
  }

  static void columns(const T* x, int64_t channels, int64_t stride, const float* v, const Row& row, float* out) {
    switch (row.whole) {
      case 0: return finish_short<0>(x, channels, stride, v, row, out);
      case 1: return finish_short<1>(x, channels, stride, v, row, out);
      case 2: return finish_short<2>(x, channels, stride, v, row, out);
      case 3: return finish_short<3>(x, channels, stride, v, row, out);
      case 4: return finish_short<4>(x, channels, stride, v, row, out);
      case 5: return finish_short<5>(x, channels, stride, v, row, out);
      case 6: return finish_short<6>(x, channels, stride, v, row, out);
      case 7: return finish_short<7>(x, channels, stride, v, row, out);
      case 8: return finish_short<8>(x, channels, stride, v, row, out);
      default: break;
    }
    const int64_t length = row.whole * kLanes;
    std::fill(out, out + length + kLanes, 0.0f);
    Floats rest = splat(0);
    int64_t c = 0;
    for (; c + 4 <= channels; c += 4) {
      const T *x0 = x + c * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
      const Floats f0 = splat(v[c]), f1 = splat(v[c + 1]), f2 = splat(v[c + 2]), f3 = splat(v[c + 3]);
      for (int64_t p = 0; p < length; p += kLanes)
        store(out + p, load(out + p) + ((f0 * load(x0 + p) + f1 * load(x1 + p)) + (f2 * load(x2 + p) + f3 * load(x3 + p))));
      if (row.rest)
        rest += (f0 * row.load_rest(x0) + f1 * row.load_rest(x1)) + (f2 * row.load_rest(x2) + f3 * row.load_rest(x3));
    }
    for (; c < channels; c++) {
      const T* x0 = x + c * stride;
      const Floats f0 = splat(v[c]);
      for (int64_t p = 0; p < length; p += kLanes) store(out + p, load(out + p) + f0 * load(x0 + p));
      if (row.rest) rest += f0 * row.load_rest(x0);
    }
    // lanes before the rest are masked to zero
    if (row.rest) store(out + row.tail, load(out + row.tail) + rest);
  }

  template <int kWhole>
  static void finish_short(const T* x, int64_t channels, int64_t stride, const float* v, const Row& row, float* out) {
    columns_short<kWhole>(x, channels, stride, v, row, out);
  }

  // Asks for `length` elements, to be at hand when the next tile is read.
  static void prefetch(const T* x, int64_t length) {
    for (int64_t p = 0; p < length; p += 64 / (int64_t)sizeof(T)) __builtin_prefetch(x + p, 0, 2);
  }

  // sums[c] = sums[c] * decay + sum_p weights[p] x[c, p]; `next` elements behind each row are asked for meanwhile.
  static void rows(const T* x, int64_t channels, int64_t stride, const float* weights, const Row& row, float decay,
                   float* sums, int64_t next) {
    const int64_t length = row.whole * kLanes;
    const Floats last = row.rest ? load(weights + row.tail) : splat(0);
    int64_t c = 0;
    for (; c + 4 <= channels; c += 4) {
      const T *x0 = x + c * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
      for (int64_t i = 0; i < 4; i++) prefetch(x0 + i * stride + length, next);
      Floats s0 = splat(0), s1 = splat(0), s2 = splat(0), s3 = splat(0);
      for (int64_t p = 0; p < length; p += kLanes) {
        const Floats w = load(weights + p);
        s0 += w * load(x0 + p), s1 += w * load(x1 + p), s2 += w * load(x2 + p), s3 += w * load(x3 + p);
      }
      if (row.rest) {
        s0 += last * row.load_rest(x0), s1 += last * row.load_rest(x1);
        s2 += last * row.load_rest(x2), s3 += last * row.load_rest(x3);
      }
      sums[c] = sums[c] * decay + sum(s0), sums[c + 1] = sums[c + 1] * decay + sum(s1);
      sums[c + 2] = sums[c + 2] * decay + sum(s2), sums[c + 3] = sums[c + 3] * decay + sum(s3);
    }
    for (; c < channels; c++) {
      const T* x0 = x + c * stride;
      Floats s0 = splat(0);
      for (int64_t p = 0; p < length; p += kLanes) s0 += load(weights + p) * load(x0 + p);
      if (row.rest) s0 += last * row.load_rest(x0);
      sums[c] = sums[c] * decay + sum(s0);
    }
  }

  // Positions [begin, end): unnormalised context; weights are exp(logit - largest of the tile).
  static void pool(const T* x, int64_t channels, int64_t positions, const float* key, int64_t begin, int64_t end,
                   Partial& partial, float* context, float* weights, std::vector<float>& buffer) {
    std::fill(context, context + channels, 0.0f);
    if (!key) {
      const Row row(end - begin);
      for (int64_t c = 0; c < channels; c++) context[c] = total(x + c * positions + begin, row);
      return;
    }
    const int64_t size = tile(channels, end - begin);
    buffer.resize(size + kLanes);
    partial = Partial();
    for (int64_t p = begin; p < end; p += size) {
      const int64_t length = std::min(size, end - p);
      const Row row(length);
      float* logits = buffer.data();
      columns(x + p, channels, positions, key, row, logits);
      float top = logits[0];
      for (int64_t i = 0; i < length; i++) top = logits[i] > top ? logits[i] : top;
      const float before = partial.max;
      if (top > before) partial.max = top;
      const float decay = before == partial.max ? 1 : std::exp(before - partial.max);
      const Floats shift = splat(partial.max);
      for (int64_t i = length; i < (length + kLanes - 1) / kLanes * kLanes; i++) logits[i] = -INFINITY;
      Floats s = splat(0);
      for (int64_t i = 0; i < length; i += kLanes) {
        const Floats e = exponential(load(logits + i) - shift);
        store(logits + i, e);
        s += e;
      }
      partial.sum = partial.sum * decay + sum(s);
      partial.tile_max.push_back(partial.max);
      std::copy(logits, logits + length, weights + p);
      rows(x + p, channels, positions, logits, row, decay, context, std::min(size, end - p - length));
    }
  }

  // Brings the weights of [begin, end) to the largest logit and the sum of the whole sample.
  static void normalise(const Partial& partial, int64_t channels, int64_t begin, int64_t end, float max, float inverse,
                        float* weights) {
    const int64_t size = tile(channels, end - begin);
    size_t index = 0;
    for (int64_t p = begin; p < end; p += size) {
      const float factor = std::exp(partial.tile_max[index++] - max) * inverse;
      for (int64_t i = p; i < std::min(p + size, end); i++) weights[i] *= factor;
    }
  }

  static float total(const T* x, const Row& row) {
    Floats s0 = splat(0), s1 = splat(0);
    int64_t j = 0;
    for (; j + 2 <= row.whole; j += 2) s0 += load(x + j * kLanes), s1 += load(x + (j + 1) * kLanes);
    if (j < row.whole) s0 += load(x + j * kLanes);
    if (row.rest) s1 += row.load_rest(x);
    return sum(s0 + s1);
  }

  template <bool kStream, bool kResidual>
  static void fuse_row(const T* x, float factor, float shift, const T* residual, bool cut, const Row& row, T* y) {
    const Floats f = splat(factor), t = splat(shift);
    auto one = [&](Floats v, Floats r) {
      v = v * f + t;
      if (kResidual) v = rounded(v, x) + r;
      return cut ? relu(v) : v;
    };
    for (int64_t p = 0; p < row.whole * kLanes; p += kLanes) {
      const Floats v = one(load(x + p), kResidual ? load(residual + p) : splat(0));
      if (kStream) stream(y + p, v);
      else store(y + p, v);
    }
    if (row.rest) row.store_last(y, one(row.load_last(x), kResidual ? row.load_last(residual) : splat(0)));
  }

  // Rows [begin, end) of channels.
  static void fuse(const T* x, int64_t begin, int64_t end, int64_t positions, const float* factor, const float* shift,
                   const T* residual, bool cut, bool streaming, T* y) {
    const Row row(positions);
    for (int64_t c = begin; c < end; c++) {
      const int64_t o = c * positions;
      const float f = factor ? factor[c] : 1, t = shift ? shift[c] : 0;
      if (residual && streaming) fuse_row<true, true>(x + o, f, t, residual + o, cut, row, y + o);
      else if (residual) fuse_row<false, true>(x + o, f, t, residual + o, cut, row, y + o);
      else if (streaming) fuse_row<true, false>(x + o, f, t, nullptr, cut, row, y + o);
      else fuse_row<false, false>(x + o, f, t, nullptr, cut, row, y + o);
    }
  }

  // Rows [begin, end): sums over positions of g and of g x, g cut where y is 0 or less.
  static void sums(const T* g, const T* x, const T* y, int64_t begin, int64_t end, int64_t positions, float* dfactor,
                   float* dshift, T* masked) {
    const Row row(positions);
    for (int64_t c = begin; c < end; c++) {
      const int64_t o = c * positions;
      if (!y && !dfactor) {
        dshift[c] = total(g + o, row);
        continue;
      }
      Floats direct = splat(0), product = splat(0);
      for (int64_t p = o; p < o + row.whole * kLanes; p += kLanes) {
        Floats v = load(g + p);
        if (y) store(masked + p, v = keep_if(~(load(y + p) <= splat(0)), v));
        direct += v;
        if (dfactor) product += v * load(x + p);
      }
      if (row.rest) {
        Floats v = row.load_last(g + o);
        if (y) row.store_last(masked + o, v = keep_if(~(row.load_last(y + o) <= splat(0)), v));
        v = keep_if(row.mask, v);
        direct += v;
        if (dfactor) product += v * row.load_last(x + o);
      }
      if (dshift) dshift[c] = sum(direct);
      if (dfactor) dfactor[c] = sum(product);
    }
  }

  // kRows channels at a time.
  template <int kRows, bool kStream>
  static void spread_rows(const T* g, const T* x, int64_t stride, const float* factor, const float* key,
                          const float* pull, const float* weights, const float* dlogits, const Row& row, T* dx,
                          float* dkey) {
    Floats s[kRows];
    for (int i = 0; i < kRows; i++) s[i] = splat(0);
    auto one = [&](int i, Floats direct, Floats m, Floats l) {
      return (factor ? direct * splat(factor[i]) : direct) + (splat(pull[i]) * m + splat(key[i]) * l);
    };
    for (int64_t p = 0; p < row.whole * kLanes; p += kLanes) {
      const Floats l = load(dlogits + p), m = load(weights + p);
      for (int i = 0; i < kRows; i++) {
        const int64_t o = i * stride + p;
        const Floats v = one(i, load(g + o), m, l);
        s[i] += l * load(x + o);
        if (kStream) stream(dx + o, v);
        else store(dx + o, v);
      }
    }
    if (row.rest) {
      const Floats l = load(dlogits + row.tail), m = row.whole ? load(weights + row.tail) : load_part(weights, row.rest);
      for (int i = 0; i < kRows; i++) {
        s[i] += keep_if(row.mask, l * row.load_last(x + i * stride));
        row.store_last(dx + i * stride, one(i, row.load_last(g + i * stride), m, l));
      }
    }
    for (int i = 0; i < kRows; i++) dkey[i] += sum(s[i]);
  }

  // Positions [begin, end): gradient of x, and what they add to that of the key.
  static void spread(const T* g, const T* x, int64_t channels, int64_t positions, const float* factor, const float* key,
                     const float* weights, float mean, const float* dcontext, int64_t begin, int64_t end,
                     bool streaming, T* dx, float* dkey, std::vector<float>& buffer) {
    const int64_t size = tile(channels, end - begin);
    buffer.resize(size + kLanes);
    for (int64_t p = begin; p < end; p += size) {
      const int64_t length = std::min(size, end - p);
      float* dlogits = buffer.data();
      const Row row(length);
      columns(x + p, channels, positions, dcontext, row, dlogits);
      for (int64_t i = 0; i < length; i++) dlogits[i] = weights[p + i] * (dlogits[i] - mean);
      auto rows_from = [&](int64_t c, auto spread_some) {
        const int64_t o = c * positions + p;
        spread_some(g + o, x + o, positions, factor ? factor + c : nullptr, key + c, dcontext + c, weights + p, dlogits,
                    row, dx + o, dkey + c);
      };
      int64_t c = 0;
      for (; c + 2 <= channels; c += 2) rows_from(c, streaming ? spread_rows<2, true> : spread_rows<2, false>);
      if (c < channels) rows_from(c, streaming ? spread_rows<1, true> : spread_rows<1, false>);
    }
  }

  // The same for average pooling: dx = g * factor + dcontext / P.
  static void spread_mean(const T* g, int64_t begin, int64_t end, int64_t positions, const float* factor,
                          const float* dcontext, bool streaming, T* dx) {
    const Row row(positions);
    for (int64_t c = begin; c < end; c++) {
      const int64_t o = c * positions;
      const float f = factor ? factor[c] : 1, t = dcontext[c] / positions;
      if (streaming) fuse_row<true, false>(g + o, f, t, nullptr, false, row, dx + o);
      else fuse_row<false, false>(g + o, f, t, nullptr, false, row, dx + o);
    }
  }
};

}  // namespace
}  // namespace gcnet
