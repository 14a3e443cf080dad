// DiT (github.com/facebookresearch/DiT, models.py).  Our network has its names.
#include "tweedie/base/fields.h"
#include "tweedie/families/family.h"
#include "tweedie/families/our_name.h"

namespace tweedie {
namespace {

struct DitConfig {
  std::string _class_name = "DiT";
  int64_t input_size = 32, patch_size = 2, in_channels = 4, hidden_size = 1152, depth = 28,
          num_heads = 16;
  double mlp_ratio = 4, class_dropout_prob = 0.1;
  int64_t num_classes = 1000;
  bool learn_sigma = true;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("_class_name", _class_name, "");
    visit("input_size", input_size, "");
    visit("patch_size", patch_size, "");
    visit("in_channels", in_channels, "");
    visit("hidden_size", hidden_size, "");
    visit("depth", depth, "");
    visit("num_heads", num_heads, "");
    visit("mlp_ratio", mlp_ratio, "");
    visit("class_dropout_prob", class_dropout_prob, "");
    visit("num_classes", num_classes, "");
    visit("learn_sigma", learn_sigma, "");
  }
};

}  // namespace

Family dit(const Json& config) {
  const DitConfig c = from_json<DitConfig>(config, "DiT");
  within(c.patch_size, 1, 1 << 14, "DiT: patch_size");
  within(c.input_size, c.patch_size, 1 << 14, "DiT: input_size");
  within(c.hidden_size, 4, 1 << 14, "DiT: hidden_size");
  check(c.hidden_size % 4 == 0, "DiT: hidden_size: expected a multiple of 4, got ", c.hidden_size);
  Family out;
  out.name = "DiT";
  out.shape = {c.in_channels, c.input_size, c.input_size};
  out.levels = 0;  // it works on the latents of an autoencoder
  out.classes = c.num_classes;
  out.model = {{"network", "dit"},
               {"parameterisation", "eps"},
               {"variance", c.learn_sigma ? "learned" : "large"},
               {"patch", c.patch_size},
               {"width", c.hidden_size},
               {"depth", c.depth},
               {"heads", c.num_heads},
               {"mlp_ratio", c.mlp_ratio},
               {"null_class", c.class_dropout_prob > 0}};
  out.schedule = {{"name", "linear"}};
  out.sample = {{"sampler", "ddpm"}, {"steps", 250}};
  out.place = [](const std::string& ours) { return WeightPlace{ours}; };
  return out;
}

}  // namespace tweedie
