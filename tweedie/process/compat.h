// Compatibility: conventions of other systems that this library does not share, each under the name
// of its peer, for whoever has to reproduce that peer's numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tweedie {

/// numpy.linspace to the last bit: first + i ((last - first) / (count - 1)), ending in `last`.
/// Throws Error if count < 1.
std::vector<double> numpy_linspace(double first, double last, int64_t count);

enum class DiffusersSpacing { leading, trailing, linspace };

struct DiffusersSteps {
  DiffusersSpacing spacing = DiffusersSpacing::leading;
  int64_t offset = 0;       // steps_offset: added to "leading", and to nothing else
  bool drop_first = false;  // the multistep solvers space steps + 1 and leave out the one at data
  bool fractional = false;  // "linspace" keeps steps between those of the chain
  int64_t kept = 0;         // levels left of the chain, counted from the data; 0: all
};

/// The `timesteps` of diffusers (src/diffusers/schedulers/scheduling_*.py, set_timesteps), counted
/// from 0, falling.  Unlike ours these grids may begin in the middle of the chain ("leading"),
/// follow halves to the even neighbour ("linspace"), and count in floating point ("trailing"),
/// which for some `steps` gives one step more than asked, the last of them -1.
/// Throws Error if length < 1 or steps < 1.
std::vector<double> diffusers_timesteps(int64_t length, int64_t steps,
                                        const DiffusersSteps& options = {});

/// The steps that improved-diffusion keeps (improved_diffusion/respace.py, space_timesteps),
/// counted from 0, rising: "ddimN" has a fixed stride and never visits the last step; "a,b,..."
/// spaces a, b, ... steps in sections of equal length.  Throws Error where the peer raises one.
std::vector<int64_t> improved_space_timesteps(int64_t length, const std::string& section_counts);

// Betas from a curve alpha_bar(t) of diffusers (scheduling_ddpm.py, betas_for_alpha_bar), at most
// max_beta: alpha_bar = exp(-12 t), which is one beta for every step, and Hang & Gu 2024
// (arXiv:2407.03297)'s Laplace distribution of log-SNR.
std::vector<double> diffusers_exp_betas(int64_t steps, double max_beta = 0.999);
std::vector<double> diffusers_laplace_betas(int64_t steps, double max_beta = 0.999);

}  // namespace tweedie
