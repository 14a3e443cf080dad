#include "tweedie/nets/dense.h"

#include <cmath>
#include <mutex>
#include <numbers>
#include <utility>

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include "tweedie/base/error.h"
#include "tweedie/kernels/kernels.h"
#include "tweedie/model/gradients_in_place.h"
#include "tweedie/tensor/parallel.h"

namespace tweedie {

namespace {

using kernels::bf16;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const kernels::DenseTable& dense_table() { return *kernels::table().dense; }

bf16* bf16_data(const Tensor& x) {
  return x.defined() ? reinterpret_cast<bf16*>(x.data_ptr<at::BFloat16>()) : nullptr;
}

}  // namespace

/// Where parameters are, and which values they have there.
using Versions = std::vector<std::pair<const void*, uint32_t>>;

/// Weights as the kernels read them.
struct DensePacked {
  kernels::DenseNetwork network;
  Tensor weights, transposed, biases;  // transposed: only where a gradient was wanted
  Versions of;
};
using DensePackedPtr = std::shared_ptr<DensePacked>;

struct DensePlan {
  struct Input {
    DenseInputSpec spec;
    std::vector<double> turns;  // of its angles
  };
  std::vector<Input> inputs;
  std::vector<DenseLayerSpec> layers;
  bool possible = true;

  /// Of a value with its columns of zeros and of rests.
  int64_t width(size_t value) const {
    if (value < inputs.size()) {
      const DenseInputSpec& spec = inputs[value].spec;
      return kernels::dense_width(spec.columns + spec.angles + spec.split);
    }
    return kernels::dense_width(outputs(layers[value - inputs.size()]));
  }
  static int64_t outputs(const DenseLayerSpec& layer) {
    return layer.terms[0].linear->weight.size(0);
  }
  int64_t split(const DenseLayerSpec::Term& term) const {
    const auto from = static_cast<size_t>(term.from);
    return from < inputs.size() ? inputs[from].spec.split : 0;
  }
  kernels::DenseWeight weight(const DenseLayerSpec::Term& term) const {
    const Tensor& w = term.linear->weight;
    return {w.data_ptr<float>(), w.size(0), w.size(1), split(term)};
  }

  DensePackedPtr packed(bool with_transposed);

