#include "tweedie/families/family.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "tweedie/base/error.h"
#include "tweedie/tensor/set_weight.h"

namespace tweedie {
namespace {

/// The rows of queries, keys or values in a tensor [3 C, ...].
at::Tensor rows_of(const at::Tensor& theirs, const WeightPlace& place) {
  const int64_t heads = place.heads, width = theirs.size(0) / 3 / heads;
  const at::Tensor flat = theirs.reshape({theirs.size(0), -1});
  const auto as = [&](std::vector<int64_t> sizes, int64_t dimension) {
    sizes.push_back(flat.size(1));
    return flat.view(sizes).select(dimension, place.part);
  };
  switch (place.order) {
    case QkvOrder::three_heads_width:
      return as({3, heads, width}, 0);
    case QkvOrder::heads_three_width:
      return as({heads, 3, width}, 1);
    case QkvOrder::heads_width_three:
      return as({heads, width, 3}, 2);
  }
  throw Error("family: an unknown order of queries, keys and values");
}

/// Of the other library's tensor.
std::vector<int64_t> sizes_there(const at::Tensor& ours, const WeightPlace& place) {
  std::vector<int64_t> sizes = ours.sizes().vec();
  if (place.part >= 0) sizes.at(0) *= 3;
  if (sizes.size() >= 2) sizes.resize(sizes.size() + static_cast<size_t>(place.ones), 1);
  return sizes;
}

/// To what float32 leaves of it: EDM computes its table by a recurrence.
bool holds(const at::Tensor& constant, const at::Tensor& found) {
  return found.sizes() == constant.sizes() &&
         at::allclose(found.to(at::kDouble), constant, 1e-3, 1e-6);
}

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kMost = 8;
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) out += "\n    " + names[i];
  if (names.size() > kMost) out += "\n    and " + std::to_string(names.size() - kMost) + " more";
  return out;
}

}  // namespace

Family read_family(const Json& given) {
  check(given.is_object(), "config.json: expected an object, got ", given.dump().substr(0, 100));
  const Json kind = given.value("_class_name", Json());
  check(kind.is_string(), "config.json: '_class_name', the network's class, is missing");
  const std::string name = kind.get<std::string>();
  if (name == "UNet2DModel") return diffusers_unet(given);
  if (name == "FourierUNet2DModel") {  // of our own exports
    Json plain = given;
    plain["_class_name"] = "UNet2DModel";
    plain.erase("fourier_powers");
    Family out = diffusers_unet(plain);
    out.model["fourier_features"] = given.value("fourier_powers", Json::array());
    return out;
  }
  Json config = Json::object();  // a field without a value is as good as none
  for (const auto& [key, value] : given.items())
    if (!value.is_null()) config[key] = value;
  if (name == "UNetModel") return guided_unet(config);
  if (name == "DiT") return dit(config);
  if (name.ends_with("Precond")) return edm_network(config);
  throw Error("config.json: the network '" + name +
              "' (_class_name) is not supported; known: UNet2DModel, UNetModel, EDMPrecond, "
              "VPPrecond, VEPrecond, iDDPMPrecond, DiT");
}

void take_weights(const Family& family, const Tensors& given, const Tensors& ours) {
  Tensors theirs;
  for (const auto& [name, tensor] : given) {
    const std::string now = family.modern ? family.modern(name) : name;
    check(theirs.emplace(now, tensor).second, "the weights '", now, "' are there twice, once as '",
          name, "'");
  }
  std::set<std::string> used;
  std::vector<std::string> missing, other_shape, left;
  for (const auto& [name, parameter] : ours) {
    const WeightPlace place = family.place(name);
    const auto found = theirs.find(place.name);
    if (found == theirs.end()) {
      missing.push_back(place.name);
      continue;
    }
    used.insert(place.name);
    const at::Tensor& tensor = found->second;
    const std::vector<int64_t> expected = sizes_there(parameter, place);
    if (tensor.sizes() != at::IntArrayRef(expected)) {
      std::ostringstream line;
      line << place.name << " " << tensor.sizes() << ", expected " << at::IntArrayRef(expected);
      other_shape.push_back(line.str());
      continue;
    }
    set_weight(parameter,
               (place.part < 0 ? tensor : rows_of(tensor, place)).reshape(parameter.sizes()));
  }
  for (const auto& [name, tensor] : theirs) {
    if (used.contains(name)) continue;
    const auto known = family.constants.find(name);
    const bool constant = known != family.constants.end() && holds(known->second(), tensor);
    if (!constant) left.push_back(name);
  }
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  std::string fault;
  if (!missing.empty()) fault += "\n  missing:" + listed(missing);
  if (!other_shape.empty()) fault += "\n  of another shape:" + listed(other_shape);
  if (!left.empty()) fault += "\n  not of this network:" + listed(left);
  check(fault.empty(), "the weights are not those of the ", family.name,
        " that the configuration describes", fault);
}

Tensors give_weights(const Family& family, const Tensors& ours) {
  Tensors out;
  for (const auto& [name, tensor] : ours) {
    const WeightPlace place = family.place(name);
    const std::vector<int64_t> sizes = sizes_there(tensor, place);
    if (place.part < 0) {
      out[place.name] = tensor.reshape(sizes);
      continue;
    }
    at::Tensor& whole = out[place.name];
    if (!whole.defined()) whole = at::empty(sizes, tensor.options());
    at::Tensor rows = rows_of(whole, place);
    rows.copy_(tensor.reshape(rows.sizes()));
  }
  return out;
}

}  // namespace tweedie
