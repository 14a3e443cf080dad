#include "tweedie/jobs/evaluation_picture.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <numeric>
#include <sstream>

#include "tweedie/jobs/solver_curve.h"
#include "tweedie/model/ais.h"

namespace tweedie {
namespace {

constexpr size_t kMostBars = 50;
constexpr double kLeastLogSnr = -40;  // below: next to no signal, as where alpha should be 0

bool in_bits(const Evaluation& e) { return std::isfinite(e.bits_per_dim); }

std::string unit_of(const Evaluation& e) { return in_bits(e) ? "bits/dim" : "nats/dim"; }

double per_dim(const Evaluation& e, double nats) {
  return in_bits(e) ? bits_per_dim(nats, e.dims) : nats / static_cast<double>(e.dims);
}

std::string significant(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

// --- the levels of the bound

/// Sums of a path's levels from noise to data, each with its weight in the diffusion term.
struct LevelTerms {
  std::vector<double> t, log_snr;  // one more than there are terms: the level of the decoder
  std::vector<double> nats;        // unbiased part of the term: what was drawn here, weighted
  std::vector<bool> drawn;
  size_t drawn_for_each = 0;  // terms of an example
  size_t size() const { return nats.size(); }
};

/// NaN where JSON has none: an infinite log-SNR is written as null.
double number_or_nan(const Json& value) {
  return value.is_number() ? value.get<double>() : std::nan("");
}

LevelTerms level_terms(const Evaluation& e) {
  const Json &sums = e.sums.at("per_level_sums"), &counts = e.sums.at("per_level_counts");
  const size_t places = sums.size();
  check(places >= 1 && counts.size() == places && e.settings.at("per_level_t").size() == places &&
            e.settings.at("per_level_log_snr").size() == places,
        "evaluation picture: sums of ", places, " levels with ", counts.size(), " counts and ",
        e.settings.at("per_level_t").size(), " times; were they made by the same command?");
  LevelTerms terms;
  for (const Json& t : e.settings.at("per_level_t")) terms.t.push_back(number_or_nan(t));
  for (const Json& value : e.settings.at("per_level_log_snr"))
    terms.log_snr.push_back(number_or_nan(value));
  const int64_t draws =
      std::accumulate(counts.begin(), counts.end(), int64_t{0},
                      [](int64_t sum, const Json& count) { return sum + count.get<int64_t>(); });
  const size_t size = places - 1;
  const double weight =
      static_cast<double>(size) / static_cast<double>(std::max<int64_t>(draws, 1));
  for (size_t i = 0; i < size; ++i) {
    terms.nats.push_back(sums[i].get<double>() * weight);
    terms.drawn.push_back(counts[i].get<int64_t>() > 0);
  }
  terms.drawn_for_each = static_cast<size_t>(draws / std::max<int64_t>(e.examples, 1));
  return terms;
}

/// The first level of stratum `i` of those that an example draws one level of each.
size_t begin_of_stratum(const LevelTerms& terms, size_t i) {
  return (i * terms.size() + terms.drawn_for_each - 1) / terms.drawn_for_each;
}

/// Levels where bars of equally many strata begin, and the end.
std::vector<size_t> even_bars(const LevelTerms& terms) {
  const size_t strata = terms.drawn_for_each, least = (strata + kMostBars - 1) / kMostBars;
  size_t each = least;
  while (each < 2 * least && strata % each != 0) ++each;
  if (strata % each != 0) each = least;
  std::vector<size_t> begins;
  begins.push_back(0);  // what is left over is a shorter bar at the noise
  const size_t first = strata % each == 0 ? each : strata % each;
  for (size_t i = first; i < strata; i += each) begins.push_back(begin_of_stratum(terms, i));
  begins.push_back(terms.size());
  return begins;
}

/// Levels where bars of at least a kMostBars-th of the log-SNR begin, and the end.
std::vector<size_t> log_snr_bars(const LevelTerms& terms) {
  const std::vector<double>& at = terms.log_snr;
  size_t first = 0;
  while (first + 1 < at.size() && !(at[first] > kLeastLogSnr)) ++first;
  const double least = (at.back() - at[first]) / static_cast<double>(kMostBars) * (1 - 1e-9);
  std::vector<size_t> begins;
  for (size_t i = 0; i < terms.drawn_for_each; ++i) {
    const size_t level = begin_of_stratum(terms, i);
    if (level < first) continue;
    if (begins.empty() || at[level] - at[begins.back()] >= least) begins.push_back(level);
  }
  begins.push_back(terms.size());
  return begins;
}

/// What the levels from `begin` to `end` contribute; NaN if none was drawn.
double nats_between(const LevelTerms& terms, size_t begin, size_t end) {
  double sum = 0;
  bool any = false;
  for (size_t i = begin; i < end; ++i) {
    sum += terms.nats[i];
    any = any || terms.drawn[i];
  }
  return any ? sum : std::nan("");
}

std::string levels_in_a_bar(const std::vector<size_t>& begins) {
  size_t least = begins.back(), most = 0;
  for (size_t i = 0; i + 1 < begins.size(); ++i) {
    least = std::min(least, begins[i + 1] - begins[i]);
    most = std::max(most, begins[i + 1] - begins[i]);
  }
  if (most == 1) return "a bar for each level";
  return "a bar sums " + (least == most ? "" : std::to_string(least) + " to ") +
         std::to_string(most) + " levels";
}

// --- histograms

std::vector<double> finite_values(const Tensor& values) {
  const Tensor flat = values.to(at::kCPU, at::kDouble).contiguous();
  std::vector<double> out(flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel());
  std::erase_if(out, [](double value) { return !std::isfinite(value); });
  return out;
}

/// Bars between round numbers, as many as the number of values bears.
Series histogram_of(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double wanted = 2 * std::sqrt(static_cast<double>(values.size()));
  const Ticks ticks = round_ticks(*low, *high, static_cast<int>(std::clamp(wanted, 5.0, 40.0)));
  Series bars{.name = {}, .x = ticks.at, .y = std::vector<double>(ticks.at.size() - 1)};
  bars.bars = true;
  const double width = ticks.at[1] - ticks.at[0];
  for (const double value : values) {
    const double place = std::floor((value - ticks.low) / width);
    ++bars.y[std::min(static_cast<size_t>(std::max(place, 0.0)), bars.y.size() - 1)];
  }
  return bars;
}

/// What a histogram of `count` values from N(0, std^2) would be.
Series normal_curve(const Series& bars, double std, double count) {
  Series curve{.name = "normal, variance " + significant(std * std, 3), .x = {}, .y = {}};
  curve.colour = series_colour(1);
  constexpr int kPoints = 200;
  const double low = bars.x.front(), high = bars.x.back(), width = bars.x[1] - bars.x[0];
  for (int i = 0; i <= kPoints; ++i) {
    const double x = low + (high - low) * i / kPoints;
    curve.x.push_back(x);
    curve.y.push_back(count * width / (std * std::sqrt(2 * std::numbers::pi)) *
                      std::exp(-0.5 * x * x / (std * std)));
  }
  return curve;
}

// --- words

std::string method_in_words(const Evaluation& e) {
  const std::string method = e.settings.at("method");
  if (method == "vlb") return "the variational bound";
  if (method == "ais")
    return "annealed importance sampling, " +
           std::to_string(e.settings.at("paths").get<int64_t>()) + " paths";
  return method == "exact" ? "the probability flow, exact divergence" : "the probability flow";
}

std::string title_of(const Evaluation& e) {
  std::string value = lines_of(e).front();
  if (const size_t at = value.find("+-"); at != std::string::npos) value.replace(at, 2, "\u00b1");
  std::string part;
  if (const int64_t shards = e.settings.value("shards", int64_t{1}); shards > 1)
    part = " (part " + std::to_string(e.settings.at("shard").get<int64_t>()) + " of " +
           std::to_string(shards) + ")";
  return value + " by " + method_in_words(e) + ", " + std::to_string(e.examples) +
         (e.examples == 1 ? " example" : " examples") + part;
}

/// `text` in lines of at most `columns` characters.
std::vector<std::string> wrapped(const std::string& text, size_t columns) {
  std::vector<std::string> lines(1);
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > columns)
      lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + word;
  }
  return lines;
}

std::vector<LineChart> charts_of(const Evaluation& e) {
  const std::string method = e.settings.at("method");
  std::vector<LineChart> charts;
  if (method == "vlb")
    charts = {level_chart(e), log_snr_chart(e)};
  else if (method == "ais")
    charts = {weight_chart(e), bound_chart(e)};
  else
    charts = {solver_chart(e), value_chart(e)};
  std::erase_if(charts, [](const LineChart& chart) { return chart.series.empty(); });
  return charts;
}

}  // namespace

