#include "tweedie/jobs/fourier_unet.h"

namespace tweedie {

std::string fourier_unet_source() {
  return R"(# UNet2DModel that sees x as well as sin and cos of 2^n pi x (Kingma et al. 2021, arXiv:2107.00630, appendix C).
import inspect
import math

import torch
from diffusers import UNet2DModel


class FourierUNet2DModel(UNet2DModel):
    def __init__(self, *, fourier_powers=(), in_channels=3, **options):
        super().__init__(in_channels=in_channels * (1 + 2 * len(fourier_powers)), **options)
        self.register_to_config(fourier_powers=list(fourier_powers), in_channels=in_channels)

    def forward(self, sample, *arguments, **options):
        features = [sample]
        for power in self.config.fourier_powers:
            angle = sample * (2.0**power * math.pi)
            features += [angle.sin(), angle.cos()]
        return super().forward(torch.cat(features, 1), *arguments, **options)


# from_pretrained asks the signature which fields of config.json belong to the class.
_plain = inspect.signature(UNet2DModel.__init__)
_powers = inspect.Parameter("fourier_powers", inspect.Parameter.KEYWORD_ONLY, default=())
FourierUNet2DModel.__init__.__signature__ = _plain.replace(parameters=[*_plain.parameters.values(), _powers])
)";
}

}  // namespace tweedie
