#include "tweedie/jobs/event_log.h"

#include <doctest/doctest.h>

#include <fstream>

#include "tests/jobs/scratch.h"
#include "tweedie/base/files.h"

using namespace tweedie;

TEST_CASE("the checksum is Castagnoli's") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283);            // the check value of its definition
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);  // RFC 3720, B.4
}

TEST_CASE("records have their length, checksums and content") {
  const Scratch folder;
  EventLog log(folder / ".");
  const std::string first = read_file(log.path());
  // Length 24: time (9 bytes), and field 3 with 13 characters of the version.
  CHECK(first.size() == 8 + 4 + 24 + 4);
  CHECK(static_cast<int>(first[0]) == 24);
  CHECK(first.substr(12 + 9, 2) == std::string("\x1a\x0d", 2));
  CHECK(first.substr(12 + 11, 13) == "brain.Event:2");
  log.scalars(3, {{"step", 3}, {"loss", 0.5}, {"by", {1.0, nullptr}}});
  const std::string both = read_file(log.path());
  REQUIRE(both.size() > first.size());
  CHECK(both.find("loss") != std::string::npos);
  CHECK(both.find("by/1") != std::string::npos);
  CHECK(both.find("by/2") == std::string::npos);
  CHECK(both.find("step") == std::string::npos);
}

TEST_CASE("what a kill cut short is cut off, the rest stays") {
  const Scratch folder;
  EventLog log(folder / ".");
  log.scalars(1, {{"step", 1}, {"loss", 0.5}});
  const std::string whole = read_file(log.path());
  std::ofstream(log.path(), std::ios::app) << whole.substr(0, 30);
  EventLog(folder / ".").restart(1);
  const std::string again = read_file(log.path());
  CHECK(again.substr(0, whole.size()) == whole);
  CHECK(again.size() == whole.size() + 8 + 4 + 9 + 2 + 4 + 4);  // time, step, session log
}
