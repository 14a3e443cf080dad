#include "tweedie/jobs/train.h"

#include <cmath>
#include <cstdio>

#include <ATen/Parallel.h>

#include "tweedie/base/clock.h"
#include "tweedie/datasets/loader.h"
#include "tweedie/datasets/spec.h"
#include "tweedie/jobs/device.h"
#include "tweedie/jobs/diagnosis.h"
#include "tweedie/jobs/learning_rate.h"
#include "tweedie/jobs/optimiser.h"
#include "tweedie/jobs/picture.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/jobs/run_folder.h"
#include "tweedie/jobs/training_loss.h"
#include "tweedie/jobs/training_meter.h"
#include "tweedie/jobs/watch.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr int64_t kMaxRollbacks = 3;

/// What a checkpoint calls `state`: where training is, beside the tensors.
struct State {
  int64_t cursor = 0;              // examples consumed
  double learning_rate_scale = 1;  // halved by every roll-back
  int64_t rollbacks = 0;
  Json level_sampler = Json::object();  // of loss-aware draws
  template <class Visit>
  void fields(Visit&& visit) {
    visit("cursor", cursor, "");
    visit("level_sampler", level_sampler, "");
    visit("learning_rate_scale", learning_rate_scale, "");
    visit("rollbacks", rollbacks, "");
  }
};

/// CUDA where it is asked for: bit-exact resume is the CPU's, cuDNN adds in no fixed order.
torch::Device training_device(const std::string& name) {
  return name == "auto" ? torch::kCPU : device_named(name);
}

/// The configuration as a checkpoint keeps it: equal training gives equal bytes wherever the data
/// lies.
Json portable_config(RunConfig config) {
  config.data.spec = parse_data_spec(config.data.spec).name;
  return to_json(config);
}

class Training {
 public:
  Training(const TrainRequest& request, const Registry& registry, const TrainHooks& hooks)
      : config_(request.config),
        request_(request),
        registry_(registry),
        hooks_(hooks),
        device_(training_device(request.device)),
        precision_(resolve_precision(config_.train.precision, device_)),
        data_(open_dataset(registry, config_.data.spec, "train")),
        held_out_(open_dataset(registry, config_.data.spec, "test")),
        model_(build_model(config_, {data_.shape, data_.levels, data_.classes, data_.columns},
                           registry)),
        meter_(model_.schedule) {
    check(data_.size >= 1, config_.data.spec, ": has no examples to train on");
    check(!config_.data.flip || data_.flip, "data.flip: a mirrored example of ", data_.name,
          " is not as probable as the example; set it to false");
    check(held_out_.shape == data_.shape && held_out_.levels == data_.levels, data_.name,
          ": its held-out examples have shape ", at::IntArrayRef(held_out_.shape), " and ",
          held_out_.levels, " levels, those to train on ", at::IntArrayRef(data_.shape), " and ",
          data_.levels, "; they must be alike");
    check(model_.network->needs_context.empty() &&
              (config_.data.conditional || !model_.network->needs_label),
          "model: this network must be told more of each example than its noise and time, and the "
          "data says no more; set model.class_embedding=table, or data.conditional=true where the "
          "data has classes");
    find_entry(registry.samplers, config_.sample.sampler, "sampler");
    model_.network->to(device_);
    loss_.emplace(model_, registry, precision_, device_);
    optimiser_.emplace(*model_.network, config_.train);
  }

  TrainEnd run() {
    start();
    for (bool done = progress() >= 1; !done;) {  // asked once a step: the clock goes on
      bool kept = step();
      bool stop = false;
      if (kept) {
        if (step_ % config_.watch.log_every == 0) write_metrics();
        watch();
        stop = hooks_.interrupted && hooks_.interrupted();
        done = progress() >= 1;
        if (stop || done || step_ % config_.checkpoint.every == 0) kept = save();
      }
      if (!kept) {
        if (!roll_back()) return TrainEnd::diverged;
        done = progress() >= 1;
      }
      if (stop) return TrainEnd::interrupted;
    }
    return TrainEnd::finished;
  }

