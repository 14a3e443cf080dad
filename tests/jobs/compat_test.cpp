// The conventions of other systems, each worked out here by hand from their papers and code.
#include "tweedie/jobs/evaluate_compat.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "tests/jobs/normal_model.h"
#include "tests/refusal.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

EvaluateRequest as_peer(const std::string& peer) {
  std::string method;
  EvaluateRequest request;
  request.compat = peer;
  request.probes = 9;  // the peers have one, and one draw of the noise
  request.paths = 3;
  request.numerical_error = false;
  return compat_request(request, method);
}

/// -log N(x; mean, var) of each example.
Tensor normal_nats(const Tensor& x, double mean, double var) {
  return sum_over_dims(0.5 * ((x - mean).square() / var + std::log(2 * std::numbers::pi * var)));
}

/// -log p(x) by the flow of N(0.1, 0.2^2) from a level to another, whose prior is N(0,
/// prior_std^2): quantiles stay quantiles, so that it is linear.
Tensor flow_nats(const Tensor& x, const Level& data, const Level& noise, double prior_std) {
  const auto var = [](const Level& l) {
    return l.alpha * l.alpha * kStd * kStd + l.sigma * l.sigma;
  };
  const double ratio = var(noise) / var(data);
  const Tensor latent = noise.alpha * kMean + std::sqrt(ratio) * (x - data.alpha * kMean);
  return normal_nats(latent, 0, prior_std * prior_std) -
         0.5 * static_cast<double>(x.size(1)) * std::log(ratio);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

/// 8-bit data whose first values are the ends of the range, in doubles.
Dataset bytes_with_ends() {
  Dataset data = normal_data(8, 2, 256);
  Tensor x = data.get(numbers(8)).x.to(at::kDouble);
  x[0][0] = -1, x[1][1] = 1;
  data.get = [x](at::ArrayRef<int64_t> indices) {
    return Batch{x.index_select(0, at::tensor(indices, at::kLong)), {}};
  };
  return data;
}

/// Far out it leaves [-1, 1].
Prediction bold_prediction(const Tensor& x_t, Levels, const Condition&) { return {1.1 * x_t, {}}; }

/// improved-diffusion's calc_bpd_loop: for each t the KL between two normals of one variance, at
/// t = 1 the mass of the value's bin by a tanh, all with the predicted x0 clamped to [-1, 1].
Tensor improved_diffusion_nats(const Tensor& x, const Schedule& chain) {
  const int64_t steps = chain.steps;
  const auto alpha_bar = [&](int64_t t) {
    const double alpha = chain.at(static_cast<double>(t) / static_cast<double>(steps)).alpha;
    return alpha * alpha;
  };
  const auto beta = [&](int64_t t) { return 1 - alpha_bar(t) / (t == 1 ? 1 : alpha_bar(t - 1)); };
  const auto posterior_var = [&](int64_t t) {
    return beta(t) * (1 - alpha_bar(t - 1)) / (1 - alpha_bar(t));
  };
  const auto predicted = [&](int64_t t) {
    const Tensor eps =
        keyed_normal({0, Stream::evaluation}, numbers(x.size(0)), steps - t, {x.size(1)});
    const Tensor x_t =
        std::sqrt(alpha_bar(t)) * x + std::sqrt(1 - alpha_bar(t)) * eps.to(at::kDouble);
    return (1.1 * x_t).clamp(-1, 1);
  };
  const double end = alpha_bar(steps);
  Tensor nats = sum_over_dims(0.5 * (end * x.square() + (1 - end) - 1 - std::log(1 - end)));
  for (int64_t t = steps; t >= 2; --t) {
    const double c_x0 = std::sqrt(alpha_bar(t - 1)) * beta(t) / (1 - alpha_bar(t));
    nats = nats + sum_over_dims(0.5 * c_x0 * c_x0 / posterior_var(t) * (x - predicted(t)).square());
  }
  const double std = std::sqrt(posterior_var(2));
  const auto cdf = [&](const Tensor& distance) {
    const Tensor z = distance / std;
    return 0.5 * (1 + at::tanh(std::sqrt(2 / std::numbers::pi) * (z + 0.044715 * z * z * z)));
  };
  const Tensor off = x - predicted(1), high = cdf(off + 1.0 / 255), low = cdf(off - 1.0 / 255);
  const Tensor mass = at::where(x == -1, high, at::where(x == 1, 1 - low, high - low));
  return nats - sum_over_dims(mass.clamp_min(1e-12).log());
}

}  // namespace

