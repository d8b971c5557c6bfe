// The passes over a batch: which thread does which sample, slice or row. Built once per instruction set.
#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "channels_first.h"
#include "channels_last.h"
#include "memory.h"
#include "transform.h"

namespace gcnet {
namespace {

// Outputs beyond this do not stay in a cache anyway, and are written past it. (What the system tells about its third
// cache is that of the whole machine, also in a virtual one that has a part of it.)
constexpr int64_t kStreamedBytes = 32 << 20;

// Bytes of map for which one more thread pays.
constexpr int64_t kBytesPerThread = 64 << 10;

// Products for which one more thread pays.
constexpr int64_t kWorkPerThread = 64 << 10;

template <class T, template <class> class Layout>
struct Batch {
  using Pass = Layout<T>;
  static constexpr bool kLast = std::is_same_v<Pass, ChannelsLast<T>>;

  const Map& map;
  const int64_t n, c, p, sample;
  const int threads;
  // Few samples are cut into slices of positions, so that every thread has one.
  const int64_t slices;

  explicit Batch(const Map& m)
      : map(m), n(m.n), c(m.c), p(m.p), sample(m.c * m.p),
        threads((int)std::clamp<int64_t>(m.n * sample * (int64_t)sizeof(T) / kBytesPerThread, 1, m.threads)),
        slices(n % threads == 0 || n >= 4 * threads ? 1 : std::clamp<int64_t>(p / 64, 1, threads)) {}

  int64_t slice_begin(int64_t s) const { return s == slices ? p : p * s / slices / kLanes * kLanes; }

  // Rows are what `fuse` walks over: channels of a [C, P] sample, positions of a [P, C] one.
  int64_t rows() const { return kLast ? p : c; }
  int64_t row_length() const { return kLast ? c : p; }

  // Whether `out` is written past the cache. Large fresh memory is not: its pages are in the cache, just cleared.
  bool streams(void* out) const {
    const int64_t bytes = n * sample * (int64_t)sizeof(T), vector = kLanes * (int64_t)sizeof(T);
    if (bytes <= kStreamedBytes) return false;
    if (is_fresh(out, bytes)) {
      ask_for_huge_pages(out, bytes);
      return false;
    }
    return (uintptr_t)out % vector == 0 && row_length() % kLanes == 0;
  }

  template <class Body>
  void each_sample(Body body) const {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t i = 0; i < n; i++) body(i);
  }

  // Body(sample, first row, last row) over equal shares of all rows.
  template <class Body>
  void each_share(Body body) const {
    const int64_t total = n * rows();
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t t = 0; t < threads; t++) {
      for (int64_t row = total * t / threads, end = total * (t + 1) / threads; row < end;) {
        const int64_t i = row / rows(), first = row % rows(), last = std::min(rows(), first + end - row);
        body(i, first, last);
        row += last - first;
      }
    }
  }

  void fuse_rows(const T* x, int64_t i, int64_t first, int64_t last, const float* factor, const float* shift,
                 const T* residual, int cut, bool streaming, T* y) const {
    const int64_t o = i * sample;
    Pass::fuse(x + o, first, last, row_length(), factor ? factor + i * c : nullptr, shift ? shift + i * c : nullptr,
               residual ? residual + o : nullptr, cut, streaming, y + o);
    if (streaming) stream_fence();
  }

  void pool_sample(const T* x, int64_t i, const float* key, float* context, float* weights,
                   std::vector<float>& buffer) const {
    Partial partial;
    float* pooled = context + i * c;
    float* map_of_sample = key ? weights + i * p : nullptr;
    Pass::pool(x + i * sample, c, p, key, 0, p, partial, pooled, map_of_sample, buffer);
    const float inverse = 1 / (key ? partial.sum : (float)p);
    for (int64_t k = 0; k < c; k++) pooled[k] *= inverse;
    if (key) Pass::normalise(partial, c, 0, p, partial.max, inverse, map_of_sample);
  }

