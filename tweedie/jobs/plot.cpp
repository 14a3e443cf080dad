#include "tweedie/jobs/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numbers>
#include <numeric>
#include <utility>

#include <cairo/cairo-svg.h>
#include <cairo/cairo.h>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"

namespace tweedie {
namespace {

constexpr Colour kInk{0.13, 0.13, 0.15}, kGrid{0.88, 0.88, 0.88};

struct Context {
  explicit Context(cairo_surface_t* surface) : cairo(cairo_create(surface)) {}
  ~Context() { cairo_destroy(cairo); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  cairo_t* cairo;
};

void set_colour(cairo_t* cairo, const Colour& colour, double opacity = 1) {
  cairo_set_source_rgba(cairo, colour.red, colour.green, colour.blue, opacity);
}

void draw_text(cairo_t* cairo, const std::string& text, double x, double y, double size,
               double anchor, bool bold = false) {
  cairo_select_font_face(cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, size);
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, text.c_str(), &extents);
  set_colour(cairo, kInk);
  cairo_move_to(cairo, x - anchor * extents.x_advance, y);
  cairo_show_text(cairo, text.c_str());
}

double text_width(cairo_t* cairo, const std::string& text, double size) {
  cairo_select_font_face(cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, size);
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, text.c_str(), &extents);
  return extents.x_advance;
}

void draw_line(cairo_t* cairo, double x0, double y0, double x1, double y1) {
  cairo_move_to(cairo, x0, y0);
  cairo_line_to(cairo, x1, y1);
  cairo_stroke(cairo);
}

/// One axis: data -> pixels, straight or logarithmic.
struct Axis {
  Ticks ticks;
  bool log;
  double from, to;  // pixels of ticks.low and ticks.high

  double operator()(double value) const {
    const double low = log ? std::log(ticks.low) : ticks.low,
                 high = log ? std::log(ticks.high) : ticks.high;
    return from + ((log ? std::log(value) : value) - low) / (high - low) * (to - from);
  }
  bool shows(double value) const { return std::isfinite(value) && (!log || value > 0); }
};

Ticks ticks_of(const LineChart& chart, bool log, std::vector<double> Series::*values) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Series& series : chart.series)
    for (const double value : series.*values)
      if (std::isfinite(value) && (!log || value > 0))
        low = std::min(low, value), high = std::max(high, value);
  if (low > high) low = log ? 0.1 : 0, high = 1;
  return log ? log_ticks(low, high) : round_ticks(low, high);
}

/// Surfaces of finished drawings, destroyed on every way out.
using OwnedSurface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;

cairo_status_t append_bytes(void* out, const unsigned char* bytes, unsigned count) {
  static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(bytes), count);
  return CAIRO_STATUS_SUCCESS;
}

void draw_axes(cairo_t* cairo, const LineChart& chart, const Axis& x, const Axis& y) {
  cairo_set_line_width(cairo, 1);
  for (const double value : x.ticks.at) {
    set_colour(cairo, kGrid);
    draw_line(cairo, x(value), y.from, x(value), y.to);
    draw_text(cairo, short_number(value), x(value), y.from + 16, 11, 0.5);
  }
  for (const double value : y.ticks.at) {
    set_colour(cairo, kGrid);
    draw_line(cairo, x.from, y(value), x.to, y(value));
    draw_text(cairo, short_number(value), x.from - 6, y(value) + 4, 11, 1);
  }
  set_colour(cairo, kInk);
  draw_line(cairo, x.from, y.from, x.to, y.from);
  draw_line(cairo, x.from, y.from, x.from, y.to);
  draw_text(cairo, chart.x_label, (x.from + x.to) / 2, y.from + 34, 12, 0.5);
  draw_text(cairo, chart.title, x.from, y.to - 24, 14, 0, true);
  draw_text(cairo, chart.y_label, x.from, y.to - 8, 11, 0);
}

