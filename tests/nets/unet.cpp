#include <doctest/doctest.h>

#include <set>

#include "tests/nets/make.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/nets/unet_blocks.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

const std::vector<int64_t> kShape = {1, 8, 8};

std::set<std::string> parameter_names(const Network& network) {
  std::set<std::string> names;
  for (const auto& parameter : network.named_parameters()) names.insert(parameter.key());
  return names;
}

/// The message of the Error that these options give; empty if they give none.
std::string unet_refusal(const Json& more, const std::vector<int64_t>& shape = kShape) {
  return refusal([&] { make_unet(unet_options(shape, more)); });
}

}  // namespace

TEST_CASE("a U-Net keeps any size and any number of channels") {
  const std::vector<std::vector<int64_t>> shapes = {
      {1, 7, 5}, {3, 28, 28}, {2, 9, 16}, {4, 3, 3}, {5, 2, 17}};
  for (const std::vector<int64_t>& shape : shapes)
    for (const int64_t padding : {0, 1}) {
      CAPTURE(shape[1]);
      CAPTURE(padding);
      const auto network =
          unet(shape, {{"downsample_padding", padding}, {"attention", {shape[1]}}});
      const Tensor y = output(*network, shape, 3);
      CHECK(y.sizes() == at::IntArrayRef({3, shape[0], shape[1], shape[2]}));
      CHECK(at::isfinite(y).all().item<bool>());
    }
}

TEST_CASE("three stages halve 7x5 to 2x2 and come back") {
  const auto network = unet({1, 7, 5}, {{"multipliers", {1, 2, 2}}, {"zero_init", false}});
  CHECK(output(*network, {1, 7, 5}).sizes() == at::IntArrayRef({2, 1, 7, 5}));
}

TEST_CASE("learned variance doubles the output channels and nothing else") {
  const auto plain = unet({3, 8, 8}), learned = unet({3, 8, 8}, {{"learned_variance", true}});
  CHECK(output(*learned, {3, 8, 8}).size(1) == 6);
  auto expected = plain->named_parameters();
  for (const auto& parameter : learned->named_parameters()) {
    CAPTURE(parameter.key());
    if (parameter.key().starts_with("conv_out."))
      CHECK(parameter.value().size(0) == 2 * expected[parameter.key()].size(0));
    else
      CHECK(at::equal(parameter.value(), expected[parameter.key()]));
  }
}

TEST_CASE("parameters are named as UNet2DModel of diffusers 0.30 names them") {
  const auto network = unet(kShape, {{"attention", {8}}, {"layers_per_block", 2}});
  const std::set<std::string> names = parameter_names(*network);
  for (const char* name :
       {"conv_in.weight", "conv_in.bias", "time_embedding.linear_1.weight",
        "time_embedding.linear_2.bias", "down_blocks.0.resnets.0.norm1.weight",
        "down_blocks.0.resnets.1.time_emb_proj.weight",
        "down_blocks.0.attentions.1.group_norm.bias", "down_blocks.0.attentions.0.to_q.weight",
        "down_blocks.0.attentions.0.to_out.0.bias", "down_blocks.0.downsamplers.0.conv.weight",
        "down_blocks.1.resnets.0.conv_shortcut.weight", "mid_block.attentions.0.to_v.weight",
        "mid_block.resnets.1.conv2.bias", "up_blocks.0.resnets.2.conv1.weight",
        "up_blocks.0.upsamplers.0.conv.bias", "up_blocks.1.attentions.2.to_k.bias",
        "conv_norm_out.weight", "conv_out.bias"}) {
    CAPTURE(name);
    CHECK(names.count(name) == 1);
  }
  CHECK(names.count("down_blocks.1.downsamplers.0.conv.weight") == 0);  // the last stage
  CHECK(names.count("up_blocks.1.upsamplers.0.conv.weight") == 0);
  CHECK(names.count("down_blocks.1.attentions.0.to_q.weight") == 0);  // of 4 pixels
  CHECK(names.count("down_blocks.0.resnets.0.conv_shortcut.weight") == 0);
  CHECK(names.size() == network->parameters().size());
}

TEST_CASE("the output and every residual branch start at zero, and nothing else does") {
  const auto network = unet(kShape, {{"attention", {8}}});
  for (const auto& parameter : network->named_parameters()) {
    CAPTURE(parameter.key());
    const std::string name = "." + parameter.key();
    const bool branch =
        says(name, ".conv2.") || says(name, ".to_out.0.") || says(name, ".conv_out.");
    const bool norm_bias = says(name, "norm") && name.ends_with(".bias");
    CHECK((parameter.value().abs().max().item<float>() == 0) == (branch || norm_bias));
  }
  CHECK(output(*network, kShape).abs().max().item<float>() == 0);
  CHECK(output(*unet(kShape, {{"zero_init", false}}), kShape).abs().max().item<float>() > 0);
}

