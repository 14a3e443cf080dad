// The U-Net of DDPM with diffusers' UNet2DModel layout and parameter names.
#pragma once

#include <memory>

#include "tweedie/base/fields.h"
#include "tweedie/model/network.h"

namespace tweedie {

/// The registry's entry: options as JSON (see UnetOptions in unet.cpp's fields), plus sample_shape
/// [C, H, W], classes and learned_variance, which the job adds.  Throws Error on impossible ones.
std::shared_ptr<Network> make_unet(const Json& options);
std::string unet_options_help();

}  // namespace tweedie
