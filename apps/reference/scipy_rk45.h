// SciPy's adaptive Runge-Kutta: peers that hand their ODE to it get its steps, and so its errors.
#pragma once

#include <functional>

#include <ATen/ATen.h>

namespace tweedie::reference {

/// dy/dt; y and the answer have any one shape.
using OdeSlope = std::function<at::Tensor(double t, const at::Tensor& y)>;

struct OdeSolution {
  at::Tensor y;
  int64_t evaluations;  // SciPy's nfev
};

/// scipy.integrate.solve_ivp(method="RK45"): Dormand & Prince 1980's pair of orders 5 and 4, the
/// higher one continued with; steps are chosen so that the root mean square over all entries of
/// error / (atol + rtol max(|y|, |y_new|)) stays below 1.  From `from` to `to` in either direction.
/// Throws Error when a step would be smaller than the spacing of numbers near t.
OdeSolution scipy_rk45(const OdeSlope& slope, double from, double to, at::Tensor y, double rtol,
                       double atol);

}  // namespace tweedie::reference
