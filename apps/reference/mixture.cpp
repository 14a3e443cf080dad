#include "mixture.h"

#include "tweedie/base/error.h"
#include "tweedie/tensor/safetensors.h"

namespace tweedie::reference {

// With x_t = alpha x_0 + sigma eps each component stays a Gaussian, of variance
// v_k = alpha^2 s_k^2 + sigma^2 around alpha mu_k.
Mixture::Terms Mixture::terms(const Tensor& x, const Level& level) const {
  const Tensor away = level.alpha * means.unsqueeze(0) - x.flatten(1).to(at::kDouble).unsqueeze(1);
  const Tensor variance = level.alpha * level.alpha * stds.square() + level.sigma * level.sigma;
  const double dims = static_cast<double>(means.size(1));
  const Tensor logits =
      log_weights - 0.5 * dims * variance.log() - away.square().sum(2) / (2 * variance);
  return {away, variance, logits.softmax(1)};
}

Tensor Mixture::x0(const Tensor& x, const Level& level) const {
  const Terms t = terms(x, level);
  const Tensor shrink = (level.alpha * stds.square() / t.variance).unsqueeze(1);  // [K, 1]
  const Tensor of_component = means - shrink * t.away;                            // [B, K, D]
  return (t.share.unsqueeze(2) * of_component).sum(1).reshape(x.sizes());
}

Tensor Mixture::component_score(const Tensor& x, const Level& level,
                                const Tensor& component) const {
  const Terms t = terms(x, level);
  const Tensor scores = t.away / t.variance.unsqueeze(1);  // [B, K, D]
  const Tensor total = (t.share.unsqueeze(2) * scores).sum(1);
  const Tensor row = component.to(at::kLong).reshape({-1, 1, 1}).expand({-1, 1, scores.size(2)});
  return (scores.gather(1, row).squeeze(1) - total).reshape(x.sizes());
}

Mixture mixture_of(const Case& the_case, const std::string& name) {
  check(the_case.gmms.contains(name), the_case.id, ": the pack has no mixture '", name, "'");
  const Json& entry = the_case.gmms[name];
  const auto tensors = read_safetensors(the_case.path(entry.value("file", ""))).tensors;
  const Json names = entry.value("tensors", Json::object());
  const auto tensor = [&](const char* key) {
    const auto found = tensors.find(names.value(key, ""));
    check(found != tensors.end(), the_case.id, ": mixture '", name, "' has no ", key);
    return found->second.to(at::kDouble);
  };
  return {tensor("weights").log(), tensor("means").flatten(1), tensor("stds"),
          entry.at("shape").get<std::vector<int64_t>>()};
}

}  // namespace tweedie::reference