TEST_CASE("every parameter has a gradient once the zeros are gone") {
  const auto network = unet(kShape, {{"zero_init", false},
                                     {"attention", {8}},
                                     {"classes", 3},
                                     {"resnet_time_scale_shift", "scale_shift"},
                                     {"fourier_features", {1, 2}}});
  output(*network, kShape, 2, classes({0, 3})).square().sum().backward();
  for (const auto& parameter : network->named_parameters()) {
    CAPTURE(parameter.key());
    // A key's bias adds the same to every logit of a softmax.
    if (parameter.key().ends_with("to_k.bias")) continue;
    REQUIRE(parameter.value().grad().defined());
    CHECK(parameter.value().grad().abs().max().item<float>() > 0);
  }
}

TEST_CASE("the noise label changes the output, each example by its own") {
  const auto network = unet(kShape, {{"zero_init", false}});
  const Tensor x = normal({2, 1, 8, 8}), label = at::tensor({10.0F, 700.0F});
  const Tensor both = network->forward(x, label, {});
  for (int64_t i = 0; i < 2; ++i) {
    const Tensor alone = network->forward(x.narrow(0, i, 1), label.narrow(0, i, 1), {});
    CHECK(distance(both[i], alone[0]) < 1e-5);  // a convolution's sums in another order
  }
  CHECK(distance(network->forward(x, label + 50, {}), both) > 1e-4);
}

TEST_CASE("a class changes the output; no label is the class after the last") {
  const auto network = unet(kShape, {{"zero_init", false}, {"classes", 3}});
  const Tensor none = output(*network, kShape), null = output(*network, kShape, 2, classes({3, 3})),
               one = output(*network, kShape, 2, classes({1, 3}));
  CHECK(at::equal(none, null));
  CHECK(distance(one[0], none[0]) > 1e-4);
  CHECK(at::equal(one[1], none[1]));
}

TEST_CASE("a class that does not exist is refused by its number") {
  const auto network = unet(kShape, {{"classes", 3}});
  for (const int64_t wrong : {int64_t{4}, int64_t{-1}, int64_t{1} << 40})
    CHECK_THROWS_WITH_AS(output(*network, kShape, 2, classes({0, wrong})),
                         doctest::Contains(std::to_string(wrong).c_str()), Error);
  CHECK_THROWS_WITH_AS(output(*network, kShape, 2, classes({0})),
                       doctest::Contains("1 class labels for 2 examples"), Error);
}

TEST_CASE("a dropout mask is a function of seed, step, layer and example") {
  const auto network = unet(kShape, {{"zero_init", false}, {"dropout", 0.5}});
  const Tensor without = output(*network, kShape);
  network->train();
  const auto at = [&](uint64_t seed, int64_t step, int64_t batch = 2) {
    network->seed = seed;
    network->step = step;
    return output(*network, kShape, batch);
  };
  const Tensor first = at(1, 1);
  CHECK(at::equal(first, at(1, 1)));
  CHECK(distance(first, at(1, 2)) > 1e-3);
  CHECK(distance(first, at(2, 1)) > 1e-3);
  CHECK(distance(first, without) > 1e-3);
  CHECK(distance(at(1, 1, 5).narrow(0, 0, 2), first) < 1e-5);  // whatever the batch
  // A batch in parts: the rest of it has the masks of its places.
  const std::vector<int64_t> rows = {4, kShape[0], kShape[1], kShape[2]};
  const Tensor x = normal(rows), label = at::arange(4, at::kFloat);
  const Tensor whole = network->forward(x, label, {});
  network->first = 2;
  const Tensor rest = network->forward(x.narrow(0, 2, 2), label.narrow(0, 2, 2), {});
  CHECK(distance(rest, whole.narrow(0, 2, 2)) < 1e-5);
  network->eval();
  CHECK(at::equal(output(*network, kShape), without));
}

TEST_CASE("dropout drops its share and raises the rest, so that the mean stays") {
  Resnet resnet(ResnetOptions{.in = 4,
                              .out = 4,
                              .time_channels = 8,
                              .groups1 = 2,
                              .groups2 = 2,
                              .epsilon = 1e-5,
                              .dropout = 0.3,
                              .scale_shift = false,
                              .number = 3});
  const torch::NoGradGuard no_grad;
  auto parameters = resnet->named_parameters();
  for (auto& parameter : parameters)  // a layer is made without values
    parameter.value().copy_(normal(parameter.value().sizes()) * 0.1);
  for (const char* name : {"conv2.weight", "conv2.bias"}) parameters[name].zero_();
  for (int64_t c = 0; c < 4; ++c) parameters["conv2.weight"][c][c][1][1] = 1;  // the identity
  parameters["norm2.bias"].fill_(5);  // so that nothing is zero by itself
  const Tensor x = normal({100, 4, 16, 16}), time = normal({100, 8});
  resnet->eval();
  const Tensor whole = resnet(x, Tensor(), Pass{false, time, 1, 1}) - x;
  resnet->train();
  const Tensor kept = (resnet(x, Tensor(), Pass{false, time, 1, 1}) - x) / whole,
               dropped = kept == 0;
  // 102,400 draws: 4 standard errors.
  CHECK(std::abs(dropped.to(at::kDouble).mean().item<double>() - 0.3) <
        4 * std::sqrt(0.3 * 0.7 / 102400));
  CHECK(distance(kept.masked_select(~dropped), at::full({1}, 1 / 0.7)) < 1e-4);  // x - x rounds
}

