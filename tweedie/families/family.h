// Networks of other libraries: what they are here, and what their weights are called there.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "tweedie/base/json.h"

namespace tweedie {

/// Queries, keys and values in the rows of one tensor, [.., C]: which of three dimensions counts
/// them.
enum class QkvOrder {
  three_heads_width,  // [3, heads, width]
  heads_three_width,  // [heads, 3, width]
  heads_width_three,  // [heads, width, 3]
};

/// Where another library keeps a parameter of ours.
struct WeightPlace {
  std::string name;
  int64_t part =
      -1;  // 0, 1, 2: queries, keys or values among the rows of the tensor; -1: all of it
  QkvOrder order = QkvOrder::three_heads_width;
  int64_t heads = 1;
  int64_t ones =
      0;  // dimensions of size 1 at the end of its shape there: a matrix kept as a kernel
};

struct Family {
  std::string name;  // "diffusers UNet2DModel"
  Json model;        // the options of ours, as in a configuration, with the network's name
  Json schedule;     // the process that it was trained for, as far as its configuration tells
  Json sample;       // how it is usually sampled
  std::vector<int64_t> shape;  // of a sample
  int64_t levels = 256;        // of the data: 0 if continuous
  int64_t classes = 0;
  std::function<WeightPlace(const std::string& ours)> place;
  std::function<std::string(const std::string& name)> modern = {};  // of a name in older files
  /// Tensors that files hold beside weights, and what must be in them; files without them are whole
  /// as well.
  std::map<std::string, std::function<at::Tensor()>> constants;
};

/// The network that a configuration (config.json, with "_class_name") describes.  Throws Error,
/// naming the field, where it is unknown or asks for what is not supported.
Family read_family(const Json& config);

using Tensors = std::map<std::string, at::Tensor>;

/// Makes a file's tensors the values of `ours`, parameters by their names; without gradients.
/// Throws Error listing what is missing, what is left over and what has another shape.
void take_weights(const Family& family, const Tensors& theirs, const Tensors& ours);

/// Our tensors (weights, or their gradients) as the other library names and arranges them, without
/// constants.
Tensors give_weights(const Family& family, const Tensors& ours);

/// What our U-Net of these options (a configuration's model table, with sample_shape, classes and
/// learned_variance) is as a UNet2DModel, but for fourier_features.  Throws Error, naming the
/// option, if diffusers has none like it.
Json write_diffusers_unet(const Json& options, const std::string& version);

// One of each, by the name of the class in its library.
Family diffusers_unet(const Json& config);  // UNet2DModel
Family guided_unet(const Json& config);     // UNetModel of improved- and guided-diffusion
Family edm_network(const Json& config);     // EDM's preconditioners over SongUNet, DhariwalUNet
Family dit(const Json& config);             // DiT

}  // namespace tweedie
