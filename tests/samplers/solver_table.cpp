// Writes the measured orders of every sampler into docs/solvers.md, between its two marks:
//   tweedie-solver-table docs/solvers.md
#include <cstdio>
#include <iostream>
#include <sstream>

#include "tests/samplers/orders.h"
#include "tweedie/base/files.h"
#include "tweedie/registry.h"

namespace {

using namespace tweedie;
using namespace tweedie::testing;

std::string row_of(const OrderCase& one) {
  const MeasuredOrder result = measure(one);
  std::ostringstream row;
  char number[32];
  row << "| `" << one.name << "` | " << (one.options == "{}" ? "" : "`" + one.options + "`")
      << " | " << (one.stochastic ? "variance" : "flow") << " | " << result.steps.front() << " .. "
      << result.steps.back() << " |";
  for (const double error : result.errors) {
    std::snprintf(number, sizeof number, " %.1e", error);
    row << number;
  }
  std::snprintf(number, sizeof number, " | %.2f | %g |", result.slope, one.order);
  row << number << "\n";
  return row.str();
}

std::string table() {
  std::string out =
      "| sampler | options | measured on | steps | error | slope | theory |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const OrderCase& one : order_cases()) out += row_of(one);
  return out;
}

std::string choices() {
  std::string out =
      "| sampler | order | evaluations | noise | levels | when |\n|---|---|---|---|---|---|\n";
  for (const auto& [name, entry] : builtin().samplers)
    out += "| `" + name + "` | " + entry.facts.order + " | " + entry.facts.evaluations.words() +
           " | " + (entry.facts.stochastic ? "yes" : "") + " | " + entry.facts.path + " | " +
           entry.facts.when + " |\n";
  return out;
}

/// `text` with what lies between <!-- name --> and <!-- /name --> replaced.
std::string replaced(const std::string& text, const std::string& name, const std::string& content) {
  const std::string open = "<!-- " + name + " -->\n", close = "<!-- /" + name + " -->";
  const size_t begin = text.find(open), end = text.find(close);
  check(begin != std::string::npos && end != std::string::npos, "the page has no marks '", name,
        "'");
  return text.substr(0, begin + open.size()) + content + text.substr(end);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    check(argc == 2, "usage: tweedie-solver-table docs/solvers.md");
    const std::string page = read_file(argv[1]);
    write_file_atomically(argv[1],
                          replaced(replaced(page, "choices", choices()), "orders", table()));
    return 0;
  } catch (const Error& error) {
    std::cerr << "tweedie-solver-table: " << error.what() << "\n";
    return 2;
  }
}
