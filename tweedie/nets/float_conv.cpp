#include "tweedie/nets/float_conv.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "tweedie/kernels/scratch.h"

namespace tweedie {
namespace {

using dnnl::memory;
using kernels::ConvKind;
using Tag = memory::format_tag;
constexpr auto kFloat = memory::data_type::f32;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  static thread_local dnnl::stream own(engine());
  return own;
}

/// A primitive with what it needs to run.
struct Made {
  dnnl::primitive primitive;
  memory::desc x, y, weight, bias, scratch;
  FloatLayout layout;
};

struct Geometry {
  memory::dims x, weight, y, stride, before, after;
};

Geometry geometry_of(const FloatConv& c) {
  const bool halves = c.kind == ConvKind::halved || c.kind == ConvKind::halved_after;
  const int64_t size = c.kind == ConvKind::pointwise ? 1 : 3, step = halves ? 2 : 1;
  const int64_t before = c.kind == ConvKind::halved_after ? 0 : size / 2;
  const int64_t total = c.kind == ConvKind::halved_after ? 1 : size - 1;  // zeros on both sides
  const auto out = [&](int64_t in) { return (in + total - size) / step + 1; };
  // oneDNN wants no zeros that nothing reads: after an even size, a stride of 2 reads none.
  const auto after = [&](int64_t in) { return (out(in) - 1) * step + size - in - before; };
  return {{c.batch, c.inputs, c.height, c.width},
          {c.outputs, c.inputs, size, size},
          {c.batch, c.outputs, out(c.height), out(c.width)},
          {step, step},
          {before, before},
          {after(c.height), after(c.width)}};
}

/// Winograd's tiles are of 4x4 outputs: what they reach beyond the image's edge is lost.  A pass
/// that transforms weights itself needs many tiles to share that work.  No rule depends on timing,
/// so that results do not, and in sampling none on the batch.
bool prefers_winograd(const FloatConv& c) {
  if (c.kind != ConvKind::same) return false;
  const int64_t tiles = ((c.height + 3) / 4) * ((c.width + 3) / 4);
  if (16 * tiles * 5 > c.height * c.width * 8) return false;
  return c.pass == FloatPass::sampling ? tiles > 1 : c.batch * tiles >= 40;
}

int64_t number_of(const memory::desc& layout) {
  static std::vector<memory::desc> known;
  const auto found = std::find(known.begin(), known.end(), layout);
  if (found == known.end()) known.push_back(layout);
  return found - known.begin();
}

template <class Description>
Made made(const Description& d, const memory::desc& weight, const memory::desc& x,
          const memory::desc& y, const memory::desc& bias) {
  return {typename Description::primitive_type(d.value),
          x,
          y,
          weight,
          bias,
          d.value.scratchpad_desc(),
          {number_of(weight), static_cast<int64_t>(weight.get_size() / sizeof(float))}};
}

template <class Primitive>
struct DescriptionOf {
  using primitive_type = Primitive;
  typename Primitive::primitive_desc value;
};

/// Empty where oneDNN has no such primitive.
Made make(const FloatConv& c, dnnl::algorithm algorithm) {
  const Geometry g = geometry_of(c);
  const memory::desc x(g.x, kFloat, Tag::nChw16c), y(g.y, kFloat, Tag::nChw16c),
      weight(g.weight, kFloat, Tag::any),
      bias = c.bias ? memory::desc({c.outputs}, kFloat, Tag::x) : memory::desc();
  dnnl::primitive_attr own_scratch, adds;
  own_scratch.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  adds.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops add;
  add.append_sum();
  if (c.add) adds.set_post_ops(add);
  const auto kind = c.pass == FloatPass::sampling ? dnnl::prop_kind::forward_inference
                                                  : dnnl::prop_kind::forward_training;
  using Forward = dnnl::convolution_forward;
  using Backward = dnnl::convolution_backward_data;
  using Gradient = dnnl::convolution_backward_weights;
  const DescriptionOf<Forward> forward{
      {{kind, algorithm, x, weight, bias, y, g.stride, g.before, g.after}, adds, engine(), true}};
  if (!forward.value) return {};
  if (c.pass == FloatPass::backward) {
    const DescriptionOf<Backward> d{{{algorithm, x, weight, y, g.stride, g.before, g.after},
                                     own_scratch,
                                     engine(),
                                     forward.value,
                                     true}};
    return d.value ? made(d, d.value.weights_desc(), x, y, bias) : Made{};
  }
  if (c.pass == FloatPass::gradient) {
    const DescriptionOf<Gradient> d{{{algorithm, x, weight, bias, y, g.stride, g.before, g.after},
                                     own_scratch,
                                     engine(),
                                     forward.value,
                                     true}};
    return d.value ? made(d, d.value.diff_weights_desc(), x, y, bias) : Made{};
  }
  return made(forward, forward.value.weights_desc(), x, y, bias);
}

const Made& made_once(const FloatConv& conv) {
  static std::mutex mutex;
  static std::map<std::pair<FloatConv, int>, Made> all;
  const int threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  const std::lock_guard<std::mutex> guard(mutex);
  Made& entry = all[{conv, threads}];
  if (!entry.primitive && prefers_winograd(conv))
    entry = make(conv, dnnl::algorithm::convolution_winograd);
  if (!entry.primitive) entry = make(conv, dnnl::algorithm::convolution_direct);
  return entry;
}

memory at(const memory::desc& layout, const float* values) {
  return {layout, engine(), const_cast<float*>(values)};
}

void run(const Made& made, std::unordered_map<int, memory> arguments) {
  static thread_local kernels::Scratch scratch;
  const auto size = static_cast<int64_t>(made.scratch.get_size());
  arguments[DNNL_ARG_SCRATCHPAD] = {made.scratch, engine(), scratch.get<char>(size)};
  made.primitive.execute(stream(), arguments);
}

memory::desc unpacked(const FloatConv& c, const FloatWeight& weight) {
  const memory::dims sizes = geometry_of(c).weight;
  const int64_t row = sizes[3] * weight.stride;
  return {sizes, kFloat, {sizes[2] * row, 1, row, weight.stride}};
}

void reorder(const memory& from, const memory& to, bool add = false) {
  dnnl::post_ops sum;
  sum.append_sum();
  dnnl::primitive_attr attributes;
  if (add) attributes.set_post_ops(sum);
  memory source = from, target = to;
  dnnl::reorder(source, target, attributes).execute(stream(), source, target);
}

}  // namespace

