// Which table runs.  The choice is made once in a process, so every test makes a process of its
// own.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

#include "tweedie/kernels/kernels.h"

using namespace tweedie;

namespace {

/// Whether `holds` is true in a child with TWEEDIE_KERNELS=`value` (nullptr: unset).
bool in_child(const char* value, const std::function<bool()>& holds) {
  const pid_t child = fork();
  if (child == 0) {
    value == nullptr ? unsetenv("TWEEDIE_KERNELS") : setenv("TWEEDIE_KERNELS", value, 1);
    _exit(holds() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("TWEEDIE_KERNELS forces any table that this CPU runs") {
  for (const kernels::Table* table : kernels::usable_tables()) {
    INFO(std::string(table->name));
    CHECK(in_child(table->name, [=] { return &kernels::table() == table; }));
  }
}

TEST_CASE("unset or empty, TWEEDIE_KERNELS leaves the widest table") {
  const kernels::Table* const widest = kernels::usable_tables().back();
  for (const char* value : {static_cast<const char*>(nullptr), ""})
    CHECK(in_child(value, [=] { return &kernels::table() == widest; }));
}

TEST_CASE("a wrong TWEEDIE_KERNELS is an error that names it and what this CPU runs") {
  for (const char* value : {"avx3", "Plain", "plain ", "amx"})
    CHECK(in_child(value, [=] {
      try {
        kernels::table();
      } catch (const std::invalid_argument& error) {
        return std::strstr(error.what(), value) != nullptr &&
               std::strstr(error.what(), "this CPU runs plain") != nullptr;
      }
      return false;
    }));
}

TEST_CASE("plain comes first, and no table is listed twice") {
  const auto tables = kernels::usable_tables();
  REQUIRE(!tables.empty());
  CHECK(std::string(tables.front()->name) == "plain");
  for (size_t i = 0; i < tables.size(); ++i)
    for (size_t j = 0; j < i; ++j) CHECK(std::string(tables[i]->name) != tables[j]->name);
}
