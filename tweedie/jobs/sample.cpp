#include "tweedie/jobs/sample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tweedie/base/clock.h"
#include "tweedie/jobs/device.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/model/captured.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

void check_condition(const Model& model, const SampleRequest& request) {
  const Network& network = *model.network;
  const bool context = !network.needs_context.empty();
  const bool label = network.needs_label || (model.config.data.conditional && !context);
  std::vector<int64_t> sizes = {request.count};
  sizes.insert(sizes.end(), network.needs_context.begin(), network.needs_context.end());
  const Tensor& told = request.condition;
  if (!told.defined()) {
    check(!network.needs_label && !context, "sample: this network must be told ",
          context ? "an embedding" : "a label",
          " of each sample; pass --condition FILE.npy of shape ", Json(sizes).dump());
    return;
  }
  check(request.class_id == -1, "sample: a class and a condition were given; leave one out");
  check(label || context,
        "sample: this network is told nothing but noise and time; leave --condition out");
  check(told.sizes() == at::IntArrayRef(sizes), "sample: the condition has shape ",
        Json(told.sizes().vec()).dump(), "; expected ", Json(sizes).dump());
  check(context ? told.is_floating_point() : at::isIntegralType(told.scalar_type(), false),
        "sample: the condition is of type ", at::toString(told.scalar_type()), "; expected ",
        context ? "an embedding of floating point" : "labels, whole numbers");
  check(!context || told.isfinite().all().item<bool>(),
        "sample: the condition has values that are not finite");
}

void check_request(const Model& model, const SampleRequest& request, int64_t steps,
                   double guidance) {
  check(request.count >= 1, "sample: the number of samples is ", request.count,
        "; expected 1 or more (-n 64)");
  check(request.batch >= 1, "sample: the batch is ", request.batch, "; expected 1 or more");
  check(request.first >= 0, "sample: the first sample is ", request.first, "; expected 0 or more");
  check(steps >= 1, "sample: ", steps, " steps; expected 1 or more (--steps 50)");
  check(model.schedule.steps == 0 || steps <= model.schedule.steps, "sample: ", steps,
        " steps, but the model's chain '", model.schedule.name, "' has only ", model.schedule.steps,
        "; pass --steps ", model.schedule.steps, " or fewer");
  const int64_t classes = static_cast<int64_t>(model.data.classes.size());
  check(request.class_id >= -1, "sample: class ", request.class_id, "; expected 0 or more");
  check(request.class_id == -1 || model.config.data.conditional, "sample: class ", request.class_id,
        " was asked of a model that was trained without classes; leave --class out, or train with "
        "--set data.conditional=true");
  check(request.class_id < std::max<int64_t>(classes, 1), "sample: class ", request.class_id,
        " is out of range; the model has the classes 0..", classes - 1);
  std::vector<int64_t> sizes = {request.count};
  sizes.insert(sizes.end(), model.data.shape.begin(), model.data.shape.end());
  check(!request.noise.defined() || request.noise.sizes() == at::IntArrayRef(sizes),
        "sample: the noise has shape ",
        Json(request.noise.defined() ? request.noise.sizes().vec() : sizes).dump(), "; expected ",
        Json(sizes).dump());
  check(!request.noise.defined() || request.noise.isfinite().all().item<bool>(),
        "sample: the noise has values that are not finite");
  check_condition(model, request);
  check(std::isfinite(guidance), "sample: guidance ", guidance, "; expected a finite number");
  check(guidance == 1 || model.config.data.conditional, "sample: guidance ", guidance,
        " needs a model trained with classes; leave --guidance out");
}

/// Data that is not in [-1, 1] must not be clamped to it.
Json sampler_options(const Model& model, const SamplerEntry& entry, Json options) {
  if (model.data.levels == 0 && entry.clips && !options.contains("clip")) options["clip"] = false;
  return options;
}

/// Of the samples `numbers`.
Condition condition_of(const Model& model, const SampleRequest& request,
                       const std::vector<int64_t>& numbers, torch::Device device) {
  if (request.condition.defined()) {
    const Tensor told = request.condition.narrow(0, numbers.front() - request.first,
                                                 static_cast<int64_t>(numbers.size()));
    if (told.is_floating_point()) return {.label = {}, .context = told.to(device)};
    return {.label = told.to(device, torch::kLong), .context = {}};
  }
  if (!model.config.data.conditional) return {};
  const int64_t classes = static_cast<int64_t>(model.data.classes.size());
  std::vector<int64_t> labels;
  for (const int64_t number : numbers)
    labels.push_back(request.class_id >= 0 ? request.class_id : number % classes);
  return {.label = torch::tensor(labels, torch::kLong).to(device), .context = {}};
}

/// Which steps of `steps` end a kept moment; the noise itself is the first one.
std::vector<bool> kept_steps(int64_t steps, int64_t frames) {
  std::vector<bool> kept(static_cast<size_t>(steps), false);
  for (int64_t i = 1; i < frames; ++i)
    kept[static_cast<size_t>((i * steps + frames - 2) / (frames - 1) - 1)] = true;
  return kept;
}

