#include "tweedie/nets/packed_weight.h"

#include "tweedie/kernels/kernels.h"
#include "tweedie/tensor/parallel.h"

namespace tweedie {

using kernels::bf16;
using kernels::ConvKind;

namespace {

/// All weights [K, taps, C] float32, filled up, contiguous.
Tensor gathered(const std::vector<Tensor>& weights, int64_t copies, ConvKind kind) {
  std::vector<Tensor> parts;
  for (const Tensor& weight : weights) parts.push_back(by_taps(weight.detach()));
  Tensor all = parts.size() == 1 ? parts[0] : at::cat(parts, 0);
  if (copies > 1) all = all.repeat({1, 1, copies});
  const int64_t outputs = filled_channels(all.size(0)), inputs = filled_channels(all.size(2));
  if (outputs != all.size(0) || inputs != all.size(2))
    all = at::constant_pad_nd(all, {0, inputs - all.size(2), 0, 0, 0, outputs - all.size(0)});
  all = all.contiguous();
  if (kind != ConvKind::doubled) return all;
  const Tensor folded = at::empty({outputs, 16, inputs}, all.options());
  in_parallel(outputs, [&](int64_t k) {
    kernels::fold_doubled(1, inputs, all.data_ptr<float>() + k * 9 * inputs,
                          folded.data_ptr<float>() + k * 16 * inputs);
  });
  return folded;
}

}  // namespace

Tensor by_taps(const Tensor& weight) {
  if (weight.dim() == 2) return weight.unsqueeze(1);
  return weight.permute({0, 2, 3, 1}).flatten(1, 2);
}

int64_t filled_channels(int64_t n) {
  return (n + kernels::kChannelBlock - 1) / kernels::kChannelBlock * kernels::kChannelBlock;
}

WeightVersions weight_versions(const std::vector<Tensor>& weights) {
  WeightVersions key;
  key.reserve(weights.size());
  for (const Tensor& weight : weights)
    key.emplace_back(weight.data_ptr(), weight.is_inference() ? 0 : weight._version());
  return key;
}

void PackedWeight::Entry::renew(int64_t size, at::ScalarType type) {
  if (!values.defined() || values.use_count() > 1 || values.numel() != size)
    values = at::empty({size}, type);
}

Tensor PackedWeight::packed(const std::vector<Tensor>& weights, Entry& entry, bool backward) {
  const WeightVersions key = weight_versions(weights);
  const std::lock_guard<std::mutex> guard(mutex_);
  if (entry.of == key) return entry.values;
  const Tensor all = gathered(weights, copies_, kind_);
  const int64_t outputs = all.size(0), taps = all.size(1), inputs = all.size(2);
  entry.renew(all.numel(), at::kBFloat16);
  const kernels::ImageTable& images = *kernels::table().images;
  const auto pack = backward ? images.pack_weight_backward : images.pack_weight;
  const int64_t blocks = (backward ? inputs : outputs) / 16;
  const float* from = all.data_ptr<float>();
  auto* to = static_cast<bf16*>(entry.values.data_ptr());
  in_parallel(blocks, [&](int64_t b) { pack(from, outputs, taps, inputs, to, b, b + 1); });
  entry.of = key;
  return entry.values;
}

Tensor PackedWeight::blocked(const std::vector<Tensor>& weights, const FloatConv& conv,
                             int64_t first) {
  const WeightVersions key = weight_versions(weights);
  const FloatLayout layout = float_layout(conv);
  const std::lock_guard<std::mutex> guard(mutex_);
  Entry& entry = floats_[conv.pass == FloatPass::backward][first > 0];
  if (entry.of == key && entry.layout == layout.number && entry.values.numel() == layout.size)
    return entry.values;
  const Tensor all = gathered(weights, copies_, ConvKind::same);
  entry.renew(layout.size, at::kFloat);
  tweedie::pack_weight(conv, {all.data_ptr<float>() + first, all.size(2)},
                       entry.values.data_ptr<float>());
  entry.of = key;
  entry.layout = layout.number;
  return entry.values;
}

}  // namespace tweedie