void draw_series(cairo_t* cairo, const Series& series, const Axis& x, const Axis& y,
                 const Colour& colour) {
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

/// How many points of the chart lie in a box.
int64_t points_in(const LineChart& chart, const Axis& x, const Axis& y, const Box& box) {
  int64_t count = 0;
  for (const Series& series : chart.series)
    for (size_t i = 0; i < std::min(series.x.size(), series.y.size()); ++i) {
      if (!x.shows(series.x[i]) || !y.shows(series.y[i])) continue;
      const double px = x(series.x[i]) - box.x, py = y(series.y[i]) - box.y;
      if (px >= 0 && px <= box.width && py >= 0 && py <= box.height) ++count;
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

Colour series_colour(size_t index) {
  static constexpr Colour colours[] = {{0.00, 0.45, 0.70}, {0.84, 0.37, 0.00}, {0.00, 0.62, 0.45},
                                       {0.80, 0.47, 0.65}, {0.90, 0.62, 0.00}, {0.34, 0.71, 0.91}};
  return colours[index % std::size(colours)];
}

struct Picture::Surface {
  double width, height;
  OwnedSurface recording;
};

Picture::Picture(double width, double height) {
  check(width >= 1 && height >= 1 && width <= 32767 && height <= 32767, "picture: size ", width,
        " x ", height, " is outside 1..32767 pixels; ask for fewer or smaller parts");
  const cairo_rectangle_t extents{0, 0, width, height};
  surface_.reset(new Surface{
      width,
      height,
      {cairo_recording_surface_create(CAIRO_CONTENT_COLOR, &extents), &cairo_surface_destroy}});
  const Context context(surface_->recording.get());
  cairo_set_source_rgb(context.cairo, 1, 1, 1);
  cairo_paint(context.cairo);
}

Picture::~Picture() = default;
Picture::Picture(Picture&&) noexcept = default;

void Picture::text(const std::string& text, double x, double y, double size, double anchor) {
  const Context context(surface_->recording.get());
  draw_text(context.cairo, text, x, y, size, anchor);
}

void Picture::image(const at::Tensor& pixels, double x, double y, double zoom) {
  check(pixels.dim() == 3 && (pixels.size(0) == 1 || pixels.size(0) == 3) &&
            pixels.scalar_type() == at::kByte,
        "picture: an image must be uint8 [1 or 3, H, W], got ", pixels.sizes());
  const at::Tensor rgb = pixels.expand({3, -1, -1}).contiguous();
  const int height = static_cast<int>(rgb.size(1)), width = static_cast<int>(rgb.size(2));
  const OwnedSurface bitmap(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height),
                            &cairo_surface_destroy);
  cairo_surface_flush(bitmap.get());
  unsigned char* rows = cairo_image_surface_get_data(bitmap.get());
  const int stride = cairo_image_surface_get_stride(bitmap.get());
  const uint8_t* source = rgb.data_ptr<uint8_t>();
  const int64_t plane = int64_t{height} * width;
  for (int row = 0; row < height; ++row) {
    auto* line = reinterpret_cast<uint32_t*>(rows + int64_t{row} * stride);
    for (int column = 0; column < width; ++column) {
      const int64_t at = int64_t{row} * width + column;
      line[column] =
          uint32_t{source[at]} << 16 | uint32_t{source[plane + at]} << 8 | source[2 * plane + at];
    }
  }
  cairo_surface_mark_dirty(bitmap.get());
  const Context context(surface_->recording.get());
  cairo_translate(context.cairo, x, y);
  cairo_scale(context.cairo, zoom, zoom);
  cairo_set_source_surface(context.cairo, bitmap.get(), 0, 0);
  cairo_pattern_set_filter(cairo_get_source(context.cairo), CAIRO_FILTER_NEAREST);
  cairo_rectangle(context.cairo, 0, 0, width, height);
  cairo_fill(context.cairo);
}

void Picture::line_chart(const LineChart& chart, const Box& box) {
  const Context context(surface_->recording.get());
  const Axis x{ticks_of(chart, chart.log_x, &Series::x), chart.log_x, box.x + 58,
               box.x + box.width - 14 - chart.label_room};
  const Axis y{ticks_of(chart, chart.log_y, &Series::y), chart.log_y, box.y + box.height - 44,
               box.y + 44};
  draw_axes(context.cairo, chart, x, y);
  for (size_t i = 0; i < chart.series.size(); ++i)
    draw_series(context.cairo, chart.series[i], x, y, colour_of(chart, i));
  draw_labels(context.cairo, chart, x, y);
  draw_legend(context.cairo, chart, x, y);
}

void Picture::bar_chart(const BarChart& chart, const Box& box) {
  const Context context(surface_->recording.get());
  cairo_t* cairo = context.cairo;
  double widest = 0, highest = 0;
  for (const Bar& bar : chart.bars) {
    widest = std::max(widest, text_width(cairo, bar.label, 12));
    highest = std::max(highest, bar.value + bar.error);
  }
  const Axis x{round_ticks(0, highest > 0 ? highest : 1), false, box.x + widest + 20,
               box.x + box.width - 60};
  const double top = box.y + 30, bottom = box.y + box.height - 44;
  const double slot = (bottom - top) / static_cast<double>(std::max<size_t>(chart.bars.size(), 1));
  draw_text(cairo, chart.title, box.x + 10, box.y + 18, 14, 0, true);
  cairo_set_line_width(cairo, 1);
  for (const double value : x.ticks.at) {
    set_colour(cairo, kGrid);
    draw_line(cairo, x(value), top, x(value), bottom);
    draw_text(cairo, short_number(value), x(value), bottom + 16, 11, 0.5);
  }
  draw_text(cairo, chart.x_label, (x.from + x.to) / 2, bottom + 34, 12, 0.5);
  for (size_t i = 0; i < chart.bars.size(); ++i) {
    const Bar& bar = chart.bars[i];
    const double middle = top + (static_cast<double>(i) + 0.5) * slot;
    set_colour(cairo, bar.highlight ? series_colour(0) : kQuietColour);
    cairo_rectangle(cairo, x.from, middle - slot * 0.33, x(bar.value) - x.from, slot * 0.66);
    cairo_fill(cairo);
    draw_text(cairo, bar.label, x.from - 8, middle + 4, 12, 1, bar.highlight);
    char value[48];
    if (bar.error > 0)
      std::snprintf(value, sizeof value, "%.2f \u00b1 %.2f", bar.value, bar.error);
    else
      std::snprintf(value, sizeof value, "%.2f", bar.value);
    if (bar.error > 0) {
      set_colour(cairo, kInk);
      cairo_set_line_width(cairo, 1.5);
      draw_line(cairo, x(bar.value - bar.error), middle, x(bar.value + bar.error), middle);
      for (const double end : {bar.value - bar.error, bar.value + bar.error})
        draw_line(cairo, x(end), middle - 4, x(end), middle + 4);
    }
    draw_text(cairo, value, x(bar.value + bar.error) + 6, middle + 4, 12, 0, bar.highlight);
  }
}

void Picture::scatter(const Scatter& chart, const Box& box) {
  check(chart.points.dim() == 2 && chart.points.size(1) == 2,
        "scatter: expected points [N, 2], got ", chart.points.sizes());
  const Context context(surface_->recording.get());
  cairo_t* cairo = context.cairo;
  const double title = chart.title.empty() ? 0 : 20, side = std::min(box.width, box.height - title);
  if (title > 0) draw_text(cairo, chart.title, box.x + side / 2, box.y + 14, 12, 0.5);
  cairo_rectangle(cairo, box.x + 0.5, box.y + title + 0.5, side - 1, side - 1);
  set_colour(cairo, kGrid);
  cairo_set_line_width(cairo, 1);
  cairo_stroke_preserve(cairo);
  cairo_clip(cairo);
  set_colour(cairo, series_colour(0), 0.5);
  const at::Tensor points = chart.points.to(at::kCPU, at::kDouble).contiguous();
  const double* point = points.data_ptr<double>();
  const double radius = std::clamp(side / 160, 0.8, 2.5);
  for (int64_t i = 0; i < points.size(0); ++i) {
    cairo_arc(cairo, box.x + (point[2 * i] / chart.limit + 1) * side / 2,
              box.y + title + (1 - point[2 * i + 1] / chart.limit) * side / 2, radius, 0,
              2 * std::numbers::pi);
    cairo_fill(cairo);
  }
}

at::Tensor Picture::pixels() const {
  const int width = static_cast<int>(std::lround(surface_->width)),
            height = static_cast<int>(std::lround(surface_->height));
  const OwnedSurface bitmap(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height),
                            &cairo_surface_destroy);
  {
    const Context context(bitmap.get());
    cairo_set_source_surface(context.cairo, surface_->recording.get(), 0, 0);
    cairo_paint(context.cairo);
    check(cairo_status(context.cairo) == CAIRO_STATUS_SUCCESS,
          "picture: cannot be drawn: ", cairo_status_to_string(cairo_status(context.cairo)));
  }
  cairo_surface_flush(bitmap.get());
  const at::Tensor bgrx =
      at::from_blob(cairo_image_surface_get_data(bitmap.get()), {height, width, 4},
                    {cairo_image_surface_get_stride(bitmap.get()), 4, 1}, at::kByte);
  return bgrx.slice(2, 0, 3).flip(2).permute({2, 0, 1}).contiguous();  // [3, H, W]
}

std::string Picture::svg() const {
  std::string out;
  const OwnedSurface surface(
      cairo_svg_surface_create_for_stream(&append_bytes, &out, surface_->width, surface_->height),
      &cairo_surface_destroy);
  {
    const Context context(surface.get());
    cairo_set_source_surface(context.cairo, surface_->recording.get(), 0, 0);
    cairo_paint(context.cairo);
  }
  cairo_surface_finish(surface.get());
  check(cairo_surface_status(surface.get()) == CAIRO_STATUS_SUCCESS,
        "picture: cannot be drawn as SVG: ",
        cairo_status_to_string(cairo_surface_status(surface.get())));
  return out;
}

void Picture::save(const std::string& path, const TextChunks& texts) const {
  if (path.ends_with(".svg")) return write_file_atomically(path, svg());
  check(path.ends_with(".png"), path, ": a picture's name must end in .png or .svg");
  write_png(path, pixels(), texts);
}

Ticks round_ticks(double low, double high, int wanted) {
  if (!(high > low))
    low -= std::max(0.5, std::abs(low) * 0.05), high += std::max(0.5, std::abs(high) * 0.05);
  const double rough = (high - low) / std::max(wanted - 1, 1),
               power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough / power <= 1   ? 1
                               : rough / power <= 2 ? 2
                               : rough / power <= 5 ? 5
                                                    : 10);
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  Ticks ticks{first * step, last * step, {}};
  for (double i = first; i <= last; ++i) ticks.at.push_back(i * step);
  return ticks;
}

