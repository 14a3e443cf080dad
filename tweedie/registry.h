// Every name a configuration may say.  A value, passed down; programs add their own entries.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tweedie/base/fields.h"
#include "tweedie/datasets/dataset.h"
#include "tweedie/model/network.h"
#include "tweedie/model/sampler.h"
#include "tweedie/process/named.h"

namespace tweedie {

template <class T>
struct Entry {
  std::string summary;
  std::function<T(const Json& options)> make;  // throws Error on unknown or impossible options
  std::string options = {};                    // one line an option, for `tweedie list`
};

/// How often a sampler of N steps evaluates the network: per_step N + constant, and `start_each`
/// more in each of the first `start_steps` (the step to data excepted).
struct EvaluationCount {
  int64_t per_step = 1;  // 0: it chooses its own steps
  int64_t constant = 0;
  int64_t start_steps = 0, start_each = 0;

  int64_t of(int64_t steps) const;
  /// The most steps that make no more than `evaluations`; 0 if a single one does, or where per_step
  /// is 0.
  int64_t steps_within(int64_t evaluations) const;
  /// "2 N - 1"
  std::string words() const;
};

/// What helps to choose a sampler.
struct SamplerFacts {
  std::string order;            // of convergence to the exact solution
  EvaluationCount evaluations;  // of the network
  bool stochastic = false;      // whether it draws noise beyond the start
  std::string when;             // to choose it
  std::string path = "auto";    // the levels that suit it (see named_path)
};

struct SamplerEntry : Entry<Sampler> {
  SamplerFacts facts = {};
  bool clips = false;  // it has an option "clip": to clamp predictions to [-1, 1]
};

/// The levels that suit a sampler on this schedule: its own path, or "auto" where the schedule has
/// none of that kind.
std::string suitable_path(const SamplerFacts& facts, const Schedule& schedule);

struct Registry {
  std::map<std::string, Entry<Schedule>> schedules;
  std::map<std::string, Entry<MakeParameterisation>> parameterisations;
  std::map<std::string, Entry<MakeObjective>> objectives;
  std::map<std::string, SamplerEntry> samplers;
  std::map<std::string, Entry<std::shared_ptr<Network>>> networks;
  std::map<std::string, Entry<Dataset>> datasets;
};

/// What tweedie itself brings.
Registry builtin();

/// Opens a data spec (see datasets/spec.h) as the registry's datasets know it; `split` is "train"
/// or "test".  `columns`: of a model that is to see a table (Dataset::columns); empty otherwise.
Dataset open_dataset(const Registry& registry, const std::string& spec, const std::string& split,
                     const Json& columns = Json::array());

/// The entry called `name`; throws Error naming the nearest if there is none.  `kind` is what it
/// is, for the message.
template <class E>
const E& find_entry(const std::map<std::string, E>& entries, const std::string& name,
                    const std::string& kind) {
  std::vector<std::string> names;
  for (const auto& [known, entry] : entries) names.push_back(known);
  const auto found = entries.find(name);
  check(found != entries.end(), "unknown ", kind, " '", name, "'", suggestion(name, names));
  return found->second;
}

}  // namespace tweedie
