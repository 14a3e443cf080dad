#include "tweedie/jobs/table_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace tweedie {
namespace {

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string number_text(double value, bool whole) {
  char text[40];
  if (whole) value = std::round(value) + 0.0;  // -0 becomes 0
  std::snprintf(text, sizeof text, whole ? "%.0f" : "%.9g", value);
  return text;
}

/// A sample's value in one column; `at` moves past its coordinates.
std::string value_text(const float* coordinates, const Json& column, int64_t* at) {
  if (!column.contains("categories")) {
    const double value =
        coordinates[(*at)++] * column.at("scale").get<double>() + column.at("mean").get<double>();
    return number_text(value, column.value("whole", false));
  }
  const auto count = static_cast<int64_t>(column.at("categories").size());
  const float* const first = coordinates + *at;
  *at += count;
  return quoted(
      column["categories"][static_cast<size_t>(std::max_element(first, first + count) - first)]
          .get<std::string>());
}

}  // namespace

std::string table_text(const Tensor& samples, const Json& given) {
  check(samples.dim() == 2, "a table's samples are [B, D], got ",
        Json(samples.sizes().vec()).dump());
  Json columns = given;
  if (columns.empty())
    for (int64_t i = 0; i < samples.size(1); ++i)
      columns.push_back({{"name", "x" + std::to_string(i)}, {"mean", 0.0}, {"scale", 1.0}});
  int64_t width = 0;
  std::string out;
  for (const Json& column : columns) {
    out += (out.empty() ? "" : ",") + quoted(column.at("name").get<std::string>());
    width += column.contains("categories") ? static_cast<int64_t>(column["categories"].size()) : 1;
  }
  check(width == samples.size(1), "the columns have ", width, " coordinates, the samples ",
        samples.size(1));
  out += "\n";
  const Tensor x = samples.to(at::kCPU, at::kFloat).contiguous();
  for (int64_t i = 0; i < x.size(0); ++i) {
    int64_t at = 0;
    for (const Json& column : columns) {
      out += value_text(x.data_ptr<float>() + i * width, column, &at);
      out += at < width ? "," : "\n";
    }
  }
  return out;
}

}  // namespace tweedie
