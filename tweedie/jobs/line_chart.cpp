#include <algorithm>
#include <limits>
#include <numbers>
#include <numeric>

#include "tweedie/jobs/pen.h"

namespace tweedie {
namespace {

/// Half the length of a point's error bar; 0 without one.
double error_at(const Series& series, size_t i) {
  return i < series.error.size() && std::isfinite(series.error[i]) ? series.error[i] : 0;
}

/// The least and the greatest of what an axis has to hold.
struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;

  void include(double value, bool log) {
    if (!std::isfinite(value) || (log && value <= 0)) return;
    low = std::min(low, value), high = std::max(high, value);
  }
};

Ticks ticks_of(Range range, bool log) {
  if (range.low > range.high) range = log ? Range{0.1, 1} : Range{0, 1};
  return log ? log_ticks(range.low, range.high) : round_ticks(range.low, range.high);
}

Ticks x_ticks(const LineChart& chart) {
  Range range;
  for (const Series& series : chart.series)
    for (const double x : series.x) range.include(x, chart.log_x);
  if (chart.x_names.empty()) return ticks_of(range, chart.log_x);
  Ticks ticks{range.low, range.high, {}};
  for (const auto& [at, name] : chart.x_names) ticks.at.push_back(at);
  return ticks;
}

Ticks y_ticks(const LineChart& chart) {
  Range range;
  for (const Series& series : chart.series) {
    if (series.bars) range.include(0, chart.log_y);
    for (size_t i = 0; i < series.y.size(); ++i) {
      const double error = error_at(series, i);
      for (const double y : {series.y[i] - error, series.y[i] + error})
        range.include(y, chart.log_y);
    }
  }
  Ticks ticks = ticks_of(range, chart.log_y);
  if (chart.count_y)
    std::erase_if(ticks.at, [](double y) { return std::abs(y - std::round(y)) > 1e-6; });
  return ticks;
}

/// The lines of a text.
std::vector<std::string> lines_in(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char c : text)
    if (c == '\n')
      lines.emplace_back();
    else
      lines.back() += c;
  return lines;
}

constexpr double kLineHeight = 14;

/// How much lower than one line of them the labels below an axis reach.
double extra_height(const LineChart& chart) {
  size_t most = 1;
  for (const auto& [at, name] : chart.x_names) most = std::max(most, lines_in(name).size());
  return kLineHeight * static_cast<double>(most - 1);
}

void draw_axes(cairo_t* cairo, const LineChart& chart, const Axis& x, const Axis& y) {
  cairo_set_line_width(cairo, 1);
  for (size_t i = 0; i < x.ticks.at.size(); ++i) {
    const double value = x.ticks.at[i];
    set_colour(cairo, kGrid);
    draw_line(cairo, x(value), y.from, x(value), y.to);
    double below = y.from + 16;
    for (const std::string& line :
         lines_in(chart.x_names.empty() ? short_number(value) : chart.x_names[i].second)) {
      draw_text(cairo, line, x(value), below, 11, 0.5);
      below += kLineHeight;
    }
  }
  for (const double value : y.ticks.at) {
    set_colour(cairo, kGrid);
    draw_line(cairo, x.from, y(value), x.to, y(value));
    draw_text(cairo, short_number(value), x.from - 6, y(value) + 4, 11, 1);
  }
  set_colour(cairo, kInk);
  draw_line(cairo, x.from, y.from, x.to, y.from);
  draw_line(cairo, x.from, y.from, x.from, y.to);
  draw_text(cairo, chart.x_label, (x.from + x.to) / 2, y.from + 34 + extra_height(chart), 12, 0.5);
  draw_text(cairo, chart.title, x.from, y.to - 24, 14, 0, true);
  draw_text(cairo, chart.y_label, x.from, y.to - 8, 11, 0);
}

/// From 0 up or down to the value; a value that is not finite is a gap.
Box bar_of(const Series& series, size_t i, const Axis& x, const Axis& y) {
  const double left = x(series.x[i]), right = x(series.x[i + 1]), end = y(series.y[i]), zero = y(0);
  return {left, std::min(end, zero), right - left, std::abs(end - zero)};
}