LineChart level_chart(const Evaluation& e) {
  const LevelTerms terms = level_terms(e);
  LineChart chart{.title = "The bound's terms by level",
                  .x_label = {},
                  .y_label = unit_of(e) + ", adding up to the diffusion term",
                  .series = {}};
  if (terms.drawn_for_each == 0) return chart;  // a path of one level
  const std::vector<size_t> begins = even_bars(terms);
  Series bars{.name = {}, .x = {}, .y = {}};
  bars.bars = true;
  for (size_t i = 0; i < begins.size(); ++i) {
    bars.x.push_back(static_cast<double>(begins[i]));
    if (i + 1 < begins.size())
      bars.y.push_back(per_dim(e, nats_between(terms, begins[i], begins[i + 1])));
  }
  const size_t count = begins.size() - 1, every = (count + 5) / 6;
  for (size_t i = 0; i < begins.size(); i += every) {
    const size_t at = count - i < every ? count : i;  // the last one at the end
    chart.x_names.push_back({bars.x[at], significant(terms.t[begins[at]], 4) + "\n" +
                                             (std::isfinite(terms.log_snr[begins[at]])
                                                  ? significant(terms.log_snr[begins[at]], 3)
                                                  : "-inf")});
  }
  chart.x_label = "t, and below it log-SNR, from noise to data; " + levels_in_a_bar(begins);
  chart.series.push_back(std::move(bars));
  return chart;
}

