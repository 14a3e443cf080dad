#include "tweedie/nets/unet.h"

#include <cmath>
#include <mutex>
#include <numbers>
#include <optional>

#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/nn/modules/embedding.h>

#include "tweedie/nets/embedding.h"
#include "tweedie/nets/image_program.h"
#include "tweedie/nets/layers.h"
#include "tweedie/nets/norm.h"
#include "tweedie/nets/resample.h"
#include "tweedie/nets/unet_blocks.h"
#include "tweedie/nets/unet_options.h"
#include "tweedie/nets/unet_time.h"
#include "tweedie/tensor/parallel.h"

namespace tweedie {
namespace {

/// Ho et al. 2020 (arXiv:2006.11239), appendix B; Song et al. 2021 (arXiv:2011.13456), appendix H.
class Unet : public Network {
 public:
  explicit Unet(UnetOptions o) {
    check_unet_options(o);
    if (o.first_width == 0) o.first_width = o.channels;
    if (o.time_features == 0) o.time_features = o.channels;
    if (o.time_channels == 0) o.time_channels = 4 * o.channels;
    if (o.mid_residual_divisor == 0) o.mid_residual_divisor = o.residual_divisor;
    options_ = o;
    conv_in_ = register_module("conv_in", conv3x3(in_channels(), o.first_width));
    add_embeddings();
    add_stages();
    if (o.zero_init) list_zero_initialised();
    check(o.kernels != "images" || fits_images(), "model.kernels=images: ", o.channels,
          " channels are no multiple of 32, or the network has parts that only LibTorch computes");
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
    const Tensor time = activated(embedding(x, c_noise, condition), options_.activation);
    const Pass pass{images.has_value(), time, seed, step, first, {}};
    const Tensor features =
        tweedie::fourier_features(options_.center_input ? 2 * x - 1 : x, options_.fourier_features);
    Tensor y;
    if (images == at::kBFloat16 && !at::GradMode::is_enabled() && !is_training()) {
      y = evaluated(features, pass);
    } else if (images) {
      forget_evaluation();
      const Tensor h = planes_to_image_conv(image_in_, *images, features, affine_of(conv_in_));
      y = image_head(image_out_, through_stages(h, {}, pass).h, affine_of(conv_norm_out_),
                     affine_of(conv_out_));
    } else {
      Tensor h = conv_in_(features);
      if (images_ && h.is_cuda()) h = h.contiguous(at::MemoryFormat::ChannelsLast);
      const State end = through_stages(h, features, pass);
      y = conv_out_(normed(conv_norm_out_, end.h));
      if (end.image.defined()) y = y + end.image;
    }
    return options_.over_time ? y / c_noise.to(y.scalar_type()).view({-1, 1, 1, 1}) : y;
  }

 private:
  void add_embeddings() {
    const UnetOptions& o = options_;
    needs_label = o.class_embedding == "timestep";
    if (o.class_embedding == "identity") needs_context = {o.time_channels};
    time_features_ = TimeFeatures(o);
    if (time_features_->weight.defined()) register_module("time_proj", time_features_);
    time_embedding_ =
        register_module("time_embedding", TimeEmbedding(o.time_features, o.time_channels));
    if (o.augmentations > 0)
      augmentation_ =
          register_module("augmentation", unset_linear(o.augmentations, o.time_features, false));
    if (o.class_embedding == "timestep")
      class_times_ =
          register_module("class_embedding", TimeEmbedding(o.time_features, o.time_channels));
    if (o.classes == 0) return;
    const bool joins_features = o.class_embedding == "linear-features";
    if (o.class_embedding == "table")  // the last row is "no class", if there is one
      class_table_ = register_module(
          "class_embedding", unset_embedding(o.classes + (o.null_class ? 1 : 0), o.time_channels));
    else if (o.class_embedding.starts_with("linear"))
      class_linear_ = register_module(
          "class_embedding",
          unset_linear(o.classes, joins_features ? o.time_features : o.time_channels,
                       joins_features));
  }