  void pool_slices(const T* x, const float* key, float* context, float* weights) const {
    std::vector<Partial> partials(n * slices);
    std::vector<float> sums(n * slices * c);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t item = 0; item < n * slices; item++) {
      const int64_t i = item / slices, s = item % slices;
      std::vector<float> buffer;
      Pass::pool(x + i * sample, c, p, key, slice_begin(s), slice_begin(s + 1), partials[item], sums.data() + item * c,
                 key ? weights + i * p : nullptr, buffer);
    }
    for (int64_t i = 0; i < n; i++) {
      const Partial* own = partials.data() + i * slices;
      float max = own[0].max, total = key ? 0 : (float)p;
      for (int64_t s = 1; key && s < slices; s++) max = own[s].max > max ? own[s].max : max;
      for (int64_t s = 0; key && s < slices; s++) total += own[s].sum * std::exp(own[s].max - max);
      std::fill(context + i * c, context + (i + 1) * c, 0.0f);
      for (int64_t s = 0; s < slices; s++) {
        const float factor = (key ? std::exp(own[s].max - max) : 1) / total;
        accumulate(context + i * c, factor, sums.data() + (i * slices + s) * c, c);
        if (key) Pass::normalise(own[s], c, slice_begin(s), slice_begin(s + 1), max, 1 / total, weights + i * p);
      }
    }
  }

  void pool(const T* x, const float* key, float* context, float* weights) const {
    if (slices > 1) return pool_slices(x, key, context, weights);
    each_sample([&](int64_t i) {
      std::vector<float> buffer;
      pool_sample(x, i, key, context, weights, buffer);
    });
  }

  void fuse(const T* x, const float* factor, const float* shift, const T* residual, int cut, T* y) const {
    const bool streaming = streams(y);
    each_share([&](int64_t i, int64_t first, int64_t last) {
      fuse_rows(x, i, first, last, factor, shift, residual, cut, streaming, y);
    });
  }

  void sums_of_sample(const T* g, const T* x, const T* y, int64_t i, float* dfactor, float* dshift, T* masked) const {
    const int64_t o = i * sample;
    float *df = dfactor ? dfactor + i * c : nullptr, *ds = dshift ? dshift + i * c : nullptr;
    if (kLast && df) std::fill(df, df + c, 0.0f);
    if (kLast && ds) std::fill(ds, ds + c, 0.0f);
    Pass::sums(g + o, x ? x + o : nullptr, y ? y + o : nullptr, 0, rows(), row_length(), df, ds,
               masked ? masked + o : nullptr);
  }

  void sums(const T* g, const T* x, const T* y, float* dfactor, float* dshift, T* masked) const {
    if (slices == 1) return each_sample([&](int64_t i) { sums_of_sample(g, x, y, i, dfactor, dshift, masked); });
    if (!kLast)
      return each_share([&](int64_t i, int64_t first, int64_t last) {
        const int64_t o = i * sample;
        Pass::sums(g + o, x ? x + o : nullptr, y ? y + o : nullptr, first, last, p, dfactor ? dfactor + i * c : nullptr,
                   dshift ? dshift + i * c : nullptr, masked ? masked + o : nullptr);
      });
    std::vector<float> parts(2 * n * slices * c);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t item = 0; item < n * slices; item++) {
      const int64_t i = item / slices, s = item % slices, o = i * sample;
      float* part = parts.data() + 2 * item * c;
      Pass::sums(g + o, x ? x + o : nullptr, y ? y + o : nullptr, slice_begin(s), slice_begin(s + 1), c,
                 dfactor ? part : nullptr, dshift ? part + c : nullptr, masked ? masked + o : nullptr);
    }
    for (int64_t i = 0; i < n; i++)
      for (int64_t k = 0; k < c; k++) {
        float factor = 0, shift = 0;
        for (int64_t s = 0; s < slices; s++) {
          const float* part = parts.data() + 2 * (i * slices + s) * c;
          factor += part[k], shift += part[c + k];
        }
        if (dfactor) dfactor[i * c + k] = factor;
        if (dshift) dshift[i * c + k] = shift;
      }
  }

  void spread_positions(const T* g, const T* x, int64_t i, int64_t begin, int64_t end, const float* factor,
                        const float* key, const float* weights, const float* context, const float* dcontext,
                        bool streaming, T* dx, float* dkey, std::vector<float>& buffer) const {
    const int64_t o = i * sample;
    const float mean = dot(dcontext, context + i * c, c);
    std::fill(dkey, dkey + c, 0.0f);
    Pass::spread(g + o, x + o, c, p, factor, key, weights + i * p, mean, dcontext, begin, end, streaming, dx + o, dkey,
                 buffer);
    if (streaming) stream_fence();
  }

  void spread_mean(const T* g, int64_t i, int64_t first, int64_t last, const float* factor, const float* dcontext,
                   bool streaming, T* dx) const {
    std::vector<float> shift(c);
    for (int64_t k = 0; k < c; k++) shift[k] = kLast ? dcontext[k] / p : dcontext[k];
    Pass::spread_mean(g + i * sample, first, last, row_length(), factor, shift.data(), streaming, dx + i * sample);
    if (streaming) stream_fence();
  }

  void add_up(const std::vector<float>& parts, float* dkey) const {
    std::fill(dkey, dkey + c, 0.0f);
    for (size_t o = 0; o < parts.size(); o += c) accumulate(dkey, 1, parts.data() + o, c);
  }

  void spread(const T* g, const T* x, const float* factor, const float* key, const float* weights,
              const float* context, const float* dcontext, T* dx, float* dkey) const {
    const bool streaming = streams(dx);
    if (!key)
      return each_share([&](int64_t i, int64_t first, int64_t last) {
        spread_mean(g, i, first, last, factor ? factor + i * c : nullptr, dcontext + i * c, streaming, dx);
      });
    std::vector<float> parts(n * slices * c);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t item = 0; item < n * slices; item++) {
      const int64_t i = item / slices, s = item % slices;
      std::vector<float> buffer;
      spread_positions(g, x, i, slice_begin(s), slice_begin(s + 1), factor ? factor + i * c : nullptr, key, weights,
                       context, dcontext + i * c, streaming, dx, parts.data() + item * c, buffer);
    }
    add_up(parts, dkey);
  }

  // Samples whose transforms are computed together: several if the weights do not stay in the second cache.
  int64_t samples_at_once(const Transform* scale, const Transform* add) const {
    int64_t weights = 0;
    for (const Transform* t : {scale, add})
      if (t) weights += c * t->hidden * (t->reduce ? 2 : 1) * (int64_t)sizeof(float);
    return weights > tile_bytes() ? std::clamp<int64_t>((n + threads - 1) / threads, 1, 8) : 1;
  }

  void block(const T* x, const float* key, const T* residual, const Transform* scale, const Transform* add,
             const Fusion& fusion, T* y, float* context, float* weights) const {
    const bool streaming = streams(y);
    std::vector<float> factors(scale ? n * c : 0), shifts(add ? n * c : 0);
    float *factor = scale ? factors.data() : nullptr, *shift = add ? shifts.data() : nullptr;
    auto mix = [&](int64_t first, int64_t count) {
      std::vector<Hidden> hidden(count);
      const int64_t o = first * c;
      if (scale) {
        transforms(*scale, context + o, count, c, hidden.data(), factor + o);
        apply_gate(fusion, factor + o, count * c);
      }
      if (add) transforms(*add, context + o, count, c, hidden.data(), shift + o);
    };
    auto fuse_share = [&](int64_t i, int64_t first, int64_t last) {
      fuse_rows(x, i, first, last, factor, shift, residual, fusion.relu, streaming, y);
    };
    if (slices > 1) {
      pool_slices(x, key, context, weights);
      mix(0, n);
      return each_share(fuse_share);
    }
    const int64_t group = samples_at_once(scale, add);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t first = 0; first < n; first += group) {
      const int64_t count = std::min(group, n - first);
      std::vector<float> buffer;
      for (int64_t i = first; i < first + count; i++) pool_sample(x, i, key, context, weights, buffer);
      mix(first, count);
      for (int64_t i = first; i < first + count; i++) fuse_share(i, 0, rows());
    }
  }

  // Body(i) for `count` rows that cost `work` each; in parallel if that pays.
  template <class Body>
  void each_row(int64_t count, int64_t work, Body body) const {
    const bool pays = threads > 1 && count * work > kWorkPerThread;
#pragma omp parallel for num_threads(threads) schedule(static) if (pays)
    for (int64_t i = 0; i < count; i++) body(i);
  }

  void block_backward(const T* g, const T* x, const T* y, const float* key, const float* context, const float* weights,
                      const Transform* scale, const Transform* add, const Fusion& fusion, T* dx, T* masked,
                      float* dkey, const TransformGradient& dscale, const TransformGradient& dadd) const {
    const bool streaming = streams(dx);
    std::vector<float> dfactors(scale ? n * c : 0), dshifts(add ? n * c : 0), factors(scale ? n * c : 0);
    std::vector<float> dcontexts(n * c), parts(key && slices == 1 ? n * c : 0);
    std::vector<Hidden> scaling(scale ? n : 0), adding(add ? n : 0);
    float *dfactor = scale ? dfactors.data() : nullptr, *dshift = add ? dshifts.data() : nullptr;
    float* factor = scale ? factors.data() : nullptr;
    auto mix_sample = [&](int64_t i) {
      float* dcontext = dcontexts.data() + i * c;
      if (scale) {
        Hidden& h = scaling[i];
        float* f = factor + i * c;
        transforms(*scale, context + i * c, 1, c, &h, f);
        apply_gate(fusion, f, c);
        h.out.resize(c);
        for (int64_t k = 0; k < c; k++) h.out[k] = dfactor[i * c + k] * gate_slope(fusion, f[k]);
        transform_backward(*scale, c, h, dcontext);
      }
      if (add) {
        Hidden& h = adding[i];
        hidden_layers(*add, context + i * c, 1, c, &h);
        h.out.assign(dshift + i * c, dshift + (i + 1) * c);
        transform_backward(*add, c, h, dcontext);
      }
    };
    const T* cut = y ? masked : g;
    if (slices > 1) {
      sums(g, x, y, dfactor, dshift, masked);
      for (int64_t i = 0; i < n; i++) mix_sample(i);
      spread(cut, x, factor, key, weights, context, dcontexts.data(), dx, dkey);
    } else {
      each_sample([&](int64_t i) {
        std::vector<float> buffer;
        sums_of_sample(g, x, y, i, dfactor, dshift, masked);
        mix_sample(i);
        const float *f = factor ? factor + i * c : nullptr, *dcontext = dcontexts.data() + i * c;
        if (key)
          spread_positions(cut, x, i, 0, p, f, key, weights, context, dcontext, streaming, dx, parts.data() + i * c,
                           buffer);
        else
          spread_mean(cut, i, 0, rows(), f, dcontext, streaming, dx);
      });
      if (key) add_up(parts, dkey);
    }
    auto each = [&](int64_t count, int64_t work, auto body) { each_row(count, work, body); };
    if (scale) weight_gradients(*scale, dscale, scaling, context, c, each);
    if (add) weight_gradients(*add, dadd, adding, context, c, each);
  }
};

