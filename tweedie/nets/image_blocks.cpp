#include "tweedie/nets/image_blocks.h"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/kernels/kernels.h"
#include "tweedie/model/gradients_in_place.h"

namespace tweedie {
namespace {

using kernels::ConvKind;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// A Function takes no undefined tensors: an empty one stands for none.
Tensor or_none(const Tensor& x) { return x.defined() ? x : at::empty({0}); }
Tensor or_undefined(const Tensor& x) { return x.numel() > 0 ? x : Tensor(); }

bool wants_gradient(const std::vector<Tensor>& tensors) {
  if (!at::GradMode::is_enabled()) return false;
  for (const Tensor& x : tensors)
    if (x.defined() && x.requires_grad()) return true;
  return false;
}

template <class T>
void keep(AutogradContext* context, const c10::intrusive_ptr<T>& layer) {
  context->saved_data["layer"] = c10::IValue::make_capsule(layer);
}

template <class T>
c10::intrusive_ptr<T> kept(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<T>(context->saved_data["layer"].toCapsule());
}

/// The gradient of a weight, added in place where that is wanted and can be (then undefined).
Tensor weight_gradient_of(const Tensor& weight, ConvKind kind, const Tensor& x1, const Tensor& x2,
                          const Tensor& dy, const Tensor& dbias, int64_t copies = 1) {
  if (GradientsInPlace::active() && weight.grad().defined() && weight.size(0) == dy.size(3) &&
      copies == 1) {
    const Tensor home = by_taps(weight.grad());
    if (home.is_contiguous() && home.data_ptr() == weight.grad().data_ptr()) {
      weight_gradient(kind, x1, x2, dy, dbias, home);
      return {};
    }
  }
  return as_gradient_of(weight, weight_gradient(kind, x1, x2, dy, dbias), copies);
}

Tensor biases_like(int64_t count) { return at::empty({count}, at::kFloat); }

/// Biases of fewer outputs than the kernels work on, filled up.
Tensor filled_bias(const Tensor& bias) {
  const int64_t count = bias.size(0), filled = filled_channels(count);
  return filled == count ? bias.detach() : at::constant_pad_nd(bias.detach(), {0, filled - count});
}

/// Forward of weights that are learned, they change from call to call.
ConvPass forward_pass(const Tensor& weight) {
  return weight.requires_grad() ? ConvPass::training : ConvPass::sampling;
}

ConvTerm term_of(const NormedImage& image, PackedWeight& packed, std::vector<Tensor> weights) {
  ConvTerm term{image.y, &packed, std::move(weights)};
  term.work = image.work;
  return term;
}

// --- A convolution alone

Tensor conv_forward(ImageConv& conv, ConvPass pass, const Tensor& x, const Affine& w) {
  return convolve(conv.packed.kind(), pass, x.size(1), x.size(2), filled_channels(w.weight.size(0)),
                  {{x, &conv.packed, {w.weight}}}, {filled_bias(w.bias)});
}

struct ConvGradient {
  Tensor dx, dweight, dbias;
};

ConvGradient conv_backward(ImageConv& conv, const Tensor& x, const Tensor& weight, const Tensor& dy,
                           bool of_x, bool of_weight) {
  ConvGradient g;
  const ConvKind kind = conv.packed.kind();
  if (of_weight) {
    const Tensor dbias = biases_like(dy.size(3));
    g.dweight = weight_gradient_of(weight, kind, x, {}, dy, dbias, conv.packed.copies());
    g.dbias = dbias.narrow(0, 0, weight.size(0));
  }
  if (of_x)
    g.dx = convolve(kind, ConvPass::backward, x.size(1), x.size(2), x.size(3),
                    {{dy, &conv.packed, {weight}}});
  return g;
}

struct ConvFunction : Function<ConvFunction> {
  static Tensor forward(AutogradContext* context, const ImageConvPtr& conv, const Tensor& x,
                        const Tensor& weight, const Tensor& bias) {
    context->save_for_backward({x, weight});
    keep(context, conv);
    return conv_forward(*conv, forward_pass(weight), x, {weight, bias});
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const ConvGradient g =
        conv_backward(*kept<ImageConv>(context), saved[0], saved[1], gradients[0].contiguous(),
                      context->needs_input_grad(0), context->needs_input_grad(1));
    return {{}, g.dx, g.dweight, g.dbias};
  }
};

struct PlanesConvFunction : Function<PlanesConvFunction> {
  static Tensor forward(AutogradContext* context, const ImageConvPtr& conv, at::ScalarType type,
                        const Tensor& x, const Tensor& weight, const Tensor& bias) {
    const Tensor image = image_of(x, type);
    context->save_for_backward({image, weight});
    keep(context, conv);
    return conv_forward(*conv, forward_pass(weight), image, {weight, bias});
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const ConvGradient g =
        conv_backward(*kept<ImageConv>(context), saved[0], saved[1], gradients[0].contiguous(),
                      context->needs_input_grad(0), context->needs_input_grad(1));
    const Tensor dx = g.dx.defined() ? planes_of(g.dx, saved[1].size(1)) : Tensor();
    return {{}, {}, dx, g.dweight, g.dbias};
  }
};

// --- A residual block

struct ResnetInputs {
  Tensor x1, x2, time;
  ResnetParameters p;
  double dropout;
  std::vector<uint32_t> keys;
};

/// What is between the layers.
struct ResnetStates {
  Tensor statistics1, y1, h, statistics2, y2;
};

BatchNorm first_norm(const ImageResnet& r, const ResnetInputs& in) {
  return {in.x1, in.x2, in.p.norm1.weight, in.p.norm1.bias, {}, r.groups, r.epsilon, true};
}

BatchNorm second_norm(const ImageResnet& r, const ResnetInputs& in, const Tensor& h) {
  return {h,         {},   in.p.norm2.weight, in.p.norm2.bias, in.time, r.groups,
          r.epsilon, true, in.dropout,        in.keys};
}

std::vector<ConvTerm> shortcut_terms(ImageResnet& r, const ResnetInputs& in) {
  if (!in.p.shortcut.weight.defined()) return {};
  const std::vector<Tensor> weights = {in.p.shortcut.weight};
  std::vector<ConvTerm> terms = {{in.x1, &r.shortcut, weights, 0, true}};
  if (in.x2.defined()) terms.push_back({in.x2, &r.shortcut, weights, in.x1.size(3), true});
  return terms;
}

Tensor resnet_forward(ImageResnet& r, ConvPass pass, const ResnetInputs& in, ResnetStates& s) {
  const int64_t height = in.x1.size(1), width = in.x1.size(2), out = in.p.conv2.weight.size(0);
  const NormedImage y1 = norm_forward(first_norm(r, in), s.statistics1);
  s.y1 = y1.y;
  s.h = convolve(ConvKind::same, pass, height, width, out,
                 {term_of(y1, r.conv1, {in.p.conv1.weight})}, {in.p.conv1.bias});
  const NormedImage y2 = norm_forward(second_norm(r, in, s.h), s.statistics2);
  s.y2 = y2.y;
  std::vector<ConvTerm> terms = {term_of(y2, r.conv2, {in.p.conv2.weight})};
  std::vector<Tensor> biases = {in.p.conv2.bias};
  const std::vector<ConvTerm> more = shortcut_terms(r, in);
  terms.insert(terms.end(), more.begin(), more.end());
  if (!more.empty()) biases.push_back(in.p.shortcut.bias);
  return convolve(ConvKind::same, pass, height, width, out, terms, biases,
                  more.empty() ? in.x1 : Tensor());
}

enum ResnetArgument {  // of ResnetFunction's tensors
  kX1,
  kX2,
  kTime,
  kNorm1,
  kConv1 = kNorm1 + 2,
  kNorm2 = kConv1 + 2,
  kConv2 = kNorm2 + 2,
  kShortcut = kConv2 + 2,
};

/// Gradients of x1 and x2 by way of the shortcut.
struct ShortcutGradient {
  Tensor dx1, dx2;
};

ShortcutGradient shortcut_backward(ImageResnet& r, const ResnetInputs& in, const Tensor& dy) {
  const Tensor& weight = in.p.shortcut.weight;
  if (!weight.defined()) return {dy, {}};
  const int64_t height = dy.size(1), width = dy.size(2);
  const auto of = [&](const Tensor& x, int64_t first) {
    return convolve(ConvKind::pointwise, ConvPass::backward, height, width, x.size(3),
                    {{dy, &r.shortcut, {weight}, first}});
  };
  return {of(in.x1, 0), in.x2.defined() ? of(in.x2, in.x1.size(3)) : Tensor()};
}

variable_list resnet_backward(ImageResnet& r, const ResnetInputs& in, ResnetStates s,
                              const Tensor& dy, bool of_x, bool of_weights) {
  variable_list g(kShortcut + 2);
  const int64_t height = dy.size(1), width = dy.size(2);
  const ResnetParameters& p = in.p;
  if (of_weights) {
    const Tensor dbias = biases_like(dy.size(3));
    g[kConv2] = weight_gradient_of(p.conv2.weight, ConvKind::same, s.y2, {}, dy, dbias);
    g[kConv2 + 1] = dbias;
  }
  s.y2 = Tensor();
  Tensor d = convolve(ConvKind::same, ConvPass::backward, height, width, s.h.size(3),
                      {{dy, &r.conv2, {p.conv2.weight}}});
  const BatchNormGradient norm2 = norm_backward(second_norm(r, in, s.h), s.statistics2, d, {}, {});
  g[kTime] = norm2.dtime;
  g[kNorm2] = norm2.dweight;
  g[kNorm2 + 1] = norm2.dbias;
  if (of_weights) {
    const Tensor dbias = biases_like(s.h.size(3));
    g[kConv1] = weight_gradient_of(p.conv1.weight, ConvKind::same, s.y1, {}, norm2.dx1, dbias);
    g[kConv1 + 1] = dbias;
  }
  s.y1 = Tensor();
  if (of_weights && p.shortcut.weight.defined()) {
    g[kShortcut] = weight_gradient_of(p.shortcut.weight, ConvKind::pointwise, in.x1, in.x2, dy, {});
    g[kShortcut + 1] = g[kConv2 + 1].clone();
  }
  d = convolve(ConvKind::same, ConvPass::backward, height, width, p.norm1.weight.size(0),
               {{norm2.dx1, &r.conv1, {p.conv1.weight}}});
  const ShortcutGradient past = of_x ? shortcut_backward(r, in, dy) : ShortcutGradient{};
  const BatchNormGradient norm1 =
      norm_backward(first_norm(r, in), s.statistics1, d, past.dx1, past.dx2);
  g[kX1] = norm1.dx1;
  g[kX2] = norm1.dx2;
  g[kNorm1] = norm1.dweight;
  g[kNorm1 + 1] = norm1.dbias;
  return g;
}

struct ResnetFunction : Function<ResnetFunction> {
  static Tensor forward(AutogradContext* context, const ImageResnetPtr& resnet, double dropout,
                        const std::vector<uint32_t>& keys, const Tensor& x1, const Tensor& x2,
                        const Tensor& time, const Tensor& n1w, const Tensor& n1b, const Tensor& c1w,
                        const Tensor& c1b, const Tensor& n2w, const Tensor& n2b, const Tensor& c2w,
                        const Tensor& c2b, const Tensor& sw, const Tensor& sb) {
    const ResnetInputs in = {
        x1,
        or_undefined(x2),
        time,
        {{n1w, n1b}, {c1w, c1b}, {n2w, n2b}, {c2w, c2b}, {or_undefined(sw), or_undefined(sb)}},
        dropout,
        keys};
    ResnetStates s;
    Tensor y = resnet_forward(*resnet, forward_pass(c1w), in, s);
    context->save_for_backward({x1, x2, time, n1w, n1b, c1w, c1b, n2w, n2b, c2w, c2b, sw, sb,
                                s.statistics1, s.y1, s.h, s.statistics2, s.y2});
    keep(context, resnet);
    context->saved_data["dropout"] = dropout;
    context->saved_data["keys"] = std::vector<int64_t>(keys.begin(), keys.end());
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list v = context->get_saved_variables();
    const std::vector<int64_t> keys = context->saved_data["keys"].toIntVector();
    const ResnetInputs in = {v[kX1],
                             or_undefined(v[kX2]),
                             v[kTime],
                             {{v[kNorm1], v[kNorm1 + 1]},
                              {v[kConv1], v[kConv1 + 1]},
                              {v[kNorm2], v[kNorm2 + 1]},
                              {v[kConv2], v[kConv2 + 1]},
                              {or_undefined(v[kShortcut]), or_undefined(v[kShortcut + 1])}},
                             context->saved_data["dropout"].toDouble(),
                             {keys.begin(), keys.end()}};
    const size_t n = kShortcut + 2;
    variable_list g =
        resnet_backward(*kept<ImageResnet>(context), in,
                        {v[n], v[n + 1], v[n + 2], v[n + 3], v[n + 4]}, gradients[0].contiguous(),
                        context->needs_input_grad(kX1), context->needs_input_grad(kConv1));
    g.insert(g.begin(), 3, Tensor());
    return g;
  }
};

// --- Attention

struct AttentionStates {
  Tensor statistics, y, qkv, log_sum, o;
};

BatchNorm attention_norm(const ImageAttention& a, const Tensor& x, const Affine& norm) {
  return {x, {}, norm.weight, norm.bias, {}, a.groups, a.epsilon, false};
}

Tensor attention_forward(ImageAttention& a, ConvPass pass, const Tensor& x,
                         const AttentionParameters& p, bool keep_states, AttentionStates& s) {
  const int64_t height = x.size(1), width = x.size(2), channels = x.size(3);
  const NormedImage y = p.norm.weight.defined()
                            ? norm_forward(attention_norm(a, x, p.norm), s.statistics)
                            : NormedImage{x, nullptr};
  s.y = y.y;
  s.qkv = convolve(ConvKind::pointwise, pass, height, width, 3 * channels,
                   {term_of(y, a.qkv, {p.q.weight, p.k.weight, p.v.weight})},
                   {at::cat({p.q.bias.detach(), p.k.bias.detach(), p.v.bias.detach()})});
  if (keep_states) s.log_sum = at::empty({x.size(0), a.heads, height * width}, at::kFloat);
  s.o = attend(s.qkv, a.heads, s.log_sum);
  return convolve(ConvKind::pointwise, pass, height, width, channels,
                  {{s.o, &a.out, {p.out.weight}}}, {p.out.bias}, x);
}

enum AttentionArgument { kIn, kNorm, kQ = kNorm + 2, kK = kQ + 2, kV = kK + 2, kOut = kV + 2 };

variable_list attention_backward(ImageAttention& a, const Tensor& x, const AttentionParameters& p,
                                 const AttentionStates& s, const Tensor& dy, bool of_weights) {
  variable_list g(kOut + 2);
  const int64_t height = x.size(1), width = x.size(2), channels = x.size(3);
  if (of_weights) {
    g[kOut + 1] = biases_like(channels);
    g[kOut] = weight_gradient_of(p.out.weight, ConvKind::pointwise, s.o, {}, dy, g[kOut + 1]);
  }
  const Tensor dout = convolve(ConvKind::pointwise, ConvPass::backward, height, width, channels,
                               {{dy, &a.out, {p.out.weight}}});
  const Tensor dqkv = attend_backward(s.qkv, a.heads, s.o, s.log_sum, dout);
  if (of_weights) {
    const Tensor dbias = biases_like(3 * channels);
    const Tensor dweight = weight_gradient(ConvKind::pointwise, s.y, {}, dqkv, dbias);
    const Tensor weights[] = {p.q.weight, p.k.weight, p.v.weight};
    for (int i = 0; i < 3; ++i) {
      const int64_t first = i * channels;
      g[static_cast<size_t>(kQ + 2 * i)] =
          as_gradient_of(weights[i], dweight.narrow(0, first, channels));
      g[static_cast<size_t>(kQ + 2 * i + 1)] = dbias.narrow(0, first, channels);
    }
  }
  const bool normed = p.norm.weight.defined();
  const Tensor d =
      convolve(ConvKind::pointwise, ConvPass::backward, height, width, channels,
               {{dqkv, &a.qkv, {p.q.weight, p.k.weight, p.v.weight}}}, {}, normed ? Tensor() : dy);
  if (!normed) {
    g[kIn] = d;
    return g;
  }
  const BatchNormGradient norm =
      norm_backward(attention_norm(a, x, p.norm), s.statistics, d, dy, {});
  g[kIn] = norm.dx1;
  g[kNorm] = norm.dweight;
  g[kNorm + 1] = norm.dbias;
  return g;
}

struct AttentionFunction : Function<AttentionFunction> {
  static Tensor forward(AutogradContext* context, const ImageAttentionPtr& attention,
                        const Tensor& x, const Tensor& nw, const Tensor& nb, const Tensor& qw,
                        const Tensor& qb, const Tensor& kw, const Tensor& kb, const Tensor& vw,
                        const Tensor& vb, const Tensor& ow, const Tensor& ob) {
    AttentionStates s;
    Tensor y = attention_forward(
        *attention, forward_pass(qw), x,
        {{or_undefined(nw), or_undefined(nb)}, {qw, qb}, {kw, kb}, {vw, vb}, {ow, ob}}, true, s);
    const bool normed = nw.numel() > 0;
    context->save_for_backward({x, nw, nb, qw, qb, kw, kb, vw, vb, ow, ob, or_none(s.statistics),
                                normed ? s.y : at::empty({0}), s.qkv, s.log_sum, s.o});
    keep(context, attention);
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list v = context->get_saved_variables();
    const size_t n = kOut + 2;
    variable_list g =
        attention_backward(*kept<ImageAttention>(context), v[kIn],
                           {{or_undefined(v[kNorm]), or_undefined(v[kNorm + 1])},
                            {v[kQ], v[kQ + 1]},
                            {v[kK], v[kK + 1]},
                            {v[kV], v[kV + 1]},
                            {v[kOut], v[kOut + 1]}},
                           {or_undefined(v[n]), v[n + 1].numel() > 0 ? v[n + 1] : v[kIn], v[n + 2],
                            v[n + 3], v[n + 4]},
                           gradients[0].contiguous(), context->needs_input_grad(kQ));
    g.insert(g.begin(), Tensor());
    return g;
  }
};

// --- The last norm and convolution

struct HeadStates {
  Tensor statistics, y;
};

BatchNorm head_norm(const ImageHead& head, const Tensor& x, const Affine& norm) {
  return {x, {}, norm.weight, norm.bias, {}, head.groups, head.epsilon, true};
}

Tensor head_forward(ImageHead& head, ConvPass pass, const Tensor& x, const Affine& norm,
                    const Affine& conv, HeadStates& s) {
  const NormedImage y = norm_forward(head_norm(head, x, norm), s.statistics);
  s.y = y.y;
  return convolve(ConvKind::same, pass, x.size(1), x.size(2), filled_channels(conv.weight.size(0)),
                  {term_of(y, head.conv, {conv.weight})}, {filled_bias(conv.bias)});
}

struct HeadFunction : Function<HeadFunction> {
  static Tensor forward(AutogradContext* context, const ImageHeadPtr& head, const Tensor& x,
                        const Tensor& nw, const Tensor& nb, const Tensor& cw, const Tensor& cb) {
    HeadStates s;
    Tensor y =
        planes_of(head_forward(*head, forward_pass(cw), x, {nw, nb}, {cw, cb}, s), cw.size(0));
    context->save_for_backward({x, nw, nb, cw, s.statistics, s.y});
    keep(context, head);
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list v = context->get_saved_variables();
    const auto head = kept<ImageHead>(context);
    const Tensor &x = v[0], &weight = v[3];
    const Tensor dy = rounded_image_of(gradients[0], x.scalar_type());
    Tensor dweight, dbias;
    if (context->needs_input_grad(3)) {
      dbias = biases_like(dy.size(3));
      dweight = weight_gradient_of(weight, ConvKind::same, v[5], {}, dy, dbias);
      dbias = dbias.narrow(0, 0, weight.size(0));
    }
    const Tensor d = convolve(ConvKind::same, ConvPass::backward, x.size(1), x.size(2), x.size(3),
                              {{dy, &head->conv, {weight}}});
    const BatchNormGradient norm =
        norm_backward(head_norm(*head, x, {v[1], v[2]}), v[4], d, {}, {});
    return {{}, norm.dx1, norm.dweight, norm.dbias, dweight, dbias};
  }
};

}  // namespace

std::optional<at::ScalarType> fast_images(const Tensor& x) {
  if (!x.device().is_cpu()) return {};
  const kernels::ImageTable& images = *kernels::table().images;
  if (at::autocast::is_cpu_enabled())
    return images.fast ? std::optional(at::kBFloat16) : std::nullopt;
  const bool fast = images.fast_floats && has_float_convolutions() && x.scalar_type() == at::kFloat;
  return fast ? std::optional(at::kFloat) : std::nullopt;
}

Tensor image_conv(const ImageConvPtr& conv, const Tensor& x, const Affine& w) {
  if (wants_gradient({x, w.weight})) return ConvFunction::apply(conv, x, w.weight, w.bias);
  return conv_forward(*conv, ConvPass::sampling, x, w);
}

Tensor planes_to_image_conv(const ImageConvPtr& conv, at::ScalarType type, const Tensor& x,
                            const Affine& w) {
  if (wants_gradient({x, w.weight}))
    return PlanesConvFunction::apply(conv, type, x, w.weight, w.bias);
  return conv_forward(*conv, ConvPass::sampling, image_of(x, type), w);
}

Tensor image_resnet(const ImageResnetPtr& resnet, const Tensor& x1, const Tensor& x2,
                    const Tensor& time, const ResnetParameters& p, double dropout,
                    const std::vector<uint32_t>& keys) {
  if (x2.defined() && !p.shortcut.weight.defined())  // the residual is [x1 | x2] itself
    return image_resnet(resnet, joined(x1, x2), {}, time, p, dropout, keys);
  if (wants_gradient({x1, x2, time, p.conv1.weight}))
    return ResnetFunction::apply(resnet, dropout, keys, x1, or_none(x2), time, p.norm1.weight,
                                 p.norm1.bias, p.conv1.weight, p.conv1.bias, p.norm2.weight,
                                 p.norm2.bias, p.conv2.weight, p.conv2.bias,
                                 or_none(p.shortcut.weight), or_none(p.shortcut.bias));
  ResnetStates states;
  return resnet_forward(*resnet, ConvPass::sampling, {x1, x2, time, p, dropout, keys}, states);
}

Tensor image_attention(const ImageAttentionPtr& attention, const Tensor& x,
                       const AttentionParameters& p) {
  if (wants_gradient({x, p.q.weight}))
    return AttentionFunction::apply(attention, x, or_none(p.norm.weight), or_none(p.norm.bias),
                                    p.q.weight, p.q.bias, p.k.weight, p.k.bias, p.v.weight,
                                    p.v.bias, p.out.weight, p.out.bias);
  AttentionStates states;
  return attention_forward(*attention, ConvPass::sampling, x, p, false, states);
}

Tensor image_head(const ImageHeadPtr& head, const Tensor& x, const Affine& norm,
                  const Affine& conv) {
  if (wants_gradient({x, conv.weight}))
    return HeadFunction::apply(head, x, norm.weight, norm.bias, conv.weight, conv.bias);
  return planes_of(image_head_image(head, x, norm, conv), conv.weight.size(0));
}

Tensor image_head_image(const ImageHeadPtr& head, const Tensor& x, const Affine& norm,
                        const Affine& conv) {
  HeadStates states;
  return head_forward(*head, ConvPass::sampling, x, norm, conv, states);
}

}  // namespace tweedie
