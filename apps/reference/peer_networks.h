// How the networks and pipelines of diffusers that we have are checked.
#pragma once

#include "groups.h"
#include "support.h"

namespace tweedie::reference {

Plan plan_diffusers_unet(const Json& row);      // UNet2DModel
Plan plan_diffusers_pipeline(const Json& row);  // DDPMPipeline and DDIMPipeline
Plan plan_embeddings(const Json& row);          // timestep embeddings of several peers

}  // namespace tweedie::reference
