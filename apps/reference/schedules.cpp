// Group A: schedules, grids, respacing, sigma <-> t.
#include "diffusers_grids.h"
#include "groups.h"
#include "schedule_cases.h"

namespace tweedie::reference {
namespace {

struct Kind {
  const char* id_begins;
  void (*run)(const Case&, Checker&);
};

// The first that fits; longer names first.
constexpr Kind kKinds[] = {
    {"diffusers_betas_for_alpha_bar", check_betas_for_alpha_bar},
    {"diffusers_betas_", check_diffusers_betas},
    {"diffusers_sigma_kinds", check_sigma_kinds},
    {"diffusers_flow_sigmas", check_flow_sigmas},
    {"improved_space_timesteps", check_space_timesteps},
    {"improved_", check_improved_tables},
    {"kdiffusion_sigmas", check_kdiffusion_sigmas},
    {"kdiffusion_external", check_kdiffusion_external},
    {"edm_discretisations", check_edm_discretisations},
    {"dpm_solver_schedules", check_dpm_solver_schedules},
};

}  // namespace

Plan plan_schedules(const Json& row) {
  const std::string id = row["id"];
  if (id.starts_with("diffusers_grid_")) {
    const std::string scheduler = id.substr(id.rfind('_') + 1);
    if (!knows_scheduler(scheduler)) return {{}, "the grid of " + scheduler + " is not known"};
    return {check_diffusers_grid, ""};
  }
  for (const Kind& kind : kKinds)
    if (id.starts_with(kind.id_begins)) return {kind.run, ""};
  return {{}, "no schedule or grid of this kind is known"};
}

}  // namespace tweedie::reference
