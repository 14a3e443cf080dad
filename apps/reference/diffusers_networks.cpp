// Cases of diffusers' UNet2DModel, alone and in its pipelines.
#include "diffusers_schedulers.h"
#include "diffusers_unet.h"
#include "peer_networks.h"
#include "tweedie/base/error.h"
#include "tweedie/nets/embedding.h"

namespace tweedie::reference {
namespace {

struct Run {
  std::shared_ptr<Network> network;
  Tensor input, output;
};

/// Output and gradients of the mean square of the output, for the case's input.
Run run_network(const Case& the_case, const Json& config, const std::string& weights,
                at::ScalarType type) {
  Run out{make_diffusers_unet(config, type), the_case.tensor("sample").to(type).clone(), {}};
  load_weights(*out.network, weights);
  out.input.requires_grad_();
  Condition condition;
  if (the_case.has("class_labels")) condition.label = the_case.tensor("class_labels");
  out.output = out.network->forward(out.input, the_case.tensor("timestep").to(type), condition);
  out.output.square().mean().backward();
  return out;
}

void compare_gradients(const Case& the_case, Checker& checker, const Run& run,
                       const std::function<double(const Tensor& expected)>& extra_atol) {
  const auto parameters = run.network->named_parameters();
  for (const auto& [name, expected] : the_case.tensors) {
    if (!name.starts_with("grad.")) continue;
    const std::string of = name.substr(5);
    const Tensor* const parameter = parameters.find(of);
    check(of == "input" || parameter != nullptr, the_case.id, ": no parameter '", of, "'");
    checker.compare(name, of == "input" ? run.input.grad() : parameter->grad(),
                    extra_atol(expected));
  }
}

void run_unet(const Case& the_case, Checker& checker) {
  const std::string folder = the_case.row.at("folder");
  const Json config = read_json(the_case.path(folder + "/config.json"));
  const Refusal refusal = refused_unet(config);
  check(refusal.empty(), "config.json: ", refusal);
  const std::string weights = the_case.path(folder + "/diffusion_pytorch_model.safetensors");

  const Run exact = run_network(the_case, config, weights, at::kDouble);
  checker.compare("output", exact.output.detach());
  checker.tolerate("grad");
  compare_gradients(the_case, checker, exact, [](const Tensor&) { return 0.0; });

  checker.tolerate("float32");  // our own kernels are for floats
  const Run single = run_network(the_case, config, weights, at::kFloat);
  checker.compare("output", single.output.detach());
  checker.tolerate("grad");  // of which floats may be off by 1e-3 of the largest
  compare_gradients(the_case, checker, single, [](const Tensor& expected) {
    return 1e-3 * expected.abs().max().item<double>();
  });

  checker.tolerate("float32");
  if (the_case.has("act.time_proj")) {
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

void run_pipeline(const Case& the_case, Checker& checker) {
  const std::string folder = the_case.row.at("folder");
  const Json config = read_json(the_case.path(folder + "/unet/config.json"));
  const Json scheduler = read_json(the_case.path(folder + "/scheduler/scheduler_config.json"));
  for (const Refusal& refusal : {refused_unet(config), refused_scheduler(scheduler)})
    check(refusal.empty(), folder, ": ", refusal);
  const auto network = make_diffusers_unet(config, at::kDouble);
  load_weights(*network, the_case.path(folder + "/unet/diffusion_pytorch_model.safetensors"));

  const int64_t count = the_case.config.at("num_inference_steps");
  const std::vector<int64_t> timesteps = scheduler_timesteps(scheduler, count, checker);
  const Tensor& noise = the_case.tensor("noise");  // the start, then one for each step that draws
  const Draws draws = [&](int64_t step) { return noise[step + 1]; };
  const std::string kind = scheduler.at("_class_name");
  check(kind == "DDPMScheduler" || kind == "DDIMScheduler", "scheduler ", kind, " is unknown");
  const DdimStep options{the_case.config.value("eta", 0.0),
                         the_case.config.value("use_clipped_model_output", false)};
  const DiffusersRun run =
      kind == "DDPMScheduler"
          ? run_diffusers_ddpm(scheduler, timesteps, network, noise[0], draws, checker)
          : run_diffusers_ddim(scheduler, timesteps, count, options, network, noise[0], draws,
                               checker);
  const std::vector<Tensor>& x = run.trajectory.x;
  checker.compare("timesteps", at::tensor(timesteps, at::kLong));
  checker.compare("x", at::stack(at::TensorList(x).slice(1)));
  checker.compare("images", (x.back() / 2 + 0.5).clamp(0, 1).permute({0, 2, 3, 1}));
}

}  // namespace

Plan plan_diffusers_unet(const Json& row) {
  const Refusal refusal = refused_unet(row.value("config", Json::object()));
  return refusal.empty() ? Plan{run_unet, ""} : Plan{{}, refusal};
}

Plan plan_diffusers_pipeline(const Json& row) {
  const Refusal refusal =
      unknown_keys("config", row.value("config", Json::object()),
                   {"num_inference_steps", "batch_size", "eta", "use_clipped_model_output"});
  return refusal.empty() ? Plan{run_pipeline, ""} : Plan{{}, refusal};
}

}  // namespace tweedie::reference
