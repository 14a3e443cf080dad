// Group A: how each peer's cases are checked.
#pragma once

#include "checker.h"

namespace tweedie::reference {

// Every tensor of the case is an output that is compared, an input by its name, or a failure.
void check_diffusers_betas(const Case& the_case, Checker& checker);
void check_betas_for_alpha_bar(const Case& the_case, Checker& checker);
void check_improved_tables(const Case& the_case, Checker& checker);
void check_space_timesteps(const Case& the_case, Checker& checker);
void check_kdiffusion_sigmas(const Case& the_case, Checker& checker);
void check_kdiffusion_external(const Case& the_case, Checker& checker);
void check_edm_discretisations(const Case& the_case, Checker& checker);
void check_dpm_solver_schedules(const Case& the_case, Checker& checker);

}  // namespace tweedie::reference
