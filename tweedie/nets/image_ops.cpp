#include "tweedie/nets/image_ops.h"

#include <map>

#include "tweedie/base/error.h"
#include "tweedie/kernels/kernels.h"
#include "tweedie/tensor/parallel.h"

namespace tweedie {

using kernels::bf16;
using kernels::ConvKind;

namespace {

const kernels::ImageTable& table() { return *kernels::table().images; }

bf16* data(const Tensor& image) {
  return image.defined() ? reinterpret_cast<bf16*>(image.data_ptr<at::BFloat16>()) : nullptr;
}

float* floats(const Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

Tensor new_image(int64_t batch, int64_t height, int64_t width, int64_t channels) {
  return at::empty({batch, height, width, channels}, at::kBFloat16);
}

/// All weights [K, taps, C] float32, filled up, contiguous.
Tensor gathered(const std::vector<Tensor>& weights, int64_t copies, ConvKind kind) {
  std::vector<Tensor> parts;
  for (const Tensor& weight : weights) parts.push_back(by_taps(weight.detach()));
  Tensor all = parts.size() == 1 ? parts[0] : at::cat(parts, 0);
  if (copies > 1) all = all.repeat({1, 1, copies});
  const int64_t outputs = filled_channels(all.size(0)), inputs = filled_channels(all.size(2));
  if (outputs != all.size(0) || inputs != all.size(2))
    all = at::constant_pad_nd(all, {0, inputs - all.size(2), 0, 0, 0, outputs - all.size(0)});
  all = all.contiguous();
  if (kind != ConvKind::doubled) return all;
  const Tensor folded = at::empty({outputs, 16, inputs}, all.options());
  in_parallel(outputs, [&](int64_t k) {
    kernels::fold_doubled(1, inputs, floats(all) + k * 9 * inputs,
                          floats(folded) + k * 16 * inputs);
  });
  return folded;
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

Tensor by_taps(const Tensor& weight) {
  if (weight.dim() == 2) return weight.unsqueeze(1);
  return weight.permute({0, 2, 3, 1}).flatten(1, 2);
}

int64_t filled_channels(int64_t n) {
  return (n + kernels::kChannelBlock - 1) / kernels::kChannelBlock * kernels::kChannelBlock;
}

Tensor PackedWeight::packed(const std::vector<Tensor>& weights, Entry& entry, bool backward) {
  std::vector<std::pair<const void*, uint32_t>> key;
  for (const Tensor& weight : weights)
    key.emplace_back(weight.data_ptr(), weight.is_inference() ? 0 : weight._version());
  const std::lock_guard<std::mutex> guard(mutex_);
  if (entry.of == key) return entry.values;
  const Tensor all = gathered(weights, copies_, kind_);
  const int64_t outputs = all.size(0), taps = all.size(1), inputs = all.size(2);
  // A thread may still be reading the old values, unless nobody else holds them.
  if (!entry.values.defined() || entry.values.use_count() > 1 ||
      entry.values.numel() != all.numel())
    entry.values = at::empty({all.numel()}, at::kBFloat16);
  const auto pack = backward ? table().pack_weight_backward : table().pack_weight;
  const int64_t blocks = (backward ? inputs : outputs) / 16;
  const float* from = floats(all);
  bf16* to = data(entry.values);
  in_parallel(blocks, [&](int64_t b) { pack(from, outputs, taps, inputs, to, b, b + 1); });
  entry.of = key;
  return entry.values;
}

Tensor convolve(ConvKind kind, bool backward, int64_t height, int64_t width, int64_t outputs,
                const std::vector<ConvTerm>& terms, const std::vector<Tensor>& biases,
                const Tensor& residual) {
  const kernels::ConvPlans& plans = conv_plans(kind, height, width);
  const int64_t batch = terms[0].x.size(0);
  const Tensor y = backward ? new_image(batch, height, width, outputs)
                            : new_image(batch, plans.out_height, plans.out_width, outputs);
  kernels::Convolution c{};
  c.plan = backward ? &plans.backward : &plans.forward;
  c.batch = batch;
  c.outputs = outputs;
  for (const ConvTerm& term : terms) {
    const int64_t taps = term.centre ? 1 : c.plan->weight_taps;
    c.inputs[c.input_count++] = {data(term.x), term.x.size(3),
                                 data(term.packed) + term.first_block * taps * 512,
                                 term.weight_blocks, term.centre};
  }
  for (size_t i = 0; i < biases.size(); ++i) c.bias[i] = floats(biases[i]);
  c.residual = data(residual);
  c.y = data(y);
  const int64_t parts = kernels::convolution_parts(c, at::get_num_threads());
  in_parallel(parts, [&](int64_t part) { table().convolution(c, parts, part); });
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
                                  data(x),
                                  data(dy),
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

kernels::ImageNorm example_of(const BatchNorm& n, int64_t i) {
  const int64_t pixels = n.x1.size(1) * n.x1.size(2), first = n.x1.size(3),
                second = n.x2.defined() ? n.x2.size(3) : 0, channels = first + second;
  kernels::ImageNorm norm{};
  norm.x[0] = data(n.x1) + i * pixels * first;
  if (second) norm.x[1] = data(n.x2) + i * pixels * second;
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

/// work(example, begin, end) on blocks of channels; as few blocks as keep the threads busy.
template <class Work>
void by_example_and_channels(const BatchNorm& n, const Work& work) {
  const int64_t batch = n.x1.size(0), channels = n.weight.size(0),
                block = kernels::norm_block(channels, n.groups), blocks = channels / block;
  const int64_t cuts = std::clamp<int64_t>(4 * at::get_num_threads() / batch, 1, blocks);
  in_parallel(batch * cuts, [&](int64_t part) {
    const int64_t cut = part % cuts;
    work(part / cuts, blocks * cut / cuts * block, blocks * (cut + 1) / cuts * block);
  });
}

}  // namespace

Tensor norm_statistics(const BatchNorm& n) {
  const Tensor out = at::empty({n.x1.size(0), 4, n.weight.size(0)}, at::kFloat);
  by_example_and_channels(n, [&](int64_t i, int64_t begin, int64_t end) {
    table().norm_statistics(example_of(n, i), coefficients_of(out, i), begin, end);
  });
  return out;
}

Tensor norm_apply(const BatchNorm& n, const Tensor& coefficients) {
  const int64_t channels = n.weight.size(0), pixels = n.x1.size(1) * n.x1.size(2);
  const Tensor y = new_image(n.x1.size(0), n.x1.size(1), n.x1.size(2), channels);
  by_example_and_channels(n, [&](int64_t i, int64_t begin, int64_t end) {
    table().norm_apply(example_of(n, i), coefficients_of(coefficients, i),
                       data(y) + i * pixels * channels, begin, end);
  });
  return y;
}

BatchNormGradient norm_backward(const BatchNorm& n, const Tensor& coefficients, const Tensor& dy,
                                const Tensor& plus1, const Tensor& plus2) {
  const int64_t batch = n.x1.size(0), channels = n.weight.size(0),
                pixels = n.x1.size(1) * n.x1.size(2);
  BatchNormGradient out{at::empty_like(n.x1), n.x2.defined() ? at::empty_like(n.x2) : Tensor(),
                        at::empty({batch, channels}, at::kFloat),
                        at::empty({batch, channels}, at::kFloat),
                        n.time.defined() ? at::empty_like(n.time) : Tensor()};
  by_example_and_channels(n, [&](int64_t i, int64_t begin, int64_t end) {
    kernels::NormGradients g{};
    const Tensor* dx[2] = {&out.dx1, &out.dx2};
    const Tensor* plus[2] = {&plus1, &plus2};
    for (int k = 0; k < 2; ++k) {
      if (!dx[k]->defined()) continue;
      const int64_t offset = i * pixels * dx[k]->size(3);
      g.dx[k] = data(*dx[k]) + offset;
      if (plus[k]->defined()) g.plus[k] = data(*plus[k]) + offset;
    }
    g.dweight = floats(out.dweight) + i * channels;
    g.dbias = floats(out.dbias) + i * channels;
    if (n.time.defined()) {
      float* dtime = floats(out.dtime) + i * n.time.size(1);
      if (n.time.size(1) == channels) {
        g.dadd = dtime;
      } else {
        g.dscale = dtime;
        g.dshift = dtime + channels;
      }
    }
    table().norm_backward(example_of(n, i), coefficients_of(coefficients, i),
                          data(dy) + i * pixels * channels, g, begin, end);
  });
  out.dweight = out.dweight.sum(0);
  out.dbias = out.dbias.sum(0);
  return out;
}

namespace {

kernels::Attention attention_of(const Tensor& qkv, int64_t heads, const Tensor& o,
                                const Tensor& log_sum) {
  return {qkv.size(1) * qkv.size(2), heads, o.size(3) / heads, data(qkv), data(o), floats(log_sum)};
}

}  // namespace

Tensor attend(const Tensor& qkv, int64_t heads, const Tensor& log_sum) {
  const Tensor o = new_image(qkv.size(0), qkv.size(1), qkv.size(2), qkv.size(3) / 3);
  const kernels::Attention a = attention_of(qkv, heads, o, log_sum);
  in_parallel(qkv.size(0) * heads,
              [&](int64_t part) { table().attention(a, part / heads, part % heads); });
  return o;
}

Tensor attend_backward(const Tensor& qkv, int64_t heads, const Tensor& o, const Tensor& log_sum,
                       const Tensor& dout) {
  const Tensor dqkv = at::empty_like(qkv);
  const kernels::AttentionGradient g{attention_of(qkv, heads, o, log_sum), data(dout), data(dqkv)};
  in_parallel(qkv.size(0) * heads,
              [&](int64_t part) { table().attention_backward(g, part / heads, part % heads); });
  return dqkv;
}

Tensor image_of(const Tensor& x) {
  const int64_t channels = x.size(1);
  const Tensor pixels = x.permute({0, 2, 3, 1});
  const Tensor image =
      at::zeros({x.size(0), x.size(2), x.size(3), filled_channels(2 * channels)}, at::kBFloat16);
  Tensor high = image.narrow(3, 0, channels), low = image.narrow(3, channels, channels);
  high.copy_(pixels);
  low.copy_(pixels - high.to(pixels.scalar_type()));
  return image;
}

Tensor planes_of(const Tensor& image, int64_t channels) {
  return image.narrow(3, 0, channels)
      .permute({0, 3, 1, 2})
      .to(image.options().dtype(at::kFloat), false, false, at::MemoryFormat::Contiguous);
}

}  // namespace tweedie
