// EDM's preconditioning, and those under which it runs the networks of other papers.
#include <cmath>

#include "peer_losses.h"
#include "tweedie/base/error.h"
#include "tweedie/process/parameterisation.h"
#include "tweedie/process/path.h"

namespace tweedie::reference {
namespace {

/// The peer's coordinates: alpha = 1.
Level exploding_level(double sigma) { return {sigma, 1, sigma, 0, 1}; }

Scaling scaling_of(const std::string& name, const Json& config, double sigma) {
  if (name == "VPPrecond") return vp_prediction()(exploding_level(sigma));
  if (name == "VEPrecond") return ve_prediction()(exploding_level(sigma));
  if (name == "iDDPMPrecond") return iddpm_prediction(1000)(exploding_level(sigma));
  check(name.starts_with("EDMPrecond"), "edm: preconditioning '", name, "' is unknown");
  const double sigma_data =
      config.contains(name) ? config.at(name).at("sigma_data").get<double>() : 0.5;
  return edm_prediction(sigma_data)(exploding_level(sigma));
}

void run_preconditioning(const Case& the_case, Checker& checker) {
  const Tensor sigma = the_case.tensor("sigma");
  for (const auto& [key, expected] : the_case.tensors) {
    const size_t dot = key.find('.');
    if (dot == std::string::npos) continue;
    const std::string name = key.substr(0, dot), what = key.substr(dot + 1);
    Tensor got = at::empty_like(expected);
    for (int64_t i = 0; i < sigma.size(0); ++i) {
      const Scaling s = scaling_of(name, the_case.config, sigma[i].item<double>());
      check(what == "c_skip" || what == "c_out" || what == "c_in" || what == "c_noise",
            "edm: coefficient '", what, "' is unknown");
      got[i] = what == "c_skip"  ? s.c_skip
               : what == "c_out" ? s.c_out
               : what == "c_in"  ? s.c_in
                                 : s.c_noise;
    }
    checker.compare(key, got, expected);
  }
}

}  // namespace

Plan plan_edm_preconditioning(const Json& row) {
  const Refusal refusal =
      unknown_keys("config", row.value("config", Json::object()), {"EDMPrecond_sd1"});
  return refusal.empty() ? Plan{run_preconditioning, ""} : Plan{{}, refusal};
}

}  // namespace tweedie::reference
