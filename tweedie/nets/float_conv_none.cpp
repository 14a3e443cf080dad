// In place of float_conv.cpp and float_attention.cpp where there is no oneDNN 2: float32 stays with
// LibTorch, and nothing here but the first function is ever called.
#include "tweedie/base/error.h"
#include "tweedie/nets/float_images.h"

namespace tweedie {

bool has_float_convolutions() { return false; }

namespace {

[[noreturn]] void refuse() { throw Error("float32 images: built without oneDNN 2"); }

}  // namespace

FloatLayout float_layout(const FloatConv&) { refuse(); }
void pack_weight(const FloatConv&, const FloatWeight&, float*) { refuse(); }
void unpack_weight(const FloatConv&, const float*, const FloatWeight&, bool) { refuse(); }
void float_forward(const FloatConv&, const float*, const float*, const float*, float*) { refuse(); }
void float_backward(const FloatConv&, const float*, const float*, float*) { refuse(); }
void float_gradient(const FloatConv&, const float*, const float*, float*, float*) { refuse(); }
Tensor attend_floats(const Tensor&, int64_t, const Tensor&) { refuse(); }
Tensor attend_backward_floats(const Tensor&, int64_t, const Tensor&, const Tensor&, const Tensor&) {
  refuse();
}

}  // namespace tweedie
