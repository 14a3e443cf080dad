// How training draws levels, and the weight of the squared error there.
#pragma once

#include <functional>
#include <string>

#include "tweedie/process/schedule.h"

namespace tweedie {

struct Objective {
  std::string name;
  std::function<Level(double u)> draw;             // inverse CDF of the training levels, u in [0, 1)
  std::function<double(const Level&)> weight;      // on the squared eps error of the drawn level; 1 is L_simple
  double vlb_weight = 0;                           // weight of the bound's own term (chains with learned variance)
};

}  // namespace tweedie
