#include "tweedie/process/compat.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

/// numpy.arange(first, 0, -stride) with a float stride to the last bit: numpy takes the difference
/// of the first two values for the stride.
std::vector<double> numpy_arange_down(double first, double stride) {
  const int64_t count = static_cast<int64_t>(std::ceil(first / stride));
  const double step = (first - stride) - first;
  std::vector<double> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(first + static_cast<double>(i) * step);
  return out;
}

void check_length(int64_t length) {
  check(length >= 1, "timesteps: expected a chain of 1 step or more, got ", length);
}

std::vector<int64_t> parse_counts(const std::string& text) {
  std::vector<int64_t> out;
  const char *at = text.data(), *const end = at + text.size();
  while (true) {
    int64_t count = 0;
    const auto [stop, fault] = std::from_chars(at, end, count);
    check(fault == std::errc() && count >= 0 && (stop == end || *stop == ','),
          "space_timesteps: expected whole numbers with commas between them or ddimN, got '", text,
          "'");
    out.push_back(count);
    if (stop == end) return out;
    at = stop + 1;
  }
}

std::vector<int64_t> ddim_timesteps(int64_t length, int64_t wanted) {
  for (int64_t stride = 1; stride < length; ++stride) {
    if ((length + stride - 1) / stride != wanted) continue;
    std::vector<int64_t> out;
    for (int64_t step = 0; step < length; step += stride) out.push_back(step);
    return out;
  }
  fail("space_timesteps: no whole stride takes exactly ", wanted, " of ", length, " steps");
  return {};
}

template <class AlphaBar>
std::vector<double> betas_of(int64_t steps, double max_beta, const AlphaBar& alpha_bar) {
  check_length(steps);
  const double n = static_cast<double>(steps);
  std::vector<double> betas;
  for (int64_t i = 0; i < steps; ++i)
    betas.push_back(std::min(
        1 - alpha_bar(static_cast<double>(i + 1) / n) / alpha_bar(static_cast<double>(i) / n),
        max_beta));
  return betas;
}

}  // namespace

std::vector<double> numpy_linspace(double first, double last, int64_t count) {
  check(count >= 1, "numpy_linspace: expected 1 value or more, got ", count);
  std::vector<double> out{first};
  const double step = (last - first) / static_cast<double>(count - 1);
  for (int64_t i = 1; i + 1 < count; ++i) out.push_back(static_cast<double>(i) * step + first);
  if (count > 1) out.push_back(last);
  return out;
}

std::vector<double> diffusers_timesteps(int64_t length, int64_t steps,
                                        const DiffusersSteps& options) {
  check_length(length);
  check(steps >= 1, "timesteps: expected 1 step or more, got ", steps);
  const int64_t kept = options.kept > 0 ? options.kept : length,
                count = steps + (options.drop_first ? 1 : 0);
  std::vector<double> out;  // rising
  switch (options.spacing) {
    case DiffusersSpacing::leading:
      for (int64_t k = 0; k < count; ++k)
        out.push_back(static_cast<double>(k * (kept / count) + options.offset));
      break;
    case DiffusersSpacing::linspace:
      out = numpy_linspace(0, static_cast<double>(kept - 1), count);
      if (!options.fractional)
        for (double& t : out) t = std::nearbyint(t);
      break;
    case DiffusersSpacing::trailing:
      out = numpy_arange_down(static_cast<double>(kept),
                              static_cast<double>(length) / static_cast<double>(steps));
      for (double& t : out) t = std::nearbyint(t) - 1;
      return out;
  }
  std::reverse(out.begin(), out.end());
  if (options.drop_first) out.pop_back();
  return out;
}

std::vector<int64_t> improved_space_timesteps(int64_t length, const std::string& section_counts) {
  check_length(length);
  if (section_counts.starts_with("ddim")) {
    const std::vector<int64_t> wanted = parse_counts(section_counts.substr(4));
    check(wanted.size() == 1, "space_timesteps: expected one number in '", section_counts, "'");
    return ddim_timesteps(length, wanted[0]);
  }
  const std::vector<int64_t> counts = parse_counts(section_counts);
  const int64_t sections = static_cast<int64_t>(counts.size());
  std::set<int64_t> out;
  int64_t start = 0;
  for (int64_t i = 0; i < sections; ++i) {
    const int64_t size = length / sections + (i < length % sections ? 1 : 0),
                  count = counts[static_cast<size_t>(i)];
    check(count <= size, "space_timesteps: a section of ", size, " steps cannot keep ", count);
    const double stride =
        count <= 1 ? 1 : static_cast<double>(size - 1) / static_cast<double>(count - 1);
    double place = 0;
    for (int64_t k = 0; k < count; ++k, place += stride)  // summed, as the peer does
      out.insert(start + static_cast<int64_t>(std::nearbyint(place)));
    start += size;
  }
  return {out.begin(), out.end()};
}

std::vector<double> diffusers_exp_betas(int64_t steps, double max_beta) {
  return betas_of(steps, max_beta, [](double t) { return std::exp(-12 * t); });
}

std::vector<double> diffusers_laplace_betas(int64_t steps, double max_beta) {
  return betas_of(steps, max_beta, [](double t) {
    const double log_snr =
        -0.5 * std::copysign(1.0, 0.5 - t) * std::log(1 - 2 * std::abs(0.5 - t) + 1e-6);
    // The peer takes the root of SNR / (1 + SNR) and calls that alpha_bar.
    return std::sqrt(1 / (1 + std::exp(-log_snr)));
  });
}

}  // namespace tweedie