  /// What the blocks are told, [B, time channels].
  Tensor embedding(const Tensor& x, const Tensor& c_noise, const Condition& condition) {
    const UnetOptions& o = options_;
    Tensor features = time_features_(c_noise).to(x.scalar_type());
    if (augmentation_ && condition.context.defined())
      features = features + augmentation_(condition.context.to(x.scalar_type()));
    const bool joins_features = o.class_embedding == "linear-features";
    if (class_linear_ && joins_features)
      features = features + class_linear_(one_hot(condition.label, x) *
                                          std::sqrt(static_cast<double>(o.classes)));
    Tensor out = time_embedding_(features);
    if (class_linear_ && !joins_features) out = out + class_linear_(one_hot(condition.label, x));
    if (class_table_)
      out = out + class_table_(class_rows(condition.label, o.classes, o.null_class, x, "unet"));
    if (class_times_) {
      check(condition.label.defined(), "unet: this network must be told a label of each sample");
      out =
          out + class_times_(
                    time_features_(condition.label.to(c_noise.scalar_type())).to(x.scalar_type()));
    }
    if (!needs_context.empty()) {
      check(condition.context.defined() && condition.context.dim() == 2 &&
                condition.context.size(1) == o.time_channels,
            "unet: this network must be told an embedding of each sample, [B, ", o.time_channels,
            "]");
      out = out + condition.context.to(x.scalar_type());
    }
    return out;
  }

  /// Zeros where there is no class.
  Tensor one_hot(const Tensor& label, const Tensor& x) const {
    if (!label.defined()) return at::zeros({x.size(0), options_.classes}, x.options());
    return at::one_hot(class_rows(label, options_.classes, true, x, "unet"), options_.classes + 1)
        .narrow(1, 0, options_.classes)
        .to(x.scalar_type());
  }

  ResnetOptions resnet_options(int64_t in, int64_t out) {
    const UnetOptions& o = options_;
    return {.in = in,
            .out = out,
            .time_channels = o.time_channels,
            .groups1 = o.groups(in),
            .groups2 = o.groups(out),
            .epsilon = o.norm_eps,
            .dropout = o.dropout,
            .scale_shift = o.resnet_time_scale_shift == "scale_shift",
            .divisor = o.residual_divisor,
            .activation = o.activation,
            .filter = o.resample_filter,
            .number = resnets_++};
  }

  ResnetOptions resize_options(int64_t channels, Resampling resampling) {
    ResnetOptions out = resnet_options(channels, channels);
    out.resampling = resampling;
    out.shortcut = options_.resample_shortcut;
    return out;
  }

  AttentionOptions attention_options(int64_t channels) const {
    const UnetOptions& o = options_;
    check(o.attention_heads == 0 || channels % o.attention_heads == 0,
          "model.attention_heads: ", channels, " channels cannot be divided into ",
          o.attention_heads, " heads");
    const int64_t width = o.attention_heads > 0       ? channels / o.attention_heads
                          : o.attention_head_dim == 0 ? channels
                                                      : o.attention_head_dim;
    check(width > 0 && channels % width == 0, "model.attention_head_dim: ", channels,
          " channels cannot be divided into heads of ", width,
          "; choose a divisor, or 0 for one head");
    return {.channels = channels,
            .heads = channels / width,
            .groups = o.attention_groups > 0 ? o.attention_groups : o.groups(channels),
            .epsilon = o.norm_eps,
            .divisor = o.residual_divisor};
  }

  void add_stages() {
    const UnetOptions& o = options_;
    const int64_t stages = o.stages();
    std::vector<int64_t> skips = {o.first_width};
    int64_t width = o.first_width;
    for (int64_t i = 0; i < stages; ++i) {
      down_.push_back(stage_down(i, width, skips));
      width = o.width(i);
    }
    add_middle(width);
    for (int64_t i = stages; i-- > 0;) {
      up_.push_back(stage_up(i, width, skips));
      width = o.width(i);
    }
    register_list("down_blocks", down_);
    register_module("mid_block", middle_);
    register_list("up_blocks", up_);
    const int64_t groups = o.groups(width);
    conv_norm_out_ = register_module(
        "conv_norm_out",
        torch::nn::GroupNorm(torch::nn::GroupNormOptions(groups, width).eps(o.norm_eps)));
    conv_out_ = register_module("conv_out", conv3x3(width, o.out()));
    image_out_->groups = groups;
    image_out_->epsilon = o.norm_eps;
  }