TEST_CASE("the middle's attention has no norm of its own under scale_shift, as in diffusers") {
  const std::string norm = ".attentions.0.group_norm.weight";
  const auto names = [](const std::string& time) {
    return parameter_names(*unet(kShape, {{"attention", {4}}, {"resnet_time_scale_shift", time}}));
  };
  CHECK(names("default").count("mid_block" + norm) == 1);
  CHECK(names("scale_shift").count("mid_block" + norm) == 0);
  CHECK(names("scale_shift").count("down_blocks.1" + norm) == 1);
}

TEST_CASE("attention is where its height says, and in the middle unless it is switched off") {
  const auto attends = [](const Json& more, const std::string& place) {
    const std::set<std::string> names = parameter_names(*unet(kShape, more));
    return names.count(place + ".attentions.0.to_q.weight") == 1;
  };
  CHECK(attends({}, "mid_block"));
  CHECK_FALSE(attends({{"mid_attention", false}}, "mid_block"));
  CHECK_FALSE(attends({}, "down_blocks.1"));
  CHECK(attends({{"attention", {4}}}, "down_blocks.1"));
  CHECK(attends({{"attention", {4}}}, "up_blocks.0"));
  CHECK_FALSE(attends({{"attention", {4}}}, "down_blocks.0"));
}

TEST_CASE("with every pixel's attention equal, attention is the mean of the values") {
  const auto network = unet({1, 4, 4}, {{"multipliers", {1}}, {"zero_init", false}});
  const torch::NoGradGuard no_grad;
  auto parameters = network->named_parameters();
  for (const char* name : {"to_q.weight", "to_q.bias"})
    parameters["mid_block.attentions.0." + std::string(name)].zero_();
  const Tensor even = output(*network, {1, 4, 4});
  parameters["mid_block.attentions.0.to_k.weight"].mul_(7);  // scores are 0 whatever the keys
  CHECK(at::equal(output(*network, {1, 4, 4}), even));
  parameters["mid_block.attentions.0.to_v.weight"].mul_(7);
  CHECK(distance(output(*network, {1, 4, 4}), even) > 1e-4);
}

TEST_CASE("impossible U-Nets are refused, each with its reason") {
  CHECK(says(unet_refusal({}, {2}), "model.network=mlp"));
  CHECK(says(unet_refusal({{"channels", 0}}), "model.channels"));
  CHECK(says(unet_refusal({{"channels", -8}}), "model.channels"));
  CHECK(says(unet_refusal({{"channels", 6}}), "6 channels cannot be divided into norm_num_groups"));
  CHECK(says(unet_refusal({{"norm_num_groups", 0}}), "norm_num_groups = 0"));
  CHECK(says(unet_refusal({{"norm_num_groups", -4}}), "norm_num_groups = -4"));
  CHECK(says(unet_refusal({{"attention_head_dim", 7}}), "cannot be divided into heads of 7"));
  CHECK(says(unet_refusal({{"attention_head_dim", -2}}), "attention_head_dim"));
  CHECK(says(unet_refusal({{"multipliers", Json::array()}}), "at least one stage"));
  CHECK(says(unet_refusal({{"multipliers", {1, 0}}}), "model.multipliers"));
  CHECK(says(unet_refusal({{"multipliers", {1, 1, 1, 1, 1, 1}}}), "6 stages halve"));
  CHECK(says(unet_refusal({{"multipliers", std::vector<int64_t>(100, 1)}}), "100 stages halve"));
  CHECK(says(unet_refusal({{"layers_per_block", 0}}), "layers_per_block"));
  CHECK(says(unet_refusal({{"dropout", 1.0}}), "dropout"));
  CHECK(says(unet_refusal({{"dropout", -0.1}}), "dropout"));
  CHECK(says(unet_refusal({{"norm_eps", 0.0}}), "norm_eps"));
  CHECK(says(unet_refusal({{"resnet_time_scale_shift", "shift"}}), "scale_shift"));
  CHECK(says(unet_refusal({{"downsample_padding", 2}}), "downsample_padding"));
  CHECK(says(unet_refusal({{"fourier_features", {99}}}), "fourier_features"));
  CHECK(says(unet_refusal({{"chanels", 8}}), "did you mean 'channels'"));
  CHECK(says(unet_refusal({{"channels", 1e3}}), "a whole number"));
}

TEST_CASE("as many stages as the smaller side can be halved are allowed, and no more") {
  CHECK(unet_refusal({{"multipliers", {1, 1, 1, 1}}}, {1, 8, 8}).empty());
  CHECK_FALSE(unet_refusal({{"multipliers", {1, 1, 1, 1, 1}}}, {1, 8, 8}).empty());
  CHECK_FALSE(unet_refusal({{"multipliers", {1, 1, 1, 1}}}, {1, 8, 3}).empty());
  const auto network = unet({1, 8, 8}, {{"multipliers", {1, 1, 1, 1}}});
  CHECK(output(*network, {1, 8, 8}).sizes() == at::IntArrayRef({2, 1, 8, 8}));
}
