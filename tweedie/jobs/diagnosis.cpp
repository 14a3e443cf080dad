#include "tweedie/jobs/diagnosis.h"

#include <cmath>
#include <sstream>

#include "tweedie/tensor/finite.h"

namespace tweedie {
namespace {

/// The first tensor that went wrong; everything after it is a consequence.
std::string first_bad_tensor(const StepRecord& record, const Network& network) {
  if (!all_finite(record.batch.batch.x)) return "the data of the batch";
  for (const auto& parameter : network.named_parameters())
    if (!all_finite(parameter.value())) return "the weights '" + parameter.key() + "'";
  for (const double loss : record.losses)
    if (!std::isfinite(loss)) return "the loss";
  for (const auto& parameter : network.named_parameters())
    if (parameter.value().grad().defined() && !all_finite(parameter.value().grad()))
      return "the gradient of '" + parameter.key() + "'";
  return "the norm of the whole gradient (each tensor is finite, their sum of squares is not)";
}

}  // namespace

std::string describe_non_finite(const StepRecord& record, const Network& network) {
  std::ostringstream text;
  text << "step " << record.step << ": " << first_bad_tensor(record, network) << " is not finite; ";
  size_t bad = 0;
  for (const double loss : record.losses) bad += !std::isfinite(loss);
  const bool all = bad == 0;  // no single example is to blame: name the batch
  text << (all ? "examples" : "bad examples") << " (number: t, loss)";
  size_t named = 0;
  for (size_t i = 0; i < record.losses.size() && named < 8; ++i) {
    if (!all && std::isfinite(record.losses[i])) continue;
    text << (named++ ? ", " : " ") << record.batch.indices[i] << ": " << record.levels[i].t << ", "
         << record.losses[i];
  }
  const size_t more = (all ? record.losses.size() : bad) - named;
  if (more > 0) text << ", and " << more << " more";
  return text.str();
}

}  // namespace tweedie
