// The loss of a training step and its gradient.
#pragma once

#include <optional>
#include <string>

#include "tweedie/jobs/level_draws.h"
#include "tweedie/jobs/model_file.h"
#include "tweedie/model/batch.h"

namespace tweedie {

/// One level and one loss for each example of a batch; `mean` is weighted as their draw says.
struct StepLosses {
  LevelDraws draws;
  std::vector<Level> levels;
  std::vector<double> losses;
  double mean = 0;
};

/// What train.objective makes of a model: draws of levels and noise, which are functions of
/// train.seed, the training step and the place in the batch, and the gradient of the loss there.
class TrainingLoss {
 public:
  /// `model` outlives it, and its network is on `device`; `precision` is "fp32" or "bf16".  Throws
  /// Error where objective, variance and schedule do not go together.
  TrainingLoss(const Model& model, const Registry& registry, const std::string& precision,
               torch::Device device);

  const Objective& objective() const { return objective_; }

  /// Adds the gradient of the mean loss over `batch`, of train.batch examples on the device, to
  /// that of the network's parameters, in train.accumulate pieces.  Where memory does not suffice,
  /// throws Error that says what would fit, by trial.
  StepLosses add_gradient(const Batch& batch, int64_t step);

  /// Draws that follow the losses learn from these.
  void record(const StepLosses& losses);
  /// What such draws remember, for a checkpoint; an empty object where there are none.
  Json draws_state() const { return loss_aware_ ? loss_aware_->state() : Json::object(); }
  void restore_draws(const Json& state) {
    if (loss_aware_) loss_aware_->restore(state);
  }

 private:
  struct Inputs;
  void check_variance() const;
  void check_learned_schedule() const;
  LevelDraws draws_of(int64_t step) const;
  std::vector<double> piece_gradient(const Inputs& in, int64_t first, int64_t count);
  std::vector<double> gradient_or_advice(const Inputs& in, int64_t first, int64_t count);
  Tensor piece_loss(const Batch& piece, Levels levels, const Tensor& eps);

  const Model& model_;
  const TrainConfig& train_;
  std::string precision_;
  torch::Device device_;
  std::shared_ptr<Network> network_;  // the model's, as its passes in training are done
  Objective objective_;
  Path chain_;  // of the bound's terms, where the objective has them
  Decoder decoder_;
  std::optional<LossAwareSteps> loss_aware_;
};

}  // namespace tweedie
