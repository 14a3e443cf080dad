#include "tweedie/jobs/train.h"
#include "tweedie/jobs/memory.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>

#include <unistd.h>

#include <ATen/Parallel.h>

#include "tweedie/base/clock.h"
#include "tweedie/datasets/loader.h"
#include "tweedie/datasets/spec.h"
#include "tweedie/jobs/device.h"
#include "tweedie/jobs/diagnosis.h"
#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/learning_rate.h"
#include "tweedie/jobs/level_draws.h"
#include "tweedie/jobs/optimiser.h"
#include "tweedie/jobs/picture.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/jobs/run_folder.h"
#include "tweedie/jobs/watch.h"
#include "tweedie/model/captured.h"
#include "tweedie/model/gradients_in_place.h"
#include "tweedie/model/objective.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr int64_t kMaxRollbacks = 3;
constexpr int64_t kLossAwareParts = 64;  // that loss-aware draws tell apart in continuous time

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

/// Sums since the last line of metrics.jsonl.
struct Window {
  int64_t steps = 0, examples = 0;
  double loss = 0, gradient_norm = 0;
  double quartile_loss[4] = {}, quartile_count[4] = {};  // by t, from clean to noise
  Clock::time_point start = Clock::now();
};

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

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

Condition part_of(const Condition& condition, int64_t first, int64_t count) {
  return {condition.label.defined() ? condition.label.narrow(0, first, count) : Tensor(),
          condition.context.defined() ? condition.context.narrow(0, first, count) : Tensor()};
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
        objective_(find_entry(registry.objectives, config_.train.objective, "objective")
                       .make(config_.train.objective_options)(model_.schedule)) {
    check(data_.size >= 1, config_.data.spec, ": has no examples to train on");
    check(!config_.data.flip || data_.flip, "data.flip: a mirrored example of ", data_.name,
          " is not as probable as the example; set it to false");
    check(held_out_.shape == data_.shape && held_out_.levels == data_.levels, data_.name,
          ": its held-out examples have shape ", at::IntArrayRef(held_out_.shape), " and ",
          held_out_.levels, " levels, those to train on ", at::IntArrayRef(data_.shape), " and ",
          data_.levels, "; they must be alike");
    find_entry(registry.samplers, config_.sample.sampler, "sampler");
    if (config_.watch.samples_every > 0 && !fits_picture(data_.shape))
      say(data_.name + ": examples of shape " + Json(data_.shape).dump() +
          " cannot be drawn: no grids of samples on the way");
    prepare_loss();
    model_.network->to(device_);
    network_ = device_.is_cuda() ? captured_network(model_.network) : model_.network;
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
    if (model_.schedule.at(model_.schedule.t_max).alpha == 0 && objective_.error == ErrorOf::eps &&
        objective_.kind != LossKind::bound)
      say("warning: " + model_.schedule.name +
          " ends in pure noise, where the eps error that objective " + objective_.name +
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

  /// What the loss needs beside the objective: a chain and its decoder for the bound's own terms.
  void prepare_loss() {
    const bool learned = model_.variance == Variance::learned;
    check(!learned || objective_.kind != LossKind::error, "model.variance=learned: objective ",
          objective_.name,
          " says nothing of variances; set train.objective to hybrid or bound, or model.variance "
          "to small or large");
    check(learned || objective_.kind != LossKind::hybrid,
          "train.objective=hybrid: is for learned variances; set model.variance=learned or "
          "train.objective=simple");
    const Schedule& schedule = model_.schedule;
    if (config_.train.draw == "loss-aware")
      loss_aware_.emplace(schedule.steps > 0 ? schedule.steps : kLossAwareParts);
    if (model_.gamma) check_learned_schedule();
    if (config_.train.by_weight) objective_ = drawn_by_weight(objective_, schedule);
    if (objective_.kind == LossKind::error) return;
    chain_ = chain_path(schedule);
    decoder_ = decoder_named(decoder_name(model_, ""), data_.levels, model_.variance, chain_);
  }

  void check_learned_schedule() const {
    check(objective_.name == "vlb",
          "schedule.name=learned: is learned by the bound, got objective ", objective_.name,
          "; set train.objective=vlb");
    check(config_.model["parameterisation"] == "eps",
          "schedule.name=learned: needs model.parameterisation=eps, got ",
          config_.model["parameterisation"].dump());
    check(config_.train.draw != "loss-aware" && !config_.train.by_weight,
          "schedule.name=learned: spreads its levels itself; set train.draw=antithetic and "
          "train.by_weight=false");
  }

  LevelDraws draws_of(int64_t step) const {
    const RandomKey key{seed(), Stream::levels};
    return loss_aware_ ? draw_levels(*loss_aware_, config_.train.batch, key, step)
                       : draw_levels(config_.train.draw, config_.train.batch, key, step);
  }

  /// 1..T of a chain.
  int64_t chain_step(const Level& level) const {
    return std::llround(level.t * static_cast<double>(model_.schedule.steps));
  }

  /// Hides the class of some examples, so that one network is also the unconditional model that
  /// guidance needs.
  Tensor hidden_labels(const Tensor& labels, int64_t step) const {
    const Tensor label = labels.clone();
    for (int64_t i = 0; i < label.size(0); ++i)
      if (keyed_uniform({seed(), Stream::classes}, i, step) < config_.data.drop_class)
        label[i] = static_cast<int64_t>(data_.classes.size());
    return label;
  }

  struct StepInputs {
    Batch all;
    const std::vector<Level>& levels;
    Tensor eps;
    const std::vector<double>& weights;  // of a loss-aware draw
  };

  /// Adds the gradient of `count` examples from `first` on; returns their losses.
  std::vector<double> add_gradient(const StepInputs& in, int64_t first, int64_t count) {
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
    (total / static_cast<double>(config_.train.batch)).backward();
    const Tensor values = loss.detach().to(torch::kCPU, torch::kDouble).contiguous();
    return {values.data_ptr<double>(), values.data_ptr<double>() + count};
  }

  /// The same; where memory does not suffice, an Error that says what would fit, by trial.
  std::vector<double> gradient_or_advice(const StepInputs& in, int64_t first, int64_t count) {
    try {
      return add_gradient(in, first, count);
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error)) throw;
    }
    const int64_t fits =
        largest_that_fits(count, [&](int64_t fewer) { add_gradient(in, first, fewer); });
    const int64_t batch = config_.train.batch;
    check(fits > 0,
          "train: not enough memory for the gradient of one example; take a smaller network");
    throw Error("train: not enough memory for the gradient of " + std::to_string(count) +
                " examples at once; " + std::to_string(fits) +
                " fit: --set train.accumulate=" + std::to_string((batch + fits - 1) / fits) +
                " takes the batch of " + std::to_string(batch) +
                " in so many pieces with the same result, --set train.batch=" +
                std::to_string(fits) + " makes it smaller");
  }

  /// One optimiser step; false if its loss or gradient was not finite (said through the log;
  /// nothing was updated).
  bool step() {
    const Clock::time_point begun = Clock::now();
    const int64_t step = step_ + 1, batch = config_.train.batch, parts = config_.train.accumulate;
    LoadedBatch loaded = loader_->next();
    const LevelDraws draws = draws_of(step);
    std::vector<Level> levels;
    for (const double u : draws.u) levels.push_back(objective_.draw(u));
    std::vector<int64_t> places(static_cast<size_t>(batch));
    std::iota(places.begin(), places.end(), int64_t{0});
    const Tensor eps = keyed_normal({seed(), Stream::noise}, places, step, data_.shape).to(device_);
    Batch all{loaded.batch.x.to(device_), {}};
    if (config_.data.conditional)
      all.condition.label = hidden_labels(loaded.batch.condition.label, step).to(device_);

    model_.network->train();
    model_.network->seed = seed();
    model_.network->step = step;
    optimiser_->zero_gradients();
    const StepInputs inputs{all, levels, eps, draws.weights};
    std::vector<double> losses;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t first = batch * part / parts, count = batch * (part + 1) / parts - first;
      const std::vector<double> values = gradient_or_advice(inputs, first, count);
      losses.insert(losses.end(), values.begin(), values.end());
    }
    const double norm = optimiser_->gradient_norm();
    double loss = 0;
    for (size_t i = 0; i < losses.size(); ++i)
      loss += losses[i] * (loss_aware_ ? draws.weights[i] : 1) / static_cast<double>(batch);
    if (!std::isfinite(norm) || !std::isfinite(loss)) {
      say(describe_non_finite({step, loaded, levels, losses}, *model_.network));
      return false;
    }
    const double clip = config_.train.clip;
    optimiser_->step(step,
                     learning_rate(config_.train, step, progress()) * state_.learning_rate_scale,
                     clip > 0 && norm > clip ? clip / norm : 1);
    step_ = step;
    state_.cursor = loaded.cursor;
    if (loss_aware_)
      for (size_t i = 0; i < losses.size(); ++i) loss_aware_->record(draws.steps[i], losses[i]);
    count(levels, losses, loss, norm);
    report(loss, seconds_since(begun));
    return true;
  }

  Tensor piece_loss(const Batch& piece, Levels levels, const Tensor& eps) {
    const PrecisionGuard guard(precision_, device_);
    Network& network = *network_;
    if (model_.gamma) {
      std::vector<double> t;
      for (const Level& level : levels) t.push_back(level.t);
      return learned_schedule_loss(network, *model_.gamma, piece,
                                   torch::tensor(t, torch::kDouble).to(device_), eps, data_.levels);
    }
    if (objective_.kind == LossKind::error)
      return denoising_loss(network, model_.parameterisation, objective_, piece, levels, eps);
    std::vector<int64_t> places;  // in the chain's path, which begins at step T
    for (const Level& level : levels) places.push_back(model_.schedule.steps - chain_step(level));
    if (objective_.kind == LossKind::hybrid)
      return hybrid_loss(network, model_.parameterisation, objective_, piece, chain_, places, eps,
                         decoder_);
    return vlb_loss(network, model_.parameterisation, piece, chain_, places, eps, model_.variance,
                    decoder_);
  }

  void count(const std::vector<Level>& levels, const std::vector<double>& losses, double loss,
             double norm) {
    ++window_.steps;
    window_.examples += config_.train.batch;
    window_.loss += loss;
    window_.gradient_norm += norm;
    const double first = model_.schedule.t_min, range = model_.schedule.t_max - first;
    for (size_t i = 0; i < levels.size(); ++i) {
      const int quartile = std::clamp(static_cast<int>(4 * (levels[i].t - first) / range), 0, 3);
      window_.quartile_loss[quartile] += losses[i];
      window_.quartile_count[quartile] += 1;
    }
  }

  void report(double loss, double seconds) {
    seconds_per_step_ =
        seconds_per_step_ == 0 ? seconds : 0.95 * seconds_per_step_ + 0.05 * seconds;
    if (!hooks_.progress) return;
    const bool budget = request_.budget_seconds > 0;
    const double left = budget
                            ? request_.budget_seconds - seconds_spent()
                            : static_cast<double>(config_.train.steps - step_) * seconds_per_step_;
    hooks_.progress({step_, budget ? 0 : config_.train.steps, loss,
                     static_cast<double>(config_.train.batch) / seconds_per_step_, left,
                     resident_bytes()});
  }

  void write_metrics() {
    const double steps = static_cast<double>(window_.steps);
    Json quartiles = Json::array();
    for (int i = 0; i < 4; ++i)
      quartiles.push_back(window_.quartile_count[i] > 0
                              ? Json(window_.quartile_loss[i] / window_.quartile_count[i])
                              : Json());
    append_metrics(request_.out,
                   {{"step", step_},
                    {"seconds", seconds_spent()},
                    {"loss", window_.loss / steps},
                    {"loss_by_t_quartile", quartiles},
                    {"gradient_norm", window_.gradient_norm / steps},
                    {"learning_rate",
                     learning_rate(config_.train, step_, progress()) * state_.learning_rate_scale},
                    {"images_per_second",
                     static_cast<double>(window_.examples) / seconds_since(window_.start)},
                    {"resident_bytes", resident_bytes()}});
    window_ = {};
  }

  /// Held-out bound and sample grids, when their steps have come.  The model shown is the slowest
  /// average's.
  void watch() {
    const WatchConfig& watch = config_.watch;
    const bool bound = watch.held_out_every > 0 && step_ % watch.held_out_every == 0;
    const bool samples =
        watch.samples_every > 0 && step_ % watch.samples_every == 0 && fits_picture(data_.shape);
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
    if (loss_aware_) state_.level_sampler = loss_aware_->state();
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
    if (loss_aware_) loss_aware_->restore(state_.level_sampler);
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
    window_ = {};
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
  std::shared_ptr<Network> network_;  // the model's, as its passes in training are done
  std::string precision_;
  Dataset data_, held_out_;
  Model model_;
  Objective objective_;
  Path chain_;  // of the bound's terms, where the objective has them
  Decoder decoder_;
  std::optional<LossAwareSteps> loss_aware_;
  std::optional<Optimiser> optimiser_;
  std::optional<Loader> loader_;
  State state_;
  Window window_;
  int64_t step_ = 0;
  double seconds_before_ = 0, seconds_per_step_ = 0;
  Clock::time_point begun_ = Clock::now();
};

}  // namespace

TrainEnd train(const TrainRequest& request, const Registry& registry, const TrainHooks& hooks) {
  return Training(request, registry, hooks).run();
}

}  // namespace tweedie
