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

/// What helps to choose a sampler.
struct SamplerFacts {
  std::string order;          // of convergence to the exact solution
  std::string evaluations;    // of the network, as a function of the steps N
  bool stochastic = false;    // whether it draws noise beyond the start
  std::string when;           // to choose it
  std::string path = "auto";  // the levels that suit it (see named_path)
};

struct SamplerEntry : Entry<Sampler> {
  SamplerFacts facts = {};
};

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
/// or "test".
Dataset open_dataset(const Registry& registry, const std::string& spec, const std::string& split);

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
