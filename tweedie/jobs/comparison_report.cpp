#include "tweedie/jobs/comparison_report.h"

#include <algorithm>
#include <cstdio>
#include <set>

namespace tweedie {
namespace {

constexpr size_t kColoured = 6;

std::string digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

std::string padded(const std::string& text, size_t width) {
  return std::string(text.size() < width ? width - text.size() : 0, ' ') + text;
}

const SolverPoint& reference_point(const SamplerComparison& comparison) {
  return comparison.reference.points.front();
}

/// What errors of one kind of sampler cannot be told apart below.
double floor_of(const SamplerComparison& comparison, bool stochastic) {
  return stochastic ? comparison.distribution_floor.value_or(0) : reference_point(comparison).error;
}

std::string reference_words(const SamplerComparison& comparison) {
  const SolverPoint& point = reference_point(comparison);
  return comparison.reference.sampler + " with " + std::to_string(point.steps) + " steps";
}

bool any_of_kind(const SamplerComparison& comparison, bool stochastic) {
  return std::any_of(comparison.curves.begin(), comparison.curves.end(),
                     [&](const SolverCurve& curve) {
                       return curve.stochastic == stochastic && !curve.points.empty();
                     });
}

std::set<int64_t> budgets_of(const SamplerComparison& comparison) {
  std::set<int64_t> budgets;
  for (const SolverCurve& curve : comparison.curves)
    for (const SolverPoint& point : curve.points) budgets.insert(point.budget);
  return budgets;
}

std::string table_row(const SolverCurve& curve, const std::set<int64_t>& budgets, size_t width,
                      double floor) {
  std::string row = curve.sampler + std::string(width - curve.sampler.size(), ' ');
  for (const int64_t budget : budgets) {
    const auto point =
        std::find_if(curve.points.begin(), curve.points.end(),
                     [&](const SolverPoint& candidate) { return candidate.budget == budget; });
    row += padded(point == curve.points.end() ? "-"
                  : point->error < floor      ? "<" + digits(floor)
                                              : digits(point->error),
                  10);
  }
  return row + "   " + curve.path + "\n";
}

std::string table_of_kind(const SamplerComparison& comparison, bool stochastic) {
  const std::set<int64_t> budgets = budgets_of(comparison);
  size_t width = 11;
  for (const SolverCurve& curve : comparison.curves) width = std::max(width, curve.sampler.size());
  std::string out = stochastic
                        ? "sliced Wasserstein-2 distance from samples of " +
                              reference_words(comparison) + "; an exact sampler would have about " +
                              digits(floor_of(comparison, true)) + "\n"
                        : "root mean square difference from " + reference_words(comparison) +
                              " (standard errors: --json)\n";
  out += "evaluations" + std::string(width - 11, ' ');
  for (const int64_t budget : budgets) out += padded(std::to_string(budget), 10);
  out += "   path\n";
  // A stochastic sampler may come closer than its floor by chance: that is no bound on it.
  const double floor = stochastic ? 0 : floor_of(comparison, false);
  for (const SolverCurve& curve : comparison.curves)
    if (curve.stochastic == stochastic && !curve.points.empty())
      out += table_row(curve, budgets, width, floor);
  return out;
}

/// What `tweedie sample` has to be told.
std::string options_of(const Recommendation& found) {
  std::string out = "--sampler " + found.curve->sampler + " --steps " +
                    std::to_string(found.point.steps) + " --path " + found.curve->path;
  for (const auto& [key, value] : found.curve->options.items())
    out += " --set " + key + "=" + value.dump();
  return out;
}

/// The best deterministic run at the middle budget: curves are sorted by it.
std::optional<Recommendation> best_at_middle(const SamplerComparison& comparison) {
  for (const SolverCurve& curve : comparison.curves)
    for (const SolverPoint& point : curve.points)
      if (!curve.stochastic && point.budget == comparison.middle_budget)
        return Recommendation{&curve, point, point.error};
  return {};
}

Json curve_json(const SolverCurve& curve) {
  Json points = Json::array();
  for (const SolverPoint& point : curve.points)
    points.push_back({{"budget", point.budget},
                      {"steps", point.steps},
                      {"evaluations", point.evaluations},
                      {"error", point.error},
                      {"error_standard_error", point.standard_error},
                      {"seconds", point.seconds}});
  Json out = {{"sampler", curve.sampler},
              {"path", curve.path},
              {"sampler_options", curve.options},
              {"stochastic", curve.stochastic},
              {"error_is",
               curve.stochastic ? "sliced Wasserstein-2 distance" : "root mean square difference"},
              {"points", points}};
  for (const MissingPoint& point : curve.missing)
    out["points_missing"].push_back({{"budget", point.budget}, {"because", point.because}});
  return out;
}

/// "was not run with 5, 10 evaluations: why; with 80: why else"
std::string missing_words(const SolverCurve& curve) {
  std::vector<std::pair<std::string, std::string>> reasons;  // and their budgets
  for (const MissingPoint& point : curve.missing) {
    const std::string budget = std::to_string(point.budget);
    const auto known = std::find_if(reasons.begin(), reasons.end(),
                                    [&](const auto& r) { return r.first == point.because; });
    if (known != reasons.end())
      known->second += ", " + budget;
    else
      reasons.emplace_back(point.because, budget);
  }
  std::string out;
  for (const auto& [because, budgets] : reasons)
    out += (out.empty() ? "was not run with " : "; with ") + budgets +
           (out.empty() ? " evaluations: " : ": ") + because;
  return out;
}

LineChart chart_of_kind(const SamplerComparison& comparison, bool stochastic) {
  LineChart chart{
      .title = stochastic ? "Stochastic samplers" : "Deterministic samplers",
      .x_label = comparison.passes == 1 ? "network evaluations"
                                        : "evaluations (of two network passes: guidance)",
      .y_label = stochastic ? "sliced Wasserstein-2 distance from the reference's samples"
                            : "root mean square difference from " + reference_words(comparison),
      .log_x = true,
      .log_y = true,
      .series = {},
      .label_room = 150};
  const double floor = floor_of(comparison, stochastic);
  double left = 1e300, right = 0;
  size_t place = 0;
  for (const SolverCurve& curve : comparison.curves) {
    if (curve.stochastic != stochastic || curve.points.empty()) continue;
    Series series{.name = {}, .x = {}, .y = {}, .marks = true, .label = curve.sampler};
    for (const SolverPoint& point : curve.points) {
      series.x.push_back(static_cast<double>(point.evaluations));
      series.y.push_back(stochastic ? point.error : std::max(point.error, floor));
      left = std::min(left, series.x.back()), right = std::max(right, series.x.back());
    }
    series.colour = place < kColoured ? series_colour(place) : kQuietColour;
    ++place;
    chart.series.push_back(std::move(series));
  }
  std::reverse(chart.series.begin(), chart.series.end());  // the best on top
  if (floor > 0 && right > left)
    chart.series.push_back({.name = {},
                            .x = {left, right},
                            .y = {floor, floor},
                            .dashed = true,
                            .label = stochastic ? "reference, other noise" : "reference's own",
                            .colour = kQuietColour});
  return chart;
}

}  // namespace

std::string comparison_table(const SamplerComparison& comparison) {
  std::string out;
  for (const bool stochastic : {false, true})
    if (any_of_kind(comparison, stochastic))
      out += (out.empty() ? "" : "\n") + table_of_kind(comparison, stochastic);
  for (const SolverCurve& curve : comparison.curves)
    if (!curve.missing.empty()) out += curve.sampler + " " + missing_words(curve) + "\n";
  return out;
}

std::string recommendation_words(const SamplerComparison& comparison) {
  const std::optional<Recommendation> found = recommended(comparison);
  if (!found)
    return "No deterministic sampler was run; distances of few samples are rough: take -n 1000 and "
           "more before choosing by them.";
  const double floor = floor_of(comparison, false);
  const std::optional<Recommendation> middle = best_at_middle(comparison);
  return options_of(*found) + ": " + std::to_string(found->point.evaluations) +
         " evaluations for an error of " + digits(std::max(found->point.error, floor)) +
         ", within 1.1 times the best one here (" + digits(found->best) +
         "). The reference's own error is about " + digits(floor) +
         " (its distance from half as many steps" +
         (2 * reference_point(comparison).evaluations > reference_point(comparison).budget
              ? ")."
              : "; the chain has no more).") +
         (middle ? "\nBest with " + std::to_string(comparison.middle_budget) +
                       " evaluations: " + options_of(*middle) + ", error " +
                       digits(std::max(middle->point.error, floor)) + "."
                 : "");
}

Json comparison_json(const SamplerComparison& comparison) {
  Json curves = Json::array();
  for (const SolverCurve& curve : comparison.curves) curves.push_back(curve_json(curve));
  const SolverPoint& reference = reference_point(comparison);
  Json out = {{"reference",
               {{"sampler", comparison.reference.sampler},
                {"path", comparison.reference.path},
                {"steps", reference.steps},
                {"evaluations", reference.evaluations},
                {"floor", reference.error},
                {"floor_standard_error", reference.standard_error}}},
              {"samplers", curves},
              {"middle_budget", comparison.middle_budget},
              {"network_passes_per_evaluation", comparison.passes},
              {"guidance", comparison.guidance},
              {"seconds", comparison.seconds}};
  if (comparison.distribution_floor) out["distribution_floor"] = *comparison.distribution_floor;
  if (const auto found = recommended(comparison))
    out["recommendation"] = {{"sampler", found->curve->sampler},
                             {"path", found->curve->path},
                             {"sampler_options", found->curve->options},
                             {"steps", found->point.steps},
                             {"evaluations", found->point.evaluations},
                             {"error", found->point.error},
                             {"best_error", found->best},
                             {"within_factor", 1.1}};
  return out;
}

Picture comparison_picture(const SamplerComparison& comparison, const std::string& model) {
  const bool both = any_of_kind(comparison, false) && any_of_kind(comparison, true);
  constexpr double kWidth = 760, kHeight = 440, kHead = 34;
  Picture picture(kWidth, kHead + (both ? 2 : 1) * kHeight);
  picture.text("Samplers of " + model, 16, 24, 15);
  double top = kHead;
  for (const bool stochastic : {false, true}) {
    if (!any_of_kind(comparison, stochastic)) continue;
    picture.line_chart(chart_of_kind(comparison, stochastic), {8, top, kWidth - 16, kHeight - 8});
    top += kHeight;
  }
  return picture;
}

}  // namespace tweedie
