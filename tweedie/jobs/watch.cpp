#include "tweedie/jobs/watch.h"

#include <cstdio>
#include <filesystem>

#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/event_log.h"
#include "tweedie/jobs/picture.h"
#include "tweedie/jobs/sample.h"
#include "tweedie/tensor/image.h"

namespace tweedie {
namespace {

constexpr int64_t kLevelsDrawn =
    8;  // an example: enough for an error bar below that of the examples themselves

}  // namespace

HeldOutBound held_out_bound(const Model& model, const Dataset& held_out) {
  const Evaluation result =
      evaluate_vlb(model, held_out, {.limit = model.config.watch.held_out, .terms = kLevelsDrawn});
  const bool bits = model.data.levels > 0;
  const double dims = static_cast<double>(result.dims);
  if (bits) return {result.bits_per_dim, result.bits_per_dim_error, "bits"};
  return {result.nats / dims, result.nats_error / dims, "nats"};
}

void write_sample_grid(const Model& model, const Registry& registry, const std::string& run,
                       int64_t step, const std::string& name) {
  const SampleResult result = sample(model, registry, {.count = model.config.watch.samples});
  const std::filesystem::path folder = std::filesystem::path(run) / "samples";
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  check(!failure, folder.string(), ": cannot be made: ", failure.message());
  char file[64];
  std::snprintf(file, sizeof file, "step-%09lld-%s.png", static_cast<long long>(step),
                name.c_str());
  const Tensor picture = samples_picture(result.x, model.data);
  write_png((folder / file).string(), picture);
  EventLog(run).image(step, "samples/" + name, picture);
}

}  // namespace tweedie
