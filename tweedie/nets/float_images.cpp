#include "tweedie/nets/float_images.h"

namespace tweedie {

using kernels::ConvKind;

namespace {

constexpr int64_t kLine = 16;  // channels

float* values(const Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

/// As LibTorch sees it: images of 16 channels, channels last in memory.
Tensor lines_of(const Tensor& image) {
  return image.view({image.size(0) * image.size(3) / kLine, image.size(1), image.size(2), kLine})
      .permute({0, 3, 1, 2});
}

Tensor image_of_lines(const Tensor& lines, int64_t batch) {
  const Tensor last = lines.permute({0, 2, 3, 1}).contiguous();
  return last.view({batch, last.size(1), last.size(2), last.size(0) / batch * kLine});
}

/// The gradient of enlarge_floats.
Tensor shrink_floats(const Tensor& image, int64_t height, int64_t width) {
  const Tensor lines = lines_of(image);
  return image_of_lines(
      at::upsample_nearest2d_backward(lines, {image.size(1), image.size(2)},
                                      {lines.size(0), lines.size(1), height, width}),
      image.size(0));
}

FloatPass float_pass(ConvPass pass) {
  return pass == ConvPass::backward   ? FloatPass::backward
         : pass == ConvPass::sampling ? FloatPass::sampling
                                      : FloatPass::training;
}

struct Size {
  int64_t height, width;
};

Size out_size(ConvKind kind, int64_t height, int64_t width) {
  if (kind == ConvKind::halved) return {(height + 1) / 2, (width + 1) / 2};
  if (kind == ConvKind::halved_after) return {height / 2, width / 2};
  return {height, width};
}

Tensor forward(ConvKind kind, ConvPass pass, Size size, int64_t outputs,
               const std::vector<ConvTerm>& terms, const std::vector<Tensor>& biases,
               const Tensor& residual) {
  const Size out = out_size(kind, size.height, size.width);
  const int64_t batch = terms[0].x.size(0);
  const Tensor y = at::empty({batch, out.height, out.width, outputs}, at::kFloat);
  if (residual.defined()) y.copy_(residual);
  bool add = residual.defined();
  for (size_t i = terms.size(); i-- > 0; add = true) {  // the largest last, that ends in the cache
    const ConvTerm& term = terms[i];
    const Tensor bias = i < biases.size() ? biases[i] : Tensor();
    const FloatConv conv{float_pass(pass),
                         term.centre ? ConvKind::pointwise : kind,
                         batch,
                         term.x.size(3),
                         outputs,
                         size.height,
                         size.width,
                         bias.defined(),
                         add};
    const Tensor packed = term.packed->blocked(term.weights, conv, term.first);
    float_forward(conv, values(term.x), values(packed), values(bias), values(y));
  }
  return y;
}

Tensor backward(ConvKind kind, Size size, int64_t inputs, const ConvTerm& term,
                const Tensor& residual) {
  const Tensor& dy = term.x;
  const Tensor dx = at::empty({dy.size(0), size.height, size.width, inputs}, at::kFloat);
  const FloatConv conv{FloatPass::backward, kind,       dy.size(0), inputs, dy.size(3),
                       size.height,         size.width, false,      false};
  const Tensor packed = term.packed->blocked(term.weights, conv, term.first);
  float_backward(conv, values(dy), values(packed), values(dx));
  if (residual.defined()) dx.add_(residual);
  return dx;
}

}  // namespace

Tensor enlarge_floats(const Tensor& image, int64_t height, int64_t width) {
  return image_of_lines(at::upsample_nearest2d(lines_of(image), {height, width}), image.size(0));
}

Tensor convolve_floats(ConvKind kind, ConvPass pass, int64_t height, int64_t width, int64_t outputs,
                       const std::vector<ConvTerm>& terms, const std::vector<Tensor>& biases,
                       const Tensor& residual) {
  if (kind == ConvKind::doubled) {
    const Size large = {2 * height, 2 * width};
    if (pass == ConvPass::backward)
      return shrink_floats(backward(ConvKind::same, large, outputs, terms[0], residual), height,
                           width);
    ConvTerm enlarged = terms[0];
    enlarged.x = enlarge_floats(enlarged.x, large.height, large.width);
    return forward(ConvKind::same, pass, large, outputs, {enlarged}, biases, residual);
  }
  if (pass == ConvPass::backward)
    return backward(kind, {height, width}, outputs, terms[0], residual);
  return forward(kind, pass, {height, width}, outputs, terms, biases, residual);
}

Tensor weight_gradient_of_floats(ConvKind kind, const Tensor& x1, const Tensor& x2,
                                 const Tensor& dy, const Tensor& dbias, const Tensor& home) {
  if (kind == ConvKind::doubled)
    return weight_gradient_of_floats(ConvKind::same, enlarge_floats(x1, dy.size(1), dy.size(2)), {},
                                     dy, dbias, home);
  const int64_t inputs = x1.size(3) + (x2.defined() ? x2.size(3) : 0),
                taps = kind == ConvKind::pointwise ? 1 : 9;
  const Tensor dweight = home.defined() ? home : at::empty({dy.size(3), taps, inputs}, at::kFloat);
  int64_t first = 0;
  for (const Tensor& x : {x1, x2}) {
    if (!x.defined()) continue;
    const bool bias = first == 0 && dbias.defined();
    const FloatConv conv{FloatPass::gradient, kind,      x.size(0), x.size(3), dy.size(3),
                         x.size(1),           x.size(2), bias,      false};
    const Tensor packed = at::empty({float_layout(conv).size}, at::kFloat);
    float_gradient(conv, values(x), values(dy), values(packed), bias ? values(dbias) : nullptr);
    unpack_weight(conv, values(packed), {values(dweight) + first, inputs}, home.defined());
    first += x.size(3);
  }
  return dweight;
}

Tensor rows_of(const Tensor& image) {
  const int64_t pixels = image.size(1) * image.size(2), channels = image.size(3);
  return image.view({image.size(0), channels / kLine, pixels, kLine})
      .transpose(1, 2)
      .reshape({image.size(0), pixels, channels});
}

Tensor image_of_rows(const Tensor& rows, int64_t height, int64_t width) {
  const int64_t batch = rows.size(0), channels = rows.size(2);
  return rows.view({batch, height * width, channels / kLine, kLine})
      .transpose(1, 2)
      .contiguous()
      .view({batch, height, width, channels});
}

}  // namespace tweedie