/// Collects the moments of the trajectory over batches.
class FrameKeeper {
 public:
  FrameKeeper(const SampleRequest& request, int64_t steps)
      : kept_(kept_steps(steps, request.frames)),
        wanted_(request.frames > 0),
        room_(request.frame_samples) {}

  void begin(const Tensor& noise, const Level& top) {
    place_ = 0;
    take_ = wanted_ ? std::min(room_, noise.size(0)) : 0;
    room_ -= take_;
    if (take_ > 0) noise_ = noise.narrow(0, 0, take_).to(torch::kCPU, torch::kFloat).clone();
    top_ = top;
  }
  void see(const Step& step) {
    if (take_ == 0) return;
    if (step.index == 0) add(top_, noise_, step.x0);
    if (kept_[static_cast<size_t>(step.index)]) add(step.to, step.x, step.x0);
  }
  std::vector<Frame> frames() && { return std::move(frames_); }

 private:
  void add(const Level& level, const Tensor& x, const Tensor& x0) {
    const Tensor state = x.narrow(0, 0, take_).to(torch::kCPU, torch::kFloat).clone();
    const Tensor guess = x0.narrow(0, 0, take_).to(torch::kCPU, torch::kFloat).clone();
    if (place_ == frames_.size()) {
      frames_.push_back({level.t, log_snr(level), state, guess});
    } else {
      frames_[place_].x = torch::cat({frames_[place_].x, state});
      frames_[place_].x0 = torch::cat({frames_[place_].x0, guess});
    }
    ++place_;
  }
  std::vector<bool> kept_;
  bool wanted_;
  int64_t room_, take_ = 0;
  size_t place_ = 0;
  Tensor noise_;
  Level top_{};
  std::vector<Frame> frames_;
};

}  // namespace

SampleResult sample(const Model& model, const Registry& registry, const SampleRequest& request,
                    const Observer& observer) {
  const auto started = Clock::now();
  SampleResult result;
  result.sampler = request.sampler.empty() ? model.config.sample.sampler : request.sampler;
  result.steps = request.steps != 0 ? request.steps : model.config.sample.steps;
  if (request.steps == 0 && model.schedule.steps > 0)
    result.steps = std::min(result.steps, model.schedule.steps);
  result.guidance = request.guidance.value_or(model.config.sample.guidance);
  check_request(model, request, result.steps, result.guidance);
  const SamplerEntry& entry = find_entry(registry.samplers, result.sampler, "sampler");
  check(
      request.frames == 0 || entry.facts.evaluations.per_step > 0, "sample: ", result.sampler,
      " chooses its own steps, other ones for each sample, so that no moments can be shown of all; "
      "take another sampler for a film");
  // The model's own options are those of its own sampler.
  Json options =
      result.sampler == model.config.sample.sampler ? model.config.sample.options : Json::object();
  options.merge_patch(request.sampler_options);
  const Sampler sampler = entry.make(sampler_options(model, entry, options));
  result.path = request.path.empty() ? model.config.sample.path : request.path;
  if (result.path == "auto") result.path = suitable_path(entry.facts, model.schedule);
  const Path path = named_path(result.path, model.schedule, result.steps);
  const torch::Device device = device_of(*model.network);
  const Denoiser bare = guided(
      device.is_cuda() ? make_denoiser(captured_network(model.network), model.parameterisation)
                       : model.denoiser,
      result.guidance, {});

  torch::NoGradGuard no_grad;
  const PrecisionGuard precision(resolve_precision(request.precision, device), device);
  FrameKeeper keeper(request, static_cast<int64_t>(path.size()) - 1);
  std::vector<Tensor> parts;
  for (int64_t done = 0; done < request.count;) {
    std::vector<int64_t> numbers(
        static_cast<size_t>(std::min(request.batch, request.count - done)));
    std::iota(numbers.begin(), numbers.end(), request.first + done);
    const Tensor noise =
        request.noise.defined()
            ? request.noise.narrow(0, done, static_cast<int64_t>(numbers.size())).to(device) *
                  model.schedule.prior_std
            : keyed_prior(request.seed, numbers, model.data.shape, model.schedule.prior_std)
                  .to(device);
    int64_t evaluations = 0;
    const Denoiser denoiser = [&](const Tensor& x, Levels levels, const Condition& condition) {
      ++evaluations;
      return bare(x, levels, condition);
    };
    keeper.begin(noise, path.front());
    const Observer watch = [&](const Step& step) {
      keeper.see(step);
      if (observer) observer(step);
    };
    const Tensor x = sampler(denoiser, noise, path, condition_of(model, request, numbers, device),
                             keyed_noise(request.seed, numbers), watch);
    parts.push_back(x.to(torch::kCPU, torch::kFloat));
    done += static_cast<int64_t>(numbers.size());
    result.evaluations = evaluations * (result.guidance == 0 || result.guidance == 1 ? 1 : 2);
    if (request.log)
      request.log("sampled " + std::to_string(done) + " of " + std::to_string(request.count));
  }
  result.x = torch::cat(parts);
  result.trajectory = std::move(keeper).frames();
  result.seconds = seconds_since(started);
  return result;
}

}  // namespace tweedie