LineChart log_snr_chart(const Evaluation& e) {
  const LevelTerms terms = level_terms(e);
  LineChart chart{.title = "The same for each unit of log-SNR",
                  .x_label = {},
                  .y_label = unit_of(e) + " for a unit of log-SNR: areas add up to the term",
                  .series = {}};
  if (terms.drawn_for_each == 0) return chart;
  const std::vector<size_t> begins = log_snr_bars(terms);
  Series bars{.name = {}, .x = {}, .y = {}};
  bars.bars = true;
  for (size_t i = 0; i < begins.size(); ++i) {
    bars.x.push_back(terms.log_snr[begins[i]]);
    if (i + 1 == begins.size()) continue;
    const double width = terms.log_snr[begins[i + 1]] - terms.log_snr[begins[i]];
    bars.y.push_back(per_dim(e, nats_between(terms, begins[i], begins[i + 1])) / width);
  }
  chart.x_label = "log-SNR, from noise to data; " + levels_in_a_bar(begins);
  chart.series.push_back(std::move(bars));
  return chart;
}

LineChart weight_chart(const Evaluation& e) {
  const Tensor log_weights = log_weights_of(e.table);
  LineChart chart{.title = "Weights of the paths",
                  .x_label = "log w minus its mean over the example's paths, nats",
                  .y_label = "paths, of all examples",
                  .series = {},
                  .count_y = true};
  if (log_weights.size(1) == 1) return chart;
  const std::vector<double> values =
      finite_values(log_weights - log_weights.mean(1, /*keepdim=*/true));
  if (values.empty()) return chart;
  double squares = 0;
  for (const double value : values) squares += value * value;
  const double count = static_cast<double>(values.size()), std = std::sqrt(squares / count);
  chart.series.push_back(histogram_of(values));
  if (std > 0) chart.series.push_back(normal_curve(chart.series.front(), std, count));
  return chart;
}

