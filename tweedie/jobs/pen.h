// What charts are drawn with: cairo's pen, text, and the axes from data to pixels.
#pragma once

#include <cmath>
#include <string>

#include <cairo/cairo.h>

#include "tweedie/jobs/plot.h"

namespace tweedie {

inline constexpr Colour kInk{0.13, 0.13, 0.15}, kGrid{0.88, 0.88, 0.88};

void set_colour(cairo_t* cairo, const Colour& colour, double opacity = 1);
/// `anchor`: which part of its width lies left of x.
void draw_text(cairo_t* cairo, const std::string& text, double x, double y, double size,
               double anchor, bool bold = false);
double text_width(cairo_t* cairo, const std::string& text, double size);
void draw_line(cairo_t* cairo, double x0, double y0, double x1, double y1);

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

void draw_line_chart(cairo_t* cairo, const LineChart& chart, const Box& box);

}  // namespace tweedie
