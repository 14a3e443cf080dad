// Group B: q(x_t | x_0), posteriors, conversions between predictions, SDEs.
#include "forward_cases.h"
#include "groups.h"

namespace tweedie::reference {

Plan plan_forward(const Json& row) {
  const std::string id = row["id"];
  if (id.starts_with("diffusers_add_noise")) return {check_add_noise, ""};
  if (id.starts_with("improved_q_")) return {check_improved_q, ""};
  if (id.starts_with("score_sde_")) return {check_score_sde, ""};
  return {{}, "no forward process of this kind is known"};
}

}  // namespace tweedie::reference
