// A network whose output is a formula, and a record of what it was asked.
#pragma once

#include <functional>
#include <vector>

#include "tweedie/model/network.h"
#include "tweedie/process/level.h"

namespace tweedie::reference {

/// What the network was given and what it answered, call by call.
struct Calls {
  std::vector<torch::Tensor> x, label, out;
};

class AnalyticNetwork : public Network {
 public:
  /// The level is found from the label that reaches the network, so that a wrong label gives a
  /// wrong output.
  using LevelOfLabel = std::function<Level(double label)>;
  using Output = std::function<torch::Tensor(const torch::Tensor& x, const Level& level)>;

  AnalyticNetwork(LevelOfLabel level_of, Output output)
      : level_of_(std::move(level_of)), output_(std::move(output)) {}

  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition&) override {
    const double label = c_noise[0].item<double>();
    calls.x.push_back(x);
    calls.label.push_back(c_noise[0]);
    calls.out.push_back(output_(x, level_of_(label)));
    return calls.out.back();
  }

  Calls calls;

 private:
  LevelOfLabel level_of_;
  Output output_;
};

}  // namespace tweedie::reference