void draw_bars(cairo_t* cairo, const Series& series, const Axis& x, const Axis& y,
               const Colour& colour) {
  set_colour(cairo, colour, 0.8);
  for (size_t i = 0; i < series.y.size(); ++i) {
    if (!y.shows(series.y[i])) continue;
    const Box bar = bar_of(series, i, x, y);
    const double gap = bar.width > 4 ? 0.5 : 0;  // between neighbours
    cairo_rectangle(cairo, bar.x + gap, bar.y, bar.width - 2 * gap, bar.height);
    cairo_fill(cairo);
  }
}

/// A vertical error bar between two heights.
void draw_error(cairo_t* cairo, double x, double low, double high) {
  cairo_set_line_width(cairo, 1.2);
  draw_line(cairo, x, low, x, high);
  for (const double end : {low, high}) draw_line(cairo, x - 4, end, x + 4, end);
}

/// Right of a point and a little above it, or left of it where the chart ends.
void draw_note(cairo_t* cairo, const std::string& note, double x, double y, double end) {
  const bool fits = x + 7 + text_width(cairo, note, 11) <= end;
  draw_text(cairo, note, fits ? x + 7 : x - 7, y - 7, 11, fits ? 0 : 1);
}

void draw_series(cairo_t* cairo, const Series& series, const Axis& x, const Axis& y,
                 const Colour& colour) {
  if (series.bars) return draw_bars(cairo, series, x, y, colour);
  set_colour(cairo, colour, series.points ? 0.6 : 1);
  cairo_set_line_width(cairo, 1.8);
  cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
  const double dash[] = {5, 4};
  if (series.dashed) cairo_set_dash(cairo, dash, 2, 0);
  std::vector<std::pair<double, double>> marks;
  bool pen_down = false;
  for (size_t i = 0; i < std::min(series.x.size(), series.y.size()); ++i) {
    if (!x.shows(series.x[i]) || !y.shows(series.y[i])) {
      pen_down = false;
      continue;
    }
    const double px = x(series.x[i]), py = y(series.y[i]);
    if (series.marks) marks.push_back({px, py});
    if (series.points) {
      cairo_arc(cairo, px, py, 2, 0, 2 * std::numbers::pi);
      cairo_fill(cairo);
    } else if (pen_down) {
      cairo_line_to(cairo, px, py);
    } else {
      cairo_move_to(cairo, px, py);
    }
    pen_down = true;
  }
  cairo_stroke(cairo);
  cairo_set_dash(cairo, nullptr, 0, 0);
  for (const auto& [px, py] : marks) {
    cairo_arc(cairo, px, py, 3.2, 0, 2 * std::numbers::pi);
    cairo_fill(cairo);
  }
  for (size_t i = 0; i < series.y.size(); ++i) {
    if (!x.shows(series.x[i]) || !y.shows(series.y[i])) continue;
    if (const double error = error_at(series, i); error > 0)
      draw_error(cairo, x(series.x[i]), y(std::max(series.y[i] - error, y.ticks.low)),
                 y(series.y[i] + error));
    if (i < series.notes.size())
      draw_note(cairo, series.notes[i], x(series.x[i]), y(series.y[i]), x.to);
    set_colour(cairo, colour);
  }
}

Colour colour_of(const LineChart& chart, size_t i) {
  return chart.series[i].colour.value_or(series_colour(i));
}

/// Heights at least `apart` from each other, moved as little as a few rounds of pushing find.
std::vector<double> spread_out(std::vector<double> heights, double apart, double low, double high) {
  std::vector<size_t> order(heights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return heights[a] < heights[b]; });
  for (int round = 0; round < 200; ++round)
    for (size_t i = 0; i + 1 < order.size(); ++i) {
      double &above = heights[order[i]], &below = heights[order[i + 1]];
      const double missing = apart - (below - above);
      if (missing > 0) above -= missing / 2, below += missing / 2;
      above = std::max(above, low);
      below = std::min(below, high);
    }
  return heights;
}

