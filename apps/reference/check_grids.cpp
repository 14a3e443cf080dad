// Group A: diffusers' grids, tensor by tensor.
#include <cmath>

#include "diffusers_grids.h"
#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"
#include "tweedie/process/schedule.h"

namespace tweedie::reference {
namespace {

Json init_of(const Case& the_case) {
  const Json init = the_case.config.value("init", Json());
  check(init.is_object(), "config.init: expected the scheduler's settings, got ", init.dump());
  return init;
}

/// DDPMScheduler.previous_timestep: the next entry, -1 after the last.
std::vector<double> next_entries(const std::vector<double>& timesteps) {
  std::vector<double> out(timesteps.begin() + 1, timesteps.end());
  out.push_back(-1);
  return out;
}

/// Fractional timesteps as the peer casts them to whole ones.  A level at an end of the chain lies
/// within rounding of a whole step, where cutting off has no definite value: either side may stand.
Tensor cut_off(const std::vector<double>& timesteps, const Tensor& expected) {
  const std::vector<double> wanted = to_doubles(expected);
  std::vector<double> out;
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const double low = std::trunc(timesteps[i] - 1e-9), high = std::trunc(timesteps[i] + 1e-9);
    out.push_back(i < wanted.size() && wanted[i] == low ? low : high);
  }
  return to_tensor(out);
}

void compare_grid(const std::string& name, const std::string& what, const DiffusersGrid& grid,
                  const Case& the_case, Checker& checker) {
  const Tensor& expected = the_case.tensor(name);
  if (what == "timesteps") {
    const bool whole = at::isIntegralType(expected.scalar_type(), /*includeBool=*/false);
    checker.compare(name, whole ? cut_off(grid.timesteps, expected) : to_tensor(grid.timesteps));
  } else if (what == "sigmas") {
    checker.compare(name, to_tensor(grid.sigmas));
  } else if (what == "previous") {
    checker.compare(name, to_tensor(next_entries(grid.timesteps)));
  } else {
    fail("tensor '", name, "' is not understood");
  }
}

}  // namespace

void check_diffusers_grid(const Case& the_case, Checker& checker) {
  check_known_keys(the_case.config,
                   {"init", "steps", "num_train_timesteps", "steps_offset", "skip_prk_steps"},
                   "config");
  const std::string scheduler = the_case.id.substr(the_case.id.rfind('_') + 1);
  for (const auto& [name, expected] : the_case.tensors) {
    const std::vector<std::string> parts = name_parts(name);
    check(parts.size() == 5, "tensor '", name, "': expected T<T>.<spacing>.<n>.offset<o>.<what>");
    Json settings = init_of(the_case);
    settings["timestep_spacing"] = parts[1];
    settings["steps_offset"] = number_in(parts[3], "offset");
    if (the_case.config.contains("skip_prk_steps"))
      settings["skip_prk_steps"] = the_case.config["skip_prk_steps"];
    compare_grid(
        name, parts[4],
        diffusers_grid(scheduler, settings, number_in(parts[0], "T"), number_in(parts[2]), checker),
        the_case, checker);
  }
}

void check_sigma_kinds(const Case& the_case, Checker& checker) {
  check_known_keys(the_case.config, {"init", "steps", "num_train_timesteps"}, "config");
  for (const auto& [name, expected] : the_case.tensors) {
    const std::vector<std::string> parts = name_parts(name);
    check(parts.size() == 4, "tensor '", name, "': expected <scheduler>.<kind>.<n>.<what>");
    Json settings = init_of(the_case);
    if (!settings.contains("timestep_spacing")) settings["timestep_spacing"] = "linspace";
    const bool known =
        parts[1] == "karras" || parts[1] == "exponential" || parts[1] == "beta" || parts[1] == "lu";
    check(known, "tensor '", name, "': sigmas of kind '", parts[1], "' are not understood");
    settings[parts[1] == "lu" ? "use_lu_lambdas" : "use_" + parts[1] + "_sigmas"] = true;
    const Json& length = settings.contains("num_train_timesteps")
                             ? settings["num_train_timesteps"]
                             : the_case.config.value("num_train_timesteps", Json(1000));
    compare_grid(
        name, parts[3],
        diffusers_grid(parts[0], settings, length.get<int64_t>(), number_in(parts[2]), checker),
        the_case, checker);
  }
}

}  // namespace tweedie::reference
