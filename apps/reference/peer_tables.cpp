#include "peer_tables.h"

#include <algorithm>
#include <charconv>

#include "tweedie/base/error.h"
#include "tweedie/process/compat.h"

namespace tweedie::reference {

std::vector<double> diffusers_betas(const Json& settings, int64_t steps) {
  std::vector<double> betas;
  if (settings.contains("trained_betas") && settings["trained_betas"].is_array()) {
    betas = settings["trained_betas"].get<std::vector<double>>();
  } else {
    const std::string name = settings.value("beta_schedule", std::string("(none)"));
    const auto from_ends = [&](auto make) {
      return make(steps, number_of(settings, "beta_start"), number_of(settings, "beta_end"));
    };
    if (name == "linear") {
      betas = from_ends(linear_betas);
    } else if (name == "scaled_linear") {
      betas = from_ends(scaled_linear_betas);
    } else if (name == "sigmoid") {
      betas = from_ends(sigmoid_betas);
    } else if (name == "squaredcos_cap_v2") {
      betas = cosine_betas(steps);
    } else if (name == "exp") {
      betas = diffusers_exp_betas(steps);
    } else if (name == "laplace") {
      betas = diffusers_laplace_betas(steps);
    } else {
      fail("beta_schedule '", name, "' is not understood");
    }
  }
  return settings.value("rescale_betas_zero_snr", false) ? zero_terminal_snr(betas) : betas;
}

Schedule diffusers_chain(const Json& settings, int64_t steps) {
  return chain_from_betas("diffusers", diffusers_betas(settings, steps));
}

Schedule diffusers_chain(const Json& settings) {
  return diffusers_chain(settings,
                         static_cast<int64_t>(number_of(settings, "num_train_timesteps")));
}

Schedule improved_chain(const Json& config) {
  const std::string name = config.value("schedule", std::string("(none)"));
  const int64_t steps = static_cast<int64_t>(number_of(config, "T"));
  if (name == "linear") {
    const double scale = 1000 / static_cast<double>(steps);  // uncut: a chain too short is refused
    return chain_from_betas(name, linear_betas(steps, scale * 1e-4, scale * 0.02));
  }
  check(name == "cosine", "improved-diffusion's schedule '", name, "' is not understood");
  return cosine_chain(steps);
}

Level step_level(const Schedule& chain, int64_t i) {
  return chain.at(static_cast<double>(i) / static_cast<double>(chain.steps));
}

Level level_of_timestep(const Schedule& chain, int64_t t) {
  Level level = step_level(chain, t < 0 ? chain.steps + t + 1 : t + 1);
  level.t = static_cast<double>(t + 1) / static_cast<double>(chain.steps);
  return level;
}

std::vector<double> noise_ratios(const std::vector<Level>& path) {
  std::vector<double> out;
  for (const Level& level : path) out.push_back(noise_ratio(level));
  return out;
}

NoiseTable::NoiseTable(const Schedule& chain) {
  for (int64_t i = 1; i <= chain.steps; ++i) ratios_.push_back(noise_ratio(step_level(chain, i)));
  for (const double ratio : ratios_) logs_.push_back(std::log(ratio));
}

NoiseTable::NoiseTable(std::vector<double> ratios) : ratios_(std::move(ratios)) {
  for (const double ratio : ratios_) logs_.push_back(std::log(ratio));
}

double NoiseTable::linear_at(double t) const {
  const double last = static_cast<double>(ratios_.size() - 1);
  if (t <= 0) return ratios_.front();
  if (t >= last) return ratios_.back();
  const size_t i = static_cast<size_t>(t);
  return ratios_[i] + (ratios_[i + 1] - ratios_[i]) * (t - static_cast<double>(i));
}

double NoiseTable::log_linear_at(double t) const {
  check(t >= 0 && t <= static_cast<double>(ratios_.size() - 1), "t = ", t,
        " is outside the table of noise levels");
  const size_t low = static_cast<size_t>(t), high = std::min(low + 1, logs_.size() - 1);
  const double w = t - static_cast<double>(low);
  return std::exp((1 - w) * logs_[low] + w * logs_[high]);
}

double NoiseTable::time_of(double ratio) const {
  const double wanted = std::log(ratio);
  const auto above = std::upper_bound(logs_.begin(), logs_.end(), wanted);
  const size_t low =
      std::min(static_cast<size_t>(std::max<std::ptrdiff_t>(above - logs_.begin() - 1, 0)),
               logs_.size() - 2);
  const double w = std::clamp((logs_[low] - wanted) / (logs_[low] - logs_[low + 1]), 0.0, 1.0);
  return (1 - w) * static_cast<double>(low) + w * static_cast<double>(low + 1);
}

int64_t NoiseTable::nearest_in_log(double ratio) const {
  const double wanted = std::log(ratio);
  return std::min_element(
             logs_.begin(), logs_.end(),
             [&](double a, double b) { return std::abs(a - wanted) < std::abs(b - wanted); }) -
         logs_.begin();
}

Tensor to_tensor(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

std::vector<double> to_doubles(const Tensor& values) {
  const Tensor flat = values.to(at::kDouble).reshape({-1}).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

std::vector<std::string> name_parts(const std::string& name) {
  std::vector<std::string> out{""};
  for (const char c : name) {
    if (c == '.')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

int64_t number_in(const std::string& part, const std::string& prefix) {
  int64_t number = 0;
  const char *const begin = part.data() + prefix.size(), *const end = part.data() + part.size();
  const bool good = part.starts_with(prefix) && [&] {
    const auto [stop, fault] = std::from_chars(begin, end, number);
    return fault == std::errc() && stop == end;
  }();
  check(good, "expected '", prefix, "' and a whole number in a tensor's name, got '", part, "'");
  return number;
}

double number_of(const Json& config, const char* key) {
  const auto found = config.find(key);
  check(found != config.end() && found->is_number(), "config.", key, ": expected a number, got ",
        found == config.end() ? "nothing" : found->dump());
  return found->get<double>();
}

void check_known_keys(const Json& settings, const std::vector<std::string>& known,
                      const std::string& where) {
  for (const auto& [key, value] : settings.items())
    check(std::find(known.begin(), known.end(), key) != known.end(), where, ".", key, " = ",
          value.dump(), " is not understood");
}

}  // namespace tweedie::reference
