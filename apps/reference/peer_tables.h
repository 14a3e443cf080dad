// Chains and tables of noise levels from the settings of other systems.
#pragma once

#include <string>
#include <vector>

#include "checker.h"
#include "tweedie/process/schedule.h"

namespace tweedie::reference {

/// diffusers' `beta_schedule`, `beta_start`, `beta_end`, `trained_betas`,
/// `rescale_betas_zero_snr`.  Throws Error on a schedule that it cannot interpret.
std::vector<double> diffusers_betas(const Json& settings, int64_t steps);
Schedule diffusers_chain(const Json& settings, int64_t steps);
Schedule diffusers_chain(const Json& settings);  // of its num_train_timesteps
/// improved-diffusion's `schedule` and `T` (gaussian_diffusion.py, get_named_beta_schedule).
Schedule improved_chain(const Json& config);

/// Level i of 1..T, `clean` at 0.
Level step_level(const Schedule& chain, int64_t i);
/// The level of timestep t, which is step t + 1; negative ones count from the chain's end, as they
/// do in Python.
Level level_of_timestep(const Schedule& chain, int64_t t);
/// Of each level: what k-diffusion and EDM call sigma.
std::vector<double> noise_ratios(const std::vector<Level>& path);

/// Noise ratios of a chain's steps 0..T-1 and what k-diffusion and diffusers read between them.
class NoiseTable {
 public:
  explicit NoiseTable(const Schedule& chain);
  explicit NoiseTable(std::vector<double> ratios);

  const std::vector<double>& ratios() const { return ratios_; }
  /// Linear in the ratio, held at the ends (numpy.interp).
  double linear_at(double t) const;
  /// Linear in its logarithm, for t in 0..T-1.
  double log_linear_at(double t) const;
  /// The inverse of log_linear_at, held at the ends.
  double time_of(double ratio) const;
  int64_t nearest_in_log(double ratio) const;

 private:
  std::vector<double> ratios_, logs_;
};

Tensor to_tensor(const std::vector<double>& values);
std::vector<double> to_doubles(const Tensor& values);
/// Words between dots: "T1000.leading.10" -> {"T1000", "leading", "10"}.
std::vector<std::string> name_parts(const std::string& name);
/// The whole number after `prefix`.  Throws Error if there is none.
int64_t number_in(const std::string& part, const std::string& prefix = "");
/// A number of a config.  Throws Error naming the key if it is missing.
double number_of(const Json& config, const char* key);
/// Throws Error if `settings` has a key outside `known`: what it means would be ignored silently.
void check_known_keys(const Json& settings, const std::vector<std::string>& known,
                      const std::string& where);

}  // namespace tweedie::reference
