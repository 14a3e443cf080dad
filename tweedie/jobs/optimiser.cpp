#include "tweedie/jobs/optimiser.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "tweedie/jobs/learning_rate.h"
#include "tweedie/jobs/update_on_device.h"
#include "tweedie/kernels/kernels.h"
#include "tweedie/tensor/finite.h"

namespace tweedie {
namespace {

constexpr int64_t kChunk =
    1 << 15;  // elements; fixed, so that sums do not depend on the number of threads

constexpr int64_t kChunksOfTask = 2;  // less is done sooner than other threads wake up

int64_t chunks_of(int64_t count) { return (count + kChunk - 1) / kChunk; }

std::string average_prefix(double rate) { return "ema." + Json(rate).dump() + "."; }

void copy_checked(const std::map<std::string, Tensor>& from, const std::string& name, Tensor into) {
  const auto found = from.find(name);
  check(found != from.end(), "checkpoint: lacks '", name,
        "'; it was made with another configuration");
  check(found->second.sizes() == into.sizes(), "checkpoint: '", name, "' has shape ",
        found->second.sizes(), ", this configuration needs ", into.sizes());
  into.copy_(found->second);
}

}  // namespace

Optimiser::Optimiser(Network& network, const TrainConfig& config)
    : config_(config), channels_last_(network.channels_last) {
  const torch::NoGradGuard no_grad;
  int64_t total = 0;
  for (const auto& parameter : network.named_parameters()) {
    const Tensor& value = parameter.value();
    check(value.scalar_type() == at::kFloat, "optimiser: parameter '", parameter.key(), "' is ",
          value.scalar_type(), "; expected float32");
    check(slots_.empty() || value.device() == slots_[0].parameter.device(),
          "optimiser: parameter '", parameter.key(), "' is on ", value.device().str(),
          ", others are not");
    slots_.push_back({parameter.key(), total, value.numel(), value});
    total += (value.numel() + 15) / 16 * 16;  // every tensor starts on a cache line
  }
  check(total > 0, "optimiser: the network has no parameters to train");
  weights_ = at::zeros({total}, slots_[0].parameter.options());
  gradients_ = at::zeros_like(weights_);
  first_moment_ = at::zeros_like(weights_);
  second_moment_ = at::zeros_like(weights_);
  for (const Slot& slot : slots_) {
    Tensor parameter = slot.parameter;
    Tensor home = view(weights_, slot);
    home.copy_(parameter);
    parameter.set_data(home);
    parameter.mutable_grad() = view(gradients_, slot);
  }
  for (size_t i = 0; i < config.ema.size(); ++i) averages_.push_back(weights_.clone());
  keep_frozen();
}

void Optimiser::keep_frozen() {
  for (size_t i = 0; i < slots_.size(); ++i)
    if (!slots_[i].parameter.requires_grad()) frozen_[i] = view(weights_, slots_[i]).clone();
}

void Optimiser::restore_frozen() {
  const torch::NoGradGuard no_grad;
  for (const auto& [i, value] : frozen_) {
    view(weights_, slots_[i]).copy_(value);
    for (const Tensor& average : averages_) view(average, slots_[i]).copy_(value);
  }
}

Tensor Optimiser::view(const Tensor& flat, const Slot& slot) const {
  const Tensor part = flat.narrow(0, slot.offset, slot.count);
  const at::IntArrayRef sizes = slot.parameter.sizes();
  if (!channels_last_ || sizes.size() != 4) return part.view(sizes);
  return part.view({sizes[0], sizes[2], sizes[3], sizes[1]}).permute({0, 3, 1, 2});
}

void Optimiser::weights_changed() {
  for (const Slot& slot : slots_) slot.parameter.unsafeGetTensorImpl()->bump_version();
}

void Optimiser::zero_gradients() {
  if (!gradients_.is_cpu()) {
    gradients_.zero_();
    return;
  }
  const int64_t count = gradients_.numel();
  float* const gradient = gradients_.data_ptr<float>();
  at::parallel_for(0, chunks_of(count), kChunksOfTask, [&](int64_t begin, int64_t end) {
    std::fill(gradient + begin * kChunk, gradient + std::min(end * kChunk, count), 0.0F);
  });
}

double Optimiser::gradient_norm() const {
  if (!gradients_.is_cpu()) return std::sqrt(sum_of_squares_on_device(gradients_));
  const int64_t count = gradients_.numel();
  const float* const gradient = gradients_.data_ptr<float>();
  std::vector<double> sums(static_cast<size_t>(chunks_of(count)));
  at::parallel_for(0, chunks_of(count), kChunksOfTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      sums[static_cast<size_t>(i)] = kernels::table().sum_of_squares(
          std::min(kChunk, count - i * kChunk), gradient + i * kChunk);
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  return std::sqrt(sum);
}

void Optimiser::step(int64_t step, double learning_rate, double gradient_scale) {
  const bool decoupled = config_.optimiser == "adamw";
  const double n = static_cast<double>(step);
  kernels::AdamStep adam;
  adam.gradient_scale = static_cast<float>(gradient_scale);
  adam.beta1 = static_cast<float>(config_.beta1);
  adam.beta2 = static_cast<float>(config_.beta2);
  adam.step_size = static_cast<float>(learning_rate / (1 - std::pow(config_.beta1, n)));
  adam.root_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(config_.beta2, n)));
  adam.epsilon = static_cast<float>(config_.epsilon);
  adam.decoupled_decay = decoupled ? static_cast<float>(learning_rate * config_.weight_decay) : 0;
  adam.coupled_decay = decoupled ? 0 : static_cast<float>(config_.weight_decay);
  std::vector<float> keeps;
  for (const double rate : config_.ema)
    keeps.push_back(static_cast<float>(average_keep(config_, rate, step)));

