// The blocks on bf16 images against LibTorch's operations in float32.
#include <doctest/doctest.h>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "tests/nets/gradients.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/model/gradients_in_place.h"
#include "tweedie/nets/image_blocks.h"

using namespace tweedie;
using namespace tweedie::testing;

TEST_CASE("a U-Net on images is the U-Net of LibTorch's operations, rounded to bf16") {
  for (const NetCase& c : net_cases()) {
    CAPTURE(std::string(c.name));
    Json options = c.options;
    options["zero_init"] = false;
    options["kernels"] = "reference";
    const auto reference = unet(c.shape, options);
    options["kernels"] = "images";
    const auto images = unet(c.shape, options);
    const torch::NoGradGuard no_grad;
    const auto from = reference->named_parameters();
    for (auto& parameter : images->named_parameters())
      parameter.value().copy_(from[parameter.key()]);
    at::AutoGradMode with_gradients(true);
    const Gradients a = gradients(*images, c.shape, 3), b = gradients(*reference, c.shape, 3);
    CHECK(relative_error(a.y, b.y) < 0.01);
    double difference = 0, square = 0, dot = 0, square_a = 0;
    for (const auto& [name, gradient] : b.of) {
      const Tensor& other = a.of.at(name);
      CAPTURE(name);
      CHECK(other.sizes() == gradient.sizes());
      difference += (other - gradient).square().sum().item<double>();
      square += gradient.square().sum().item<double>();
      square_a += other.square().sum().item<double>();
      dot += (other * gradient).sum().item<double>();
      // A bias before a norm has no gradient but for roundings: compared with all of them below.
      if (gradient.norm().item<double>() > 1e-2 * std::sqrt(square))
        CHECK(relative_error(other, gradient) < 0.05);
    }
    CHECK(std::sqrt(difference / square) < 0.03);
    CHECK(dot / std::sqrt(square * square_a) > 0.9995);
    MESSAGE(std::string(c.name), ": output ", relative_error(a.y, b.y), ", gradients ",
            std::sqrt(difference / square), ", cosine ", dot / std::sqrt(square * square_a));
  }
}

TEST_CASE("an evaluation that is written down and done again gives the bits of one that is not") {
  const torch::NoGradGuard no_grad;
  for (const NetCase& c : net_cases()) {
    CAPTURE(std::string(c.name));
    Json options = c.options;
    options["kernels"] = "images";
    options["zero_init"] = false;
    const auto network = unet(c.shape, options);
    uint64_t call = 0;
    for (const int64_t batch : {1, 1, 1, 1, 3, 3, 3, 3, 1, 1, 1})
      for (const bool changed : {false, true}) {
        CAPTURE(call);
        std::vector<int64_t> sizes = {batch};
        sizes.insert(sizes.end(), c.shape.begin(), c.shape.end());
        if (changed && call % 3 == 0) network->parameters()[call % 7].mul_(1.1);
        const Tensor x = normal(sizes, ++call),
                     t = at::arange(batch, at::kFloat) * 50 + static_cast<double>(call);
        const auto fresh = unet(c.shape, options);
        const auto from = network->named_parameters();
        for (auto& parameter : fresh->named_parameters())
          parameter.value().copy_(from[parameter.key()]);
        CHECK(at::equal(network->forward(x, t, {}), fresh->forward(x, t, {})));
      }
  }
}

TEST_CASE("what is written down in inference mode is done again outside it, and in training") {
  const NetCase& c = net_cases()[1];
  Json options = c.options;
  options["kernels"] = "images";
  options["zero_init"] = false;
  const auto network = unet(c.shape, options);
  const Tensor x = normal({2, c.shape[0], c.shape[1], c.shape[2]}), t = at::arange(2, at::kFloat);
  Tensor expected;
  for (int i = 0; i < 3; ++i) {
    const c10::InferenceMode inference;
    const Tensor y = network->forward(x, t, {});
    if (i == 0) expected = y.clone();
    CHECK(at::equal(y, expected));
  }
  {
    const torch::NoGradGuard no_grad;
    CHECK(at::equal(network->forward(x, t, {}), expected));
  }
  const Tensor y = network->forward(x, t, {});
  CHECK(at::equal(y.detach(), expected));
  y.sum().backward();
  CHECK(network->parameters()[0].grad().defined());
}

TEST_CASE(
    "a U-Net on images gives the same bits with one thread and with two, and without autograd") {
  const NetCase& c = net_cases()[3];
  constexpr int64_t kBatch = 16;  // OpenBLAS's sums of smaller ones may depend on its threads
  Json options = c.options;
  options["kernels"] = "images";
  options["zero_init"] = false;
  const auto network = unet(c.shape, options);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Gradients one = gradients(*network, c.shape, kBatch);
  at::set_num_threads(2);
  const Gradients two = gradients(*network, c.shape, kBatch);
  const torch::NoGradGuard no_grad;
  network->zero_grad();
  std::vector<int64_t> places;
  for (int64_t i = 0; i < kBatch; ++i) places.push_back(i);
  const Tensor y = network->forward(keyed_normal({1, Stream::data}, places, 0, c.shape),
                                    at::arange(kBatch, at::kFloat) * 100 + 3, {});
  at::set_num_threads(threads);
  CHECK(at::equal(one.y, two.y));
  CHECK(at::equal(one.y, y));
  for (const auto& [name, gradient] : one.of) {
    CAPTURE(name);
    CHECK(at::equal(gradient, two.of.at(name)));
  }
}

TEST_CASE("gradients added in place are those that autograd adds") {
  const NetCase& c = net_cases()[1];
  Json options = c.options;
  options["kernels"] = "images";
  options["zero_init"] = false;
  const auto network = unet(c.shape, options);
  for (auto& parameter : network->named_parameters()) {
    const Tensor value = parameter.value().detach();
    parameter.value().set_data(value.dim() == 4 ? value.contiguous(at::MemoryFormat::ChannelsLast)
                                                : value);
    parameter.value().mutable_grad() = at::zeros_like(parameter.value());
  }
  const Tensor x = keyed_normal({1, Stream::data}, {0, 1}, 0, c.shape);
  const auto backward = [&] { network->forward(x, at::ones({2}), {}).square().sum().backward(); };
  backward();
  std::map<std::string, Tensor> expected;
  for (auto& parameter : network->named_parameters()) {
    expected[parameter.key()] = parameter.value().grad() * 2;
    parameter.value().mutable_grad().zero_();
  }
  const GradientsInPlace in_place;
  backward();
  backward();
  for (auto& parameter : network->named_parameters()) {
    CAPTURE(parameter.key());
    CHECK(at::allclose(parameter.value().grad(), expected[parameter.key()], 1e-5, 1e-5));
  }
}

TEST_CASE("weights that change in place are packed again") {
  const auto network =
      unet({1, 8, 8}, {{"channels", 32}, {"kernels", "images"}, {"zero_init", false}});
  const torch::NoGradGuard no_grad;
  const Tensor before = output(*network, {1, 8, 8});
  network->named_parameters()["mid_block.resnets.0.conv1.weight"].mul_(2);
  CHECK_FALSE(at::equal(output(*network, {1, 8, 8}), before));
}

TEST_CASE("channels that are no multiples of 32 stay with LibTorch's operations") {
  const auto network = unet({1, 8, 8}, {{"channels", 24}, {"norm_num_groups", 8}});
  CHECK_FALSE(network->channels_last);
  CHECK(refusal([] {
          make_unet(unet_options(
              {1, 8, 8}, {{"channels", 24}, {"norm_num_groups", 8}, {"kernels", "images"}}));
        }).find("multiple of 32") != std::string::npos);
}
