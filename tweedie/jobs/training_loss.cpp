#include "tweedie/jobs/training_loss.h"

#include <cmath>
#include <numeric>

#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/memory.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/model/captured.h"
#include "tweedie/model/gradients_in_place.h"
#include "tweedie/model/objective.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr int64_t kLossAwareParts = 64;  // that loss-aware draws tell apart in continuous time

Condition part_of(const Condition& condition, int64_t first, int64_t count) {
  return {condition.label.defined() ? condition.label.narrow(0, first, count) : Tensor(),
          condition.context.defined() ? condition.context.narrow(0, first, count) : Tensor()};
}

}  // namespace

struct TrainingLoss::Inputs {
  const Batch& all;
  const std::vector<Level>& levels;
  Tensor eps;
  const std::vector<double>& weights;  // of a loss-aware draw
};

TrainingLoss::TrainingLoss(const Model& model, const Registry& registry,
                           const std::string& precision, torch::Device device)
    : model_(model),
      train_(model.config.train),
      precision_(precision),
      device_(device),
      network_(device.is_cuda() ? captured_network(model.network) : model.network),
      objective_(find_entry(registry.objectives, train_.objective, "objective")
                     .make(train_.objective_options)(model.schedule)) {
  const Schedule& schedule = model.schedule;
  check_variance();
  if (train_.draw == "loss-aware")
    loss_aware_.emplace(schedule.steps > 0 ? schedule.steps : kLossAwareParts);
  if (model.gamma) check_learned_schedule();
  if (train_.by_weight) objective_ = drawn_by_weight(objective_, schedule);
  if (objective_.kind == LossKind::error) return;
  chain_ = chain_path(schedule);
  decoder_ = decoder_named(decoder_name(model, ""), model.data.levels, model.variance, chain_);
}

void TrainingLoss::check_variance() const {
  const bool learned = model_.variance == Variance::learned;
  check(!learned || objective_.kind != LossKind::error, "model.variance=learned: objective ",
        objective_.name,
        " says nothing of variances; set train.objective to hybrid or bound, or model.variance "
        "to small or large");
  check(learned || objective_.kind != LossKind::hybrid,
        "train.objective=hybrid: is for learned variances; set model.variance=learned or "
        "train.objective=simple");
}

void TrainingLoss::check_learned_schedule() const {
  check(objective_.name == "vlb", "schedule.name=learned: is learned by the bound, got objective ",
        objective_.name, "; set train.objective=vlb");
  check(model_.config.model["parameterisation"] == "eps",
        "schedule.name=learned: needs model.parameterisation=eps, got ",
        model_.config.model["parameterisation"].dump());
  check(train_.draw != "loss-aware" && !train_.by_weight,
        "schedule.name=learned: spreads its levels itself; set train.draw=antithetic and "
        "train.by_weight=false");
}

LevelDraws TrainingLoss::draws_of(int64_t step) const {
  const RandomKey key{static_cast<uint64_t>(train_.seed), Stream::levels};
  return loss_aware_ ? draw_levels(*loss_aware_, train_.batch, key, step)
                     : draw_levels(train_.draw, train_.batch, key, step);
}

StepLosses TrainingLoss::add_gradient(const Batch& batch, int64_t step) {
  const uint64_t seed = static_cast<uint64_t>(train_.seed);
  const int64_t size = train_.batch, parts = train_.accumulate;
  StepLosses out;
  out.draws = draws_of(step);
  for (const double u : out.draws.u) out.levels.push_back(objective_.draw(u));
  std::vector<int64_t> places(static_cast<size_t>(size));
  std::iota(places.begin(), places.end(), int64_t{0});
  const Tensor eps =
      keyed_normal({seed, Stream::noise}, places, step, model_.data.shape).to(device_);
  model_.network->train();
  model_.network->seed = seed;
  model_.network->step = step;
  const Inputs inputs{batch, out.levels, eps, out.draws.weights};
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = size * part / parts, count = size * (part + 1) / parts - first;
    const std::vector<double> losses = gradient_or_advice(inputs, first, count);
    out.losses.insert(out.losses.end(), losses.begin(), losses.end());
  }
  for (size_t i = 0; i < out.losses.size(); ++i)
    out.mean +=
        out.losses[i] * (loss_aware_ ? out.draws.weights[i] : 1) / static_cast<double>(size);
  return out;
}

void TrainingLoss::record(const StepLosses& step) {
  if (!loss_aware_) return;
  for (size_t i = 0; i < step.losses.size(); ++i)
    loss_aware_->record(step.draws.steps[i], step.losses[i]);
}

/// Of `count` examples from `first` on; returns their losses.
std::vector<double> TrainingLoss::piece_gradient(const Inputs& in, int64_t first, int64_t count) {
  model_.network->first = first;
  const Batch piece{in.all.x.narrow(0, first, count), part_of(in.all.condition, first, count)};
  const Levels levels(in.levels.data() + first, static_cast<size_t>(count));
  const Tensor loss = piece_loss(piece, levels, in.eps.narrow(0, first, count));  // [count]
  Tensor total = loss.sum();
  if (loss_aware_)
    total = loss.dot(
        torch::tensor(at::ArrayRef<double>(in.weights.data() + first, static_cast<size_t>(count)))
            .to(loss.options()));
  const GradientsInPlace in_place;
  (total / static_cast<double>(train_.batch)).backward();
  const Tensor values = loss.detach().to(torch::kCPU, torch::kDouble).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + count};
}

/// The same; where memory does not suffice, an Error that says what would fit.
std::vector<double> TrainingLoss::gradient_or_advice(const Inputs& in, int64_t first,
                                                     int64_t count) {
  try {
    return piece_gradient(in, first, count);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
  }
  const int64_t fits =
      largest_that_fits(count, [&](int64_t fewer) { piece_gradient(in, first, fewer); });
  const int64_t batch = train_.batch;
  check(fits > 0,
        "train: not enough memory for the gradient of one example; take a smaller network");
  throw Error("train: not enough memory for the gradient of " + std::to_string(count) +
              " examples at once; " + std::to_string(fits) +
              " fit: --set train.accumulate=" + std::to_string((batch + fits - 1) / fits) +
              " takes the batch of " + std::to_string(batch) +
              " in so many pieces with the same result, --set train.batch=" + std::to_string(fits) +
              " makes it smaller");
}

Tensor TrainingLoss::piece_loss(const Batch& piece, Levels levels, const Tensor& eps) {
  const PrecisionGuard guard(precision_, device_);
  if (model_.gamma) {
    std::vector<double> t;
    for (const Level& level : levels) t.push_back(level.t);
    return learned_schedule_loss(*network_, *model_.gamma, piece,
                                 torch::tensor(t, torch::kDouble).to(device_), eps,
                                 model_.data.levels);
  }
  if (objective_.kind == LossKind::error)
    return denoising_loss(*network_, model_.parameterisation, objective_, piece, levels, eps);
  const int64_t steps = model_.schedule.steps;
  std::vector<int64_t> places;  // in the chain's path, which begins at step T
  for (const Level& level : levels)
    places.push_back(steps - std::llround(level.t * static_cast<double>(steps)));
  if (objective_.kind == LossKind::hybrid)
    return hybrid_loss(*network_, model_.parameterisation, objective_, piece, chain_, places, eps,
                       decoder_);
  return vlb_loss(*network_, model_.parameterisation, piece, chain_, places, eps, model_.variance,
                  decoder_);
}

}  // namespace tweedie