LineChart bound_chart(const Evaluation& e) {
  const Tensor log_weights = log_weights_of(e.table);
  const int64_t paths = log_weights.size(1);
  const double of_class = e.settings.at("class_nats"),
               for_each = e.settings.at("evaluations").get<double>() / static_cast<double>(paths);
  LineChart chart{.title = "Bound of k paths",
                  .x_label = "network evaluations for each example",
                  .y_label = unit_of(e) + "; error bars are the examples', common to all points",
                  .log_x = true,
                  .series = {}};
  Series line{.name = {}, .x = {}, .y = {}, .marks = true};
  for (int64_t k = 1;; k = std::min(2 * k, paths)) {
    const Mean bound = mean_of(of_class - importance_bound(log_weights, k));
    line.x.push_back(for_each * static_cast<double>(k));
    line.y.push_back(per_dim(e, bound.value));
    line.error.push_back(per_dim(e, bound.error));
    line.notes.push_back("k = " + std::to_string(k));
    if (k == paths) break;
  }
  chart.series.push_back(std::move(line));
  return chart;
}

LineChart solver_chart(const Evaluation& e) {
  const double rtol = e.settings.at("rtol"), atol = e.settings.at("atol");
  LineChart chart{.title = "Solver's error",
                  .x_label = "mean network evaluations of a solve; beside each its tolerance",
                  .y_label = {},
                  .log_x = true,
                  .log_y = true,
                  .series = {}};
  if (!e.table.has(solver_cost_at(1))) return chart;
  const std::vector<double> own = finite_values(e.table.column(solver_cost_at(1)));
  const auto mean = [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  Series line{.name = {}, .x = {}, .y = {}, .marks = true};
  double low = 1e300, high = 0;
  for (const int64_t times : kCoarser) {
    const std::vector<double> change = finite_values(e.table.column(solver_change_at(times)));
    if (change.empty()) continue;
    line.x.push_back(mean(finite_values(e.table.column(solver_cost_at(times)))));
    line.y.push_back(mean(change));
    line.notes.push_back(significant(static_cast<double>(times) * rtol, 3));
    low = std::min(low, line.y.back()), high = std::max(high, line.y.back());
  }
  if (line.x.empty()) return chart;
  chart.y_label = "mean |change of log p| by a coarser tolerance, nats; " +
                  std::to_string(own.size()) + (own.size() == 1 ? " example" : " examples");
  chart.series.push_back(std::move(line));
  chart.series.push_back({.name = "the result's own solve, at " + significant(rtol, 3) +
                                  (atol == rtol ? "" : " and " + significant(atol, 3)),
                          .x = {mean(own), mean(own)},
                          .y = {low, high},
                          .dashed = true,
                          .colour = kQuietColour});
  return chart;
}

LineChart value_chart(const Evaluation& e) {
  std::vector<double> values = finite_values(e.table.column("nats"));
  for (double& value : values) value = per_dim(e, value);
  return {.title = "Examples",
          .x_label = "-log p, " + unit_of(e),
          .y_label = "examples",
          .series = {histogram_of(values)},
          .count_y = true};
}

Picture evaluation_picture(const Evaluation& e, const std::string& model) {
  constexpr double kWidth = 1060, kHeight = 400, kLine = 16;
  constexpr size_t kColumns = 160;
  std::vector<std::string> words = {"Model " +
                                    (model.size() <= kColumns - 10
                                         ? model
                                         : "..." + model.substr(model.size() - (kColumns - 10)))};
  const std::vector<std::string> lines = lines_of(e);
  for (size_t i = 1; i < lines.size(); ++i)
    for (std::string& line : wrapped(lines[i], kColumns)) words.push_back(std::move(line));
  const double head = 36 + kLine * static_cast<double>(words.size());
  Picture picture(kWidth, head + kHeight);
  picture.text(title_of(e), 16, 26, 15);
  for (size_t i = 0; i < words.size(); ++i)
    picture.text(words[i], 16, 46 + kLine * static_cast<double>(i), 11);
  const std::vector<LineChart> charts = charts_of(e);
  const double width = kWidth / static_cast<double>(std::max<size_t>(charts.size(), 1));
  for (size_t i = 0; i < charts.size(); ++i)
    picture.line_chart(charts[i],
                       {8 + width * static_cast<double>(i), head, width - 16, kHeight - 8});
  return picture;
}

}  // namespace tweedie
