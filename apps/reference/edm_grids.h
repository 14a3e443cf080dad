// The noise levels of EDM's generate.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tweedie::reference {

/// The ends of a discretisation: the peer's default sigma_min and sigma_max.
struct EdmRange {
  double least, most;
};

inline constexpr double kEdmFirstTime = 1e-3;  // epsilon_s, where VP's time ends

/// Of the discretisation "vp", "ve", "iddpm" or "edm" (also "edm_sampler").
EdmRange edm_range(const std::string& discretisation);
/// Its levels from noise to data, between the default ends.
std::vector<double> edm_ratios(const std::string& discretisation, int64_t steps);

}  // namespace tweedie::reference
