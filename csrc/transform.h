// The transform of one context, W_2 act(LN(W_1 c + b_1)) + b_2, the gate behind it, and their gradient.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels.h"
#include "vector.h"

namespace gcnet {
namespace {

inline float dot(const float* a, const float* b, int64_t n) {
  Floats s0 = splat(0), s1 = splat(0);
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    s0 += load(a + i) * load(b + i);
    s1 += load(a + i + kLanes) * load(b + i + kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) s0 += load(a + i) * load(b + i);
  float rest = 0;
  for (; i < n; i++) rest += a[i] * b[i];
  return sum(s0 + s1) + rest;
}

// out += factor * row
inline void accumulate(float* out, float factor, const float* row, int64_t n) {
  const Floats f = splat(factor);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(out + i) + f * load(row + i));
  for (; i < n; i++) out[i] += factor * row[i];
}

inline float sigmoid(float v) { return 1 / (1 + std::exp(-v)); }

// The hidden layer of one sample, kept for its gradient.
struct Hidden {
  std::vector<float> value, normed, centred;  // after the activation, before it, (h - mean) / deviation
  float scale = 1;                            // d centred / d h, apart from the two means
  const float* data = nullptr;                // what `expand` multiplies
  std::vector<float> out, dnormed, dlinear;   // gradients: of the result, of `normed`, of what `reduce` gives
};

// From what `reduce` gives, in h.centred, to what `expand` takes.
inline void normalise_and_activate(const Transform& t, Hidden& h) {
  const int64_t width = t.hidden;
  h.value.resize(width), h.normed.resize(width);
  if (t.norm_weight) {
    float top = 0, mean = 0, variance = 0;
    for (float v : h.centred) top = std::fabs(v) > top ? std::fabs(v) : top;
    const float divisor = top > 1e15f ? top / 1e15f : 1;  // keeps the variance finite
    for (float& v : h.centred) v /= divisor, mean += v;
    mean /= width;
    for (float v : h.centred) variance += (v - mean) * (v - mean);
    const float inverse = 1 / std::sqrt(variance / width + t.norm_eps);
    h.scale = inverse / divisor;
    for (int64_t r = 0; r < width; r++) {
      h.centred[r] = (h.centred[r] - mean) * inverse;
      h.normed[r] = h.centred[r] * t.norm_weight[r] + (t.norm_bias ? t.norm_bias[r] : 0);
    }
  } else {
    h.normed = h.centred;
  }
  for (int64_t r = 0; r < width; r++) {
    const float v = h.normed[r];
    h.value[r] = t.activation == 1 ? (v <= 0 ? 0 : v) : t.activation == 2 ? v * sigmoid(v) : v;
  }
  h.data = h.value.data();
}

// `count` contexts in a row; every row of the weights is read once for all of them.
inline void hidden_layers(const Transform& t, const float* contexts, int64_t count, int64_t channels, Hidden* hidden) {
  if (!t.reduce) {
    for (int64_t i = 0; i < count; i++) hidden[i].data = contexts + i * channels;
    return;
  }
  for (int64_t i = 0; i < count; i++) hidden[i].centred.resize(t.hidden);
  for (int64_t r = 0; r < t.hidden; r++)
    for (int64_t i = 0; i < count; i++)
      hidden[i].centred[r] =
          dot(t.reduce + r * channels, contexts + i * channels, channels) + (t.reduce_bias ? t.reduce_bias[r] : 0);
  for (int64_t i = 0; i < count; i++) normalise_and_activate(t, hidden[i]);
}

inline void transforms(const Transform& t, const float* contexts, int64_t count, int64_t channels, Hidden* hidden,
                       float* out) {
  hidden_layers(t, contexts, count, channels, hidden);
  for (int64_t c = 0; c < channels; c++)
    for (int64_t i = 0; i < count; i++)
      out[i * channels + c] =
          dot(t.expand + c * t.hidden, hidden[i].data, t.hidden) + (t.expand_bias ? t.expand_bias[c] : 0);
}

// dcontext += d(transform)/d(context)^T g, where g is h.out
inline void transform_backward(const Transform& t, int64_t channels, Hidden& h, float* dcontext) {
  const int64_t width = t.hidden;
  const float* g = h.out.data();
  if (!t.reduce) {
    for (int64_t c = 0; c < channels; c++) accumulate(dcontext, g[c], t.expand + c * width, channels);
    return;
  }
  h.dnormed.assign(width, 0);
  for (int64_t c = 0; c < channels; c++) accumulate(h.dnormed.data(), g[c], t.expand + c * width, width);
  for (int64_t r = 0; r < width; r++) {
    const float v = h.normed[r];
    if (t.activation == 1) h.dnormed[r] = v > 0 ? h.dnormed[r] : 0;
    if (t.activation == 2) {
      const float s = sigmoid(v);
      h.dnormed[r] *= s * (1 + v * (1 - s));
    }
  }
  h.dlinear = h.dnormed;
  if (t.norm_weight) {
    float mean = 0, along = 0;
    for (int64_t r = 0; r < width; r++) {
      h.dlinear[r] *= t.norm_weight[r];
      mean += h.dlinear[r];
      along += h.dlinear[r] * h.centred[r];
    }
    mean /= width, along /= width;
    for (int64_t r = 0; r < width; r++) h.dlinear[r] = (h.dlinear[r] - mean - h.centred[r] * along) * h.scale;
  }
  for (int64_t r = 0; r < width; r++) accumulate(dcontext, h.dlinear[r], t.reduce + r * channels, channels);
}

// The sums over samples, in their order, that are the gradients of the weights. `rows(count, work, body)` runs
// body(i) for every row, `work` being what a row costs.
template <class Rows>
void weight_gradients(const Transform& t, const TransformGradient& d, const std::vector<Hidden>& samples,
                      const float* context, int64_t channels, Rows rows) {
  const int64_t n = samples.size(), width = t.hidden;
  rows(channels, n * width, [&](int64_t c) {
    float* row = d.expand + c * width;
    std::fill(row, row + width, 0.0f);
    float bias = 0;
    for (const Hidden& h : samples) {
      accumulate(row, h.out[c], h.data, width);
      bias += h.out[c];
    }
    if (d.expand_bias) d.expand_bias[c] = bias;
  });
  if (!t.reduce) return;
  rows(width, n * channels, [&](int64_t r) {
    float* row = d.reduce + r * channels;
    std::fill(row, row + channels, 0.0f);
    float bias = 0, weight = 0, shift = 0;
    for (int64_t i = 0; i < n; i++) {
      const Hidden& h = samples[i];
      accumulate(row, h.dlinear[r], context + i * channels, channels);
      bias += h.dlinear[r], weight += h.dnormed[r] * h.centred[r], shift += h.dnormed[r];
    }
    if (d.reduce_bias) d.reduce_bias[r] = bias;
    if (d.norm_weight) d.norm_weight[r] = weight;
    if (d.norm_bias) d.norm_bias[r] = shift;
  });
}

// logits -> gate(logits), times two if centred
inline void apply_gate(const Fusion& fusion, float* values, int64_t n) {
  const float twice = fusion.centred ? 2.0f : 1.0f;
  for (int64_t i = 0; i < n; i++) {
    const float v = values[i];
    const float hard = v / 6 + 0.5f;
    const float gated = fusion.gate == 1 ? (hard < 0 ? 0 : hard > 1 ? 1 : hard) : sigmoid(v);
    values[i] = twice * gated;
  }
}

// d(factor) / d(logit), out of the factor itself
inline float gate_slope(const Fusion& fusion, float factor) {
  const float twice = fusion.centred ? 2.0f : 1.0f, value = factor / twice;
  return twice * (fusion.gate == 1 ? (value > 0 && value < 1 ? 1.0f / 6 : 0) : value * (1 - value));
}

}  // namespace
}  // namespace gcnet
