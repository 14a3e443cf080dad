// Every table's attention of images and its gradient against doubles.
#include <doctest/doctest.h>

#include "tests/kernels/image_support.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

struct Heads {
  int64_t pixels, heads, width;
};

/// One head in doubles, from float32 inputs; rows of q, k, v.
struct HeadInDoubles {
  std::vector<double> o, log_sum, dq, dk, dv;
};

HeadInDoubles head_in_doubles(const Heads& s, const Halves& qkv, const Halves& dout, int64_t n,
                              int64_t head) {
  const int64_t channels = s.heads * s.width;
  const auto in = [&](int64_t part, int64_t i, int64_t w) -> double {
    return kernels::float_of(
        qkv[static_cast<size_t>(((n * s.pixels + i) * 3 + part) * channels + head * s.width + w)]);
  };
  const auto out = [&](int64_t i, int64_t w) -> double {
    return kernels::float_of(
        dout[static_cast<size_t>((n * s.pixels + i) * channels + head * s.width + w)]);
  };
  const auto size = static_cast<size_t>(s.pixels * s.width);
  HeadInDoubles r{std::vector<double>(size),
                  {},
                  std::vector<double>(size),
                  std::vector<double>(size),
                  std::vector<double>(size)};
  const double scale = 1 / std::sqrt(static_cast<double>(s.width));
  for (int64_t i = 0; i < s.pixels; ++i) {
    std::vector<double> p, dp;
    double sum = 0, mean = 0;
    for (int64_t j = 0; j < s.pixels; ++j) {
      double dot = 0, dv = 0;
      for (int64_t w = 0; w < s.width; ++w) {
        dot += in(0, i, w) * in(1, j, w);
        dv += out(i, w) * in(2, j, w);
      }
      p.push_back(std::exp(scale * dot));
      dp.push_back(dv);
      sum += p.back();
    }
    r.log_sum.push_back(std::log(sum));
    for (size_t j = 0; j < p.size(); ++j) mean += (p[j] /= sum) * dp[j];
    for (int64_t j = 0; j < s.pixels; ++j)
      for (int64_t w = 0; w < s.width; ++w) {
        const double pj = p[static_cast<size_t>(j)],
                     ds = scale * pj * (dp[static_cast<size_t>(j)] - mean);
        r.o[static_cast<size_t>(i * s.width + w)] += pj * in(2, j, w);
        r.dq[static_cast<size_t>(i * s.width + w)] += ds * in(1, j, w);
        r.dk[static_cast<size_t>(j * s.width + w)] += ds * in(0, i, w);
        r.dv[static_cast<size_t>(j * s.width + w)] += pj * out(i, w);
      }
  }
  return r;
}

}  // namespace

TEST_CASE("attention and its gradient, in every table") {
  for (const kernels::Table* t : kernels::usable_tables())
    for (const Heads& s : {Heads{49, 2, 8}, Heads{16, 1, 64}, Heads{35, 3, 40}, Heads{300, 1, 32},
                           Heads{1, 1, 32}}) {
      INFO(std::string(t->name));
      CAPTURE(s.pixels);
      CAPTURE(s.width);
      constexpr int64_t kExamples = 2;
      const int64_t channels = s.heads * s.width;
      const Halves qkv = halves(kExamples * s.pixels * 3 * channels, 1),
                   dout = halves(kExamples * s.pixels * channels, 2);
      Halves o(dout.size()), dqkv(qkv.size());
      Floats log_sum(static_cast<size_t>(kExamples * s.heads * s.pixels));
      const kernels::Attention a{s.pixels, s.heads, s.width, qkv.data(), o.data(), log_sum.data()};
      const kernels::AttentionGradient g{a, dout.data(), dqkv.data()};
      for (int64_t n = 0; n < kExamples; ++n)
        for (int64_t head = 0; head < s.heads; ++head) {
          t->images->attention(a, n, head);
          t->images->attention_backward(g, n, head);
          const HeadInDoubles expected = head_in_doubles(s, qkv, dout, n, head);
          const auto part = [&](const Halves& from, int64_t parts, int64_t which) {
            Floats out;
            for (int64_t i = 0; i < s.pixels; ++i)
              for (int64_t w = 0; w < s.width; ++w)
                out.push_back(kernels::float_of(from[static_cast<size_t>(
                    ((n * s.pixels + i) * parts + which) * channels + head * s.width + w)]));
            return out;
          };
          const auto rows = log_sum.begin() + (n * s.heads + head) * s.pixels;
          CHECK(worst(Floats(rows, rows + s.pixels), expected.log_sum) < 1e-5);
          // Weights and their gradients are rounded to bf16 for the products, and o as well.
          CHECK(worst(part(o, 1, 0), expected.o) < 2 * kHalf);
          CHECK(worst(part(dqkv, 3, 2), expected.dv) < 3 * kHalf);
          if (s.pixels == 1) continue;  // one key: no gradient of its weight
          CHECK(worst(part(dqkv, 3, 0), expected.dq) < 4 * kHalf);
          CHECK(worst(part(dqkv, 3, 1), expected.dk) < 4 * kHalf);
        }
    }
}