  Stage stage_down(int64_t i, int64_t width, std::vector<int64_t>& skips) {
    const UnetOptions& o = options_;
    const int64_t out = o.width(i), image = in_channels();
    Stage stage;
    for (int64_t j = 0; j < o.layers_per_block; ++j, width = out) {
      stage->add_resnet(resnet_options(width, out));
      if (o.attends_down(i)) stage->add_attention(attention_options(out));
      skips.push_back(out);
    }
    if (i + 1 == o.stages()) return stage;
    skips.push_back(out);
    if (!o.resnet_down(i)) {
      stage->add_down(out, o.downsample_padding);
      return stage;
    }
    stage->add_resize(resize_options(out, Resampling::halves), o.encoder != "standard");
    if (o.encoder == "skip") stage->add_image_in(image, out);
    if (o.encoder == "residual") stage->add_residual_in(i == 0 ? image : o.width(i - 1), out);
    return stage;
  }

  void add_middle(int64_t width) {
    const UnetOptions& o = options_;
    for (int j = 0; j < 2; ++j) {
      ResnetOptions resnet = resnet_options(width, width);
      resnet.divisor = o.mid_residual_divisor;
      middle_->add_resnet(resnet);
      if (j == 1 || !o.mid_attention) continue;
      AttentionOptions attention = attention_options(width);
      attention.divisor = o.mid_residual_divisor;
      // diffusers leaves the norm of the middle's attention out where the time scales and shifts.
      const bool bare = o.mid_attention_groups == -1 && resnet.scale_shift;
      attention.groups = bare                         ? 0
                         : o.mid_attention_groups < 0 ? o.groups(width)
                                                      : o.mid_attention_groups;
      middle_->add_attention(attention);
    }
  }

  Stage stage_up(int64_t i, int64_t width, std::vector<int64_t>& skips) {
    const UnetOptions& o = options_;
    const int64_t out = o.width(i);
    const bool attends = o.attends_up(i);
    Stage stage;
    for (int64_t j = 0; j <= o.layers_per_block; ++j, width = out) {
      ResnetOptions resnet = resnet_options(width + skips.back(), out);
      if (o.wide_up_groups && attends)
        resnet.groups1 = std::min(width + skips.back() / 4, o.norm_num_groups);
      skips.pop_back();
      stage->add_resnet(resnet);
      if (attends && (!o.attention_up_once || j == o.layers_per_block))
        stage->add_attention(attention_options(out));
    }
    if (i == 0) return stage;
    if (!o.resnet_up(i - 1)) {
      stage->add_up(out);
      return stage;
    }
    stage->add_resize(resize_options(out, Resampling::doubles), o.decoder != "standard");
    if (o.decoder == "skip") stage->add_image_out(out, o.out(), o.groups(out), o.norm_eps);
    return stage;
  }

  int64_t in_channels() const {
    return options_.sample_shape[0] *
           (1 + 2 * static_cast<int64_t>(options_.fourier_features.size()));
  }

  Tensor normed(const torch::nn::GroupNorm& norm, const Tensor& x) const {
    return group_norm(x, norm->options.num_groups(), norm->weight, norm->bias, options_.norm_eps,
                      true);
  }

  /// Activations, and the image that goes along with them where there is one.
  struct State {
    Tensor h, image;
  };

  /// What comes out of conv_in, and what went into it, to what goes into the last norm.
  State through_stages(const Tensor& first, const Tensor& image, const Pass& pass) {
    State at{first, options_.encoder == "standard" ? Tensor() : image};
    std::vector<Tensor> skips = {first};
    for (const Stage& stage : down_) {
      for (size_t j = 0; j < stage->resnets.size(); ++j) {
        at.h = through(stage, j, at.h, {}, pass);
        skips.push_back(at.h);
      }
      if (!stage->down && !stage->resize) continue;
      if (stage->down) at.h = Downsample(stage->down)(at.h, pass);
      if (stage->resize) take_image_in(stage, at, pass);
      skips.push_back(at.h);
    }
    at.image = Tensor();
    for (size_t j = 0; j < 2; ++j) at.h = through(middle_, j, at.h, {}, pass);
    for (const Stage& stage : up_) {
      for (size_t j = 0; j < stage->resnets.size(); ++j) {
        at.h = through(stage, j, at.h, skips.back(), pass);
        skips.pop_back();
      }
      const int64_t rows = pass.images ? 1 : 2;  // the dimension of the height
      if (options_.decoder == "skip") give_image_out(stage, at);
      if (stage->up)
        at.h =
            Upsample(stage->up)(at.h, skips.back().size(rows), skips.back().size(rows + 1), pass);
      if (stage->resize) at.h = Resnet(stage->resize)(at.h, Tensor(), pass);
    }
    return at;
  }

