// Data N(0.1, 0.2^2) in each dimension, and the model that is right about it.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "tweedie/jobs/model_file.h"
#include "tweedie/nets/mlp.h"

namespace tweedie::testing {

inline constexpr double kMean = 0.1, kStd = 0.2;

inline std::vector<int64_t> numbers(int64_t count) {
  std::vector<int64_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

/// `size` examples of `dims` dimensions; with levels, rounded to them.
inline Dataset normal_data(int64_t size, int64_t dims, int64_t levels = 0) {
  Tensor x = kMean + kStd * keyed_normal({1, Stream::data}, numbers(size), 0, {dims});
  if (levels > 0) {
    const double half = 0.5 * static_cast<double>(levels - 1);
    x = ((x + 1) * half).round().clamp(0, levels - 1) / half - 1;
  }
  Dataset data;
  data.name = "normal";
  data.size = size;
  data.shape = {dims};
  data.levels = levels;
  data.get = [x](at::ArrayRef<int64_t> indices) {
    return Batch{x.index_select(0, at::tensor(indices, at::kLong)),
                 {at::zeros({static_cast<int64_t>(indices.size())}, at::kLong), {}}};
  };
  return data;
}

inline Prediction exact_prediction(const Tensor& x_t, Levels levels, const Condition&) {
  const Tensor gain = per_example(
      levels,
      [](const Level& l) {
        return l.alpha * kStd * kStd / (l.alpha * l.alpha * kStd * kStd + l.sigma * l.sigma);
      },
      x_t);
  const Tensor alpha = per_example(
      levels, [](const Level& l) { return l.alpha; }, x_t);
  return {kMean + gain * (x_t - alpha * kMean), {}};
}

inline Model exact_model(const Dataset& data, const Schedule& schedule) {
  Model model;
  model.data = {data.shape, data.levels, data.classes, data.columns};
  model.network = make_mlp({{"sample_shape", data.shape}});  // only its device is asked for
  model.schedule = schedule;
  model.denoiser = exact_prediction;
  model.variance = Variance::small;
  return model;
}

}  // namespace tweedie::testing