template <class Run>
void dispatch(const Map& map, Run run) {
  if (map.dtype == kFloat && map.channels_last) run(Batch<float, ChannelsLast>(map), float());
  else if (map.dtype == kFloat) run(Batch<float, ChannelsFirst>(map), float());
  else if (map.channels_last) run(Batch<bfloat16, ChannelsLast>(map), bfloat16());
  else run(Batch<bfloat16, ChannelsFirst>(map), bfloat16());
}

}  // namespace
}  // namespace gcnet

// The C interface. Pointers that may be null: key and weights (average pooling), factor, shift, residual, scale, add,
// and y and masked (a ReLU behind the block). See src/gcnet/ops/context/eager.py for what each pass computes.

#define EXPORT extern "C" __attribute__((visibility("default")))

using gcnet::Fusion;
using gcnet::Map;
using gcnet::Transform;
using gcnet::TransformGradient;

// Whether this machine has the instructions this library was built for.
EXPORT int gcnet_supported() {
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return 1;
#endif
}

EXPORT void gcnet_pool(const Map* map, const void* x, const float* key, float* context, float* weights) {
  gcnet::dispatch(*map, [&](auto batch, auto element) {
    using T = decltype(element);
    batch.pool((const T*)x, key, context, weights);
  });
}

EXPORT void gcnet_fuse(const Map* map, const void* x, const float* factor, const float* shift, const void* residual,
                       int relu, void* y) {
  gcnet::dispatch(*map, [&](auto batch, auto element) {
    using T = decltype(element);
    batch.fuse((const T*)x, factor, shift, (const T*)residual, relu, (T*)y);
  });
}

