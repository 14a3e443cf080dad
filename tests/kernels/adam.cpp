// Every table's update against the algorithm in doubles and against the plain table.
#include <doctest/doctest.h>

#include "tests/kernels/support.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

struct Parameters {
  Floats weight, first, second;
  std::vector<Floats> averages;
};

const float kKeep[] = {0.0F, 0.9F, 0.9999F};

Parameters start(int64_t count) {
  Parameters p{normals(count, 1), normals(count, 2), normals(count, 3), {}};
  for (float& v : p.second) v *= v;  // a mean square
  for (unsigned i = 0; i < 3; ++i) p.averages.push_back(normals(count, 4 + i));
  return p;
}

kernels::AdamStep step_number(int n, float decoupled, float coupled) {
  kernels::AdamStep step{};
  step.gradient_scale = 0.7F;
  step.beta1 = 0.9F;
  step.beta2 = 0.999F;
  step.step_size = static_cast<float>(1e-2 / (1 - std::pow(0.9, n)));
  step.root_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(0.999, n)));
  step.epsilon = 1e-8F;
  step.decoupled_decay = decoupled;
  step.coupled_decay = coupled;
  return step;
}

void update(const kernels::Table& table, const kernels::AdamStep& step, const Floats& gradient,
            Parameters& p, int64_t averages) {
  std::vector<kernels::Average> list;
  for (int64_t k = 0; k < averages; ++k)
    list.push_back({p.averages[static_cast<size_t>(k)].data(), kKeep[k]});
  table.adam(step, static_cast<int64_t>(gradient.size()), p.weight.data(), gradient.data(),
             p.first.data(), p.second.data(), list.data(), averages);
}

constexpr int64_t kSizes[] = {1, 7, 16, 17, 1023, 1024, 1025, 3001};

}  // namespace

TEST_CASE("Adam is Kingma and Ba's algorithm 1, in every table") {
  for (const kernels::Table* table : kernels::usable_tables())
    for (const int64_t count : kSizes) {
      INFO(std::string(table->name));
      CAPTURE(count);
      Parameters p = start(count);
      const Parameters before = p;
      const Floats gradient = normals(count, 9);
      update(*table, step_number(3, 1e-3F, 0), gradient, p, 0);
      std::vector<double> weight, first, second;
      for (size_t i = 0; i < gradient.size(); ++i) {
        const double g = 0.7 * gradient[i];
        first.push_back(0.9 * before.first[i] + 0.1 * g);
        second.push_back(0.999 * before.second[i] + 0.001 * g * g);
        const double m = first[i] / (1 - std::pow(0.9, 3)),
                     v = second[i] / (1 - std::pow(0.999, 3));
        weight.push_back(before.weight[i] * (1 - 1e-3) - 1e-2 * m / (std::sqrt(v) + 1e-8));
      }
      // A few roundings of float32 (6e-8 each); 1 - beta in floats is off by 3e-8 of 0.001.
      CHECK(distance(p.first, first) < 5e-7);
      CHECK(distance(p.second, second) < 5e-7);
      CHECK(distance(p.weight, weight) < 2e-6);
    }
}

TEST_CASE("coupled decay is a gradient of the weights' square; decoupled leaves the moments") {
  for (const kernels::Table* table : kernels::usable_tables()) {
    INFO(std::string(table->name));
    Parameters coupled = start(19), sum = start(19), decoupled = start(19), bare = start(19);
    const Floats gradient = normals(19, 9);
    Floats with_decay = gradient;
    for (size_t i = 0; i < 19; ++i) with_decay[i] += 0.05F / 0.7F * sum.weight[i];
    update(*table, step_number(1, 0, 0.05F), gradient, coupled, 0);
    update(*table, step_number(1, 0, 0), with_decay, sum, 0);
    CHECK(distance(coupled.weight, sum.weight) < 1e-6);  // one rounding more in the gradient
    update(*table, step_number(1, 0.05F, 0), gradient, decoupled, 0);
    update(*table, step_number(1, 0, 0), gradient, bare, 0);
    CHECK(decoupled.first == bare.first);
    CHECK(decoupled.second == bare.second);
    for (size_t i = 0; i < 19; ++i) bare.weight[i] -= 0.05F * start(19).weight[i];
    CHECK(distance(decoupled.weight, bare.weight) < 1e-6);
  }
}

TEST_CASE("every average follows the new weights at its own rate, however many there are") {
  for (const kernels::Table* table : kernels::usable_tables())
    for (const int64_t count : kSizes)
      for (int64_t averages = 0; averages <= 3; ++averages) {
        INFO(std::string(table->name));
        Parameters p = start(count);
        update(*table, step_number(2, 0, 0), normals(count, 9), p, averages);
        for (size_t k = 0; k < 3; ++k) {
          Floats expected = start(count).averages[k];
          if (static_cast<int64_t>(k) < averages)
            for (size_t i = 0; i < expected.size(); ++i)
              expected[i] = kKeep[k] * expected[i] + (1 - kKeep[k]) * p.weight[i];
          CHECK(distance(p.averages[k], expected) < 2e-7);  // fused or not: one rounding
        }
      }
}

TEST_CASE("every table does what the plain one does, over several steps") {
  const kernels::Table& plain = *kernels::usable_tables().front();
  for (const kernels::Table* table : kernels::usable_tables())
    for (const int64_t count : kSizes) {
      INFO(std::string(table->name));
      CAPTURE(count);
      Parameters p = start(count), expected = start(count);
      for (int n = 1; n <= 5; ++n) {
        const Floats gradient = normals(count, 10 + static_cast<unsigned>(n));
        update(*table, step_number(n, 1e-3F, 1e-4F), gradient, p, 3);
        update(plain, step_number(n, 1e-3F, 1e-4F), gradient, expected, 3);
      }
      // Fused multiply-adds round once where the plain loop rounds twice, 5 steps long.
      CHECK(distance(p.weight, expected.weight) < 2e-6);
      CHECK(distance(p.first, expected.first) < 1e-6);
      CHECK(distance(p.second, expected.second) < 1e-6);
      for (size_t k = 0; k < 3; ++k) CHECK(distance(p.averages[k], expected.averages[k]) < 2e-6);
    }
}

TEST_CASE("the sum of squares keeps double precision, in every table and at every size") {
  for (const kernels::Table* table : kernels::usable_tables())
    for (const int64_t count : {0, 1, 15, 16, 17, 33, 10007}) {
      INFO(std::string(table->name));
      CAPTURE(count);
      const Floats x = normals(count, 20, 100);
      long double expected = 0;
      for (const float value : x) expected += static_cast<long double>(value) * value;
      // Sums of up to 1e4 positive doubles: 1e4 roundings of 1e-16 at most.
      CHECK(std::abs(table->sum_of_squares(count, x.data()) - static_cast<double>(expected)) <=
            1e-12 * static_cast<double>(expected));
    }
}

TEST_CASE("a sum of squares is NaN or infinite if any element is") {
  for (const kernels::Table* table : kernels::usable_tables())
    for (const size_t place : {0, 15, 16, 18}) {
      INFO(std::string(table->name));
      Floats x = normals(19, 1);
      x[place] = NAN;
      CHECK(std::isnan(table->sum_of_squares(19, x.data())));
      x[place] = INFINITY;
      CHECK(std::isinf(table->sum_of_squares(19, x.data())));
      x[place] = 3e38F;  // its square is no float, but a double
      CHECK(std::isfinite(table->sum_of_squares(19, x.data())));
    }
}
