#include "tweedie/jobs/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "tweedie/jobs/device.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

Variance variance_of(const Model& model, const std::string& name) {
  if (name.empty()) return model.variance;
  if (name == "small") return Variance::small;
  if (name == "large") return Variance::large;
  check(name == "learned", "evaluate: unknown variance '", name, "'",
        suggestion(name, {"small", "large", "learned"}));
  check(model.variance == Variance::learned,
        "evaluate: the model has no learned variance; pass --variance small or large");
  return Variance::learned;
}

void check_data(const Model& model, const Dataset& data, const EvaluateRequest& request) {
  check(data.size >= 1, "evaluate: the data '", data.name, "' has no examples");
  check(data.shape == model.data.shape, "evaluate: the data's examples have shape ",
        at::IntArrayRef(data.shape), ", the model was trained on ",
        at::IntArrayRef(model.data.shape), "; pass the data it was made for");
  check(data.levels == model.data.levels, "evaluate: the data has ", data.levels,
        " values per dimension (0: continuous), the model was trained on ", model.data.levels);
  check(request.limit >= 0, "evaluate: --limit ", request.limit, "; expected 1 or more");
  check(request.batch >= 1, "evaluate: the batch is ", request.batch, "; expected 1 or more");
  check(request.terms >= 0, "evaluate: --terms ", request.terms,
        "; expected 0 (every one) or more");
  check(request.path_steps >= 0, "evaluate: ", request.path_steps,
        " levels for the bound; expected 1 or more");
  check(!model.config.data.conditional || !data.classes.empty(),
        "evaluate: the model needs class labels and the data '", data.name, "' has none");
  check(!model.config.data.conditional || data.classes == model.data.classes, "evaluate: '",
        data.name, "' has the classes ", Json(data.classes).dump(), ", the model was trained on ",
        Json(model.data.classes).dump());
}

/// Sums of L_{t-1} and how often each was drawn.
struct LevelSums {
  std::vector<double> sum;
  std::vector<int64_t> count;

  void add(const VlbTerms& terms) {
    const Tensor values = terms.per_level.to(torch::kCPU, torch::kDouble).contiguous();
    const double* value = values.data_ptr<double>();
    for (size_t i = 0; i < terms.at.size(); ++i) {
      sum.at(static_cast<size_t>(terms.at[i])) += value[i];
      ++count.at(static_cast<size_t>(terms.at[i]));
    }
  }
  std::vector<double> means() const {
    std::vector<double> out;
    for (size_t i = 0; i < sum.size(); ++i)
      out.push_back(count[i] > 0 ? sum[i] / static_cast<double>(count[i]) : std::nan(""));
    return out;
  }
};

struct Mean {
  double value, error;
};

/// Mean and its standard error; one example has none (NaN).
Mean mean_of(const Tensor& nats) {
  const int64_t n = nats.size(0);
  const double error =
      n > 1 ? nats.std().item<double>() / std::sqrt(static_cast<double>(n)) : std::nan("");
  return {nats.mean().item<double>(), error};
}

}  // namespace

std::string decoder_name(const Model& model, const std::string& asked) {
  if (!asked.empty()) return asked;
  if (model.data.levels == 0) return "gaussian";
  return model.schedule.steps > 0 ? "discretised" : "softmax";
}

Decoder decoder_named(const std::string& name, int64_t levels, Variance variance,
                      const Path& path) {
  check(name == "gaussian" || levels > 0, "evaluate: decoder '", name,
        "' is for data with countable values; this data is continuous, use gaussian");
  const bool learned = variance == Variance::learned;
  if (name == "discretised")
    return discretised_gaussian_decoder(levels, decoder_variance(path), learned);
  if (name == "softmax") return softmax_decoder(levels);
  check(name == "gaussian", "evaluate: unknown decoder '", name, "'",
        suggestion(name, {"discretised", "softmax", "gaussian"}));
  check(levels == 0, "evaluate: decoder 'gaussian' gives a density, but this data has ", levels,
        " countable values; use discretised or softmax");
  return gaussian_decoder(decoder_variance(path), learned);
}

