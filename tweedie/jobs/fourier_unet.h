// diffusers' UNet2DModel with our Fourier features, for folders whose network has them.
#pragma once

#include <string>

namespace tweedie {

inline constexpr const char* kFourierUnetModule = "tweedie_unet";
inline constexpr const char* kFourierUnetClass = "FourierUNet2DModel";

/// Python: a class that from_pretrained loads from the folder itself.
std::string fourier_unet_source();

}  // namespace tweedie
