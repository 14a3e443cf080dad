// The conventions by which other systems publish likelihoods, under their names.
#pragma once

#include "tweedie/jobs/evaluate.h"

namespace tweedie {

/// Peers and what is theirs:
/// - "score_sde": one Rademacher probe, tolerances 1e-5, t from 1e-5 to 1, uniform noise on values
///   scaled as 2 (k + u) / 256 - 1, and 7 bits/dim added for the width of a bin;
/// - "k-diffusion": one Rademacher probe, tolerances 1e-4, prior N(0, sigma_max^2), a density in
///   nats of the values as they are;
/// - "improved-diffusion": the bound with the tanh normal CDF as decoder, x0 clamped to [-1, 1],
/// one
///   draw for each t.
std::vector<std::string> compat_names();

/// `request` with the conventions of request.compat, and its method set where the peer has one.
/// Throws Error on an unknown peer, and on another method than the peer's.
EvaluateRequest compat_request(EvaluateRequest request, std::string& method);

/// The schedule as the peer integrates over it.  Throws Error where it has none of the kind.
Schedule schedule_as_peer(Schedule schedule, const std::string& compat);

/// What the bound scores: the model's own denoiser and decoder, or the peer's.
struct Scored {
  Denoiser denoiser;
  Decoder decoder;
  std::string decoder_name;
};
Scored scored_as_peer(const Model& model, const EvaluateRequest& request, const Path& path,
                      Variance variance);

/// score_sde's data: 2 (k + u) / 256 - 1 of the values k behind x0.  Throws Error if there are not
/// 256 of them.
Tensor score_sde_scaled(const Tensor& x0, const Tensor& uniform, int64_t levels);
/// 7 bits a dimension, in nats.
double score_sde_offset(int64_t dims);

}  // namespace tweedie
