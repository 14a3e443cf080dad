// The schedules, parameterisations and objectives that a configuration may name: one row each.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tweedie/base/json.h"
#include "tweedie/process/parameterisation.h"
#include "tweedie/process/weighting.h"

namespace tweedie {

template <class T>
struct Named {
  std::string name, summary;
  std::function<T(const Json& options)> make;  // throws Error on unknown or impossible options
  std::string options;                         // one line an option
};

using MakeParameterisation = std::function<Parameterisation(NoiseLabel)>;
using MakeObjective = std::function<Objective(const Schedule&)>;

std::vector<Named<Schedule>> named_schedules();
std::vector<Named<MakeParameterisation>> named_parameterisations();
std::vector<Named<MakeObjective>> named_objectives();

}  // namespace tweedie
