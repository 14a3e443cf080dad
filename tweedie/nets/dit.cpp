#include "tweedie/nets/dit.h"

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include "tweedie/base/error.h"
#include "tweedie/nets/attention.h"
#include "tweedie/nets/embedding.h"
#include "tweedie/nets/layers.h"

namespace tweedie {
namespace {

constexpr int64_t kMaxTokenWidth = 1 << 14;
constexpr int64_t kTimeFeatures = 256;
constexpr double kEpsilon = 1e-6;  // of the norms

struct DitOptions {
  int64_t patch = 2;
  int64_t width = 384;
  int64_t depth = 12;
  int64_t heads = 6;
  double mlp_ratio = 4;
  bool null_class = true;
  std::vector<int64_t> sample_shape = {};
  int64_t classes = 0;
  bool learned_variance = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("patch", patch, "side of the squares of pixels that are one token");
    visit("width", width, "of every token");
    visit("depth", depth, "blocks");
    visit("heads", heads, "of attention");
    visit("mlp_ratio", mlp_ratio, "hidden units of a block over its width");
    visit("null_class", null_class, "whether there is a class that means none, for guidance");
    visit("sample_shape", sample_shape, "[C, H, W], known from the data");
    visit("classes", classes, "number of classes, known from the data; 0: unconditional");
    visit("learned_variance", learned_variance, "twice the outputs, known from model.variance");
  }
};

void check_dit_options(const DitOptions& o) {
  check(o.sample_shape.size() == 3, "dit: is for images [C, H, W]; this data has shape ",
        Json(o.sample_shape).dump(), "; use model.network=mlp");
  check(o.patch >= 1 && o.sample_shape[1] % o.patch == 0 && o.sample_shape[2] % o.patch == 0,
        "model.patch: expected a divisor of ", o.sample_shape[1], " and ", o.sample_shape[2],
        ", got ", o.patch);
  check(o.width >= 4 && o.width <= kMaxTokenWidth && o.width % 4 == 0,
        "model.width: expected a multiple of 4 up to ", kMaxTokenWidth, ", got ", o.width);
  check(o.heads >= 1 && o.width % o.heads == 0, "model.heads: expected a divisor of the width ",
        o.width, ", got ", o.heads);
  check(o.depth >= 1 && o.depth <= 1000, "model.depth: expected 1 to 1000, got ", o.depth);
  check(o.mlp_ratio > 0 && o.mlp_ratio <= 64, "model.mlp_ratio: expected a number in (0, 64], got ",
        o.mlp_ratio);
}

/// Layers in a sequence whose activations have numbers too: "0", "2".
torch::nn::ModuleList numbered(const std::vector<std::shared_ptr<torch::nn::Module>>& layers) {
  torch::nn::ModuleList list;
  for (const auto& layer : layers)
    list->push_back(layer ? layer : std::make_shared<torch::nn::IdentityImpl>());
  return list;
}

Tensor through(const torch::nn::ModuleList& list, size_t i, const Tensor& x) {
  return list->ptr<torch::nn::LinearImpl>(i)->forward(x);
}

std::shared_ptr<torch::nn::Module> linear(int64_t in, int64_t out) {
  return unset_linear(in, out).ptr();
}

/// norm(x) (1 + scale) + shift, the norm without weights of its own; shift, scale [B, width].
Tensor modulated(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  return at::layer_norm(x, {x.size(2)}, {}, {}, kEpsilon) * (1 + scale.unsqueeze(1)) +
         shift.unsqueeze(1);
}

struct TokenAttentionImpl : torch::nn::Module {
  torch::nn::Linear qkv{nullptr}, proj{nullptr};
  int64_t heads;
  explicit TokenAttentionImpl(const DitOptions& o) : heads(o.heads) {
    qkv = register_module("qkv", unset_linear(o.width, 3 * o.width));
    proj = register_module("proj", unset_linear(o.width, o.width));
  }
  Tensor forward(const Tensor& x) {
    const int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2);
    const std::vector<Tensor> parts =
        qkv(x).view({batch, tokens, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
    return proj(attend_by_operations(parts[0], parts[1], parts[2])
                    .transpose(1, 2)
                    .reshape({batch, tokens, width}));
  }
};
TORCH_MODULE(TokenAttention);

struct TokenMlpImpl : torch::nn::Module {
  torch::nn::Linear fc1{nullptr}, fc2{nullptr};
  explicit TokenMlpImpl(const DitOptions& o) {
    const auto hidden = static_cast<int64_t>(static_cast<double>(o.width) * o.mlp_ratio);
    fc1 = register_module("fc1", unset_linear(o.width, hidden));
    fc2 = register_module("fc2", unset_linear(hidden, o.width));
  }
  Tensor forward(const Tensor& x) { return fc2(at::gelu(fc1(x), "tanh")); }
};
TORCH_MODULE(TokenMlp);

struct DitBlockImpl : torch::nn::Module {
  TokenAttention attn{nullptr};
  TokenMlp mlp{nullptr};
  torch::nn::ModuleList modulation{nullptr};
  explicit DitBlockImpl(const DitOptions& o) {
    attn = register_module("attn", TokenAttention(o));
    mlp = register_module("mlp", TokenMlp(o));
    modulation =
        register_module("adaLN_modulation", numbered({nullptr, linear(o.width, 6 * o.width)}));
  }
  /// x [B, N, width]; c [B, width], already through SiLU.
  Tensor forward(const Tensor& x, const Tensor& c) {
    const std::vector<Tensor> m = through(modulation, 1, c).chunk(6, 1);
    const Tensor h = x + m[2].unsqueeze(1) * attn(modulated(x, m[0], m[1]));
    return h + m[5].unsqueeze(1) * mlp(modulated(h, m[3], m[4]));
  }
};
TORCH_MODULE(DitBlock);

/// A module for the sake of its name.
std::shared_ptr<torch::nn::Module> group(const std::string& name,
                                         const std::shared_ptr<torch::nn::Module>& layer) {
  const auto out = std::make_shared<torch::nn::Module>();
  out->register_module(name, layer);
  return out;
}

class Dit : public Network {
 public:
  explicit Dit(const DitOptions& o) : options_(o) {
    check_dit_options(o);
    const int64_t channels = o.sample_shape[0], rows = o.sample_shape[1] / o.patch,
                  columns = o.sample_shape[2] / o.patch;
    patches_ = unset_conv(torch::nn::Conv2dOptions(channels, o.width, o.patch).stride(o.patch));
    register_module("x_embedder", group("proj", patches_.ptr()));
    time_ = numbered({linear(kTimeFeatures, o.width), nullptr, linear(o.width, o.width)});
    register_module("t_embedder", group("mlp", time_.ptr()));
    if (o.classes > 0) {
      classes_ = unset_embedding(o.classes + (o.null_class ? 1 : 0), o.width);
      register_module("y_embedder", group("embedding_table", classes_.ptr()));
    }
    torch::nn::ModuleList blocks;
    for (int64_t i = 0; i < o.depth; ++i) {
      blocks_.emplace_back(o);
      blocks->push_back(blocks_.back());
    }
    register_module("blocks", blocks);
    const int64_t out = o.patch * o.patch * channels * (o.learned_variance ? 2 : 1);
    last_ = unset_linear(o.width, out);
    last_modulation_ = numbered({nullptr, linear(o.width, 2 * o.width)});
    const auto last = group("linear", last_.ptr());
    last->register_module("adaLN_modulation", last_modulation_.ptr());
    register_module("final_layer", last);
    places_ = register_parameter(
        "pos_embed", grid_features(o.width, rows, columns).unsqueeze(0).to(at::kFloat), false);
    for (const auto& parameter : named_parameters()) {
      const std::string& name = parameter.key();
      if (name.find("adaLN_modulation") != std::string::npos ||
          name.starts_with("final_layer.linear"))
        zero_initialised.push_back(name);
    }
    capturable = trains_capturable = true;
  }

  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition& condition) override {
    check(x.dim() == 4 && x.sizes().slice(1) == at::IntArrayRef(options_.sample_shape),
          "dit: expected images of ", Json(options_.sample_shape).dump(), ", got ",
          Json(x.sizes().vec()).dump());
    const Tensor features = positional_features(c_noise, {.channels = kTimeFeatures});
    Tensor c = through(time_, 2, at::silu(through(time_, 0, features.to(x.scalar_type()))));
    if (classes_)
      c = c +
          classes_(class_rows(condition.label, options_.classes, options_.null_class, x, "dit"));
    c = at::silu(c);
    Tensor h = patches_(x).flatten(2).transpose(1, 2) + places_;
    for (DitBlock& block : blocks_) h = block(h, c);
    const std::vector<Tensor> m = through(last_modulation_, 1, c).chunk(2, 1);
    return images(last_(modulated(h, m[0], m[1])));
  }

 private:
  /// Tokens [B, N, patch patch C] to [B, C, H, W].
  Tensor images(const Tensor& tokens) const {
    const int64_t p = options_.patch, rows = options_.sample_shape[1] / p,
                  columns = options_.sample_shape[2] / p, batch = tokens.size(0);
    return tokens.view({batch, rows, columns, p, p, -1})
        .permute({0, 5, 1, 3, 2, 4})
        .reshape({batch, -1, rows * p, columns * p});
  }

  DitOptions options_;
  torch::nn::Conv2d patches_{nullptr};
  torch::nn::ModuleList time_{nullptr}, last_modulation_{nullptr};
  torch::nn::Embedding classes_{nullptr};
  std::vector<DitBlock> blocks_;
  torch::nn::Linear last_{nullptr};
  Tensor places_;  // [1, N, width], not trained
};

}  // namespace

std::shared_ptr<Network> make_dit(const Json& options) {
  return std::make_shared<Dit>(from_json<DitOptions>(options, "model"));
}

std::string dit_options_help() { return fields_help<DitOptions>("    "); }

}  // namespace tweedie