TEST_CASE("score_sde's bits/dim are those of 2 (k + u) / 256 - 1 from t = 1e-5, and 7 more") {
  const Dataset data = normal_data(8, 2, 256);
  const EvaluateRequest request = as_peer("score_sde");
  const Evaluation got = evaluate_ode(exact_model(data, vp_linear(0.1, 20, 1e-7)), data, request);
  const Tensor k = ((data.get(numbers(8)).x.to(at::kDouble) + 1) * 127.5).round(),
               u = keyed_uniform({0, Stream::dequantise}, numbers(8), 0, {2}).to(at::kDouble);
  const auto level = [](double t) {
    const double integral = 0.1 * t + 0.5 * 19.9 * t * t;
    return Level{t, std::exp(-0.5 * integral), std::sqrt(-std::expm1(-integral)), 0, 0};
  };
  const Tensor expected =
      flow_nats(2 * (k + u) / 256 - 1, level(1e-5), level(1), 1) + 2 * 7 * std::numbers::ln2;
  // The solver's error at 1e-5; by our own convention it would be 8e-3 nats less.
  CHECK(largest_difference(got.table.column("nats"), expected) <= 2e-3);
  CHECK(std::abs(got.bits_per_dim - expected.mean().item<double>() / (2 * std::numbers::ln2)) <=
        1e-3);
  const Json json = to_json(got);
  CHECK(json.at("compat") == "score_sde");
  CHECK(json.at("t_min") == 1e-5);
  CHECK(json.at("rtol") == 1e-5);
  CHECK(json.at("probes") == 1);
  CHECK(json.at("unit") == "bits/dim");
  CHECK(says(refusal([&] { evaluate_ode(exact_model(data, linear_chain(10)), data, request); }),
             "continuous schedule"));
}

TEST_CASE("k-diffusion's number is a density in nats at 1e-4 with the prior N(0, sigma_max^2)") {
  const EvaluateRequest request = as_peer("k-diffusion");
  for (const int64_t levels : {0, 256}) {
    CAPTURE(levels);
    const Dataset data = normal_data(8, 2, levels);
    Schedule schedule = edm(0.01, 40);
    Model model = exact_model(data, schedule);
    model.schedule.prior_std = 7;  // the model's own, which is not the peer's
    const Evaluation got = evaluate_ode(model, data, request);
    const Tensor x = data.get(numbers(8)).x.to(at::kDouble);
    CHECK(largest_difference(got.table.column("nats"),
                             flow_nats(x, schedule.at(0.01), schedule.at(40), 40)) <= 1e-2);
    CHECK(to_json(got).at("unit") == "nats/dim");
    CHECK_FALSE(to_json(got).contains("bits_per_dim"));
  }
  const Dataset data = normal_data(8, 2);
  const Model model = exact_model(data, edm(0.01, 40));
  const Evaluation got = evaluate_ode(model, data, request);
  EvaluateRequest ours;
  ours.rtol = ours.atol = 1e-4;
  ours.numerical_error = false;
  CHECK(at::equal(got.table.column("nats"), evaluate_ode(model, data, ours).table.column("nats")));
  ours.rtol = ours.atol = 1e-5;
  CHECK_FALSE(
      at::equal(got.table.column("nats"), evaluate_ode(model, data, ours).table.column("nats")));
  CHECK(says(refusal([&] { evaluate_ode(exact_model(data, vp_linear()), data, request); }),
             "alpha = 1"));
}

TEST_CASE("improved-diffusion's bound clamps x0 and takes the normal CDF for a tanh") {
  const Dataset data = bytes_with_ends();
  const Schedule chain = linear_chain(50);
  Model model = exact_model(data, chain);
  model.denoiser = bold_prediction;
  const EvaluateRequest request = as_peer("improved-diffusion");
  const Evaluation got = evaluate_vlb(model, data, request);
  const Tensor x = data.get(numbers(8)).x;
  const Tensor expected = improved_diffusion_nats(x, chain);
  CHECK(largest_difference(got.table.column("nats"), expected) <= 1e-9);
  CHECK(std::abs(got.bits_per_dim - expected.mean().item<double>() / (2 * std::numbers::ln2)) <=
        1e-9);

  EvaluateRequest ours;
  ours.decoder = "discretised";
  CHECK(largest_difference(got.table.column("nats"),
                           evaluate_vlb(model, data, ours).table.column("nats")) > 1);  // clamped
  const Model exact = exact_model(data, chain);  // where clamping changes nothing
  const double peers = evaluate_vlb(exact, data, request).bits_per_dim,
               own = evaluate_vlb(exact, data, ours).bits_per_dim;
  CHECK(peers != own);
  CHECK(std::abs(peers - own) < 1e-3);  // the tanh's error is below 5e-4
}

TEST_CASE("a peer's conventions are its own, and another method or name is refused") {
  const auto refused = [](const std::string& peer, std::string method) {
    EvaluateRequest request;
    request.compat = peer;
    return refusal([&] { compat_request(request, method); });
  };
  CHECK(says(refused("improved-diffusion", "ode"), "is --method vlb"));
  CHECK(says(refused("k-diffusion", "vlb"), "is --method ode"));
  CHECK(says(refused("score-sde", ""), "did you mean 'score_sde'"));
  CHECK(refused("score_sde", "ode").empty());
}
