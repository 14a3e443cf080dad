// Compares what we compute with what a case expects, within the case's own tolerance.
#pragma once

#include <string>
#include <vector>

#include "pack.h"

namespace tweedie::reference {

class Checker {
 public:
  explicit Checker(const Case& the_case);

  /// From now on with the case's tolerance of this name: "float64" (at first), "float32", "grad".
  void tolerate(const std::string& name);
  /// |got - expected| <= atol + rtol |expected| for every element, with the case's
  /// tolerance; infinities and NaN must match.  `extra_atol` is for what the case itself says its
  /// numbers lose.
  void compare(const std::string& name, const Tensor& got, double extra_atol = 0);
  void compare(const std::string& name, const Tensor& got, const Tensor& expected,
               double extra_atol = 0);
  /// `extra_atol` for each number, broadcastable to what is expected.
  void compare(const std::string& name, const Tensor& got, const Tensor& expected,
               const Tensor& extra_atol);
  /// A statement that must hold, such as "raises an error".
  void expect(bool holds, const std::string& statement);
  /// Says that a peer's defect was reproduced on purpose, under this name of a compatibility
  /// option.
  void compatibility(const std::string& option);

  const std::vector<std::string>& faults() const { return faults_; }
  const std::vector<std::string>& compatibilities() const { return compatibilities_; }
  int64_t comparisons() const { return comparisons_; }

 private:
  const Case& case_;
  double rtol_, atol_;
  int64_t comparisons_ = 0;
  std::vector<std::string> faults_, compatibilities_;
};

}  // namespace tweedie::reference
