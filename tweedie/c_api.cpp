#include "tweedie/c_api.h"

#include <cmath>
#include <cstring>

#include "tweedie/base/fields.h"
#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/sample.h"

using namespace tweedie;

struct tweedie_model {
  Registry registry;
  Model model;
};

namespace {

thread_local std::string last_error;

/// Runs `work`; what it throws becomes the thread's error and `failed`.
template <class Result, class Work>
Result guarded(Result failed, const Work& work) {
  last_error.clear();
  try {
    return work();
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an unknown failure";
  }
  return failed;
}

const tweedie_model& there(const tweedie_model* model) {
  check(model != nullptr, "the model is NULL");
  return *model;
}

struct SampleOptions {
  std::string sampler, path, precision = "auto";
  Json sampler_options = Json::object();
  int64_t steps = 0, seed = 0, first = 0, class_id = -1, batch = 64;
  double guidance = NAN;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("sampler", sampler, "");
    visit("sampler_options", sampler_options, "");
    visit("steps", steps, "");
    visit("path", path, "");
    visit("seed", seed, "");
    visit("first", first, "");
    visit("class", class_id, "");
    visit("guidance", guidance, "");
    visit("batch", batch, "");
    visit("precision", precision, "");
  }
};

struct LogProbOptions {
  std::string method = "ode", divergence = "rademacher", decoder;
  double rtol = 1e-5, atol = 1e-5;
  int64_t path_steps = 0, terms = 0, probes = 1, seed = 0, batch = 64;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("method", method, "");
    visit("divergence", divergence, "");
    visit("decoder", decoder, "");
    visit("rtol", rtol, "");
    visit("atol", atol, "");
    visit("path_steps", path_steps, "");
    visit("terms", terms, "");
    visit("probes", probes, "");
    visit("seed", seed, "");
    visit("batch", batch, "");
  }
};

template <class Options>
Options parsed(const char* text) {
  if (text == nullptr) return {};
  const Json json = parse_json(text);
  check(!json.is_discarded(), "options: not JSON: ", std::string(text).substr(0, 200));
  return from_json<Options>(json, "options");
}

int64_t values_of(const Model& model) {
  int64_t values = 1;
  for (const int64_t size : model.data.shape) values *= size;
  return values;
}

/// The caller's memory as a dataset, which is read while the call lasts.
Dataset dataset_of(const Model& model, const float* x, const int64_t* labels, int64_t count) {
  std::vector<int64_t> sizes = {count};
  sizes.insert(sizes.end(), model.data.shape.begin(), model.data.shape.end());
  const Tensor values = at::from_blob(const_cast<float*>(x), sizes, at::kFloat);
  const Tensor classes =
      labels ? at::from_blob(const_cast<int64_t*>(labels), {count}, at::kLong) : Tensor();
  Dataset out;
  out.name = "the caller's data";
  out.size = count;
  out.shape = model.data.shape;
  out.levels = model.data.levels;
  if (labels) out.classes = model.data.classes;
  out.get = [=](at::ArrayRef<int64_t> indices) {
    const Tensor chosen = at::tensor(indices, at::kLong);
    Batch batch{values.index_select(0, chosen), {}};
    if (classes.defined()) batch.condition.label = classes.index_select(0, chosen);
    return batch;
  };
  return out;
}

}  // namespace

int tweedie_api_version(void) { return TWEEDIE_C_API_VERSION; }

const char* tweedie_error(void) { return last_error.c_str(); }

tweedie_model* tweedie_load(const char* path, const char* weights) {
  return guarded<tweedie_model*>(nullptr, [&] {
    check(path != nullptr, "the path is NULL");
    auto out = std::make_unique<tweedie_model>();
    out->registry = builtin();
    out->model = load_model(path, out->registry, weights ? weights : "ema");
    return out.release();
  });
}

void tweedie_free(tweedie_model* model) { delete model; }

int tweedie_shape(const tweedie_model* model, int64_t* sizes, int capacity) {
  return guarded(-1, [&] {
    const std::vector<int64_t>& shape = there(model).model.data.shape;
    for (size_t i = 0; i < shape.size() && static_cast<int>(i) < capacity; ++i) sizes[i] = shape[i];
    return static_cast<int>(shape.size());
  });
}

int64_t tweedie_sample_size(const tweedie_model* model) {
  return guarded<int64_t>(-1, [&] { return values_of(there(model).model); });
}

int64_t tweedie_classes(const tweedie_model* model) {
  return guarded<int64_t>(-1, [&] {
    const Model& m = there(model).model;
    return m.config.data.conditional ? static_cast<int64_t>(m.data.classes.size()) : int64_t{0};
  });
}

int64_t tweedie_levels(const tweedie_model* model) {
  return guarded<int64_t>(-1, [&] { return there(model).model.data.levels; });
}

int tweedie_sample(tweedie_model* model, int64_t count, const char* options, float* out) {
  return guarded(-1, [&] {
    const Model& m = there(model).model;
    check(out != nullptr, "out is NULL");
    const auto o = parsed<SampleOptions>(options);
    SampleRequest request;
    request.count = count;
    request.sampler = o.sampler;
    request.sampler_options = o.sampler_options;
    request.steps = o.steps;
    request.path = o.path;
    request.seed = static_cast<uint64_t>(o.seed);
    request.first = o.first;
    request.class_id = o.class_id;
    if (std::isfinite(o.guidance)) request.guidance = o.guidance;
    request.batch = o.batch;
    request.precision = o.precision;
    const Tensor x = sample(m, model->registry, request).x.contiguous();
    std::memcpy(out, x.data_ptr<float>(), x.nbytes());
    return 0;
  });
}

int tweedie_log_prob(tweedie_model* model, const float* x, const int64_t* labels, int64_t count,
                     const char* options, double* out) {
  return guarded(-1, [&] {
    const Model& m = there(model).model;
    check(x != nullptr && out != nullptr, "x or out is NULL");
    check(count >= 1, "count is ", count, "; expected 1 or more");
    check(labels != nullptr || !m.config.data.conditional,
          "this model was trained with classes: labels is NULL");
    const auto o = parsed<LogProbOptions>(options);
    check(o.method == "ode" || o.method == "vlb", "options.method: expected ode or vlb, got '",
          o.method, "'");
    EvaluateRequest request;
    request.path_steps = o.path_steps;
    request.terms = o.terms;
    request.probes = o.probes;
    request.divergence = o.divergence;
    request.decoder = o.decoder;
    request.rtol = o.rtol;
    request.atol = o.atol;
    request.seed = static_cast<uint64_t>(o.seed);
    request.batch = o.batch;
    request.numerical_error = false;
    const Dataset data = dataset_of(m, x, labels, count);
    const Evaluation result =
        o.method == "ode" ? evaluate_ode(m, data, request) : evaluate_vlb(m, data, request);
    for (int64_t i = 0; i < count; ++i) out[i] = NAN;
    const std::vector<double>& nats = result.table.columns.at("nats");
    for (size_t row = 0; row < nats.size(); ++row) out[result.table.index[row]] = -nats[row];
    return 0;
  });
}
