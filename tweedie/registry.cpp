#include "tweedie/registry.h"

#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/spec.h"
#include "tweedie/nets/mlp.h"
#include "tweedie/nets/unet.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/ddpm.h"
#include "tweedie/samplers/ode.h"

namespace tweedie {
namespace {

template <class T>
std::map<std::string, Entry<T>> entries(const std::vector<Named<T>>& rows) {
  std::map<std::string, Entry<T>> out;
  for (const Named<T>& row : rows) out[row.name] = {row.summary, row.make, row.options};
  return out;
}

template <class Options>
SamplerEntry sampler_entry(std::string summary, const std::string& name, Sampler (*make)(Options),
                           SamplerFacts facts) {
  return {
      {std::move(summary), [=](const Json& given) { return make(from_json<Options>(given, name)); },
       fields_help<Options>("    ")},
      std::move(facts)};
}

}  // namespace

Registry builtin() {
  Registry registry;
  registry.schedules = entries(named_schedules());
  registry.parameterisations = entries(named_parameterisations());
  registry.objectives = entries(named_objectives());
  registry.samplers["ddpm"] = sampler_entry<DdpmOptions>(
      "ancestral sampling", "ddpm", ddpm,
      {"1", "N", true, "hundreds of steps; the chain that the bound is about"});
  registry.samplers["ddim"] =
      sampler_entry<DdimOptions>("first-order probability flow, with eta > 0 stochastic", "ddim",
                                 ddim, {"1", "N", false, "a robust default for 20 to 100 steps"});
  registry.samplers["ode"] = sampler_entry<OdeSamplerOptions>(
      "probability flow by Dormand and Prince's method, with steps of each sample's own", "ode",
      ode,
      {"5", "as the tolerance needs, whatever N", false,
       "an exact flow: encoding, comparing models, a reference for other samplers", "karras"});
  registry.networks["unet"] = {
      "U-Net for images of any C, H, W, laid out as diffusers' UNet2DModel", make_unet,
      unet_options_help()};
  registry.networks["mlp"] = {"residual MLP for vectors", make_mlp, mlp_options_help()};
  registry.datasets["fashion-mnist"] = {
      "70,000 gray 28x28 pictures of clothes (Debian's dataset-fashion-mnist)", make_fashion_mnist,
      fashion_mnist_options_help()};
  registry.datasets["idx"] = {"idx:FILE, images in MNIST's format, gzipped or not", make_idx,
                              idx_options_help()};
  registry.datasets["images"] = {"images:DIR, PNG and JPEG files; sub-folders are classes",
                                 make_image_folder, image_folder_options_help()};
  registry.datasets["toy"] = {
      "toy:swiss-roll|two-moons|checkerboard|rings|gaussian-mixture, points in the plane", make_toy,
      toy_options_help()};
  return registry;
}

Dataset open_dataset(const Registry& registry, const std::string& spec, const std::string& split) {
  check(split == "train" || split == "test", "split: expected train or test, got '", split, "'");
  DataSpec parsed = parse_data_spec(spec);
  parsed.options["split"] = split;
  return find_entry(registry.datasets, parsed.name, "dataset").make(parsed.options);
}

}  // namespace tweedie
