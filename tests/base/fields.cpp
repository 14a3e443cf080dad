#include "tweedie/base/fields.h"

#include <doctest/doctest.h>

using namespace tweedie;

namespace {

struct Inner {
  double rate = 0.5;
  std::vector<int64_t> widths{1, 2};
  template <class Visit>
  void fields(Visit&& visit) {
    visit("rate", rate, "how fast");
    visit("widths", widths, "how wide");
  }
};

struct Outer {
  int64_t steps = 1000;
  bool flip = false;
  std::string name = "cosine";
  std::vector<double> decays{0.9};
  Json more = Json::object();
  Inner inner;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("steps", steps, "how long");
    visit("flip", flip, "mirror or not");
    visit("name", name, "which");
    visit("decays", decays, "how slow");
    visit("more", more, "anything");
    visit("inner", inner, "a table");
  }
};

Outer parse(const char* text) { return from_json<Outer>(Json::parse(text), "options"); }

}  // namespace

TEST_CASE("no options are the defaults") {
  const Outer options = parse("{}");
  CHECK(options.steps == 1000);
  CHECK(options.inner.widths == std::vector<int64_t>{1, 2});
}

TEST_CASE("every kind of option is read") {
  const Outer options = parse(
      R"({"steps": 5, "flip": true, "name": "linear", "decays": [0.5, 1], "more": [1, "x"],
          "inner": {"rate": 2, "widths": []}})");
  CHECK(options.steps == 5);
  CHECK(options.flip);
  CHECK(options.name == "linear");
  CHECK(options.decays == std::vector<double>{0.5, 1});
  CHECK(options.more == Json{1, "x"});
  CHECK(options.inner.rate == 2);
  CHECK(options.inner.widths.empty());
}

TEST_CASE("what is written is read back the same") {
  Outer options;
  options.steps = 7;
  options.inner.rate = 1.0 / 3;
  const Json written = to_json(options);
  CHECK(to_json(from_json<Outer>(Json::parse(written.dump()), "")) == written);
  CHECK(written["inner"]["rate"] == 1.0 / 3);
}

TEST_CASE("written options keep the order in which they are listed") {
  CHECK(field_names<Outer>() ==
        std::vector<std::string>{"steps", "flip", "name", "decays", "more", "inner"});
  CHECK(to_json(Inner{}).dump() == R"({"rate":0.5,"widths":[1,2]})");
}

TEST_CASE("an unknown option is refused with the nearest name") {
  CHECK_THROWS_WITH_AS(parse(R"({"step": 5})"),
                       "options: unknown option 'step' (did you mean 'steps'?)", Error);
  CHECK_THROWS_WITH_AS(parse(R"({"inner": {"qqqqqqqq": 5}})"),
                       "options.inner: unknown option 'qqqqqqqq'; known: rate, widths", Error);
}

TEST_CASE("a value of the wrong type is refused, saying which and what was expected") {
  CHECK_THROWS_WITH_AS(parse(R"({"steps": 1.5})"),
                       "options.steps: expected a whole number, got 1.5", Error);
  CHECK_THROWS_WITH_AS(parse(R"({"flip": 1})"), "options.flip: expected true or false, got 1",
                       Error);
  CHECK_THROWS_WITH_AS(parse(R"({"name": null})"), doctest::Contains("expected a text"), Error);
  CHECK_THROWS_WITH_AS(parse(R"({"decays": [1, "x"]})"), doctest::Contains("a list of numbers"),
                       Error);
  CHECK_THROWS_WITH_AS(parse(R"({"inner": {"widths": [1.5]}})"),
                       doctest::Contains("options.inner.widths: expected a list of whole numbers"),
                       Error);
  CHECK_THROWS_WITH_AS(parse(R"({"inner": 3})"),
                       "options.inner: expected a table of options, got 3", Error);
  CHECK_THROWS_AS(parse("[]"), Error);
}

TEST_CASE("a whole number that no 64 bits hold is refused") {
  CHECK_THROWS_WITH_AS(parse(R"({"steps": 18446744073709551615})"),
                       doctest::Contains("options.steps"), Error);
  CHECK_THROWS_AS(parse(R"({"steps": 1e30})"), Error);
}

TEST_CASE("setting some fields leaves the others") {
  Outer options;
  options.name = "mine";
  set_fields(options, Json{{"steps", 3}}, "options");
  CHECK(options.steps == 3);
  CHECK(options.name == "mine");
}

TEST_CASE("help has a line for each option with its default") {
  CHECK(fields_help<Inner>("  ") == "  rate = 0.5  how fast\n  widths = [1,2]  how wide\n");
}
