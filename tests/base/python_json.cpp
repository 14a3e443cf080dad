#include "tweedie/base/python_json.h"

#include <doctest/doctest.h>

using namespace tweedie;

TEST_CASE("what Python's json writes of infinities is read, and written back as it was") {
  const std::string text = R"({
  "NaN": "a \"NaN\" in a text, -Infinity",
  "lambda_min_clipped": -Infinity,
  "list": [
    Infinity,
    NaN,
    1
  ]
})";
  const Json read = parse_python_json(text);
  REQUIRE(read.is_object());
  CHECK(read["lambda_min_clipped"] == "-Infinity");
  CHECK(read["list"][0] == "Infinity");
  CHECK(read["NaN"] == "a \"NaN\" in a text, -Infinity");
  CHECK(python_json(read) == text);
  CHECK(parse_python_json("{\"a\": Infinit}").is_discarded());
  CHECK(parse_python_json("{\"a\": \"unfinished\\").is_discarded());
}
