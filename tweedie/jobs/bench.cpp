#include "tweedie/jobs/bench.h"

#include <ATen/Parallel.h>
#include <sys/resource.h>
#include <torch/cuda.h>
#include <torch/nn/modules/linear.h>

#include <numeric>

#include "tweedie/base/clock.h"
#include "tweedie/jobs/bench_solver.h"
#include "tweedie/jobs/device.h"
#include "tweedie/jobs/model_file.h"
#include "tweedie/jobs/optimiser.h"
#include "tweedie/jobs/precision.h"
#include "tweedie/kernels/kernels.h"
#include "tweedie/model/captured.h"
#include "tweedie/model/gradients_in_place.h"
#include "tweedie/model/objective.h"
#include "tweedie/nets/dense.h"
#include "tweedie/nets/embedding.h"
#include "tweedie/tensor/cuda.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr int64_t kWarmUpSteps = 3;  // memory is mapped and oneDNN's code made in the first ones
constexpr size_t kFewestSteps = 5;
constexpr int64_t kSamplingSteps = 20, kMostThreads = 4096;
constexpr uint64_t kSeed = 1;

/// x and 32 features of the noise through layers of 34-128-128-128-2 units.
struct PlainMlp : Network {
  PlainMlp() {
    const int64_t widths[] = {34, 128, 128, 128, 2};
    for (int i = 0; i < 4; ++i)
      layers.push_back(register_module("layer" + std::to_string(i),
                                       torch::nn::Linear(widths[i], widths[i + 1])));
    int h = dense.input({.columns = 2, .split = 2, .angles = 32});
    for (size_t i = 0; i < layers.size(); ++i)
      h = dense.layer({.terms = {{h, layers[i]}}, .silu = i + 1 < layers.size()});
  }
  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition&) override {
    if (dense_is_fast() && dense.takes(x, c_noise)) return dense({x}, c_noise);
    Tensor h = at::cat({x, positional_features(c_noise, {32}).to(x.scalar_type())}, 1);
    for (size_t i = 0; i + 1 < layers.size(); ++i) h = at::silu(layers[i](h));
    return layers.back()(h);
  }
  std::vector<torch::nn::Linear> layers;
  DenseNet dense;
};

/// No work: what is left of a sampling is the solver's.
struct FixedTensor : Network {
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
    if (!out.defined()) out = keyed_normal({kSeed, Stream::data}, {0}, 0, x.sizes().slice(1));
    return out.expand_as(x);
  }
  Tensor out;
};

struct Net {
  const char* name;
  const char* summary;
  int64_t batch;
  std::vector<int64_t> shape;
  Json model;
};

std::vector<Net> nets() {
  const auto unet = [](std::initializer_list<int> multipliers, Json options) {
    Json all = {{"network", "unet"},
                {"parameterisation", "eps"},
                {"variance", "small"},
                {"multipliers", multipliers}};
    all.update(options);
    return all;
  };
  return {
      {"cifar-ddpm",
       "3x32x32, 35.7M parameters, attention at 16: the U-Net of DDPM for CIFAR-10",
       16,
       {3, 32, 32},
       unet({1, 2, 2, 2}, {{"channels", 128},
                           {"attention", {16}},
                           {"attention_head_dim", 0},
                           {"norm_eps", 1e-6},
                           {"dropout", 0.1},
                           {"downsample_padding", 0},
                           {"flip_sin_to_cos", false},
                           {"freq_shift", 1}})},
      {"mnist-unet",
       "1x28x28, 6.5M parameters, attention at 14",
       32,
       {1, 28, 28},
       unet({1, 2, 2}, {{"channels", 64}, {"attention", {14}}, {"attention_head_dim", 0}})},
      {"demo-unet",
       "1x28x28, 1.8M parameters, attention at 7: the U-Net of the recipe fashion-mnist",
       32,
       {1, 28, 28},
       unet({1, 2, 3}, {{"channels", 32},
                        {"layers_per_block", 1},
                        {"attention", {7}},
                        {"norm_num_groups", 8},
                        {"fourier_features", {6, 7}}})},
      {"mlp-2d",
       "layers of 34-128-128-128-2 units for points in the plane",
       512,
       {2},
       {{"network", "plain-mlp"}, {"parameterisation", "eps"}, {"variance", "small"}}},
      {"none",
       "1x28x28, returns a fixed tensor: for `bench sample`, where the solver's own cost is left",
       16,
       {1, 28, 28},
       {{"network", "fixed-tensor"}, {"parameterisation", "eps"}, {"variance", "small"}}},
  };
}

