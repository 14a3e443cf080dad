// Exponential integrators of the probability flow and of its SDEs: the arithmetic, in doubles.
#pragma once

#include <string>
#include <vector>

#include "tweedie/process/level.h"

namespace tweedie {

/// What is taken for a polynomial in the half log-SNR over a step: the predicted x0 ("data
/// prediction", the ++ solvers) or the predicted eps.
enum class Form { x0, eps };

/// How the integral of a straight line through two predictions is closed.
enum class Closure {
  exact,
  half,      // as if its slope acted at half of the step: DPM-Solver's customary second order,
             // UniPC's bh2
  half_step  // that, with the step for the integral of the kernel: UniPC's bh1
};

// Their names in options.  Throw Error naming `sampler` on another.
Form form_named(const std::string& name, const char* sampler);
Closure closure_named(const std::string& name, const char* sampler);

/// x_s = keep x_t + sum_j prediction[j] m_j + noise z.
struct StepWeights {
  double keep;
  std::vector<double> prediction;
  double noise;
};

/// log(alpha / sigma): the lambda of DPM-Solver's papers.
double half_log_snr(const Level& level);

/// A step from t to s of the flow, or with eta > 0 of dx = [f x - (1 + eta)/2 g^2 score] dt +
/// sqrt(eta) g dw, of which 1 is the reverse SDE; all have the same marginals.  The predictions m_j
/// belong to the half log-SNRs `nodes`, the first of them t's own.  Nodes at infinity, and all but
/// the first where s is clean, get no weight.
///
/// `half_curvature` leaves out half of the second derivative that three predictions give, as the
/// third-order multistep solvers of dpm-solver, k-diffusion and diffusers do: it makes their
/// order 2.  With h = lambda_s - lambda_t, lambda half of the log-SNR, the solution is
///  - Form::x0: sigma_s/sigma_t e^(-eta h) x_t
///    + alpha_s (1 + eta) int_0^h e^(-(1 + eta)(h - u)) x0(u) du;
///  - Form::eps: alpha_s/alpha_t x_t - sigma_s (1 + eta) int_0^h e^(h - u) eps(u) du.
///
/// Lu et al. 2022 (arXiv:2206.00927), prop. 3.1; Lu et al. 2022 (arXiv:2211.01095), eq. 9; Xue et
/// al. 2023 (arXiv:2305.14267), prop. 4.2, whose tau^2 is eta.  Throws Error for Form::eps at
/// alpha = 0.
StepWeights exponential_step(const Level& t, const Level& s, Form form,
                             const std::vector<double>& nodes, Closure closure = Closure::exact,
                             double eta = 0, bool half_curvature = false);

/// phi_1 .. phi_count at z: phi_k(z) = (phi_(k-1)(z) - 1/(k - 1)!) / z, phi_0 = e^z.
std::vector<double> phi_functions(double z, size_t count);

/// Weights w of the nodes with sum_j w_j nodes_j^k = moments_k: the functional with those moments,
/// for polynomials through the nodes.
std::vector<double> weights_of_moments(const std::vector<double>& nodes,
                                       const std::vector<double>& moments);

}  // namespace tweedie