 private:
  void start() {
    lock_ = open_run_folder(request_.out, request_.resume);
    for (const std::string& warning : model_.schedule.warnings) say("warning: " + warning);
    const Objective& objective = loss_->objective();
    if (model_.schedule.at(model_.schedule.t_max).alpha == 0 && objective.error == ErrorOf::eps &&
        objective.kind != LossKind::bound)
      say("warning: " + model_.schedule.name +
          " ends in pure noise, where the eps error that objective " + objective.name +
          " weighs is 0 whatever the network says, so that the first step of sampling is "
          "hardly trained; train.objective=unweighted trains it");
    const double mismatch = terminal_mismatch_nats(model_.schedule);
    char words[160];
    std::snprintf(words, sizeof words,
                  "schedule %s: L_T = %.2g nats = %.2g bits for each dimension with |x_0| = 1",
                  model_.schedule.name.c_str(), mismatch, bits_per_dim(mismatch, 1));
    say(words);
    int64_t parameters = 0;
    for (const Tensor& parameter : model_.network->parameters()) parameters += parameter.numel();
    say(data_.name + ": " + std::to_string(data_.size) + " examples to train on, " +
        std::to_string(held_out_.size) + " held out; network of " + std::to_string(parameters) +
        " parameters; " + precision_ + " on " + device_.str() +
        (config_.train.precision == "auto" ? " (train.precision=fp32|bf16 overrides)" : "") + ", " +
        std::to_string(at::get_num_threads()) + " threads");
    if (request_.resume) {
      if (const auto found = newest_checkpoint(request_.out, hooks_.log)) {
        restore(*found);
        seconds_before_ = read_seconds_spent(request_.out);
        say("continuing " + request_.out + " from step " + std::to_string(step_));
      } else {
        say(request_.out + ": nothing to resume; starting anew");
      }
    }
    write_config(request_.out, config_);
    truncate_metrics(request_.out, step_);
    begun_ = Clock::now();
    if (step_ == 0) save();  // roll-backs always have a target
    open_loader();
  }

  /// Fraction of the run that is done.
  double progress() const {
    if (request_.budget_seconds > 0)
      return std::min(1.0, seconds_spent() / request_.budget_seconds);
    return std::min(1.0, static_cast<double>(step_) / static_cast<double>(config_.train.steps));
  }

  double seconds_spent() const { return seconds_before_ + seconds_since(begun_); }

  void open_loader() {
    loader_.emplace(data_, LoaderOptions{config_.train.batch, seed(), config_.data.flip},
                    state_.cursor);
  }

  uint64_t seed() const { return static_cast<uint64_t>(config_.train.seed); }

  /// Hides the class of some examples, so that one network is also the unconditional model that
  /// guidance needs.
  Tensor hidden_labels(const Tensor& labels, int64_t step) const {
    const Tensor label = labels.clone();
    for (int64_t i = 0; i < label.size(0); ++i)
      if (keyed_uniform({seed(), Stream::classes}, i, step) < config_.data.drop_class)
        label[i] = static_cast<int64_t>(data_.classes.size());
    return label;
  }

  /// One optimiser step; false if its loss or gradient was not finite (said through the log;
  /// nothing was updated).
  bool step() {
    const Clock::time_point begun = Clock::now();
    const int64_t step = step_ + 1;
    LoadedBatch loaded = loader_->next();
    Batch batch{loaded.batch.x.to(device_), {}};
    if (config_.data.conditional)
      batch.condition.label = hidden_labels(loaded.batch.condition.label, step).to(device_);
    optimiser_->zero_gradients();
    const StepLosses losses = loss_->add_gradient(batch, step);
    const double norm = optimiser_->gradient_norm();
    if (!std::isfinite(norm) || !std::isfinite(losses.mean)) {
      say(describe_non_finite({step, loaded, losses.levels, losses.losses}, *model_.network));
      return false;
    }
    const double clip = config_.train.clip;
    optimiser_->step(step,
                     learning_rate(config_.train, step, progress()) * state_.learning_rate_scale,
                     clip > 0 && norm > clip ? clip / norm : 1);
    step_ = step;
    state_.cursor = loaded.cursor;
    loss_->record(losses);
    meter_.count(losses, norm, seconds_since(begun));
    report(losses.mean);
    return true;
  }

  void report(double loss) {
    if (!hooks_.progress) return;
    const bool budget = request_.budget_seconds > 0;
    const double seconds = meter_.seconds_per_step();
    const double left = budget ? request_.budget_seconds - seconds_spent()
                               : static_cast<double>(config_.train.steps - step_) * seconds;
    hooks_.progress({step_, budget ? 0 : config_.train.steps, loss,
                     static_cast<double>(config_.train.batch) / seconds, left, resident_bytes()});
  }

  void write_metrics() {
    Json line = {{"step", step_},
                 {"seconds", seconds_spent()},
                 {"learning_rate",
                  learning_rate(config_.train, step_, progress()) * state_.learning_rate_scale}};
    line.update(meter_.take());
    append_metrics(request_.out, line);
  }

