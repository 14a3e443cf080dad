#include "tweedie/model/captured.h"

#include <map>
#include <set>

#include "tweedie/tensor/cuda.h"

namespace tweedie {
namespace {

constexpr size_t kMostGraphs = 4;  // each keeps the memory of a whole evaluation

class CapturedNetwork : public Network {
 public:
  explicit CapturedNetwork(std::shared_ptr<Network> network) : network_(std::move(network)) {}

  Tensor forward(const Tensor& x, const Tensor& c_noise, const Condition& condition) override {
    const bool trains = network_->is_training();
    if (!x.is_cuda() || x.requires_grad() || trains != at::GradMode::is_enabled() ||
        condition.context.defined() ||
        !(trains ? network_->trains_capturable : network_->capturable))
      return network_->forward(x, c_noise, condition);
    std::vector<Tensor> inputs = {x, c_noise};
    if (condition.label.defined()) inputs.push_back(condition.label);
    const Key key{x.sizes().vec(), x.scalar_type(), inputs.size(), trains};
    const bool seen = !seen_.emplace(key).second;
    auto graph = graphs_.find(key);
    if (graph == graphs_.end()) {
      if (!seen || graphs_.size() == kMostGraphs || (trains && !has_gradients()))
        return network_->forward(x, c_noise, condition);
      graph =
          graphs_
              .emplace(key, trains ? captured_with_gradients(work(), inputs, network_->parameters())
                                   : captured(work(), inputs))
              .first;
    }
    return graph->second(inputs);
  }

 private:
  struct Key {
    std::vector<int64_t> sizes;
    at::ScalarType type;
    size_t inputs;
    bool trains;
    auto operator<=>(const Key&) const = default;
  };

  bool has_gradients() const {
    for (const Tensor& parameter : network_->parameters())
      if (!parameter.grad().defined()) return false;
    return true;
  }

  CudaWork work() const {
    return [network = network_](const std::vector<Tensor>& in) {
      return network->forward(in[0], in[1],
                              {.label = in.size() > 2 ? in[2] : Tensor(), .context = {}});
    };
  }

  std::shared_ptr<Network> network_;
  std::set<Key> seen_;
  std::map<Key, CudaWork> graphs_;
};

}  // namespace

std::shared_ptr<Network> captured_network(std::shared_ptr<Network> network) {
  if (!network->capturable && !network->trains_capturable) return network;
  return std::make_shared<CapturedNetwork>(std::move(network));
}

}  // namespace tweedie
