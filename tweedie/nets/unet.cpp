#include "tweedie/nets/unet.h"

#include <mutex>
#include <numeric>
#include <optional>

#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/nn/modules/embedding.h>

#include "tweedie/nets/embedding.h"
#include "tweedie/nets/image_program.h"
#include "tweedie/nets/norm.h"
#include "tweedie/nets/unet_blocks.h"
#include "tweedie/tensor/parallel.h"

namespace tweedie {
namespace {

struct UnetOptions {
  int64_t channels = 64;
  std::vector<int64_t> multipliers = {1, 2, 2};
  int64_t layers_per_block = 2;
  std::vector<int64_t> attention = {};
  bool mid_attention = true;
  int64_t attention_head_dim = 8;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  double dropout = 0;
  std::string resnet_time_scale_shift = "default";
  int64_t downsample_padding = 1;
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  std::vector<int64_t> fourier_features = {};
  bool zero_init = true;
  std::string kernels = "fast";
  std::vector<int64_t> sample_shape = {};
  int64_t classes = 0;
  bool learned_variance = false;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("channels", channels, "of the first stage");
    visit("multipliers", multipliers,
          "channels of each stage over those of the first; the size halves between stages");
    visit("layers_per_block", layers_per_block,
          "residual blocks of a stage on the way down (one more on the way up)");
    visit(
        "attention", attention,
        "stages with attention, by their height in pixels; a height that no stage has is ignored");
    visit("mid_attention", mid_attention, "attention between the way down and the way up");
    visit("attention_head_dim", attention_head_dim, "channels of a head of attention; 0: one head");
    visit("norm_num_groups", norm_num_groups, "groups of every norm");
    visit("norm_eps", norm_eps, "added to the variance in every norm");
    visit("dropout", dropout, "rate of dropout in training");
    visit("resnet_time_scale_shift", resnet_time_scale_shift,
          "default (time is added) or scale_shift");
    visit("downsample_padding", downsample_padding, "1: on all sides; 0: right and below (DDPM)");
    visit("flip_sin_to_cos", flip_sin_to_cos, "time embedding: cosines first");
    visit("freq_shift", freq_shift, "time embedding: 0, or 1 as in DDPM");
    visit("fourier_features", fourier_features,
          "powers n: the input also as sin, cos(2^n pi x), for likelihood");
    visit("zero_init", zero_init, "residual branches and the output start at zero (DDPM)");
    visit("kernels", kernels,
          "fast: our own where they are faster; reference: LibTorch's alone; images: our own in "
          "bf16, "
          "fast or not");
    visit("sample_shape", sample_shape, "[C, H, W], known from the data");
    visit("classes", classes, "number of classes, known from the data; 0: unconditional");
    visit("learned_variance", learned_variance,
          "twice the output channels, known from model.variance");
  }
};

constexpr int64_t kMaxChannels = 1 << 14;  // a convolution between more has over 9 GB of weights

/// A size after downsampling: padded on all sides it is rounded up, right and below alone it is
/// rounded down.
int64_t halved(int64_t size, int64_t padding) { return padding == 0 ? size / 2 : (size + 1) / 2; }

void check_options(const UnetOptions& o) {
  check(o.sample_shape.size() == 3, "unet: is for images [C, H, W]; this data has shape ",
        Json(o.sample_shape).dump(), "; use model.network=mlp");
  check(o.channels >= 1 && o.channels <= kMaxChannels, "model.channels: expected 1 to ",
        kMaxChannels, ", got ", o.channels);
  check(!o.multipliers.empty(), "model.multipliers: expected at least one stage, got []");
  for (const int64_t m : o.multipliers)
    check(m >= 1 && m <= kMaxChannels / o.channels,
          "model.multipliers: expected 1 or more, and at most ", kMaxChannels, " channels; got ",
          m);
  check(o.layers_per_block >= 1, "model.layers_per_block: expected 1 or more, got ",
        o.layers_per_block);
  check(o.dropout >= 0 && o.dropout < 1, "model.dropout: expected a rate in [0, 1), got ",
        o.dropout);
  check(o.resnet_time_scale_shift == "default" || o.resnet_time_scale_shift == "scale_shift",
        "model.resnet_time_scale_shift: expected default or scale_shift, got '",
        o.resnet_time_scale_shift, "'");
  check(o.kernels == "fast" || o.kernels == "reference" || o.kernels == "images",
        "model.kernels: expected fast, reference or images, got '", o.kernels, "'");
  check(o.norm_eps > 0, "model.norm_eps: expected a positive number, got ", o.norm_eps);
  check_fourier_powers(o.fourier_features);
  for (const int64_t size : o.sample_shape)
    check(size >= 1, "unet: an image has at least 1 channel, row and column, got ", size);
  int64_t smallest = std::min(o.sample_shape[1], o.sample_shape[2]);
  for (size_t i = 1; i < o.multipliers.size();
       ++i, smallest = halved(smallest, o.downsample_padding))
    check(smallest >= 2, "model.multipliers: ", o.multipliers.size(), " stages halve images of ",
          o.sample_shape[1], " x ", o.sample_shape[2], " away; use fewer");
}

struct TimeEmbeddingImpl : torch::nn::Module {
  torch::nn::Linear linear_1{nullptr}, linear_2{nullptr};
  TimeEmbeddingImpl(int64_t in, int64_t out) {
    linear_1 = register_module("linear_1", torch::nn::Linear(in, out));
    linear_2 = register_module("linear_2", torch::nn::Linear(out, out));
  }
  Tensor forward(const Tensor& x) { return linear_2(at::silu(linear_1(x))); }
};
TORCH_MODULE(TimeEmbedding);

/// Ho et al. 2020 (arXiv:2006.11239), appendix B.
class Unet : public Network {
 public:
  explicit Unet(const UnetOptions& o) : options_(o) {
    check_options(o);
    const int64_t data_channels = o.sample_shape[0], time_channels = 4 * o.channels;
    const BlockOptions block{time_channels,
                             o.norm_num_groups,
                             o.norm_eps,
                             o.dropout,
                             o.resnet_time_scale_shift == "scale_shift",
                             o.attention_head_dim,
                             o.downsample_padding};
    const int64_t in_channels =
        data_channels * (1 + 2 * static_cast<int64_t>(o.fourier_features.size()));
    conv_in_ = register_module("conv_in", conv3x3(in_channels, o.channels));
    time_embedding_ = register_module("time_embedding", TimeEmbedding(o.channels, time_channels));
    if (o.classes > 0)  // the last row is "no class", for guidance
      class_embedding_ =
          register_module("class_embedding", torch::nn::Embedding(o.classes + 1, time_channels));

    const size_t stages = o.multipliers.size();
    std::vector<int64_t> skips = {o.channels};
    int64_t width = o.channels, height = o.sample_shape[1], number = 0;
    std::vector<bool> attends;
    for (size_t i = 0; i < stages; ++i) {
      const int64_t out = o.channels * o.multipliers[i];
      attends.push_back(std::find(o.attention.begin(), o.attention.end(), height) !=
                        o.attention.end());
      Stage stage;
      for (int64_t j = 0; j < o.layers_per_block; ++j) {
        stage->add_resnet(width, out, block, number++);
        if (attends[i]) stage->add_attention(out, block);
        width = out;
        skips.push_back(width);
      }
      if (i + 1 < stages) {
        stage->add_down(width, block);
        skips.push_back(width);
        height = halved(height, o.downsample_padding);
      }
      down_.push_back(stage);
    }
    middle_->add_resnet(width, width, block, number++);
    // diffusers leaves the norm of the middle's attention out where the time scales and shifts.
    if (o.mid_attention) middle_->add_attention(width, block, block.scale_shift);
    middle_->add_resnet(width, width, block, number++);
    for (size_t i = stages; i-- > 0;) {
      const int64_t out = o.channels * o.multipliers[i];
      Stage stage;
      for (int64_t j = 0; j <= o.layers_per_block; ++j) {
        stage->add_resnet(width + skips.back(), out, block, number++);
        skips.pop_back();
        if (attends[i]) stage->add_attention(out, block);
        width = out;
      }
      if (i > 0) stage->add_up(width);
      up_.push_back(stage);
    }
    register_list("down_blocks", down_);
    register_module("mid_block", middle_);
    register_list("up_blocks", up_);
    conv_norm_out_ =
        register_module("conv_norm_out",
                        torch::nn::GroupNorm(
                            torch::nn::GroupNormOptions(o.norm_num_groups, width).eps(o.norm_eps)));
    conv_out_ = register_module(
        "conv_out", conv3x3(width, o.learned_variance ? 2 * data_channels : data_channels));
    if (o.zero_init) list_zero_initialised();
    image_out_->groups = o.norm_num_groups;
    image_out_->epsilon = o.norm_eps;
    check(o.kernels != "images" || fits_images(), "model.kernels=images: ", o.channels,
          " channels are no multiple of 32");
    images_ = o.kernels != "reference" && fits_images();
    channels_last = images_;
    capturable = true;
    trains_capturable = o.dropout == 0;  // its keys come from the CPU
  }

  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition& condition) override {
    const std::optional<at::ScalarType> images = image_type(x);
    // The embeddings stay float32 where the images are bf16.
    std::optional<c10::impl::ExcludeDispatchKeyGuard> no_autocast;
    if (images) no_autocast.emplace(c10::DispatchKey::AutocastCPU);
    const Tensor label = positional_features(
        c_noise, {options_.channels, options_.flip_sin_to_cos, options_.freq_shift});
    Tensor time = time_embedding_(label.to(x.scalar_type()));
    if (class_embedding_)
      time = time + class_embedding_(class_rows(condition.label, options_.classes, x, "unet"));
    const Pass pass{images.has_value(), at::silu(time), seed, step, first, {}};
    const Tensor features = tweedie::fourier_features(x, options_.fourier_features);
    if (images == at::kBFloat16 && !at::GradMode::is_enabled() && !is_training())
      return evaluated(features, pass);
    if (images) {
      forget_evaluation();
      const Tensor h = planes_to_image_conv(image_in_, *images, features, affine_of(conv_in_));
      return image_head(image_out_, through_stages(h, pass), affine_of(conv_norm_out_),
                        affine_of(conv_out_));
    }
    Tensor h = conv_in_(features);
    if (images_ && h.is_cuda()) h = h.contiguous(at::MemoryFormat::ChannelsLast);
    return conv_out_(group_norm(through_stages(h, pass), options_.norm_num_groups,
                                conv_norm_out_->weight, conv_norm_out_->bias, options_.norm_eps,
                                true));
  }