  void take_image_in(const Stage& stage, State& at, const Pass& pass) const {
    at.h = Resnet(stage->resize)(at.h, Tensor(), pass);
    torch::nn::Conv2d conv = stage->skip_conv;
    if (options_.encoder == "skip") {
      at.image = halved(at.image, options_.resample_filter);
      at.h = at.h + conv(at.image);
    } else if (options_.encoder == "residual") {
      const auto taps = static_cast<int64_t>(options_.resample_filter.size());
      const Tensor wide = at::conv2d(at.image, conv->weight, {}, 1, taps / 2);
      const Tensor image =
          halved_inside(wide, options_.resample_filter) + conv->bias.view({1, -1, 1, 1});
      at.h = at.image = (at.h + image) / std::numbers::sqrt2;
    }
  }

  /// The last stage's own part is the network's last convolution.
  void give_image_out(const Stage& stage, State& at) const {
    if (at.image.defined()) at.image = doubled(at.image, options_.resample_filter);
    if (!stage->skip_conv) return;
    const Tensor part = torch::nn::Conv2d(stage->skip_conv)(normed(stage->skip_norm, at.h));
    at.image = at.image.defined() ? at.image + part : part;
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
          image_out_, through_stages(image_conv(image_in_, input, affine_of(conv_in_)), {}, pass).h,
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
    return unset_conv(torch::nn::Conv2dOptions(in, out, 3).padding(1));
  }

  static Tensor through(const Stage& stage, size_t j, const Tensor& x, const Tensor& skip,
                        const Pass& pass) {
    Resnet resnet = stage->resnets[j];
    const Tensor h = resnet(x, skip, pass);
    return stage->attentions[j] ? PixelAttention(stage->attentions[j])(h, pass) : h;
  }

  void register_list(const char* name, const std::vector<Stage>& stages) {
    torch::nn::ModuleList list;
    for (const Stage& stage : stages) list->push_back(stage);
    register_module(name, list);
  }

  void list_zero_initialised() {
    for (const auto& parameter : named_parameters()) {
      const std::string layer = parameter.key().substr(0, parameter.key().rfind('.'));
      if (layer.ends_with(".conv2") || layer.ends_with(".to_out.0") || layer == "conv_out" ||
          layer == "augmentation")
        zero_initialised.push_back(parameter.key());
    }
  }

  /// None for LibTorch's operations.
  std::optional<at::ScalarType> image_type(const Tensor& x) const {
    if (!images_ || !x.device().is_cpu()) return {};
    return options_.kernels == "images" ? at::kBFloat16 : fast_images(x);
  }

  bool fits_images() const {
    const UnetOptions& o = options_;
    bool fits = o.first_width % kernels::kChannelBlock == 0 && o.activation == "silu" &&
                o.residual_divisor == 1 && o.mid_residual_divisor == 1 &&
                o.norm_min_channels == 0 && !o.wide_up_groups;
    for (int64_t i = 0; i < o.stages(); ++i)
      fits = fits && o.width(i) % kernels::kChannelBlock == 0 &&
             (i + 1 == o.stages() || (!o.resnet_down(i) && !o.resnet_up(i)));
    return fits;
  }

  UnetOptions options_;
  bool images_ = false;  // whether the blocks of image_blocks.h can do it
  ImageConvPtr image_in_ = c10::make_intrusive<ImageConv>(kernels::ConvKind::same, 2);
  ImageHeadPtr image_out_ = c10::make_intrusive<ImageHead>();
  torch::nn::Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  torch::nn::GroupNorm conv_norm_out_{nullptr};
  torch::nn::Embedding class_table_{nullptr};
  torch::nn::Linear class_linear_{nullptr}, augmentation_{nullptr};
  TimeFeatures time_features_{nullptr};
  TimeEmbedding time_embedding_{nullptr}, class_times_{nullptr};
  int64_t resnets_ = 0;
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
