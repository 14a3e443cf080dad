#include "tweedie/jobs/evaluate_compat.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tweedie/model/tanh_decoder.h"

namespace tweedie {

std::vector<std::string> compat_names() {
  return {"score_sde", "k-diffusion", "improved-diffusion"};
}

EvaluateRequest compat_request(EvaluateRequest request, std::string& method) {
  if (request.compat.empty()) return request;
  const std::vector<std::string> known = compat_names();
  check(std::find(known.begin(), known.end(), request.compat) != known.end(),
        "--compat: unknown peer '", request.compat, "'", suggestion(request.compat, known));
  const std::string own = request.compat == "improved-diffusion" ? "vlb" : "ode";
  check(method.empty() || method == own, "--compat ", request.compat, " is --method ", own,
        ", got --method ", method);
  method = own;
  if (own == "vlb") {
    request.terms = 0;
    request.paths = 1;
    return request;
  }
  request.divergence = "rademacher";
  request.probes = 1;
  request.rtol = request.atol = request.compat == "score_sde" ? 1e-5 : 1e-4;
  request.dequantisation = request.compat == "score_sde" ? "uniform" : "none";
  request.decoder = "";
  return request;
}

Schedule schedule_as_peer(Schedule schedule, const std::string& compat) {
  if (compat == "score_sde") {
    check(schedule.steps == 0 && schedule.t_min <= 1e-5 && schedule.t_max == 1,
          "--compat score_sde: needs a continuous schedule from t = 1e-5 to 1 (vp_linear, sub_vp, "
          "ve); ",
          schedule.name, " is ", schedule.steps > 0 ? "a chain" : "defined on other times");
    schedule.t_min = 1e-5;
  }
  if (compat == "k-diffusion")
    check(schedule.steps == 0 && schedule.at(schedule.t_max).alpha == 1,
          "--compat k-diffusion: needs a schedule with alpha = 1 (edm, ve), got ", schedule.name);
  if (compat == "k-diffusion") schedule.prior_std = schedule.at(schedule.t_max).sigma;
  return schedule;
}

Scored scored_as_peer(const Model& model, const EvaluateRequest& request, const Path& path,
                      Variance variance) {
  const bool learned = variance == Variance::learned;
  if (request.compat != "improved-diffusion") {
    const std::string name = decoder_name(model, request.decoder);
    return {model.denoiser, decoder_named(name, model.data.levels, variance, path), name};
  }
  check(model.schedule.steps > 0, "--compat improved-diffusion: needs a chain, got ",
        model.schedule.name);
  check(model.data.levels == 256, "--compat improved-diffusion: needs data of 256 values, got ",
        model.data.levels);
  return {clipped(model.denoiser), tanh_decoder(decoder_variance(path), learned),
          "discretised, tanh normal CDF, x0 clamped to [-1, 1]"};
}

Tensor score_sde_scaled(const Tensor& x0, const Tensor& uniform, int64_t levels) {
  check(levels == 256, "--compat score_sde: its offset is that of data of 256 values, got ",
        levels);
  const Tensor k = ((x0 + 1) * (255.0 / 2)).round();
  return (k + uniform) * (2.0 / 256) - 1;
}

double score_sde_offset(int64_t dims) { return 7 * std::numbers::ln2 * static_cast<double>(dims); }

}  // namespace tweedie