 private:
  /// What comes out of conv_in to what goes into the last norm.
  Tensor through_stages(const Tensor& first, const Pass& pass) {
    Tensor h = first;
    std::vector<Tensor> skips = {h};
    for (const Stage& stage : down_) {
      for (size_t j = 0; j < stage->resnets.size(); ++j) {
        h = through(stage, j, h, {}, pass);
        skips.push_back(h);
      }
      if (stage->down) {
        h = Downsample(stage->down)(h, pass);
        skips.push_back(h);
      }
    }
    h = through(middle_, 0, h, {}, pass);
    h = through(middle_, 1, h, {}, pass);
    for (const Stage& stage : up_) {
      for (size_t j = 0; j < stage->resnets.size(); ++j) {
        h = through(stage, j, h, skips.back(), pass);
        skips.pop_back();
      }
      if (!stage->up) continue;
      const int64_t rows = pass.images ? 1 : 2;  // the dimension of the height
      h = Upsample(stage->up)(h, skips.back().size(rows), skips.back().size(rows + 1), pass);
    }
    return h;
  }

  /// An evaluation of bf16 images of one size by weights that stay, written down.
  struct Evaluation {
    std::vector<Tensor> weights;
    WeightVersions versions;
    Tensor input, output;           // images
    std::vector<Tensor> projected;  // Pass::projected
    ImageProgram program;
  };

