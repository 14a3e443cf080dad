#include "tweedie/nets/mlp.h"

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include "tweedie/nets/dense.h"
#include "tweedie/nets/embedding.h"
#include "tweedie/nets/layers.h"

namespace tweedie {
namespace {

constexpr int64_t kMaxWidth = 1 << 16;  // a layer between more has over 17 GB of weights
constexpr int64_t kMaxDims = 1 << 24;

struct MlpOptions {
  int64_t width = 128;
  int64_t blocks = 3;
  int64_t time_channels = 64;
  std::vector<int64_t> fourier_features = {};
  std::string kernels = "fast";
  std::vector<int64_t> sample_shape = {};
  int64_t classes = 0;
  bool learned_variance = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("width", width, "of every layer");
    visit("blocks", blocks, "residual blocks of two layers");
    visit("time_channels", time_channels, "features of the noise label");
    visit("fourier_features", fourier_features, "powers n: the input also as sin, cos(2^n pi x)");
    visit("kernels", kernels,
          "fast: our own where they are faster; reference: LibTorch's alone; dense: our own in "
          "bf16, fast or not");
    visit("sample_shape", sample_shape, "of any length, known from the data");
    visit("classes", classes, "number of classes, known from the data; 0: unconditional");
    visit("learned_variance", learned_variance, "twice the outputs, known from model.variance");
  }
};

struct ResidualImpl : torch::nn::Module {
  torch::nn::Linear first{nullptr}, time{nullptr}, second{nullptr};
  explicit ResidualImpl(int64_t width) {
    first = register_module("first", unset_linear(width, width));
    time = register_module("time", unset_linear(width, width));
    second = register_module("second", unset_linear(width, width));
  }
  Tensor forward(const Tensor& h, const Tensor& t) {
    return h + second(at::silu(first(at::silu(h)) + time(t)));
  }
};
TORCH_MODULE(Residual);

class Mlp : public Network {
 public:
  explicit Mlp(const MlpOptions& o) : options_(o) {
    int64_t dims = 1;
    for (const int64_t size : o.sample_shape)
      check(size >= 1 && !__builtin_mul_overflow(dims, size, &dims) && dims <= kMaxDims,
            "mlp: data of shape ", Json(o.sample_shape).dump(), "; expected 1 to ", kMaxDims,
            " numbers");
    check(!o.sample_shape.empty(), "mlp: needs the shape of the data");
    check(o.width >= 1 && o.width <= kMaxWidth, "model.width: expected 1 to ", kMaxWidth, ", got ",
          o.width);
    check_fourier_powers(o.fourier_features);
    check(o.blocks >= 1, "model.blocks: expected 1 or more, got ", o.blocks);
    check(o.time_channels >= 2 && o.time_channels <= kMaxWidth,
          "model.time_channels: expected 2 to ", kMaxWidth, ", got ", o.time_channels);
    check(o.kernels == "fast" || o.kernels == "reference" || o.kernels == "dense",
          "model.kernels: expected fast, reference or dense, got '", o.kernels, "'");
    input_ = register_module(
        "input",
        unset_linear(dims * (1 + 2 * static_cast<int64_t>(o.fourier_features.size())), o.width));
    time_ = register_module("time", unset_linear(o.time_channels, o.width));
    if (o.classes > 0)
      class_embedding_ =
          register_module("class_embedding", unset_embedding(o.classes + 1, o.width));
    torch::nn::ModuleList list;
    for (int64_t i = 0; i < o.blocks; ++i) {
      blocks_.emplace_back(o.width);
      list->push_back(blocks_.back());
      zero_initialised.push_back("blocks." + std::to_string(i) + ".second.weight");
      zero_initialised.push_back("blocks." + std::to_string(i) + ".second.bias");
    }
    register_module("blocks", list);
    output_ =
        register_module("output", unset_linear(o.width, o.learned_variance ? 2 * dims : dims));
    zero_initialised.insert(zero_initialised.end(), {"output.weight", "output.bias"});
    list_dense_layers();
    check(o.kernels != "dense" || dense_.possible(), "model.kernels=dense: a width of ", o.width,
          " is no multiple of 32, or there are too many blocks; use fast or reference");
  }

  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition& condition) override {
    if (x.dim() == 2) return of_vectors(x, c_noise, condition);
    std::vector<int64_t> sizes = x.sizes().vec();
    if (options_.learned_variance) sizes[1] *= 2;  // as by every network, along dimension 1
    return of_vectors(x.flatten(1), c_noise, condition).reshape(sizes);
  }

 private:
  Tensor of_vectors(const Tensor& x, const Tensor& c_noise, const Condition& condition) {
    if (options_.kernels != "reference" && (options_.kernels == "dense" || dense_is_fast()) &&
        dense_.takes(x, c_noise)) {
      std::vector<Tensor> inputs = {tweedie::fourier_features(x, options_.fourier_features)};
      if (class_embedding_)
        inputs.push_back(
            class_embedding_(class_rows(condition.label, options_.classes, true, x, "mlp")));
      return dense_(inputs, c_noise);
    }
    Tensor time = time_(positional_features(c_noise, {options_.time_channels}).to(x.scalar_type()));
    if (class_embedding_)
      time = time + class_embedding_(class_rows(condition.label, options_.classes, true, x, "mlp"));
    time = at::silu(time);
    Tensor h = input_(tweedie::fourier_features(x, options_.fourier_features));
    for (Residual& block : blocks_) h = block(h, time);
    return output_(at::silu(h));
  }

  /// The same network as forward's composition, for the kernels.
  void list_dense_layers() {
    const int64_t columns = input_->weight.size(1);
    const int x = dense_.input({.columns = columns, .split = columns}),
              noise = dense_.input({.angles = options_.time_channels}),
              label = class_embedding_ ? dense_.input({.columns = options_.width}) : -1;
    const int time = dense_.layer({.terms = {{noise, time_}}, .residual = label, .silu = true});
    int h = dense_.layer({.terms = {{x, input_}}, .silu = true});
    for (Residual& block : blocks_) {
      const int inner =
          dense_.layer({.terms = {{h, block->first}, {time, block->time}}, .silu = true});
      h = dense_.layer({.terms = {{inner, block->second}}, .residual = h, .silu = true});
    }
    dense_.layer({.terms = {{h, output_}}});
  }

  MlpOptions options_;
  torch::nn::Linear input_{nullptr}, time_{nullptr}, output_{nullptr};
  torch::nn::Embedding class_embedding_{nullptr};
  std::vector<Residual> blocks_;
  DenseNet dense_;
};

}  // namespace

std::shared_ptr<Network> make_mlp(const Json& options) {
  return std::make_shared<Mlp>(from_json<MlpOptions>(options, "model"));
}

std::string mlp_options_help() { return fields_help<MlpOptions>("    "); }

}  // namespace tweedie
