// Timestep embeddings of several peers, each a choice of options of ours.
#include <cstdio>

#include "peer_networks.h"
#include "tweedie/base/error.h"
#include "tweedie/nets/embedding.h"

namespace tweedie::reference {
namespace {

/// The options that a tensor's name stands for.
PositionalOptions options_of(const std::string& name, int64_t channels) {
  int dim = 0, flip = 0, shift = 0;
  if (std::sscanf(name.c_str(), "diffusers.dim%d.flip%d.shift%d", &dim, &flip, &shift) == 3)
    return {.channels = dim, .cosine_first = flip == 1, .shift = static_cast<double>(shift)};
  if (std::sscanf(name.c_str(), "improved.dim%d", &dim) == 1) return {.channels = dim};
  if (std::sscanf(name.c_str(), "edm.positional.endpoint%d", &shift) == 1)
    return {.channels = channels, .shift = static_cast<double>(shift)};
  throw Error("embedding '" + name + "' is unknown");
}

void run_embeddings(const Case& the_case, Checker& checker) {
  const Tensor& t = the_case.tensor("t");
  for (const auto& [name, expected] : the_case.tensors) {
    if (name == "t" || name.ends_with("_native_f32")) continue;
    int channels = 0, grid = 0;
    if (std::sscanf(name.c_str(), "dit.pos_embed.dim%d.grid%d", &channels, &grid) == 2)
      checker.compare(name, grid_features(channels, grid, grid));
    else
      checker.compare(name, positional_features(t, options_of(name, expected.size(1))));
  }
}

}  // namespace

Plan plan_embeddings(const Json& row) {
  const Refusal refusal = unknown_keys("config", row.value("config", Json::object()), {});
  return refusal.empty() ? Plan{run_embeddings, ""} : Plan{{}, refusal};
}

}  // namespace tweedie::reference
