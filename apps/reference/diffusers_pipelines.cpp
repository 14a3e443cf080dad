// Pipelines of diffusers: a UNet2DModel and a scheduler.
#include "diffusers_schedulers.h"
#include "peer_network.h"
#include "peer_networks.h"
#include "tweedie/base/error.h"

namespace tweedie::reference {
namespace {

void run_pipeline(const Case& the_case, Checker& checker) {
  const std::string folder = the_case.row.at("folder");
  const Json config = read_json(the_case.path(folder + "/unet/config.json"));
  const Json scheduler = read_json(the_case.path(folder + "/scheduler/scheduler_config.json"));
  for (const Refusal& refusal : {refused_network(config), refused_scheduler(scheduler)})
    check(refusal.empty(), folder, ": ", refusal);
  const auto network =
      load_peer_network(config, the_case.path(folder + "/unet/diffusion_pytorch_model.safetensors"),
                        at::kDouble)
          .network;

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

Plan plan_diffusers_pipeline(const Json& row) {
  const Refusal refusal =
      unknown_keys("config", row.value("config", Json::object()),
                   {"num_inference_steps", "batch_size", "eta", "use_clipped_model_output"});
  return refusal.empty() ? Plan{run_pipeline, ""} : Plan{{}, refusal};
}

}  // namespace tweedie::reference