EXPORT void gcnet_sums(const Map* map, const void* g, const void* x, const void* y, float* dfactor, float* dshift,
                       void* masked) {
  gcnet::dispatch(*map, [&](auto batch, auto element) {
    using T = decltype(element);
    batch.sums((const T*)g, (const T*)x, (const T*)y, dfactor, dshift, (T*)masked);
  });
}

EXPORT void gcnet_spread(const Map* map, const void* g, const void* x, const float* factor, const float* key,
                         const float* weights, const float* context, const float* dcontext, void* dx, float* dkey) {
  gcnet::dispatch(*map, [&](auto batch, auto element) {
    using T = decltype(element);
    batch.spread((const T*)g, (const T*)x, factor, key, weights, context, dcontext, (T*)dx, dkey);
  });
}

EXPORT void gcnet_block(const Map* map, const void* x, const float* key, const void* residual, const Transform* scale,
                        const Transform* add, const Fusion* fusion, void* y, float* context, float* weights) {
  gcnet::dispatch(*map, [&](auto batch, auto element) {
    using T = decltype(element);
    batch.block((const T*)x, key, (const T*)residual, scale, add, *fusion, (T*)y, context, weights);
  });
}

EXPORT void gcnet_block_backward(const Map* map, const void* g, const void* x, const void* y, const float* key,
                                 const float* context, const float* weights, const Transform* scale,
                                 const Transform* add, const Fusion* fusion, void* dx, void* masked, float* dkey,
                                 const TransformGradient* dscale, const TransformGradient* dadd) {
  gcnet::dispatch(*map, [&](auto batch, auto element) {
    using T = decltype(element);
    batch.block_backward((const T*)g, (const T*)x, (const T*)y, key, context, weights, scale, add, *fusion, (T*)dx,
                         (T*)masked, dkey, *dscale, *dadd);
  });
}