Net net_named(const std::string& name) {
  std::vector<std::string> names;
  for (const Net& net : nets()) {
    if (net.name == name) return net;
    names.emplace_back(net.name);
  }
  throw Error("--net: unknown network '" + name + "'" + suggestion(name, names));
}

void check_request(const BenchRequest& request) {
  check(request.kind == "train" || request.kind == "sample",
        "bench: expected train or sample, got '", request.kind, "'");
  check(request.precision == "auto" || request.precision == "fp32" || request.precision == "bf16",
        "--precision: expected auto, fp32 or bf16, got '", request.precision, "'");
  check(request.batch >= 0, "--batch: expected 1 or more, got ", request.batch);
  check(request.threads >= 0 && request.threads <= kMostThreads, "--threads: expected 1 to ",
        kMostThreads, ", got ", request.threads);
  check(request.sampler.empty() || request.kind == "sample", "--sampler ", request.sampler,
        ": only `tweedie bench sample` samples");
  check(request.net != "none" || request.kind == "sample",
        "--net none: has nothing to train; use `tweedie bench sample`");
  check(request.steps >= 0, "--steps: expected 1 or more, got ", request.steps);
  check(!request.sampler.empty() || request.steps == 0, "--steps ", request.steps,
        ": is for whole samplings; add --sampler NAME");
  check(!request.sampler.empty() || request.sampler_options.empty(),
        "--set: sets options of a sampler; add --sampler NAME");
  check(request.device == "cpu" || request.sampler.empty(), "--device ", request.device,
        ": whole samplings are timed on the CPU only; leave --sampler out");
  check(request.seconds > 0, "--seconds: expected more than 0, got ", request.seconds);
}

Model model_of(const Net& net, Registry registry) {
  registry.networks["plain-mlp"] = {
      "", [](const Json&) -> std::shared_ptr<Network> { return std::make_shared<PlainMlp>(); }};
  registry.networks["fixed-tensor"] = {
      "", [](const Json&) -> std::shared_ptr<Network> { return std::make_shared<FixedTensor>(); }};
  RunConfig config;
  config.model = net.model;
  config.train.seed = kSeed;
  return build_model(config, {net.shape, 0, {}}, registry);
}