 private:
  void lay_out(DensePacked& packed) const;
  void pack(DensePacked& packed, bool transposed) const;
  void add_up_biases(DensePacked& packed) const;
  std::mutex mutex_;
  DensePackedPtr packed_;
};

using DensePlanPtr = std::shared_ptr<DensePlan>;

namespace {

/// Weight and bias of every term.
variable_list parameters_of(const DensePlan& plan) {
  variable_list out;
  for (const DenseLayerSpec& layer : plan.layers)
    for (const DenseLayerSpec::Term& term : layer.terms)
      out.insert(out.end(), {term.linear->weight, term.linear->bias});
  return out;
}

Versions versions_of(const variable_list& parameters) {
  Versions out;
  for (const Tensor& p : parameters)
    out.emplace_back(p.data_ptr(), p.is_inference() ? 0 : p._version());
  return out;
}

}  // namespace

void DensePlan::lay_out(DensePacked& packed) const {
  kernels::DenseNetwork& net = packed.network;
  net.input_count = static_cast<int>(inputs.size());
  net.value_count = static_cast<int>(inputs.size() + layers.size());
  int64_t weights = 0, biases = 0;
  for (size_t v = 0; v < inputs.size() + layers.size(); ++v) {
    net.values[v].width = width(v);
    if (v < inputs.size()) continue;
    const DenseLayerSpec& layer = layers[v - inputs.size()];
    net.values[v].residual = layer.residual;
    net.values[v].silu = layer.silu;
    biases += width(v);
    for (const DenseLayerSpec::Term& term : layer.terms)
      weights += width(v) * width(static_cast<size_t>(term.from));
  }
  packed.weights = at::empty({weights}, at::kBFloat16);
  packed.biases = at::empty({biases}, at::kFloat);
  kernels::lay_out(net);
}

/// Every weight one way or the other, and with the first the sums of the layers' biases.
void DensePlan::pack(DensePacked& packed, bool transposed) const {
  struct Task {
    kernels::DenseWeight from;
    bf16* to;
    int64_t block;
  };
  std::vector<Task> tasks;
  if (transposed) packed.transposed = at::empty_like(packed.weights);
  bf16* to = bf16_data(transposed ? packed.transposed : packed.weights);
  for (size_t v = inputs.size(); v < inputs.size() + layers.size(); ++v) {
    kernels::DenseValue& value = packed.network.values[v];
    value.term_count = 0;
    for (const DenseLayerSpec::Term& term : layers[v - inputs.size()].terms) {
      const int64_t columns = width(static_cast<size_t>(term.from));
      kernels::DenseTerm& placed = value.terms[value.term_count++];
      placed.from = term.from;
      (transposed ? placed.transposed : placed.weight) = to;
      for (int64_t b = 0; b < (transposed ? columns : value.width) / kernels::kDenseBlock; ++b)
        tasks.push_back({weight(term), to, b});
      to += value.width * columns;
    }
  }
  const auto kernel = transposed ? dense_table().pack_transposed : dense_table().pack;
  const auto work = [&](int64_t i) {
    const Task& task = tasks[static_cast<size_t>(i)];
    kernel(task.from, task.to, task.block, task.block + 1);
  };
  constexpr int64_t kWorthThreads = 1 << 18;  // weights: below, waking them takes longer
  if (packed.weights.numel() >= kWorthThreads)
    in_parallel(static_cast<int64_t>(tasks.size()), work);
  else
    for (int64_t i = 0; i < static_cast<int64_t>(tasks.size()); ++i) work(i);
  if (!transposed) add_up_biases(packed);
}

void DensePlan::add_up_biases(DensePacked& packed) const {
  float* bias = packed.biases.data_ptr<float>();
  for (size_t v = inputs.size(); v < inputs.size() + layers.size(); ++v) {
    const DenseLayerSpec& layer = layers[v - inputs.size()];
    packed.network.values[v].bias = bias;
    std::fill(bias, bias + width(v), 0.0F);
    for (const DenseLayerSpec::Term& term : layer.terms) {
      const float* const from = term.linear->bias.data_ptr<float>();
      for (int64_t i = 0; i < outputs(layer); ++i) bias[i] += from[i];
    }
    bias += width(v);
  }
}

DensePackedPtr DensePlan::packed(bool with_transposed) {
  const Versions now = versions_of(parameters_of(*this));
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!packed_ || packed_->of != now) {
    // A graph may still need the old ones.
    if (!packed_ || packed_.use_count() > 1) {
      packed_ = std::make_shared<DensePacked>();
      lay_out(*packed_);
    }
    pack(*packed_, false);
    packed_->transposed = Tensor();
    packed_->of = now;
  }
  if (with_transposed && !packed_->transposed.defined()) pack(*packed_, true);
  return packed_;
}

namespace {

/// What the kernels are told of a batch; owns what the pointers point to.
struct Batch {
  std::vector<Tensor> inputs, angles;  // of every value that is an input
  Tensor label, y;
  kernels::DenseForward call{};

  Batch(const DensePlan& plan, const DensePacked& packed, at::TensorList given,
        const Tensor& labels)
      : label(labels.to(at::kFloat).contiguous()) {
    call.network = &packed.network;
    call.rows = label.size(0);
    size_t next = 0;
    for (size_t v = 0; v < plan.inputs.size(); ++v) {
      const DenseInputSpec& spec = plan.inputs[v].spec;
      inputs.push_back(spec.columns > 0 ? given[next++].contiguous() : Tensor());
      angles.push_back(spec.angles > 0 ? at::empty({call.rows, spec.angles}, at::kFloat)
                                       : Tensor());
      kernels::DenseInput& in = call.inputs[v];
      int part = 0;
      for (const Tensor& x : {inputs[v], angles[v]})
        if (x.defined()) {
          in.parts[part] = x.data_ptr<float>();
          in.columns[part++] = x.size(1);
        }
      in.split = spec.split;
    }
    call.outputs = DensePlan::outputs(plan.layers.back());
    y = at::empty({call.rows, call.outputs}, at::kFloat);
    call.y = y.data_ptr<float>();
  }

