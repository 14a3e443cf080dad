#include "tweedie/cli/numbers.h"

#include <cmath>
#include <cstdlib>

namespace tweedie {
namespace {

CLI::Validator number_that(bool (*fits)(double), const char* words, const char* name) {
  return CLI::Validator(
      [=](const std::string& text) {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        const bool is_number = end != text.c_str() && *end == '\0' && std::isfinite(value);
        return is_number && fits(value) ? std::string()
                                        : std::string("expected ") + words + ", got " + text;
      },
      name);
}

}  // namespace

const CLI::Validator& positive() {
  static const CLI::Validator validator =
      number_that([](double x) { return x > 0; }, "a number above 0", "POSITIVE");
  return validator;
}

const CLI::Validator& non_negative() {
  static const CLI::Validator validator =
      number_that([](double x) { return x >= 0; }, "a number of 0 or more", "NONNEGATIVE");
  return validator;
}

}  // namespace tweedie
