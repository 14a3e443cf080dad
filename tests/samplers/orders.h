// The measured order of convergence of every sampler, on data whose flow is known.
#pragma once

#include <string>
#include <vector>

#include "tweedie/model/sampler.h"

namespace tweedie::testing {

struct MeasuredOrder {
  std::vector<int64_t> steps;
  std::vector<double> errors;
  double slope;  // of log error against -log steps, by least squares over the steps
};

/// Mean absolute error of a deterministic sampler at the end of the mixture's flow from sigma 20 to
/// 0.05 on EDM's process, over levels even in log-SNR.  Not to sigma 0, whose last step would leave
/// a floor.  `warm` makes the first step of twelve doubling ones, so that what is measured is not
/// the low order that a multistep method starts with.
MeasuredOrder flow_order(const Sampler& sampler, const std::vector<int64_t>& steps,
                         bool warm = false);

/// Error of the final variance of a stochastic sampler on N(mean, var) with the exact denoiser,
/// on VP from t = 1 to 0.001, even in t; computed without sampling.
MeasuredOrder variance_order(const Sampler& sampler, const std::vector<int64_t>& steps);

/// How one of the registry's samplers is measured.
struct OrderCase {
  std::string name;
  std::string options;  // JSON
  bool stochastic;
  std::vector<int64_t> steps;
  double order, tolerance;  // of theory; how near the slope must be
  bool warm = false;        // see flow_order
};
std::vector<OrderCase> order_cases();
MeasuredOrder measure(const OrderCase& order_case);

}  // namespace tweedie::testing
