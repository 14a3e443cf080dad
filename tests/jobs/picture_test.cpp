// Examples of every shape as pictures.
#include "tweedie/jobs/picture.h"

#include <cmath>

#include <doctest/doctest.h>

using namespace tweedie;

namespace {

Tensor picture_of(const Tensor& x, const Json& columns = Json::array()) {
  return samples_picture(x, {x.sizes().slice(1).vec(), 0, {}, columns});
}

bool has_ink(const Tensor& picture) {
  return picture.min().item<int64_t>() < picture.max().item<int64_t>();
}

}  // namespace

TEST_CASE("images are tiles, other planes stand in a row for each example") {
  const Tensor ramp = at::linspace(-1, 1, 64).view({1, 1, 8, 8});
  const int64_t tile = 8 * 7, gap = 2;
  CHECK(picture_of(ramp.expand({9, 3, 8, 8})).sizes() ==
        at::IntArrayRef({3, 3 * tile + 2 * gap, 3 * tile + 2 * gap}));
  // 10 channels, of which 8 are drawn; and an array of five dimensions.
  CHECK(picture_of(ramp.expand({4, 10, 8, 8})).sizes() ==
        at::IntArrayRef({1, 4 * tile + 3 * gap, 8 * tile + 7 * gap}));
  const Tensor five = picture_of(ramp.view({1, 1, 1, 8, 8}).expand({4, 2, 3, 8, 8}));
  CHECK(five.sizes() == at::IntArrayRef({1, 4 * tile + 3 * gap, 6 * tile + 5 * gap}));
  CHECK(five[0][0][0].item<int64_t>() == 0);
  CHECK(five[0][tile - 1][tile - 1].item<int64_t>() == 255);
  CHECK(picture_of(ramp.view({1, 8, 8}).expand({4, 8, 8})).sizes() ==
        at::IntArrayRef({1, 2 * tile + gap, 2 * tile + gap}));
  // A plane that is wider than a picture may be: its beginning.
  CHECK(picture_of(at::zeros({1, 2, 1'200'000})).sizes() == at::IntArrayRef({1, 2, 2000}));
}

TEST_CASE("series, vectors and tables are charts that show their values") {
  const Tensor time = at::linspace(0, 6, 50);
  const Tensor waves =
      at::stack({time.sin(), time.cos()}).view({1, 2, 1, 50}).repeat({20, 1, 1, 1});
  const Tensor one = picture_of(waves.narrow(0, 0, 1)), grid = picture_of(waves);
  CHECK(grid.size(1) > one.size(1));
  CHECK(has_ink(one));
  CHECK(
      !at::equal(one, picture_of(waves.narrow(0, 0, 1) * at::tensor({1, -1}).view({1, 2, 1, 1}))));
  CHECK(has_ink(picture_of(at::randn({30, 40}))));  // a long vector: as a series
  const Tensor counts = picture_of(at::linspace(-1, 1, 100).unsqueeze(1));
  CHECK(!at::equal(counts, picture_of(at::linspace(-1, 1, 100).pow(3).unsqueeze(1))));
  CHECK(has_ink(picture_of(at::full({10, 3}, 0.5))));  // of one value
  CHECK(has_ink(picture_of(at::full({10, 3}, std::nan("")))));
  CHECK(has_ink(picture_of(at::tensor({1.0f, INFINITY, 2.0f}).view({3, 1}))));
  CHECK(has_ink(picture_of(at::randn({2, 1, 1, 5000}))));
  const Json columns = {{{"name", "age"}, {"mean", 40.0}, {"scale", 10.0}},
                        {{"name", "town"}, {"categories", {"Oslo", "Rome"}}}};
  const Tensor rows = at::tensor({0.0, 1.0, 0.0, 1.0, 0.0, 1.0}, at::kFloat).view({2, 3});
  const Tensor table = picture_of(rows, columns);
  CHECK(!at::equal(table, picture_of(rows.slice(1, 0, 2))));
  CHECK_THROWS_AS(picture_of(rows.slice(1, 0, 2), columns), Error);
}
