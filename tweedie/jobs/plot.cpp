#include "tweedie/jobs/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>

#include <cairo/cairo-svg.h>
#include <cairo/cairo.h>

#include "tweedie/base/error.h"
#include "tweedie/base/files.h"
#include "tweedie/jobs/pen.h"

namespace tweedie {
namespace {

struct Context {
  explicit Context(cairo_surface_t* surface) : cairo(cairo_create(surface)) {}
  ~Context() { cairo_destroy(cairo); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  cairo_t* cairo;
};

/// Surfaces of finished drawings, destroyed on every way out.
using OwnedSurface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;

cairo_status_t append_bytes(void* out, const unsigned char* bytes, unsigned count) {
  static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(bytes), count);
  return CAIRO_STATUS_SUCCESS;
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
  draw_line_chart(context.cairo, chart, box);
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

}  // namespace tweedie
