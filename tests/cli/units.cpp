// The parts of the command line that need no program.
#include <doctest/doctest.h>

#include <cmath>

#include "tweedie/base/error.h"
#include "tweedie/cli/duration.h"
#include "tweedie/jobs/plot.h"

using namespace tweedie;

TEST_CASE("a time is a sum of numbers with units") {
  CHECK(parse_duration("90s", "--budget") == 90);
  CHECK(parse_duration("10m", "--budget") == 600);
  CHECK(parse_duration("1h30m", "--budget") == 5400);
  CHECK(parse_duration("1.5h", "--budget") == 5400);
}

TEST_CASE("what is not a time says what a time looks like") {
  for (const char* wrong : {"", "10", "m", "10x", "-5m", "0s", "1h-3m", "inf", "1e400h", "10m5"}) {
    CAPTURE(wrong);
    CHECK_THROWS_WITH_AS(parse_duration(wrong, "--budget"),
                         doctest::Contains("expected a time such as 90s"), Error);
  }
}

TEST_CASE("a time is read back as it was written") {
  for (const double seconds : {5.0, 75.0, 3599.0, 7260.0})
    CHECK(parse_duration(short_duration(seconds), "") == doctest::Approx(seconds));
}

TEST_CASE("round ticks enclose the range in steps of 1, 2 or 5 times a power of ten") {
  for (const auto& [low, high] :
       {std::pair{0.0, 1.0}, {-3.7, 12.9}, {1e-6, 3e-6}, {5.0, 5.0}, {0.0, 98765.0}}) {
    CAPTURE(low);
    CAPTURE(high);
    const Ticks ticks = round_ticks(low, high);
    CHECK(ticks.low <= low);
    CHECK(ticks.high >= high);
    REQUIRE(ticks.at.size() >= 2);
    CHECK(ticks.at.size() <= 9);
    const double step = ticks.at[1] - ticks.at[0],
                 digit = step / std::pow(10, std::floor(std::log10(step * 1.0001)));
    CHECK((std::abs(digit - 1) < 1e-6 || std::abs(digit - 2) < 1e-6 || std::abs(digit - 5) < 1e-6));
  }
}

TEST_CASE("logarithmic ticks enclose the range") {
  for (const auto& [low, high] : {std::pair{0.02, 0.9}, {1e-8, 1e3}, {3.0, 3.0}, {120.0, 180.0}}) {
    CAPTURE(low);
    const Ticks ticks = log_ticks(low, high);
    CHECK(ticks.low <= low);
    CHECK(ticks.high >= high);
    CHECK(ticks.at.size() >= 2);
  }
}

TEST_CASE("a picture draws what it was given, as pixels and as SVG") {
  Picture picture(200, 150);
  picture.line_chart({"t", "x", "y", false, false, {{"line", {0, 1, 2}, {0, std::nan(""), 1}}}},
                     {0, 0, 200, 150});
  const at::Tensor drawn = picture.pixels();
  CHECK(drawn.sizes() == at::IntArrayRef({3, 150, 200}));
  CHECK(drawn.max().item<uint8_t>() == 255);
  CHECK(drawn.min().item<uint8_t>() < 100);
  CHECK(picture.svg().find("<svg") != std::string::npos);
}

TEST_CASE("an image keeps its pixels and colours") {
  Picture picture(4, 4);
  const at::Tensor red =
      at::tensor({250, 10, 20}, at::kByte).view({3, 1, 1}).expand({3, 2, 2}).contiguous();
  picture.image(red, 0, 0, 2);
  const at::Tensor drawn = picture.pixels();
  CHECK(drawn[0][3][3].item<uint8_t>() == 250);
  CHECK(drawn[1][0][0].item<uint8_t>() == 10);
  CHECK(drawn[2][1][2].item<uint8_t>() == 20);
}

TEST_CASE("a bar is as long as its value says") {
  Picture picture(400, 120);
  picture.bar_chart({"", "", {{"a", 4, 0, true}, {"b", 2, 0, true}}}, {0, 0, 400, 120});
  const Colour colour = series_colour(0);
  const at::Tensor drawn = picture.pixels();
  const at::Tensor blue =
      (drawn[0] == static_cast<int>(colour.red * 255)) & (drawn[2] > 170) & (drawn[2] < 190);
  const at::Tensor longest = blue.sum(1);
  const double upper = longest.slice(0, 30, 53).max().item<double>(),
               lower = longest.slice(0, 53, 76).max().item<double>();
  CHECK(upper == doctest::Approx(2 * lower).epsilon(0.03));  // a pixel at each end
}

TEST_CASE("a vertical bar is as high as its value, and one that is not finite is a gap") {
  Picture picture(400, 300);
  LineChart chart{"", "", "", false, false, {{"", {0, 1, 2, 3}, {2, std::nan(""), 4}}}};
  chart.series[0].bars = true;
  picture.line_chart(chart, {0, 0, 400, 300});
  const at::Tensor drawn = picture.pixels();
  const at::Tensor blue = (drawn[0].to(at::kInt) - drawn[2].to(at::kInt)) < -80;  // [300, 400]
  const at::Tensor heights = blue.sum(0);  // the plot is from x = 58 to 386
  const auto height = [&](double place) {
    return heights[static_cast<int64_t>(58 + place / 3 * 328)].item<double>();
  };
  CHECK(height(2.5) == doctest::Approx(2 * height(0.5)).epsilon(0.02));
  CHECK(height(0.5) > 50);
  CHECK(height(1.5) == 0);
}
