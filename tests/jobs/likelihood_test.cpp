// A model trained on data of known density, end to end: how far it is from the truth, and whether
// the methods agree in the order that theory demands.
#include <doctest/doctest.h>

#include "tests/jobs/toy_run.h"
#include "tweedie/jobs/evaluate.h"

using namespace tweedie;

namespace {

RunConfig mixture_config() {
  RunConfig config = make_config(read_recipe("toy-2d"));
  config.data.spec = "toy:gaussian-mixture";
  config.train.steps = 6000;
  config.watch.held_out_every = 0;
  config.watch.samples_every = 0;
  return config;
}

/// Mean and standard error of a - b over the examples.
struct Difference {
  double mean, error;
};
Difference difference(const Tensor& a, const Tensor& b) {
  const Tensor d = (a - b).to(torch::kDouble);
  return {d.mean().item<double>(),
          d.std().item<double>() / std::sqrt(static_cast<double>(d.size(0)))};
}

}  // namespace

TEST_CASE("a minute's model of a mixture is within 0.02 nats of it, and its bounds are in order") {
  const Scratch scratch;
  const Registry registry = builtin();
  const RunConfig config = mixture_config();
  train_to(scratch / "run", config);
  const Model model = load_model(scratch / "run", registry);
  const Dataset data = open_dataset(registry, config.data.spec, "test");
  const EvaluateRequest request{.limit = 1000, .batch = 500};

  EvaluateRequest exact = request;
  exact.divergence = "exact";
  exact.numerical_error = false;
  const Tensor flow = evaluate_ode(model, data, exact).table.column("nats");
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < request.limit; ++i) indices.push_back(i * data.size / request.limit);
  const Tensor truth = -data.log_density(data.get(indices).x).to(torch::kDouble);
  const Difference kl = difference(flow, truth);
  CHECK(kl.mean < 0.02);  // of the data from the model
  CHECK(kl.mean > -3 * kl.error);

  EvaluateRequest weighted = request;
  weighted.paths = 16;
  const Tensor bound = evaluate_vlb(model, data, request).table.column("nats"),
               importance = evaluate_ais(model, data, weighted).table.column("nats");
  const Difference of_bounds = difference(importance, bound),
                   of_flow = difference(flow, importance);
  CHECK(of_bounds.mean <= 3 * of_bounds.error);
  CHECK(of_flow.mean <= 3 * of_flow.error);
}
