#include "checker.h"

#include <algorithm>
#include <sstream>

#include "tweedie/base/error.h"

namespace tweedie::reference {

Checker::Checker(const Case& the_case) : case_(the_case) { tolerate("float64"); }

void Checker::tolerate(const std::string& name) {
  const Json tolerance = case_.row.value("tolerance", Json::object()).value(name, Json::object());
  check(tolerance.contains("rtol") && tolerance.contains("atol"), case_.id,
        ": the pack states no tolerance '", name, "'");
  rtol_ = tolerance["rtol"].get<double>();
  atol_ = tolerance["atol"].get<double>();
}

void Checker::compare(const std::string& name, const Tensor& got, double extra_atol) {
  compare(name, got, case_.tensor(name), extra_atol);
}

void Checker::compare(const std::string& name, const Tensor& got, const Tensor& expected,
                      double extra_atol) {
  compare(name, got, expected, at::full({}, extra_atol, at::kDouble));
}

void Checker::compare(const std::string& name, const Tensor& got, const Tensor& expected,
                      const Tensor& extra_atol) {
  ++comparisons_;
  if (got.sizes() != expected.sizes()) {
    std::ostringstream fault;
    fault << name << ": has shape " << got.sizes() << ", expected " << expected.sizes();
    faults_.push_back(fault.str());
    return;
  }
  const Tensor a = got.to(at::kDouble).reshape({-1}).contiguous(),
               b = expected.to(at::kDouble).reshape({-1}).contiguous();
  const Tensor more =
      extra_atol.to(at::kDouble).expand(expected.sizes()).reshape({-1}).contiguous();
  const double *x = a.data_ptr<double>(), *y = b.data_ptr<double>(),
               *extra = more.data_ptr<double>();
  double worst = 0;
  int64_t at = -1, wrong = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i]))) continue;
    const double excess = std::abs(x[i] - y[i]) / (atol_ + extra[i] + rtol_ * std::abs(y[i]));
    if (excess <= 1) continue;
    ++wrong;
    if (at < 0 || !(excess <= worst)) {
      worst = excess;
      at = i;
    }
  }
  if (wrong == 0) return;
  std::ostringstream fault;
  fault.precision(17);
  fault << name << ": " << wrong << " of " << a.numel() << " numbers differ; the worst at [" << at
        << "]: " << x[at] << ", expected " << y[at];
  faults_.push_back(fault.str());
}

void Checker::expect(bool holds, const std::string& statement) {
  ++comparisons_;
  if (!holds) faults_.push_back("does not hold: " + statement);
}

void Checker::compatibility(const std::string& option) {
  if (std::find(compatibilities_.begin(), compatibilities_.end(), option) == compatibilities_.end())
    compatibilities_.push_back(option);
}

}  // namespace tweedie::reference
