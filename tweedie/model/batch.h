// What datasets give and losses take.
#pragma once

#include "tweedie/model/network.h"

namespace tweedie {

struct Batch {
  Tensor x;  // [B, ...], scaled to [-1, 1] where it is quantised
  Condition condition;
};

}  // namespace tweedie