  const int64_t count = weights_.numel();
  if (!weights_.is_cpu()) {
    adam_on_device(adam, {weights_, gradients_, first_moment_, second_moment_, averages_}, keeps);
    restore_frozen();
    return weights_changed();
  }
  at::parallel_for(0, chunks_of(count), kChunksOfTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * kChunk;
      std::vector<kernels::Average> averages;
      for (size_t k = 0; k < averages_.size(); ++k)
        averages.push_back({averages_[k].data_ptr<float>() + at, keeps[k]});
      kernels::table().adam(adam, std::min(kChunk, count - at), weights_.data_ptr<float>() + at,
                            gradients_.data_ptr<float>() + at, first_moment_.data_ptr<float>() + at,
                            second_moment_.data_ptr<float>() + at, averages.data(),
                            static_cast<int64_t>(averages.size()));
    }
  });
  restore_frozen();
  weights_changed();
}

bool Optimiser::is_finite() const { return all_finite(weights_); }

std::map<std::string, Tensor> Optimiser::tensors() const {
  std::map<std::string, Tensor> out;
  for (const Slot& slot : slots_) {
    out["weights." + slot.name] = view(weights_, slot);
    out["adam.m." + slot.name] = view(first_moment_, slot);
    out["adam.v." + slot.name] = view(second_moment_, slot);
    for (size_t i = 0; i < averages_.size(); ++i)
      out[average_prefix(config_.ema[i]) + slot.name] = view(averages_[i], slot);
  }
  return out;
}

void Optimiser::load(const std::map<std::string, Tensor>& tensors) {
  const torch::NoGradGuard no_grad;
  for (auto& [name, home] : this->tensors()) copy_checked(tensors, name, home);
  keep_frozen();
  weights_changed();
}

void Optimiser::swap_average(size_t index) {
  check(index < averages_.size(), "optimiser: there is no average number ", index);
  const torch::NoGradGuard no_grad;
  const Tensor kept = weights_.clone();
  weights_.copy_(averages_[index]);
  averages_[index].copy_(kept);
  weights_changed();
}

}  // namespace tweedie