/// In the room at the right, each joined to the end of its line.
void draw_labels(cairo_t* cairo, const LineChart& chart, const Axis& x, const Axis& y) {
  std::vector<size_t> labelled;
  std::vector<double> ends, heights;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const Series& series = chart.series[i];
    if (series.label.empty() || series.x.empty() || !y.shows(series.y.back())) continue;
    labelled.push_back(i);
    ends.push_back(x(series.x.back()));
    heights.push_back(y(series.y.back()));
  }
  const std::vector<double> places = spread_out(heights, 14, y.to + 4, y.from - 4);
  for (size_t i = 0; i < labelled.size(); ++i) {
    const Colour colour = colour_of(chart, labelled[i]);
    set_colour(cairo, colour, 0.8);
    cairo_set_line_width(cairo, 0.8);
    draw_line(cairo, ends[i] + 6, heights[i], x.to + 14, places[i]);
    set_colour(cairo, colour);
    cairo_set_line_width(cairo, 3);
    draw_line(cairo, x.to + 14, places[i], x.to + 28, places[i]);
    draw_text(cairo, chart.series[labelled[i]].label, x.to + 33, places[i] + 4, 11, 0);
  }
}

bool overlap(const Box& a, const Box& b) {
  return a.x <= b.x + b.width && b.x <= a.x + a.width && a.y <= b.y + b.height &&
         b.y <= a.y + a.height;
}

/// How many points and bars of the chart lie in a box.
int64_t points_in(const LineChart& chart, const Axis& x, const Axis& y, const Box& box) {
  int64_t count = 0;
  for (const Series& series : chart.series)
    for (size_t i = 0; i < std::min(series.x.size(), series.y.size()); ++i) {
      if (!x.shows(series.x[i]) || !y.shows(series.y[i])) continue;
      count += overlap(
          box, series.bars ? bar_of(series, i, x, y) : Box{x(series.x[i]), y(series.y[i]), 0, 0});
    }
  return count;
}

/// In the corner where it hides the fewest points.
void draw_legend(cairo_t* cairo, const LineChart& chart, const Axis& x, const Axis& y) {
  double width = 0;
  size_t rows = 0;
  for (const Series& series : chart.series) {
    if (series.name.empty()) continue;
    width = std::max(width, text_width(cairo, series.name, 11));
    ++rows;
  }
  if (rows == 0) return;
  Box box{0, 0, width + 40, static_cast<double>(rows) * 17 + 8};
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (const double top : {y.to + 4, y.from - box.height - 4})
    for (const double left : {x.to - box.width - 4, x.from + 4}) {
      const int64_t hidden = points_in(chart, x, y, {left, top, box.width, box.height});
      if (hidden >= fewest) continue;
      fewest = hidden;
      box.x = left;
      box.y = top;
    }
  cairo_set_source_rgba(cairo, 1, 1, 1, 0.85);
  cairo_rectangle(cairo, box.x, box.y, box.width, box.height);
  cairo_fill(cairo);
  const double left = box.x + 6;
  double row = box.y + 16;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    if (chart.series[i].name.empty()) continue;
    set_colour(cairo, colour_of(chart, i));
    cairo_set_line_width(cairo, 3);
    draw_line(cairo, left, row - 4, left + 22, row - 4);
    draw_text(cairo, chart.series[i].name, left + 28, row, 11, 0);
    row += 17;
  }
}

}  // namespace

void draw_line_chart(cairo_t* cairo, const LineChart& chart, const Box& box) {
  const Axis x{x_ticks(chart), chart.log_x, box.x + 58, box.x + box.width - 14 - chart.label_room};
  const Axis y{y_ticks(chart), chart.log_y, box.y + box.height - 44 - extra_height(chart),
               box.y + 44};
  draw_axes(cairo, chart, x, y);
  for (size_t i = 0; i < chart.series.size(); ++i)
    draw_series(cairo, chart.series[i], x, y, colour_of(chart, i));
  draw_labels(cairo, chart, x, y);
  draw_legend(cairo, chart, x, y);
}

}  // namespace tweedie
