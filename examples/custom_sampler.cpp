// A sampler of one's own: one function of (denoiser, x, path).
//   custom_sampler sample run --out points.npy --sampler drift-only
#include <tweedie/tweedie.h>

using namespace tweedie;

/// x_s = alpha_s E[x_0 | x_t]: forgets the noise at every step, so it collapses onto the data's
/// mean.
Sampler drift_only() {
  return [](const Denoiser& denoise, Tensor x, const Path& path, const Condition& condition,
            const Noise&, const Observer& observe) {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      const Tensor x0 = denoise(x, path[i], condition).x0;
      x = path[i + 1].alpha * x0;
      if (observe) observe({static_cast<int64_t>(i), path[i], path[i + 1], x, x0});
    }
    return x;
  };
}

int main(int argc, char** argv) {
  Registry registry = builtin();
  registry.samplers["drift-only"] = {"keeps only the predicted signal",
                                     [](const Json&) { return drift_only(); }};
  return run_cli(argc, argv, registry);
}
