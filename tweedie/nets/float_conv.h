// Convolutions of float32 images by oneDNN.  An image is [B][C / 16][H][W][16], its nChw16c:
//
//     channels 0..15        pixel (0,0) [16 values, a cache line]  (0,1) [line]  ...
//     channels 16..31       pixel (0,0) [line]                     (0,1) [line]  ...
//
// the one layout for which it has Winograd's algorithm F(4x4, 3x3), whose 36 products for 16
// outputs are a quarter of the direct algorithm's 144.  Primitives are made once for each shape.
#pragma once

#include <cstdint>

#include "tweedie/kernels/conv_plan.h"

namespace tweedie {

/// Whether this program was built with oneDNN.
bool has_float_convolutions();

enum class FloatPass {
  training,  // forward, with weights that change from call to call
  sampling,  // forward, with weights that stay: Winograd's transform of them is packed
  backward,  // the gradient of the input
  gradient,  // of the weights
};

/// Sizes are those of the convolution's input, whatever the pass; channels are multiples of 16.
struct FloatConv {
  FloatPass pass;
  kernels::ConvKind kind;  // all but doubled
  int64_t batch, inputs, outputs, height, width;
  bool bias;  // has one
  bool add;   // the result is added to what is there; forward alone
  auto operator<=>(const FloatConv&) const = default;
};

/// How a pass reads weights, or writes their gradient: equal numbers, equal layouts.
struct FloatLayout {
  int64_t number, size;  // values, some of them filling
};
FloatLayout float_layout(const FloatConv& conv);

/// A weight's values as the caller keeps them: [outputs][taps][inputs], floats from one tap to the
/// next.
struct FloatWeight {
  float* values;
  int64_t stride;
};
void pack_weight(const FloatConv& conv, const FloatWeight& weight, float* packed);
/// Of a gradient; `add`: to what is there.
void unpack_weight(const FloatConv& conv, const float* packed, const FloatWeight& weight, bool add);

void float_forward(const FloatConv& conv, const float* x, const float* packed, const float* bias,
                   float* y);
void float_backward(const FloatConv& conv, const float* dy, const float* packed, float* dx);
void float_gradient(const FloatConv& conv, const float* x, const float* dy, float* packed,
                    float* dbias);

}  // namespace tweedie