  /// Held-out bound and sample grids, when their steps have come.  The model shown is the slowest
  /// average's.
  void watch() {
    const WatchConfig& watch = config_.watch;
    const bool bound = watch.held_out_every > 0 && step_ % watch.held_out_every == 0;
    const bool samples = watch.samples_every > 0 && step_ % watch.samples_every == 0;
    if (!bound && !samples) return;
    if (model_.gamma) model_.schedule = frozen_schedule(model_.gamma->table());
    model_.network->eval();
    if (samples) write_sample_grid(model_, registry_, request_.out, step_, "raw");
    const std::vector<double>& rates = config_.train.ema;
    const size_t slowest =
        static_cast<size_t>(std::max_element(rates.begin(), rates.end()) - rates.begin());
    if (!rates.empty()) optimiser_->swap_average(slowest);
    if (samples && !rates.empty()) write_sample_grid(model_, registry_, request_.out, step_, "ema");
    if (bound) {
      const PrecisionGuard guard(precision_, device_);
      const HeldOutBound found = held_out_bound(model_, held_out_);
      const std::string key = "held_out_" + found.unit + "_per_dim";
      append_metrics(request_.out, {{"step", step_},
                                    {"seconds", seconds_spent()},
                                    {key, found.value},
                                    {key + "_standard_error", found.error}});
      char words[96];
      std::snprintf(words, sizeof words, "step %lld: held-out bound %.3f +- %.3f %s/dim",
                    static_cast<long long>(step_), found.value, found.error, found.unit.c_str());
      say(words);
    }
    if (!rates.empty()) optimiser_->swap_average(slowest);
  }

  /// False, and nothing written, if the weights are not finite.
  bool save() {
    if (!optimiser_->is_finite()) {
      say("step " + std::to_string(step_) +
          ": the weights are not finite after the optimiser's update; not saved");
      return false;
    }
    Checkpoint checkpoint;
    checkpoint.step = step_;
    checkpoint.config = portable_config(config_);
    checkpoint.data = to_json(model_.data);
    state_.level_sampler = loss_->draws_state();
    checkpoint.state = to_json(state_);
    checkpoint.tensors = optimiser_->tensors();
    if (model_.gamma) checkpoint.tensors[kScheduleTable] = model_.gamma->table();
    save_checkpoint(request_.out, checkpoint, config_.checkpoint.keep);
    if (request_.budget_seconds > 0) write_seconds_spent(request_.out, seconds_spent());
    return true;
  }

  void restore(const Checkpoint& checkpoint) {
    check(checkpoint.data == to_json(model_.data), request_.out, ": was begun on other data (",
          checkpoint.data.dump(), "); resume with the data it began with");
    optimiser_->load(checkpoint.tensors);
    state_ = from_json<State>(checkpoint.state, request_.out);
    loss_->restore_draws(state_.level_sampler);
    step_ = checkpoint.step;
  }

  /// Back to the last good checkpoint with half the step size; false when that was done often
  /// enough.
  bool roll_back() {
    State next = state_;
    if (next.rollbacks == kMaxRollbacks) {
      say("stopped: not finite again after " + std::to_string(kMaxRollbacks) +
          " roll-backs.  Lower train.learning_rate, set train.clip=1, train in fp32 "
          "(train.precision=fp32), "
          "or look at the examples named above; the last good checkpoint is kept");
      return false;
    }
    const auto good = newest_checkpoint(request_.out, hooks_.log);
    check(good.has_value(), request_.out,
          ": its checkpoints are gone; there is nothing to roll back to");
    restore(*good);
    state_.rollbacks = next.rollbacks + 1;
    state_.learning_rate_scale = next.learning_rate_scale / 2;
    truncate_metrics(request_.out, step_);
    meter_.restart();
    open_loader();
    say("rolled back to step " + std::to_string(step_) + " with the learning rate times " +
        std::to_string(state_.learning_rate_scale) + " (roll-back " +
        std::to_string(state_.rollbacks) + " of " + std::to_string(kMaxRollbacks) + ")");
    return true;
  }

  void say(const std::string& line) const {
    if (hooks_.log) hooks_.log(line);
  }

  const RunConfig& config_;
  const TrainRequest& request_;
  const Registry& registry_;
  const TrainHooks& hooks_;
  FileLock lock_;  // of the run's folder
  torch::Device device_;
  std::string precision_;
  Dataset data_, held_out_;
  Model model_;
  std::optional<TrainingLoss> loss_;
  TrainingMeter meter_;
  std::optional<Optimiser> optimiser_;
  std::optional<Loader> loader_;
  State state_;
  int64_t step_ = 0;
  double seconds_before_ = 0;
  Clock::time_point begun_ = Clock::now();
};

}  // namespace

TrainEnd train(const TrainRequest& request, const Registry& registry, const TrainHooks& hooks) {
  return Training(request, registry, hooks).run();
}

}  // namespace tweedie
