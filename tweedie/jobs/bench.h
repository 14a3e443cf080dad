// How long a training step and a sampling step take on this machine.
#pragma once

#include <string>

#include "tweedie/base/log.h"
#include "tweedie/registry.h"

namespace tweedie {

struct BenchRequest {
  std::string kind = "train";      // train or sample
  std::string net = "mnist-unet";  // one of bench_nets()
  int64_t batch = 0;               // 0: the network's usual one
  std::string device = "cpu";      // or cuda, auto
  std::string precision = "auto";  // auto, fp32 or bf16
  int64_t threads = 0;             // 0: what LibTorch takes
  double seconds = 10;             // measured for at least so long, and at least 5 steps
  std::string sampler =
      {};  // whole samplings by this one, kind "sample" only; empty: steps of ddim
  Json sampler_options = Json::object();
  int64_t steps = 0;  // of a whole sampling; 0: 20
};

/// The networks that can be measured and what they are, one line each.
std::string bench_nets();

/// Measures steps on random data.  A training step is noise, loss, backward, optimiser and average;
/// a sampling step is one network evaluation in inference mode and the solver's update.  The object
/// has `milliseconds_per_step` (the median), `milliseconds_per_image`, the best and the worst step,
/// what was measured and with what.
/// With a sampler, steps are those of whole samplings, and the object also has the time outside the
/// network for each of its evaluations, and its share (`solver_overhead_share`).  Throws Error on
/// an impossible request.
Json bench(const BenchRequest& request, const Registry& registry, const Log& log);

}  // namespace tweedie
