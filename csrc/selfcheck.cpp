// The kernels against sums in double, without Python: for machines that are only emulated here. See `make check-neon`.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels.cpp"

namespace {

double worst = 0;

void compare(const char* what, double got, double expected, double scale) {
  const double error = std::fabs(got - expected) / (scale + 1e-12);
  if (!(error < 1e-5)) {
    std::printf("%s: got %g, expected %g\n", what, got, expected);
    std::exit(1);
  }
  worst = error > worst ? error : worst;
}

std::vector<float> draw(size_t count) {
  std::vector<float> values(count);
  for (float& v : values) v = (float)std::rand() / RAND_MAX * 2 - 1;
  return values;
}

// One shape in one layout: the block with a projection, and the gradient of x for given gradients.
void check(int64_t n, int64_t c, int64_t p, int last, int threads) {
  auto at = [&](int64_t i, int64_t k, int64_t j) { return i * c * p + (last ? j * c + k : k * p + j); };
  const std::vector<float> x = draw(n * c * p), g = draw(n * c * p), key = draw(c), expand = draw(c * c);
  std::vector<float> y(n * c * p), dx(n * c * p), context(n * c), weights(n * p), dkey(c), dexpand(c * c), dbias(c);
  const Map map{n, c, p, gcnet::kFloat, last, threads};
  const Transform add{expand.data(), nullptr, nullptr, nullptr, nullptr, nullptr, c, 0, 0};
  const Fusion fusion{0, 0, 0};
  gcnet_block(&map, x.data(), key.data(), nullptr, nullptr, &add, &fusion, y.data(), context.data(), weights.data());
  const TransformGradient dadd{dexpand.data(), dbias.data(), nullptr, nullptr, nullptr, nullptr}, none{};
  gcnet_block_backward(&map, g.data(), x.data(), nullptr, key.data(), context.data(), weights.data(), nullptr, &add,
                       &fusion, dx.data(), nullptr, dkey.data(), &none, &dadd);

  std::vector<double> all_dkey(c), all_dexpand(c * c), all_dbias(c);
  for (int64_t i = 0; i < n; i++) {
    std::vector<double> m(p), ctx(c), t(c), dt(c), dctx(c);
    double total = 0, mean = 0;
    for (int64_t j = 0; j < p; j++) {
      double logit = 0;
      for (int64_t k = 0; k < c; k++) logit += (double)key[k] * x[at(i, k, j)];
      total += m[j] = std::exp(logit);
    }
    for (int64_t j = 0; j < p; j++) {
      m[j] /= total;
      compare("weights", weights[i * p + j], m[j], m[j] * c);
      for (int64_t k = 0; k < c; k++) ctx[k] += m[j] * x[at(i, k, j)], dt[k] += g[at(i, k, j)];
    }
    for (int64_t k = 0; k < c; k++)
      for (int64_t q = 0; q < c; q++) t[k] += (double)expand[k * c + q] * ctx[q], dctx[q] += expand[k * c + q] * dt[k];
    for (int64_t k = 0; k < c; k++) {
      compare("context", context[i * c + k], ctx[k], std::sqrt(c));
      all_dbias[k] += dt[k];
      for (int64_t q = 0; q < c; q++) all_dexpand[k * c + q] += dt[k] * ctx[q];
      mean += dctx[k] * ctx[k];
    }
    for (int64_t j = 0; j < p; j++) {
      double along = 0;
      for (int64_t k = 0; k < c; k++) along += dctx[k] * x[at(i, k, j)];
      const double dlogit = m[j] * (along - mean);
      for (int64_t k = 0; k < c; k++) {
        compare("y", y[at(i, k, j)], x[at(i, k, j)] + t[k], 1 + std::fabs(t[k]));
        compare("dx", dx[at(i, k, j)], g[at(i, k, j)] + dctx[k] * m[j] + key[k] * dlogit, 1 + c * std::sqrt(p));
        all_dkey[k] += dlogit * x[at(i, k, j)];
      }
    }
  }
  for (int64_t k = 0; k < c; k++) {
    compare("dkey", dkey[k], all_dkey[k], n * c * std::sqrt(p));
    compare("dbias", dbias[k], all_dbias[k], n * std::sqrt(p));
    for (int64_t q = 0; q < c; q++) compare("dexpand", dexpand[k * c + q], all_dexpand[k * c + q], n * std::sqrt(p));
  }
}

}  // namespace

int main() {
  const int64_t shapes[][3] = {{2, 5, 63}, {1, 33, 1}, {3, 16, 196}, {1, 24, 1600}, {5, 7, 8}, {2, 70, 49}, {2, 3, 7}};
  for (const auto& s : shapes)
    for (int last : {0, 1})
      for (int threads : {1, 2}) check(s[0], s[1], s[2], last, threads);
  std::printf("largest error %.1e\n", worst);
}
