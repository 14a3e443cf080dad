// How the networks of other libraries, and pipelines made of them, are checked.
#pragma once

#include "groups.h"
#include "support.h"

namespace tweedie::reference {

Plan plan_network(const Json& row);             // one evaluation, and its gradients
Plan plan_diffusers_pipeline(const Json& row);  // DDPMPipeline and DDIMPipeline
Plan plan_embeddings(const Json& row);          // timestep embeddings of several peers

}  // namespace tweedie::reference