  void run(const DensePlan& plan, bf16* kept) {
    call.kept = kept;
    in_parallel(kernels::dense_blocks(call.rows), [&](int64_t block) {
      const int64_t begin = block * kernels::kDenseRows;
      const int64_t end = std::min(call.rows, begin + kernels::kDenseRows);
      for (size_t v = 0; v < plan.inputs.size(); ++v)
        if (angles[v].defined())
          dense_table().angle_features({label.data_ptr<float>(), plan.inputs[v].turns.data(),
                                        plan.inputs[v].spec.angles / 2},
                                       begin, end, angles[v].data_ptr<float>());
      dense_table().forward(call, block);
    });
  }
};

/// The gradients of parameters that are wanted, in tasks for threads.
struct WeightGradients {
  struct Task {
    kernels::DenseWeightGradient gradient;
    int64_t block;
  };
  std::vector<Task> tasks;
  variable_list gradients;  // weight and bias of every term; undefined where added in place

  template <class Wanted>
  WeightGradients(const DensePlan& plan, const kernels::DenseBackward& from, const Wanted& wanted) {
    size_t next = 0;
    for (size_t i = 0; i < plan.layers.size(); ++i)
      for (size_t t = 0; t < plan.layers[i].terms.size(); ++t, next += 2) {
        const DenseLayerSpec::Term& term = plan.layers[i].terms[t];
        const bool here = wanted(next) || wanted(next + 1), add = here && in_place(term);
        const auto made = [&](const Tensor& p) {
          return here && !add ? at::empty_like(p) : Tensor();
        };
        gradients.insert(gradients.end(), {made(term.linear->weight), made(term.linear->bias)});
        if (!here) continue;
        const auto home = [&](const Tensor& p, const Tensor& own) {
          return (add ? p.grad() : own).data_ptr<float>();
        };
        const kernels::DenseWeight w = plan.weight(term);
        const kernels::DenseWeightGradient g{from.network,
                                             from.rows,
                                             from.kept,
                                             from.gradients,
                                             static_cast<int>(plan.inputs.size() + i),
                                             static_cast<int>(t),
                                             w.outputs,
                                             w.inputs,
                                             w.split,
                                             home(term.linear->weight, gradients[next]),
                                             home(term.linear->bias, gradients[next + 1]),
                                             add};
        for (int64_t b = 0; b < kernels::dense_width(w.outputs) / kernels::kDenseBlock; ++b)
          tasks.push_back({g, b});
      }
  }

  static bool in_place(const DenseLayerSpec::Term& term) {
    if (!GradientsInPlace::active()) return false;
    for (const Tensor& p : {term.linear->weight, term.linear->bias}) {
      const Tensor& grad = p.grad();
      if (!grad.defined() || !grad.is_contiguous() || grad.scalar_type() != at::kFloat)
        return false;
    }
    return true;
  }

  void run() const {
    in_parallel(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
      const Task& task = tasks[static_cast<size_t>(i)];
      dense_table().weight_gradient(task.gradient, task.block);
    });
  }
};

/// What a graph keeps of a forward pass.
struct DenseGraph : torch::CustomClassHolder {
  DensePlanPtr plan;
  DensePackedPtr packed;
  Tensor kept;
  size_t inputs;
};

