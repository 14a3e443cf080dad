// One small network learns the same two-dimensional data on every continuous process.
#include <doctest/doctest.h>

#include <numeric>
#include <sstream>

#include "tests/jobs/toy_run.h"
#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/sample.h"

using namespace tweedie;

namespace {

const char* const kData = "toy:gaussian-mixture?n=2000";

struct Process {
  Json schedule;
  const char* parameterisation;
  const char* objective;
};

std::vector<Process> processes() {
  return {{{{"name", "vp"}}, "v", "likelihood"},
          {{{"name", "sub-vp"}}, "v", "simple"},
          {{{"name", "ve"}, {"sigma_max", 10}}, "edm", "edm"},
          {{{"name", "edm"}, {"sigma_max", 10}}, "edm", "edm"},
          {{{"name", "cosine-continuous"}}, "v", "mixed"},
          {{{"name", "flow"}}, "velocity", "unweighted"},
          {{{"name", "log-snr-linear"}}, "eps", "vlb"}};
}

RunConfig config_of(const Process& process) {
  RunConfig config = small_config();
  config.data.spec = kData;
  config.schedule = process.schedule;
  config.model["width"] = 64;
  config.model["blocks"] = 2;
  config.model["parameterisation"] = process.parameterisation;
  config.train = {.steps = 2000, .batch = 128, .learning_rate = 2e-3};
  config.train.objective = process.objective;
  config.train.decay = "linear";
  config.train.ema = {0.99};
  config.checkpoint.every = 5000;
  return config;
}

/// Mean loss over the last half of a run.
double late_loss(const std::string& run) {
  std::vector<double> losses;
  std::istringstream lines(read_file(run + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);)
    losses.push_back(Json::parse(line).at("loss").get<double>());
  const size_t half = losses.size() / 2;
  double sum = 0;
  for (size_t i = half; i < losses.size(); ++i) sum += losses[i];
  return sum / static_cast<double>(losses.size() - half);
}

Tensor all_examples(const Dataset& data) {
  std::vector<int64_t> all(static_cast<size_t>(data.size));
  std::iota(all.begin(), all.end(), int64_t{0});
  return data.get(all).x;
}

/// Mean log density of samples under the true distribution, above that of the data itself.
double excess_log_density(const Tensor& samples, const Dataset& data) {
  return (data.log_density(samples).mean() - data.log_density(all_examples(data)).mean())
      .item<double>();
}

/// The least loss of a denoiser that is linear in x_t, which knows the data's variance and nothing
/// of its shape.
double linear_loss(const Model& model, const Dataset& data) {
  const double data_var = all_examples(data).var(0).mean().item<double>();
  const Objective objective = find_entry(builtin().objectives, model.config.train.objective, "")
                                  .make(Json::object())(model.schedule);
  constexpr int kPoints = 4000;
  double sum = 0;
  for (int i = 0; i < kPoints; ++i) {
    const Level l = objective.draw((i + 0.5) / kPoints);
    const double signal = l.alpha * l.alpha * data_var;
    double error = signal / (signal + l.sigma * l.sigma);  // of eps
    if (objective.error == ErrorOf::output) {
      const double to_eps = model.parameterisation(l).c_out * l.alpha / l.sigma;
      error /= to_eps * to_eps;
    }
    sum += objective.weight(l) * error / kPoints;
  }
  return sum;
}

Tensor samples_of(const Model& model, const std::string& sampler, const std::string& path) {
  SampleRequest request;
  request.count = 1000;
  request.batch = 1000;
  request.steps = 50;
  request.sampler = sampler;
  request.path = path;
  return sample(model, builtin(), request).x;
}

}  // namespace

TEST_CASE(
    "on every continuous process training beats the best linear denoiser and draws the data") {
  const Dataset data = open_dataset(builtin(), kData, "test");
  for (const Process& process : processes()) {
    const std::string name = process.schedule["name"];
    CAPTURE(name);
    const Scratch scratch;
    CHECK(train_to(scratch / "run", config_of(process)) == TrainEnd::finished);
    const Model model = load_model(scratch / "run", builtin());
    const double loss = late_loss(scratch / "run"), linear = linear_loss(model, data);
    CAPTURE(loss);
    CAPTURE(linear);
    CHECK(loss < 0.98 * linear);  // 2% is ten standard errors of the mean loss
    for (const char* path : {"auto", "karras"}) {
      if (name == "flow" && path == std::string("karras")) continue;  // its log-SNR has no end
      const double excess = excess_log_density(samples_of(model, "ddim", path), data);
      CAPTURE(path);
      CAPTURE(excess);
      CHECK(excess > -1);  // nats
    }
  }
}

TEST_CASE("a network trained in continuous time samples a chain of its process as well") {
  const Scratch scratch;
  Process process{{{"name", "cosine-continuous"}}, "v", "simple"};
  train_to(scratch / "run", config_of(process));
  const Model model = load_model(scratch / "run", builtin());
  const Dataset data = open_dataset(builtin(), kData, "test");
  CHECK(excess_log_density(samples_of(model, "ddpm", "auto"), data) > -1);
  // The levels of a discrete chain of 100 steps, each known to the network by its own log-SNR.
  const Schedule curve = model.schedule;
  Path chain;
  for (const Level& level : chain_path(chain_from_betas("cosine", cosine_betas(100)))) {
    if (level.sigma == 0)
      chain.push_back(clean);
    else
      chain.push_back(curve.at(time_of_log_snr(curve, log_snr(level))));
  }
  std::vector<int64_t> numbers(1000);
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  const torch::NoGradGuard no_grad;
  const Tensor x = find_entry(builtin().samplers, "ddpm", "sampler")
                       .make({{"clip", false}})(model.denoiser, keyed_prior(1, numbers, {2}), chain,
                                                {}, keyed_noise(1, numbers), {});
  CHECK(excess_log_density(x, data) > -1);
}

TEST_CASE("a Gaussian of the data's variance is told from the data by its log density") {
  const Dataset data = open_dataset(builtin(), kData, "test");
  std::vector<int64_t> numbers(1000);
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  const Tensor x = keyed_prior(1, numbers, {2}, all_examples(data).std(0).mean().item<double>());
  CHECK(excess_log_density(x, data) < -3);
}