bool has_float_convolutions() { return true; }

FloatLayout float_layout(const FloatConv& conv) { return made_once(conv).layout; }

void pack_weight(const FloatConv& conv, const FloatWeight& weight, float* packed) {
  const memory from = at(unpacked(conv, weight), weight.values),
               to = at(made_once(conv).weight, packed);
  if (to.get_desc().data.format_kind != dnnl_format_kind_wino) return reorder(from, to);
  const memory plain({geometry_of(conv).weight, kFloat, Tag::oihw}, engine());
  reorder(from, plain);  // what Winograd's transform reads
  reorder(plain, to);
}

void unpack_weight(const FloatConv& conv, const float* packed, const FloatWeight& weight,
                   bool add) {
  reorder(at(made_once(conv).weight, packed), at(unpacked(conv, weight), weight.values), add);
}

void float_forward(const FloatConv& conv, const float* x, const float* packed, const float* bias,
                   float* y) {
  const Made& m = made_once(conv);
  std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, at(m.x, x)},
                                               {DNNL_ARG_WEIGHTS, at(m.weight, packed)},
                                               {DNNL_ARG_DST, at(m.y, y)}};
  if (conv.bias) arguments[DNNL_ARG_BIAS] = at(m.bias, bias);
  run(m, std::move(arguments));
}

void float_backward(const FloatConv& conv, const float* dy, const float* packed, float* dx) {
  const Made& m = made_once(conv);
  run(m, {{DNNL_ARG_DIFF_DST, at(m.y, dy)},
          {DNNL_ARG_WEIGHTS, at(m.weight, packed)},
          {DNNL_ARG_DIFF_SRC, at(m.x, dx)}});
}

void float_gradient(const FloatConv& conv, const float* x, const float* dy, float* packed,
                    float* dbias) {
  const Made& m = made_once(conv);
  std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, at(m.x, x)},
                                               {DNNL_ARG_DIFF_DST, at(m.y, dy)},
                                               {DNNL_ARG_DIFF_WEIGHTS, at(m.weight, packed)}};
  if (conv.bias) arguments[DNNL_ARG_DIFF_BIAS] = at(m.bias, dbias);
  run(m, std::move(arguments));
}

}  // namespace tweedie