struct DenseFunction : torch::autograd::Function<DenseFunction> {
  /// `tensors`: the inputs, then weight and bias of every term.
  static Tensor forward(AutogradContext* context, const DensePlanPtr& plan, int64_t input_count,
                        const Tensor& label, at::TensorList tensors) {
    const DensePackedPtr packed = plan->packed(true);
    Batch batch(*plan, *packed, tensors.slice(0, static_cast<size_t>(input_count)), label);
    const Tensor kept =
        at::empty({kernels::dense_blocks(batch.call.rows) * packed->network.kept}, at::kBFloat16);
    batch.run(*plan, bf16_data(kept));
    const auto graph = c10::make_intrusive<DenseGraph>();
    graph->plan = plan;
    graph->packed = packed;
    graph->kept = kept;
    graph->inputs = static_cast<size_t>(input_count);
    context->saved_data["graph"] = c10::IValue::make_capsule(graph);
    return batch.y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    check(!at::GradMode::is_enabled(),
          "mlp: its bf16 kernels have no second derivatives; use fp32 (train.precision=fp32)");
    const auto graph =
        c10::static_intrusive_pointer_cast<DenseGraph>(context->saved_data["graph"].toCapsule());
    const DensePlan& plan = *graph->plan;
    const kernels::DenseNetwork& network = graph->packed->network;
    const size_t inputs = graph->inputs;
    const Tensor dy = gradients[0].contiguous();
    const auto wanted = [&](size_t i) { return context->needs_input_grad(1 + i); };
    const auto parameter_wanted = [&](size_t i) { return wanted(inputs + i); };
    bool any = false;
    for (size_t i = 0; i < parameters_of(plan).size(); ++i) any = any || parameter_wanted(i);

    kernels::DenseBackward call{&network, dy.size(0), bf16_data(graph->kept), dy.data_ptr<float>(),
                                dy.size(1)};
    variable_list out(3);  // none for the plan, the count and the label
    for (size_t v = 0; v < plan.inputs.size(); ++v) {
      const int64_t columns = plan.inputs[v].spec.columns;
      if (columns == 0) continue;
      const bool input_wanted = wanted(out.size() - 3);
      out.push_back(input_wanted ? at::empty({call.rows, columns}, at::kFloat) : Tensor());
      call.dx[v] = input_wanted ? out.back().data_ptr<float>() : nullptr;
      call.columns[v] = columns;
    }
    const int64_t blocks = kernels::dense_blocks(call.rows);
    const Tensor chain = any ? at::empty({blocks * network.gradients}, at::kBFloat16) : Tensor();
    call.gradients = bf16_data(chain);
    in_parallel(blocks, [&](int64_t block) { dense_table().backward(call, block); });
    const WeightGradients of_weights(plan, call, parameter_wanted);
    of_weights.run();
    out.insert(out.end(), of_weights.gradients.begin(), of_weights.gradients.end());
    return out;
  }
};

bool bf16_is_on() {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  return at::autocast::is_autocast_enabled(at::kCPU);
#else
  return at::autocast::is_cpu_enabled();
#endif
}

}  // namespace

DenseNet::DenseNet() : plan_(std::make_shared<DensePlan>()) {}

int DenseNet::input(const DenseInputSpec& spec) {
  DensePlan::Input input{spec, {}};
  const int64_t half = spec.angles / 2;
  for (int64_t i = 0; i < half; ++i)  // see positional_features
    input.turns.push_back(
        std::exp(-std::log(1e4) * static_cast<double>(i) / static_cast<double>(half)) /
        (2 * std::numbers::pi));
  plan_->possible = plan_->possible && spec.angles % 2 == 0;
  plan_->inputs.push_back(std::move(input));
  return static_cast<int>(plan_->inputs.size()) - 1;
}

int DenseNet::layer(const DenseLayerSpec& spec) {
  plan_->layers.push_back(spec);
  const size_t count = plan_->inputs.size() + plan_->layers.size();
  plan_->possible = plan_->possible && count <= kernels::kDenseValues;
  return static_cast<int>(count) - 1;
}

bool DenseNet::fits(const Tensor& x, const Tensor& label) const {
  if (!plan_->possible || !dense_table().fast || !bf16_is_on() || label.requires_grad())
    return false;
  for (size_t i = 0; i + 1 < plan_->layers.size(); ++i)
    if (DensePlan::outputs(plan_->layers[i]) % kernels::kDenseBlock != 0) return false;
  const Tensor& weight = plan_->layers[0].terms[0].linear->weight;
  for (const Tensor& t : {x, weight})
    if (!t.device().is_cpu() || t.scalar_type() != at::kFloat) return false;
  return x.dim() == 2;
}

Tensor DenseNet::operator()(const std::vector<Tensor>& inputs, const Tensor& label) const {
  variable_list tensors = inputs;
  const variable_list parameters = parameters_of(*plan_);
  tensors.insert(tensors.end(), parameters.begin(), parameters.end());
  bool gradient = false;
  for (const Tensor& t : tensors) gradient = gradient || t.requires_grad();
  if (gradient && at::GradMode::is_enabled())
    return DenseFunction::apply(plan_, static_cast<int64_t>(inputs.size()), label,
                                at::TensorList(tensors));
  const DensePackedPtr packed = plan_->packed(false);
  Batch batch(*plan_, *packed, inputs, label);
  batch.run(*plan_, nullptr);
  return batch.y;
}

}  // namespace tweedie
