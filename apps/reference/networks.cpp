#include "peer_networks.h"

namespace tweedie::reference {

Plan plan_networks(const Json& row) {
  const std::string peer = row.at("peer"), source = text_or_empty(row, "source");
  const auto from = [&](const char* name) { return source.find(name) != std::string::npos; };
  if (peer == "diffusers" && from("UNet2DModel")) return plan_diffusers_unet(row);
  if (peer == "diffusers" && (from("DDPMPipeline") || from("DDIMPipeline")))
    return plan_diffusers_pipeline(row);
  if (from("get_timestep_embedding")) return plan_embeddings(row);
  return {{}, "network layout " + peer + " " + source + ": not in this release"};
}

}  // namespace tweedie::reference
