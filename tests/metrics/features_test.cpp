#include "tweedie/metrics/features.h"

#include <doctest/doctest.h>

#include <fstream>

#include <torch/script.h>

#include "tests/jobs/scratch.h"
#include "tests/metrics/points.h"
#include "tweedie/base/error.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

std::string saved_network(const Scratch& scratch, const std::string& body) {
  torch::jit::Module module("features");
  module.define("def forward(self, x):\n    return " + body + "\n");
  const std::string path = scratch / "network.pt";
  module.save(path);
  return path;
}

}  // namespace

TEST_CASE("a network's features are its own, whatever the batch") {
  const Scratch scratch;
  const std::string path = saved_network(scratch, "x.flatten(1).cumsum(1)");
  const Tensor x = normal_points(10, 6, 1).view({10, 1, 2, 3}).to(at::kFloat);
  for (const int64_t batch : {1, 3, 64})
    CHECK(at::equal(network_features(path, x, batch), x.flatten(1).cumsum(1)));
}

TEST_CASE("maps are averaged over their pixels, and of a tuple the first tensor counts") {
  const Scratch scratch;
  const std::string path = saved_network(scratch, "(2 * x, x)");
  const Tensor x = normal_points(4, 12, 1).view({4, 3, 2, 2}).to(at::kFloat);
  CHECK(at::allclose(network_features(path, x), 2 * x.mean({2, 3})));
}

TEST_CASE("a file that is no network, and one that does not fit, are refused in one line") {
  const Scratch scratch;
  const Tensor x = at::zeros({4, 1, 2, 2});
  CHECK_THROWS_WITH_AS(network_features(scratch / "none.pt", x), doctest::Contains("no such file"),
                       Error);
  std::ofstream(scratch / "bad.pt") << "no network";
  CHECK_THROWS_WITH_AS(network_features(scratch / "bad.pt", x), doctest::Contains("TorchScript"),
                       Error);
  CHECK_THROWS_WITH_AS(network_features(saved_network(scratch, "x.view(3, 7)"), x),
                       doctest::Contains("does not take examples of shape [4, 1, 2, 2]"), Error);
  CHECK_THROWS_WITH_AS(network_features(saved_network(scratch, "x.sum()"), x),
                       doctest::Contains("[N, F]"), Error);
}