  /// Without gradients; written down when a second one of a size comes.
  Tensor evaluated(const Tensor& features, Pass pass) {
    const c10::InferenceMode no(false);  // its tensors could not be written to outside it
    const torch::NoGradGuard no_grad;
    const Tensor image = image_of(features, at::kBFloat16);
    const std::unique_lock<std::mutex> alone(evaluation_mutex_, std::try_to_lock);
    if (alone && evaluation_ && evaluation_->input.sizes() == image.sizes() &&
        weight_versions(evaluation_->weights) == evaluation_->versions) {
      evaluation_->input.copy_(image);
      project(pass.time, evaluation_->projected);
      evaluation_->program.run();
      return planes_of(evaluation_->output, conv_out_->weight.size(0));
    }
    const bool again = alone && last_size_ == image.sizes();
    if (alone) {
      evaluation_.reset();
      last_size_ = image.sizes().vec();
    }
    const auto work = [&](const Tensor& input) {
      return image_head_image(
          image_out_, through_stages(image_conv(image_in_, input, affine_of(conv_in_)), pass),
          affine_of(conv_norm_out_), affine_of(conv_out_));
    };
    project(pass.time, pass.projected);
    if (!again) return planes_of(work(image), conv_out_->weight.size(0));
    auto written = std::make_unique<Evaluation>();
    written->weights = parameters();
    written->versions = weight_versions(written->weights);
    written->input = image.clone();
    written->projected = pass.projected;
    written->program.write([&] { written->output = work(written->input); });
    const Tensor y = planes_of(written->output, conv_out_->weight.size(0));
    if (written->program.complete()) evaluation_ = std::move(written);
    return y;
  }