std::vector<int64_t> places(int64_t batch) {
  std::vector<int64_t> out(static_cast<size_t>(batch));
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

/// One training step a call.
std::function<void()> training(const Model& model, const Net& net, const Registry& registry,
                               int64_t batch, const std::string& precision, torch::Device device) {
  TrainConfig config;
  config.ema = {0.9999};
  const auto optimiser = std::make_shared<Optimiser>(*model.network, config);
  const Objective objective =
      find_entry(registry.objectives, "simple", "objective").make(Json::object())(model.schedule);
  const Tensor x = keyed_normal({kSeed, Stream::data}, places(batch), 0, net.shape).to(device);
  model.network->train();
  const std::shared_ptr<Network> network =
      device.is_cuda() ? captured_network(model.network) : model.network;
  return [=, step = int64_t{0}]() mutable {
    model.network->step = ++step;
    std::vector<Level> levels;
    for (int64_t i = 0; i < batch; ++i)
      levels.push_back(objective.draw(keyed_uniform({kSeed, Stream::levels}, i, step)));
    const Tensor eps =
        keyed_normal({kSeed, Stream::noise}, places(batch), step, net.shape).to(device);
    optimiser->zero_gradients();
    Tensor loss;
    {
      const PrecisionGuard guard(precision, device);
      loss =
          denoising_loss(*network, model.parameterisation, objective, {x, {}}, levels, eps).mean();
    }
    {
      const GradientsInPlace in_place;
      loss.backward();
    }
    const double norm = optimiser->gradient_norm();
    optimiser->step(step, 1e-4, norm > 1 ? 1 / norm : 1);
  };
}

/// One step of DDIM a call, down a path that is as long as it needs to be.
std::function<void()> sampling(const Model& model, const Net& net, const Registry& registry,
                               int64_t batch, const std::string& precision, torch::Device device) {
  model.network->eval();
  const Denoiser denoiser =
      device.is_cuda() ? make_denoiser(captured_network(model.network), model.parameterisation)
                       : model.denoiser;
  const Sampler sampler = find_entry(registry.samplers, "ddim", "sampler").make(Json::object());
  Tensor x = keyed_prior(kSeed, places(batch), net.shape).to(device);
  return [=, at = int64_t{0}]() mutable {
    const int64_t steps = model.schedule.steps;
    at = at > 2 ? at - 1 : steps;
    if (at == steps) x = keyed_prior(kSeed, places(batch), net.shape).to(device);
    const auto level = [&](int64_t i) {
      return model.schedule.at(static_cast<double>(i) / static_cast<double>(steps));
    };
    const PrecisionGuard guard(precision, device);
    x = sampler(denoiser, x, {level(at), level(at - 1)}, {}, keyed_noise(kSeed, {}), {});
    if (device.is_cuda()) torch::cuda::synchronize();
  };
}

/// Seconds of each step.
std::vector<double> measure(const std::function<void()>& step, double seconds) {
  for (int64_t i = 0; i < kWarmUpSteps; ++i) step();
  std::vector<double> times;
  double sum = 0;
  while (sum < seconds || times.size() < kFewestSteps) {
    const auto begun = Clock::now();
    step();
    times.push_back(seconds_since(begun));
    sum += times.back();
  }
  std::sort(times.begin(), times.end());
  return times;
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Seconds of a step of each whole sampling, sorted; what the solver takes of them goes to
/// `record`.
std::vector<double> measure_solver(const Model& model, const Registry& registry,
                                   const SolverRun& run, Json& record) {
  std::vector<double> steps, outside, shares;
  for (const SolverTime& time : time_solver(model, registry, run)) {
    const double beside = time.seconds - time.network_seconds;
    steps.push_back(time.seconds / static_cast<double>(run.steps));
    outside.push_back(1e3 * beside / static_cast<double>(time.evaluations));
    shares.push_back(beside / time.seconds);
    record["evaluations"] = time.evaluations;
  }
  record["sampler"] = run.sampler;
  record["sampler_options"] = run.options;
  record["sampler_steps"] = run.steps;
  record["milliseconds_outside_network_per_evaluation"] = median_of(outside);
  record["solver_overhead_share"] = median_of(shares);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string kernels_on(torch::Device device) {
  if (device.is_cpu()) return kernels::table().name;
  return cuda_kernels() ? "cuda" : "LibTorch's";
}

int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;  // Linux counts it in KiB
}

/// LibTorch's number of threads, put back at the end.
class Threads {
 public:
  explicit Threads(int64_t asked) : before_(at::get_num_threads()) {
    if (asked > 0) at::set_num_threads(static_cast<int>(asked));
  }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace

std::string bench_nets() {
  std::string out;
  for (const Net& net : nets()) out += std::string(net.name) + ": " + net.summary + "\n";
  return out;
}

Json bench(const BenchRequest& request, const Registry& registry, const Log& log) {
  check_request(request);
  const Net net = net_named(request.net);
  const int64_t batch = request.batch > 0 ? request.batch : net.batch;
  const torch::Device device = device_named(request.device);
  const std::string precision = resolve_precision(request.precision, device);
  const Threads threads(request.threads);
  const Model model = model_of(net, registry);
  model.network->to(device);
  const int64_t steps = request.steps > 0 ? request.steps : kSamplingSteps;
  if (log)
    log("measuring a " + request.kind + " step of " + net.name + ", batch " +
        std::to_string(batch) + ", " + precision);
  Json solver = Json::object();
  std::vector<double> times;
  if (!request.sampler.empty()) {
    times = measure_solver(model, registry,
                           {.sampler = request.sampler,
                            .options = request.sampler_options,
                            .steps = steps,
                            .batch = batch,
                            .precision = precision,
                            .seconds = request.seconds},
                           solver);
  } else {
    times =
        measure(request.kind == "train" ? training(model, net, registry, batch, precision, device)
                                        : sampling(model, net, registry, batch, precision, device),
                request.seconds);
  }
  const double median = 1e3 * times[times.size() / 2];
  int64_t parameters = 0;
  for (const Tensor& parameter : model.network->parameters()) parameters += parameter.numel();
  Json record = {{"kind", request.kind},
                 {"net", request.net},
                 {"batch", batch},
                 {"parameters", parameters},
                 {"milliseconds_per_image", median / static_cast<double>(batch)},
                 {"milliseconds_per_step", median},
                 {"milliseconds_per_step_best", 1e3 * times.front()},
                 {"milliseconds_per_step_worst", 1e3 * times.back()},
                 {"steps", times.size() * static_cast<size_t>(request.sampler.empty() ? 1 : steps)},
                 {"precision", precision},
                 {"device", device.str()},
                 {"kernels", kernels_on(device)},
                 {"threads", at::get_num_threads()},
                 {"peak_bytes", peak_bytes()}};
  record.update(solver);
  return record;
}

}  // namespace tweedie