Evaluation evaluate_vlb(const Model& model, const Dataset& data, const EvaluateRequest& request) {
  const auto started = std::chrono::steady_clock::now();
  check_data(model, data, request);
  Evaluation out;
  out.path_steps = request.path_steps > 0     ? request.path_steps
                   : model.schedule.steps > 0 ? model.schedule.steps
                                              : 1000;
  check(model.schedule.steps == 0 || out.path_steps <= model.schedule.steps,
        "evaluate: ", out.path_steps, " levels, but the model's chain has only ",
        model.schedule.steps);
  check(request.terms <= out.path_steps, "evaluate: --terms ", request.terms,
        ", but the bound has only ", out.path_steps, " terms; pass fewer, or 0 for every one");
  out.variance =
      request.variance.empty() ? model.config.model.value("variance", "small") : request.variance;
  out.decoder = decoder_name(model, request.decoder);
  out.terms = request.terms;
  out.seed = request.seed;
  const Variance variance = variance_of(model, out.variance);
  const Path path = bound_path(model.schedule, out.path_steps);
  const Decoder decoder = decoder_named(out.decoder, data.levels, variance, path);
  out.examples = request.limit > 0 ? std::min(request.limit, data.size) : data.size;
  out.dims = std::accumulate(data.shape.begin(), data.shape.end(), int64_t{1}, std::multiplies<>());
  const torch::Device device = device_of(*model.network);

  torch::NoGradGuard no_grad;
  LevelSums levels{std::vector<double>(path.size()), std::vector<int64_t>(path.size())};
  std::vector<Tensor> prior, diffusion, decoding;
  double squares = 0;
  for (int64_t done = 0; done < out.examples;) {
    std::vector<int64_t> indices;
    for (int64_t i = done; i < std::min(done + request.batch, out.examples); ++i)
      indices.push_back(i * data.size / out.examples);
    Batch batch = data.get(indices);
    const Tensor x0 = batch.x.to(device);
    squares += x0.to(torch::kDouble).square().sum().item<double>();
    Condition condition;
    if (model.config.data.conditional) condition.label = batch.condition.label.to(device);
    int64_t draws = 0;  // the same for every batch: an example's terms do not depend on its batch
    const Noise noise = [&](const Tensor& like, const Level&, const Level&) {
      return keyed_normal({request.seed, Stream::evaluation}, indices, draws++,
                          like.sizes().slice(1))
          .to(like.options());
    };
    const DrawLevels draw = [&](int64_t stratum) {
      std::vector<double> uniform;
      for (const int64_t index : indices)
        uniform.push_back(keyed_uniform({request.seed, Stream::levels}, index, stratum));
      return uniform;
    };
    const VlbTerms terms = vlb(model.denoiser, path, decoder, x0, condition, noise,
                               {.variance = variance,
                                .x0_variance = {},
                                .prior_std = model.schedule.prior_std,
                                .terms = request.terms},
                               draw);
    prior.push_back(terms.prior.to(torch::kCPU, torch::kDouble));
    diffusion.push_back(terms.diffusion.to(torch::kCPU, torch::kDouble));
    decoding.push_back(terms.decoder.to(torch::kCPU, torch::kDouble));
    levels.add(terms);
    out.evaluations = terms.evaluations;
    done += static_cast<int64_t>(indices.size());
    if (request.log)
      request.log("evaluated " + std::to_string(done) + " of " + std::to_string(out.examples));
  }
  const Tensor priors = torch::cat(prior), diffusions = torch::cat(diffusion),
               decoders = torch::cat(decoding);
  if (model.config.data.conditional)
    out.class_nats = std::log(static_cast<double>(model.data.classes.size()));
  out.per_example_nats = priors + diffusions + decoders + out.class_nats;
  const Mean total = mean_of(out.per_example_nats), first = mean_of(priors),
             middle = mean_of(diffusions), last = mean_of(decoders);
  check(std::isfinite(total.value), "evaluate: the bound is not finite (prior ", first.value,
        ", diffusion ", middle.value, ", decoder ", last.value,
        " nats); the weights are damaged or diverged in training, try an earlier checkpoint");
  out.nats = total.value, out.nats_error = total.error;
  out.prior_nats = first.value, out.prior_error = first.error;
  out.diffusion_nats = middle.value, out.diffusion_error = middle.error;
  out.decoder_nats = last.value, out.decoder_error = last.error;
  const double dims = static_cast<double>(out.dims);
  out.terminal_mismatch_nats =
      dims *
      terminal_mismatch_nats(model.schedule, squares / (dims * static_cast<double>(out.examples)));
  const bool countable = data.levels > 0;
  out.bits_per_dim = countable ? bits_per_dim(total.value, out.dims) : std::nan("");
  out.bits_per_dim_error = countable ? bits_per_dim(total.error, out.dims) : std::nan("");
  out.per_level_nats = levels.means();
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return out;
}

Json to_json(const Evaluation& e) {
  const double dims = static_cast<double>(e.dims);
  Json out = {{"method", "vlb"},
              {"meaning", "an upper bound on -log p(x): lower is better"},
              {"images", e.examples},
              {"dims", e.dims},
              {"evaluations", e.evaluations}};
  if (std::isfinite(e.bits_per_dim)) {
    out["bits_per_dim"] = e.bits_per_dim;
    out["bits_per_dim_standard_error"] = e.bits_per_dim_error;
  }
  out["nats"] = e.nats;
  out["nats_standard_error"] = e.nats_error;
  out["nats_per_dim"] = e.nats / dims;
  out["nats_per_dim_standard_error"] = e.nats_error / dims;
  const auto term = [&](double nats, double error) {
    return Json{{"nats", nats},
                {"nats_standard_error", error},
                {"nats_per_dim", nats / dims},
                {"bits_per_dim", bits_per_dim(nats, e.dims)}};
  };
  out["terms"] = {{"prior", term(e.prior_nats, e.prior_error)},
                  {"diffusion", term(e.diffusion_nats, e.diffusion_error)},
                  {"decoder", term(e.decoder_nats, e.decoder_error)}};
  if (e.class_nats > 0) out["terms"]["class"] = term(e.class_nats, 0);
  if (!std::isfinite(e.bits_per_dim))
    for (auto& [name, value] : out["terms"].items()) value.erase("bits_per_dim");
  out["terminal_mismatch_nats"] = e.terminal_mismatch_nats;
  out["path_steps"] = e.path_steps;
  out["terms_drawn_per_image"] = e.terms;
  out["decoder"] = e.decoder;
  out["variance"] = e.variance;
  out["seed"] = e.seed;
  out["per_level_nats"] = e.per_level_nats;  // not drawn: null
  out["seconds"] = e.seconds;
  return out;
}

}  // namespace tweedie
