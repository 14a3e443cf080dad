// One self-contained page about a run: `tweedie report`.
#pragma once

#include <string>
#include <vector>

#include "tweedie/base/json.h"
#include "tweedie/registry.h"

namespace tweedie {

/// Files that earlier commands made; an empty name leaves its part of the page out.
struct PageRequest {
  std::string run;
  std::string out;                   // .html
  std::string samples;               // of `tweedie sample`
  std::vector<std::string> forward;  // of `tweedie diffuse`
  std::vector<std::string> reverse;  // of `tweedie sample --trajectory`
  std::string evaluation;            // of `tweedie evaluate --json`
  std::string baselines;             // of `tweedie baselines --json`
};

/// Writes the page atomically: loss curve, samples beside real images, film strips, the likelihood
/// beside what compressors need, in plain words.  Pictures are part of the page.  Throws Error on
/// missing or damaged files.
void write_page(const Registry& registry, const PageRequest& request);

}  // namespace tweedie
