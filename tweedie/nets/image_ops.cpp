#include "tweedie/nets/image_ops.h"

#include <map>

#include "tweedie/base/error.h"
#include "tweedie/kernels/kernels.h"
#include "tweedie/nets/float_images.h"
#include "tweedie/nets/image_program.h"
#include "tweedie/tensor/parallel.h"

namespace tweedie {

using kernels::bf16;
using kernels::ConvKind;

namespace {

const kernels::ImageTable& table() { return *kernels::table().images; }

template <class T>
T* data(const Tensor& image) {
  return image.defined() ? static_cast<T*>(image.data_ptr()) : nullptr;
}

float* floats(const Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

Tensor new_image(int64_t batch, int64_t height, int64_t width, int64_t channels,
                 at::ScalarType type = at::kBFloat16) {
  return image_buffer({batch, height, width, channels}, type);
}

}  // namespace

const kernels::ConvPlans& conv_plans(ConvKind kind, int64_t height, int64_t width) {
  static std::mutex mutex;
  static std::map<std::tuple<ConvKind, int64_t, int64_t>, kernels::ConvPlans> plans;
  const std::lock_guard<std::mutex> guard(mutex);
  const auto key = std::make_tuple(kind, height, width);
  const auto found = plans.find(key);
  if (found != plans.end()) return found->second;
  return plans.emplace(key, kernels::make_plans(kind, height, width)).first->second;
}

namespace {

template <class T>
kernels::NormOf<T> example_of(const BatchNorm& n, int64_t i) {
  const int64_t pixels = n.x1.size(1) * n.x1.size(2), first = n.x1.size(3),
                second = n.x2.defined() ? n.x2.size(3) : 0, channels = first + second;
  kernels::NormOf<T> norm{};
  norm.x[0] = data<T>(n.x1) + i * pixels * first;
  if (second) norm.x[1] = data<T>(n.x2) + i * pixels * second;
  norm.channels[0] = first;
  norm.channels[1] = second;
  norm.pixels = pixels;
  norm.groups = n.groups;
  norm.epsilon = static_cast<float>(n.epsilon);
  norm.weight = floats(n.weight);
  norm.bias = floats(n.bias);
  if (n.time.defined()) {
    const float* time = floats(n.time) + i * n.time.size(1);
    if (n.time.size(1) == channels) {
      norm.add = time;
    } else {
      norm.scale = time;
      norm.shift = time + channels;
    }
  }
  norm.silu = n.silu;
  if (n.dropout > 0) norm.dropout = {n.keys[static_cast<size_t>(i)], static_cast<float>(n.dropout)};
  return norm;
}

kernels::NormCoefficients coefficients_of(const Tensor& all, int64_t i) {
  const int64_t channels = all.size(2);
  float* a = floats(all) + i * 4 * channels;
  return {a, a + channels, a + 2 * channels, a + 3 * channels};
}

}  // namespace

/// How a norm's work is cut up: blocks of channels of each example, as few as keep the threads
/// busy.
struct ChannelParts {
  int64_t batch, block, blocks, cuts;

