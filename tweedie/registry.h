// Every name a configuration may say.  A value, passed down; programs add their own entries.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tweedie/base/json.h"
#include "tweedie/datasets/dataset.h"
#include "tweedie/model/network.h"
#include "tweedie/model/sampler.h"

namespace tweedie {

template <class T>
struct Entry {
  std::string summary;
  std::function<T(const Json& options)> make;  // throws Error on unknown or impossible options
  std::string options = {};                    // one line an option, for `tweedie list`
};

struct Registry {
  std::map<std::string, Entry<Schedule>> schedules;
  std::map<std::string, Entry<Parameterisation>> parameterisations;
  std::map<std::string, Entry<Sampler>> samplers;
  std::map<std::string, Entry<std::shared_ptr<Network>>> networks;
  std::map<std::string, Entry<Dataset>> datasets;
};

/// What tweedie itself brings.
Registry builtin();

}  // namespace tweedie
