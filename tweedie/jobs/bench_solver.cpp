#include "tweedie/jobs/bench_solver.h"

#include <torch/utils.h>

#include <algorithm>
#include <numeric>

#include "tweedie/base/clock.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr int64_t kFirstSteps = 2;  // memory is mapped and oneDNN's code made in them
constexpr uint64_t kSolverSeed = 1;

/// A network that knows how long it was at work.
struct TimedNetwork : Network {
  explicit TimedNetwork(std::shared_ptr<Network> timed) : inner(std::move(timed)) {}
  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition& condition) override {
    const auto begun = Clock::now();
    Tensor out = inner->forward(x, c_noise, condition);
    seconds += seconds_since(begun);
    ++evaluations;
    return out;
  }
  std::shared_ptr<Network> inner;
  double seconds = 0;
  int64_t evaluations = 0;
};

}  // namespace

std::vector<SolverTime> time_solver(const Model& model, const Registry& registry,
                                    const SolverRun& run) {
  const SamplerEntry& entry = find_entry(registry.samplers, run.sampler, "sampler");
  const Sampler sampler = entry.make(run.options);
  const auto network = std::make_shared<TimedNetwork>(model.network);
  model.network->eval();
  const Denoiser denoiser = make_denoiser(network, model.parameterisation);
  std::vector<int64_t> samples(static_cast<size_t>(run.batch));
  std::iota(samples.begin(), samples.end(), int64_t{0});
  const PrecisionGuard precision(run.precision, torch::kCPU);
  const torch::NoGradGuard no_grad;
  const auto sample_once = [&](int64_t steps) {
    network->seconds = 0, network->evaluations = 0;
    const auto begun = Clock::now();
    const Path path = named_path(suitable_path(entry.facts, model.schedule), model.schedule, steps);
    const Tensor noise =
        keyed_prior(kSolverSeed, samples, model.data.shape, model.schedule.prior_std);
    sampler(denoiser, noise, path, {}, keyed_noise(kSolverSeed, samples), {});
    return SolverTime{seconds_since(begun), network->seconds, network->evaluations};
  };
  sample_once(std::min(kFirstSteps, run.steps));
  std::vector<SolverTime> times;
  double sum = 0;
  while (sum < run.seconds || times.empty()) {
    times.push_back(sample_once(run.steps));
    sum += times.back().seconds;
  }
  return times;
}

}  // namespace tweedie