  struct Range {
    int64_t example, begin, end;  // channels
  };
  int64_t count() const { return batch * cuts; }
  Range range(int64_t part) const {
    const int64_t cut = part % cuts;
    return {part / cuts, blocks * cut / cuts * block, blocks * (cut + 1) / cuts * block};
  }
};

/// Where a norm reads and writes one example.
template <class T>
struct NormExample {
  kernels::NormOf<T> norm;
  kernels::NormCoefficients with;
  T* y;
};

namespace {

ChannelParts channel_parts(const BatchNorm& n) {
  const int64_t batch = n.x1.size(0), channels = n.weight.size(0),
                block = kernels::norm_block(channels, n.groups), blocks = channels / block;
  return {batch, block, blocks, std::clamp<int64_t>(4 * at::get_num_threads() / batch, 1, blocks)};
}

template <class T>
std::vector<NormExample<T>> examples_of(const BatchNorm& n, const Tensor& coefficients,
                                        const Tensor& y) {
  std::vector<NormExample<T>> examples;
  for (int64_t i = 0; i < y.size(0); ++i)
    examples.push_back({example_of<T>(n, i), coefficients_of(coefficients, i),
                        data<T>(y) + i * (y.numel() / y.size(0))});
  return examples;
}

}  // namespace

class NormWork {
 public:
  NormWork(const BatchNorm& n, const Tensor& coefficients, const Tensor& y)
      : parts(channel_parts(n)), examples_(examples_of<bf16>(n, coefficients, y)) {
    for (const Tensor& x : {n.weight, n.bias}) keep_for_program(x);
  }
  void run(const ChannelParts::Range& r) const {
    const NormExample<bf16>& e = examples_[static_cast<size_t>(r.example)];
    table().norm_statistics(e.norm, e.with, r.begin, r.end);
    table().norm_apply(e.norm, e.with, e.y, r.begin, r.end);
  }
  const ChannelParts parts;

