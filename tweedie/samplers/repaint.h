// Inpainting without training for it: what is known of a sample is put back at every level.
#pragma once

#include "tweedie/model/sampler.h"

namespace tweedie {

struct RepaintOptions {
  Tensor known;          // [B, ...] data, of which the mask says what is known
  Tensor mask;           // 1 where the sample is to be `known`, 0 where it is drawn; broadcast
  double eta = 1;        // ddim's, of the steps down; 1: ancestral
  bool clip = true;      // clamp the predicted x0 to [-1, 1]
  int64_t jump = 10;     // steps that a jump goes back up
  int64_t samples = 10;  // times that the steps under a jump are taken; 1: no jumps
};

/// Lugmayr et al. 2022 (arXiv:2201.09865), algorithm 1, with the jumps of its section 4.2: after a
/// step to level s the masked part is alpha_s known + sigma_s z.  Noise goes back up as
/// q(x_t | x_s) of the levels of the path.  An evaluation for every step down of resampled_path.
/// The draws are those of the conditional distribution only nearly, and nearer with more jumps:
/// what the masked part says counts at every level as if it had fresh noise.  Where the path ends
/// in clean data the sample is `known` under the mask, exactly.
Sampler repaint(RepaintOptions options);

/// The levels of `path` as they are visited: where a multiple of `jump` steps is left, and more
/// than `jump` have been taken, back up by `jump` levels and down again, `samples` - 1 times.
/// Throws Error unless both are 1 or more.
Path resampled_path(const Path& path, int64_t jump, int64_t samples);

}  // namespace tweedie
