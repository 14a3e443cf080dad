// Processes of one's own: a stochastic differential equation and a chain, each from its functions.
//   custom_process train --data toy:two-moons --out run --recipe toy-2d --set schedule='{"name":
//   "ornstein-uhlenbeck"}'
#include <tweedie/tweedie.h>

#include <cmath>

using namespace tweedie;

/// dx = -rate x dt + sqrt(2 rate) dw, which forgets the data exponentially and tends to N(0, 1).
Schedule ornstein_uhlenbeck(double rate) {
  return custom_schedule("ornstein-uhlenbeck",
                         {.drift = [=](double) { return -rate; },
                          .diffusion = [=](double) { return std::sqrt(2 * rate); },
                          .prior_std = 1});
}

/// The same noise in each of `steps` steps: what is left of the signal falls geometrically.
Schedule geometric(int64_t steps) {
  return custom_chain("geometric", steps, [=](int64_t) { return 1 - std::pow(1e-5, 1.0 / steps); });
}

int main(int argc, char** argv) {
  Registry registry = builtin();
  registry.schedules["ornstein-uhlenbeck"] = {
      "a linear SDE with constant coefficients",
      [](const Json& options) { return ornstein_uhlenbeck(options.value("rate", 5.0)); }};
  registry.schedules["geometric"] = {
      "a chain whose every step adds as much noise",
      [](const Json& options) { return geometric(options.value("steps", 100)); }};
  return run_cli(argc, argv, registry);
}