  /// In training its memory is better used otherwise.
  void forget_evaluation() {
    const std::unique_lock<std::mutex> alone(evaluation_mutex_, std::try_to_lock);
    if (alone) evaluation_.reset();
  }

  /// What all resnets make of the time, together: one after the other they would leave the other
  /// threads idle.
  void project(const Tensor& time, std::vector<Tensor>& out) const {
    std::vector<Resnet> resnets;  // by number
    const auto add = [&](const Stage& stage) {
      resnets.insert(resnets.end(), stage->resnets.begin(), stage->resnets.end());
    };
    for (const Stage& stage : down_) add(stage);
    add(middle_);
    for (const Stage& stage : up_) add(stage);
    out.resize(resnets.size());
    for (Tensor& x : out)
      if (!x.defined()) x = at::empty({0}, time.options());
    in_parallel(static_cast<int64_t>(resnets.size()), [&](int64_t i) {
      const torch::NoGradGuard no_grad;  // a thread's own
      resnets[static_cast<size_t>(i)]->project(time, out[static_cast<size_t>(i)]);
    });
  }

  static torch::nn::Conv2d conv3x3(int64_t in, int64_t out) {
    return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1));
  }

  static Tensor through(const Stage& stage, size_t j, const Tensor& x, const Tensor& skip,
                        const Pass& pass) {
    Resnet resnet = stage->resnets[j];
    const Tensor h = resnet(x, skip, pass);
    return j < stage->attentions.size() ? PixelAttention(stage->attentions[j])(h, pass) : h;
  }

  void register_list(const char* name, const std::vector<Stage>& stages) {
    torch::nn::ModuleList list;
    for (const Stage& stage : stages) list->push_back(stage);
    register_module(name, list);
  }

  void list_zero_initialised() {
    for (const auto& parameter : named_parameters()) {
      const std::string layer = parameter.key().substr(0, parameter.key().rfind('.'));
      if (layer.ends_with(".conv2") || layer.ends_with(".to_out.0") || layer == "conv_out")
        zero_initialised.push_back(parameter.key());
    }
  }

  /// None for LibTorch's operations.
  std::optional<at::ScalarType> image_type(const Tensor& x) const {
    if (!images_ || !x.device().is_cpu()) return {};
    return options_.kernels == "images" ? at::kBFloat16 : fast_images(x);
  }

  bool fits_images() const {
    for (const int64_t m : options_.multipliers)
      if (m * options_.channels % kernels::kChannelBlock != 0) return false;
    return options_.channels % kernels::kChannelBlock == 0;
  }

  UnetOptions options_;
  bool images_ = false;  // whether the blocks of image_blocks.h can do it
  ImageConvPtr image_in_ = c10::make_intrusive<ImageConv>(kernels::ConvKind::same, 2);
  ImageHeadPtr image_out_ = c10::make_intrusive<ImageHead>();
  torch::nn::Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  torch::nn::GroupNorm conv_norm_out_{nullptr};
  torch::nn::Embedding class_embedding_{nullptr};
  TimeEmbedding time_embedding_{nullptr};
  std::vector<Stage> down_, up_;
  Stage middle_;

  std::mutex evaluation_mutex_;
  std::unique_ptr<Evaluation> evaluation_;
  std::vector<int64_t> last_size_;  // of the last evaluation's images
};

}  // namespace

std::shared_ptr<Network> make_unet(const Json& options) {
  return std::make_shared<Unet>(from_json<UnetOptions>(options, "model"));
}

std::string unet_options_help() { return fields_help<UnetOptions>("    "); }

}  // namespace tweedie