 private:
  std::vector<NormExample<bf16>> examples_;
};

NormedImage norm_forward(const BatchNorm& n, Tensor& coefficients) {
  coefficients = image_buffer({n.x1.size(0), 4, n.weight.size(0)}, at::kFloat);
  const Tensor y =
      new_image(n.x1.size(0), n.x1.size(1), n.x1.size(2), n.weight.size(0), n.x1.scalar_type());
  if (!is_float(y)) return {y, std::make_shared<NormWork>(n, coefficients, y)};
  spoil_program();
  const ChannelParts parts = channel_parts(n);
  const auto examples = examples_of<float>(n, coefficients, y);
  in_parallel(parts.count(), [&](int64_t part) {
    const ChannelParts::Range r = parts.range(part);
    const NormExample<float>& e = examples[static_cast<size_t>(r.example)];
    table().float_norm_statistics(e.norm, e.with, r.begin, r.end);
    table().float_norm_apply(e.norm, e.with, e.y, r.begin, r.end);
  });
  return {y, nullptr};
}

namespace {

void perform_norm(const std::shared_ptr<const NormWork>& work) {
  perform([work] {
    in_parallel(work->parts.count(), [&](int64_t part) { work->run(work->parts.range(part)); });
  });
}

/// Packs all inputs; the first one's blocks of channels by who has just computed them, if `work`
/// does.
void perform_packing(const kernels::Convolution& c, const std::shared_ptr<const NormWork>& work) {
  const int64_t blocks = kernels::packed_blocks(c),
                first = work ? c.inputs[0].channels / kernels::kChannelBlock : 0,
                others = blocks - first, norms = work ? work->parts.count() : 0;
  perform([=] {
    in_parallel(norms + c.batch * others, [&](int64_t part) {
      if (part >= norms) {
        const int64_t other = part - norms;
        table().pack_inputs(c, other / others * blocks + first + other % others);
        return;
      }
      const ChannelParts::Range r = work->parts.range(part);
      work->run(r);
      for (int64_t at = r.begin; at < r.end; at += kernels::kChannelBlock)
        table().pack_inputs(c, r.example * blocks + at / kernels::kChannelBlock);
    });
  });
}

}  // namespace

namespace {

/// Of a kernel's packed weight: the blocks that a term reads.
kernels::ConvInput input_of(const ConvTerm& term, ConvPass pass, int64_t taps, Tensor& packed) {
  const bool backward = pass == ConvPass::backward;
  packed = backward ? term.packed->backward(term.weights) : term.packed->forward(term.weights);
  const int64_t channels = term.x.size(3), inputs = term.weights[0].size(1) * term.packed->copies(),
                blocks = (backward ? channels : filled_channels(inputs)) / kernels::kChannelBlock;
  const int64_t first =
      backward ? term.first / kernels::kTileRows * blocks : term.first / kernels::kChannelBlock;
  return {data<bf16>(term.x), channels, data<bf16>(packed) + first * taps * 512, blocks,
          term.centre};
}

}  // namespace

Tensor convolve(ConvKind kind, ConvPass pass, int64_t height, int64_t width, int64_t outputs,
                const std::vector<ConvTerm>& terms, const std::vector<Tensor>& biases,
                const Tensor& residual) {
  if (is_float(terms[0].x)) {
    spoil_program();
    return convolve_floats(kind, pass, height, width, outputs, terms, biases, residual);
  }
  const bool backward = pass == ConvPass::backward;
  const kernels::ConvPlans& plans = conv_plans(kind, height, width);
  const int64_t batch = terms[0].x.size(0);
  const Tensor y = backward ? new_image(batch, height, width, outputs)
                            : new_image(batch, plans.out_height, plans.out_width, outputs);
  kernels::Convolution c{};
  c.plan = backward ? &plans.backward : &plans.forward;
  c.batch = batch;
  c.outputs = outputs;
  std::vector<Tensor> packed;  // kept until it has been read
  for (const ConvTerm& term : terms) {
    c.inputs[c.input_count++] =
        input_of(term, pass, term.centre ? 1 : c.plan->weight_taps, packed.emplace_back());
    keep_for_program(packed.back());
  }
  for (size_t i = 0; i < biases.size(); ++i) {
    c.bias[i] = floats(biases[i]);
    keep_for_program(biases[i]);
  }
  c.residual = data<bf16>(residual);
  c.y = data<bf16>(y);
  const int64_t parts = kernels::convolution_parts(c, at::get_num_threads());
  Tensor rows;
  if (parts > batch && table().pack_inputs) {
    rows = image_buffer({batch * kernels::packed_values(c)}, at::kBFloat16);
    c.packed = data<bf16>(rows);
    perform_packing(c, terms[0].work);
  } else if (terms[0].work) {
    perform_norm(terms[0].work);
  }
  c.ranges = std::min<int64_t>(at::get_num_threads(), parts);
  const auto shared = std::make_shared<kernels::Convolution>(c);
  if (ImageProgram* const program = ImageProgram::current()) program->follow(shared);
  perform([shared, parts] {
    in_parallel(parts, [&](int64_t part) { table().convolution(*shared, parts, part); });
  });
  return y;
}

namespace {

/// Into channels from `first` on of dweight [K, taps, C].
void weight_gradient_into(const Tensor& dweight, int64_t first, const kernels::GradientPlan& plan,
                          const Tensor& x, const Tensor& dy, const Tensor& dbias, bool add) {
  const kernels::WeightGradient g{&plan,
                                  x.size(0),
                                  dy.size(3),
                                  x.size(3),
                                  data<bf16>(x),
                                  data<bf16>(dy),
                                  floats(dweight) + first,
                                  floats(dbias),
                                  dweight.size(2),
                                  add};
  const int64_t parts = std::min<int64_t>(at::get_num_threads(), x.size(3) / 32);
  in_parallel(parts, [&](int64_t part) { table().weight_gradient(g, parts, part); });
}

}  // namespace

Tensor weight_gradient(ConvKind kind, const Tensor& x1, const Tensor& x2, const Tensor& dy,
                       const Tensor& dbias, const Tensor& home) {
  if (is_float(x1)) return weight_gradient_of_floats(kind, x1, x2, dy, dbias, home);
  const kernels::GradientPlan& plan = conv_plans(kind, x1.size(1), x1.size(2)).gradient;
  const int64_t outputs = dy.size(3), inputs = x1.size(3) + (x2.defined() ? x2.size(3) : 0);
  const bool folded = kind == ConvKind::doubled, add = home.defined() && !folded;
  const Tensor dweight = add ? home : at::empty({outputs, plan.weight_taps, inputs}, at::kFloat);
  weight_gradient_into(dweight, 0, plan, x1, dy, dbias, add);
  if (x2.defined()) weight_gradient_into(dweight, x1.size(3), plan, x2, dy, {}, add);
  if (!folded) return dweight;
  const Tensor unfolded = home.defined() ? home : at::zeros({outputs, 9, inputs}, at::kFloat);
  in_parallel(outputs, [&](int64_t k) {
    kernels::unfold_doubled(1, inputs, floats(dweight) + k * 16 * inputs,
                            floats(unfolded) + k * 9 * inputs);
  });
  return unfolded;
}

Tensor as_gradient_of(const Tensor& weight, const Tensor& gradient, int64_t copies) {
  const int64_t inputs = weight.size(1);
  const Tensor g = gradient.narrow(0, 0, weight.size(0));
  Tensor sum = g.narrow(2, 0, inputs);
  for (int64_t i = 1; i < copies; ++i) sum = sum + g.narrow(2, i * inputs, inputs);
  if (weight.dim() == 2) return sum.squeeze(1);
  return sum.reshape({weight.size(0), weight.size(2), weight.size(3), inputs})
      .permute({0, 3, 1, 2});
}

namespace {

/// Where the gradients of example i go.
template <class T>
kernels::NormGradientsOf<T> gradients_of(const BatchNorm& n, int64_t i,
                                         const BatchNormGradient& out, const Tensor& plus1,
                                         const Tensor& plus2) {
  const int64_t channels = n.weight.size(0), pixels = n.x1.size(1) * n.x1.size(2);
  kernels::NormGradientsOf<T> g{};
  const Tensor* dx[2] = {&out.dx1, &out.dx2};
  const Tensor* plus[2] = {&plus1, &plus2};
  for (int k = 0; k < 2; ++k) {
    if (!dx[k]->defined()) continue;
    const int64_t offset = i * pixels * dx[k]->size(3);
    g.dx[k] = data<T>(*dx[k]) + offset;
    if (plus[k]->defined()) g.plus[k] = data<T>(*plus[k]) + offset;
  }
  g.dweight = floats(out.dweight) + i * channels;
  g.dbias = floats(out.dbias) + i * channels;
  if (!n.time.defined()) return g;
  float* dtime = floats(out.dtime) + i * n.time.size(1);
  if (n.time.size(1) == channels) {
    g.dadd = dtime;
  } else {
    g.dscale = dtime;
    g.dshift = dtime + channels;
  }
  return g;
}

}  // namespace

BatchNormGradient norm_backward(const BatchNorm& n, const Tensor& coefficients, const Tensor& dy,
                                const Tensor& plus1, const Tensor& plus2) {
  const int64_t batch = n.x1.size(0), channels = n.weight.size(0),
                pixels = n.x1.size(1) * n.x1.size(2);
  BatchNormGradient out{at::empty_like(n.x1), n.x2.defined() ? at::empty_like(n.x2) : Tensor(),
                        at::empty({batch, channels}, at::kFloat),
                        at::empty({batch, channels}, at::kFloat),
                        n.time.defined() ? at::empty_like(n.time) : Tensor()};
  const ChannelParts parts = channel_parts(n);
  in_parallel(parts.count(), [&](int64_t part) {
    const auto [i, begin, end] = parts.range(part);
    const kernels::NormCoefficients with = coefficients_of(coefficients, i);
    const int64_t offset = i * pixels * channels;
    if (is_float(dy))
      table().float_norm_backward(example_of<float>(n, i), with, data<float>(dy) + offset,
                                  gradients_of<float>(n, i, out, plus1, plus2), begin, end);
    else
      table().norm_backward(example_of<bf16>(n, i), with, data<bf16>(dy) + offset,
                            gradients_of<bf16>(n, i, out, plus1, plus2), begin, end);
  });
  out.dweight = out.dweight.sum(0);
  out.dbias = out.dbias.sum(0);
  return out;
}

namespace {

kernels::Attention attention_of(const Tensor& qkv, int64_t heads, const Tensor& o,
                                const Tensor& log_sum) {
  return {qkv.size(1) * qkv.size(2), heads,         o.size(3) / heads,
          data<bf16>(qkv),           data<bf16>(o), floats(log_sum)};
}

}  // namespace

Tensor attend(const Tensor& qkv, int64_t heads, const Tensor& log_sum) {
  if (is_float(qkv)) return attend_floats(qkv, heads, log_sum);
  const Tensor o = new_image(qkv.size(0), qkv.size(1), qkv.size(2), qkv.size(3) / 3);
  const kernels::Attention a = attention_of(qkv, heads, o, log_sum);
  perform([a, parts = qkv.size(0) * heads] {
    in_parallel(parts, [&](int64_t part) { table().attention(a, part / a.heads, part % a.heads); });
  });
  return o;
}

Tensor attend_backward(const Tensor& qkv, int64_t heads, const Tensor& o, const Tensor& log_sum,
                       const Tensor& dout) {
  if (is_float(qkv)) return attend_backward_floats(qkv, heads, o, log_sum, dout);
  const Tensor dqkv = at::empty_like(qkv);
  const kernels::AttentionGradient g{attention_of(qkv, heads, o, log_sum), data<bf16>(dout),
                                     data<bf16>(dqkv)};
  in_parallel(qkv.size(0) * heads,
              [&](int64_t part) { table().attention_backward(g, part / heads, part % heads); });
  return dqkv;
}

namespace {

/// [B, H W, C] filled up to an image's channels, as an image.
Tensor image_of_pixels(const Tensor& rows, int64_t height, int64_t width, at::ScalarType type) {
  if (type == at::kFloat) return image_of_rows(rows, height, width);
  return rows.view({rows.size(0), height, width, rows.size(2)});
}

}  // namespace

Tensor image_of(const Tensor& x, at::ScalarType type) {
  const int64_t channels = x.size(1);
  const Tensor pixels = x.flatten(2).transpose(1, 2);
  const Tensor rows = at::zeros({x.size(0), pixels.size(1), filled_channels(2 * channels)}, type);
  Tensor high = rows.narrow(2, 0, channels), low = rows.narrow(2, channels, channels);
  high.copy_(pixels);
  low.copy_(pixels - high.to(pixels.scalar_type()));
  return image_of_pixels(rows, x.size(2), x.size(3), type);
}

Tensor rounded_image_of(const Tensor& x, at::ScalarType type) {
  const Tensor pixels = x.flatten(2).transpose(1, 2);
  const Tensor rows = at::zeros({x.size(0), pixels.size(1), filled_channels(x.size(1))}, type);
  rows.narrow(2, 0, x.size(1)).copy_(pixels);
  return image_of_pixels(rows, x.size(2), x.size(3), type);
}

Tensor planes_of(const Tensor& image, int64_t channels) {
  const Tensor rows = is_float(image) ? rows_of(image) : image.flatten(1, 2);
  return rows.narrow(2, 0, channels)
      .transpose(1, 2)
      .to(image.options().dtype(at::kFloat), false, true)
      .contiguous()
      .view({image.size(0), channels, image.size(1), image.size(2)});
}

Tensor enlarged(const Tensor& image, int64_t height, int64_t width) {
  spoil_program();
  if (is_float(image)) return enlarge_floats(image, height, width);
  return at::upsample_nearest2d(image.permute({0, 3, 1, 2}), {height, width})
      .permute({0, 2, 3, 1})
      .contiguous();
}

Tensor joined(const Tensor& x1, const Tensor& x2) {
  spoil_program();
  if (!is_float(x1)) return at::cat({x1, x2}, 3);
  return at::cat({x1.flatten(1), x2.flatten(1)}, 1)
      .view({x1.size(0), x1.size(1), x1.size(2), x1.size(3) + x2.size(3)});
}

}  // namespace tweedie
