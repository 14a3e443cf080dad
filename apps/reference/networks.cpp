// Networks of other libraries: outputs, gradients, activations.
#include <filesystem>

#include "peer_network.h"
#include "peer_networks.h"
#include "tweedie/base/error.h"
#include "tweedie/model/denoiser.h"
#include "tweedie/nets/embedding.h"
#include "tweedie/registry.h"

namespace tweedie::reference {
namespace {

struct Run {
  PeerNetwork peer;
  Tensor input, output;
};

Condition condition_of(const Case& the_case, at::ScalarType type) {
  Condition out;
  if (the_case.has("class_labels")) out.label = the_case.tensor("class_labels");
  if (the_case.has("class_onehot")) out.label = the_case.tensor("class_onehot").argmax(1);
  if (the_case.has("augment_labels")) out.context = the_case.tensor("augment_labels").to(type);
  return out;
}

/// EDM's preconditioned networks: E[x_0 | x_0 + sigma eps].
Tensor denoised(const Run& run, const Tensor& sigma, const Condition& condition) {
  const Json& model = run.peer.family.model;
  const Parameterisation parameterisation =
      builtin()
          .parameterisations.at(model.at("parameterisation"))
          .make(model.value("parameterisation_options", Json::object()))({});
  std::vector<double> skip, out, in, noise;
  for (int64_t i = 0; i < sigma.numel(); ++i) {
    const double s = sigma.view({-1})[i].item<double>();
    const Scaling c = parameterisation(Level{s, 1, s, 0, 1});
    skip.push_back(c.c_skip);
    out.push_back(c.c_out);
    in.push_back(c.c_in);
    noise.push_back(c.c_noise);
  }
  const auto options = run.input.options().requires_grad(false);
  const auto column = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).to(options).view({-1, 1, 1, 1});
  };
  const Tensor c_noise =
      at::tensor(noise, at::kDouble).to(options).expand({run.input.size(0)}).contiguous();
  const Tensor f = run.peer.network->forward(column(in) * run.input, c_noise, condition);
  return column(skip) * run.input + column(out) * f.narrow(1, 0, run.input.size(1));
}

/// Output and gradients of the mean square of the output, for the case's input.
Run run_network(const Case& the_case, const Json& config, const std::string& weights,
                at::ScalarType type) {
  Run out{load_peer_network(config, weights, type), the_case.tensor("sample").to(type).clone(), {}};
  out.input.requires_grad_();
  const Condition condition = condition_of(the_case, type);
  out.output =
      the_case.has("sigma")
          ? denoised(out, the_case.tensor("sigma"), condition)
          : out.peer.network->forward(out.input, the_case.tensor("timestep").to(type), condition);
  out.output.square().mean().backward();
  return out;
}

void compare_gradients(const Case& the_case, Checker& checker, const Run& run, double extra_atol) {
  const Tensors gradients = peer_gradients(run.peer);
  for (const auto& [name, expected] : the_case.tensors) {
    if (!name.starts_with("grad.")) continue;
    const std::string of = name.substr(5);
    const auto found = gradients.find(of);
    check(of == "input" || found != gradients.end(), the_case.id, ": no parameter '", of, "'");
    checker.compare(name, of == "input" ? run.input.grad() : found->second, extra_atol);
  }
}

/// Of a case: some of its gradients may be nothing but rounding, as that of a shift before a norm.
double largest_gradient(const Case& the_case) {
  double out = 0;
  for (const auto& [name, expected] : the_case.tensors)
    if (name.starts_with("grad.")) out = std::max(out, expected.abs().max().item<double>());
  return out;
}

/// DiT's forward_with_cfg: what is guided, by the halves of a batch.
void compare_guidance(const Case& the_case, Checker& checker, const PeerNetwork& peer) {
  checker.compatibility("DiT: only the first three channels are guided");
  const torch::NoGradGuard no_grad;
  const Tensor x = the_case.tensor("cfg.sample"), half = x.narrow(0, 0, x.size(0) / 2);
  const Tensor scale = the_case.tensor("cfg.scale").to(at::kDouble);
  Condition condition;
  condition.label = the_case.tensor("cfg.class_labels");
  const Tensor out = peer.network->forward(
      at::cat({half, half}), the_case.tensor("cfg.timestep").to(x.scalar_type()), condition);
  const std::vector<Tensor> eps = out.narrow(1, 0, 3).chunk(2);
  const Tensor guided = eps[1] + scale * (eps[0] - eps[1]);
  checker.compare("cfg.output",
                  at::cat({at::cat({guided, guided}), out.narrow(1, 3, out.size(1) - 3)}, 1));
}

Json config_of(const Case& the_case, const std::string& folder) {
  return read_json(the_case.path(folder + "/config.json"));
}

void run_network_case(const Case& the_case, Checker& checker) {
  const std::string folder = the_case.row.at("folder");
  const Json config = config_of(the_case, folder);
  std::string weights = the_case.path(folder + "/diffusion_pytorch_model.safetensors");
  if (!std::filesystem::exists(weights)) weights = the_case.path(folder + "/model.safetensors");

  const Run exact = run_network(the_case, config, weights, at::kDouble);
  checker.compare("output", exact.output.detach());
  if (the_case.has("cfg.sample")) compare_guidance(the_case, checker, exact.peer);
  checker.tolerate("grad");
  compare_gradients(the_case, checker, exact, 0);

  checker.tolerate("float32");  // our own kernels are for floats
  const Run single = run_network(the_case, config, weights, at::kFloat);
  checker.compare("output", single.output.detach());
  checker.tolerate("grad");  // of which floats may be off by 1e-3 of the largest
  compare_gradients(the_case, checker, single, 1e-3 * largest_gradient(the_case));

  checker.tolerate("float32");
  if (the_case.has("act.time_proj") && config.value("time_embedding_type", "") == "positional") {
    const Tensor& expected = the_case.tensor("act.time_proj");
    const Tensor label = the_case.tensor("timestep").narrow(0, 0, 1).to(at::kFloat);
    checker.compare("act.time_proj",
                    positional_features(label, {.channels = expected.size(1),
                                                .cosine_first = config.at("flip_sin_to_cos"),
                                                .shift = config.at("freq_shift")}));
  }
  const std::string old_names = the_case.path(folder + "/legacy_names.safetensors");
  if (text_or_empty(the_case.row, "how").find("legacy_names.safetensors") != std::string::npos)
    checker.compare("output", run_network(the_case, config, old_names, at::kFloat).output.detach());
}

}  // namespace

Plan plan_network(const Json& row) {
  Json config = row.value("config", Json::object());
  if (!config.contains("_class_name")) config["_class_name"] = "UNet2DModel";
  const Refusal refusal = refused_network(config);
  return refusal.empty() ? Plan{run_network_case, ""} : Plan{{}, refusal};
}

Plan plan_networks(const Json& row) {
  const std::string source = text_or_empty(row, "source");
  const auto from = [&](const char* name) { return source.find(name) != std::string::npos; };
  if (from("DDPMPipeline") || from("DDIMPipeline")) return plan_diffusers_pipeline(row);
  if (from("get_timestep_embedding")) return plan_embeddings(row);
  return plan_network(row);
}

}  // namespace tweedie::reference
