// What the C interface takes.
//
// A map x is [N, C, P] (channels first) or [N, P, C] (channels last), float or bfloat16; everything else is float.
#pragma once

#include <cstdint>

namespace gcnet {

enum Dtype { kFloat = 0, kBfloat16 = 1 };

struct Map {
  int64_t n, c, p;
  int dtype, channels_last, threads;
};

// expand(activation(norm(reduce(context)))); weights [C, R], [C], [R, C], [R], [R], [R]; reduce, norm and biases may be
// null, without reduce R is C.
struct Transform {
  const float *expand, *expand_bias, *reduce, *reduce_bias, *norm_weight, *norm_bias;
  int64_t hidden;
  float norm_eps;
  int activation;  // 0 none, 1 ReLU, 2 SiLU
};

// Where the gradients of a transform go; null where it has no such tensor.
struct TransformGradient {
  float *expand, *expand_bias, *reduce, *reduce_bias, *norm_weight, *norm_bias;
};

struct Fusion {
  int gate;  // 0 sigmoid, 1 hard sigmoid
  int centred, relu;
};

}  // namespace gcnet
