#include "score_sde_process.h"

#include "peer_tables.h"
#include "tweedie/base/error.h"

namespace tweedie::reference {
namespace {

SongSde exploding_sde(const Json& config) {
  SongSde out{.name = "vesde",
              .schedule = ve(number_of(config, "sigma_min"), number_of(config, "sigma_max"))};
  out.steps = static_cast<int64_t>(number_of(config, "N"));
  const double last = static_cast<double>(out.steps - 1);
  out.discrete = [process = out.schedule, last](int64_t i) {
    return i < 0 ? clean : process.at(static_cast<double>(i) / last);
  };
  out.discrete_table = [discrete = out.discrete, steps = out.steps] {
    std::vector<double> sigmas;
    for (int64_t i = 0; i < steps; ++i) sigmas.push_back(discrete(i).sigma);
    return sigmas;
  };
  return out;
}

}  // namespace

int64_t SongSde::index_of(double t) const {
  return static_cast<int64_t>(t * static_cast<double>(steps - 1));
}

SongSde song_sde(const Json& config) {
  const std::string name = config.value("sde", std::string("(none)"));
  if (name == "vesde") return exploding_sde(config);
  check(name == "vpsde" || name == "subvpsde", "sde '", name, "' is not understood");
  const double first = number_of(config, "beta_min"), last = number_of(config, "beta_max");
  // The peer evaluates t = 0 too, where noise without derivative begins: a limit for us.
  SongSde out{
      .name = name,
      .schedule = name == "vpsde" ? vp_linear(first, last, 1e-300) : sub_vp(first, last, 1e-300)};
  out.steps = static_cast<int64_t>(number_of(config, "N"));
  if (name == "subvpsde") return out;
  const double n = static_cast<double>(out.steps);
  const std::vector<double> betas = linear_betas(out.steps, first / n, last / n);
  out.discrete = [chain = chain_from_betas("vp", betas)](int64_t i) {
    return step_level(chain, i + 1);
  };
  out.discrete_table = [betas] { return betas; };
  return out;
}

}  // namespace tweedie::reference
