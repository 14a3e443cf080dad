// Every table's normals against the plain table's, to the last bit: random numbers are the same on
// every machine.  That they are normal, tests/tensor/random.cpp says.
#include <doctest/doctest.h>

#include "tests/kernels/support.h"

using namespace tweedie;
using namespace tweedie::testing;

namespace {

constexpr kernels::NormalsKey kKey{{0x9e3779b9u, 0x85ebca6bu}, 3};
constexpr float kUntouched = -1e9F;

Floats drawn(const kernels::Table& table, const std::vector<int64_t>& samples, int64_t row_size,
             int64_t begin, int64_t end) {
  Floats out(samples.size() * static_cast<size_t>(row_size), kUntouched);
  table.normals(kKey, samples.data(), row_size, begin, end, out.data());
  return out;
}

}  // namespace

TEST_CASE("every table draws the plain table's normals, to the last bit") {
  const std::vector<int64_t> samples = {0, 5, 1, int64_t{1} << 40, -1};
  for (const kernels::Table* table : kernels::usable_tables())
    for (const int64_t row_size : {1, 2, 3, 4, 5, 127, 128, 129, 784, 10007}) {
      INFO(std::string(table->name), " rows of ", row_size);
      const int64_t groups = static_cast<int64_t>(samples.size()) * ((row_size + 3) / 4);
      CHECK(drawn(*table, samples, row_size, 0, groups) ==
            drawn(*kernels::usable_tables().front(), samples, row_size, 0, groups));
    }
}

TEST_CASE("a part of the groups is that part of the whole, and nothing else is written") {
  const std::vector<int64_t> samples = {3, 4, 9};
  for (const kernels::Table* table : kernels::usable_tables())
    for (const int64_t row_size : {2, 7, 150}) {
      const int64_t groups = static_cast<int64_t>(samples.size()) * ((row_size + 3) / 4);
      const int64_t cut = groups / 2;
      const Floats whole = drawn(*table, samples, row_size, 0, groups),
                   front = drawn(*table, samples, row_size, 0, cut),
                   back = drawn(*table, samples, row_size, cut, groups);
      for (size_t i = 0; i < whole.size(); ++i) {
        INFO(std::string(table->name), " rows of ", row_size, ", number ", i);
        CHECK((front[i] == kUntouched) != (back[i] == kUntouched));
        CHECK((front[i] == kUntouched ? back[i] : front[i]) == whole[i]);
      }
    }
}