Ticks log_ticks(double low, double high) {
  if (!(high > low)) low /= 2, high *= 2;
  const double first = std::floor(std::log10(low) + 1e-9),
               last = std::ceil(std::log10(high) - 1e-9);
  if (last - first > 3) {
    Ticks ticks{std::pow(10, first), std::pow(10, last), {}};
    const double every = std::ceil((last - first) / 8);
    for (double i = first; i <= last; i += every) ticks.at.push_back(std::pow(10, i));
    return ticks;
  }
  std::vector<double> all;
  for (double i = first; i <= last; ++i)
    for (const double digit : {1.0, 2.0, 5.0}) all.push_back(digit * std::pow(10, i));
  Ticks ticks{all.front(), all.back(), {}};
  for (const double value : all) {
    if (value <= low * (1 + 1e-9)) ticks.low = value;
    if (value >= high * (1 - 1e-9)) {
      ticks.high = value;
      break;
    }
  }
  for (const double value : all)
    if (value >= ticks.low && value <= ticks.high) ticks.at.push_back(value);
  return ticks;
}

std::string short_number(double value) {
  if (value == 0 || std::abs(value) < 1e-12) return "0";
  const double size = std::abs(value);
  char text[32];
  std::snprintf(text, sizeof text, size < 1e-3 || size >= 1e6 ? "%.0e" : "%.6g", value);
  return text;
}

}  // namespace tweedie
