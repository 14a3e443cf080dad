// Charts and film strips, drawn by cairo.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "tweedie/jobs/ticks.h"
#include "tweedie/tensor/image.h"

namespace tweedie {

struct Colour {
  double red, green, blue;
};

/// Colours that stay apart for colour-blind eyes (Okabe & Ito 2008), in the order series take them.
Colour series_colour(size_t index);

struct Box {
  double x, y, width, height;  // in pixels, y down
};

struct Series {
  std::string name;  // in the legend; empty: not listed
  std::vector<double> x, y;
  bool points = false;  // dots instead of a line
  bool marks = false;   // dots on the line
  bool dashed = false;
  std::string label = {};               // beside its last point; labels keep clear of each other
  std::vector<std::string> notes = {};  // beside each of its points
  std::vector<double> error = {};       // half the length of each point's error bar; empty: none
  std::optional<Colour> colour = {};    // none: that of its place among the series
  bool bars = false;  // from 0, each between x[i] and x[i + 1]: x has one more than y
};

struct LineChart {
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;
  std::vector<Series>
      series;             // points that are not finite (or not positive on a log axis) are gaps
  bool count_y = false;   // y counts things: no marks between whole numbers
  double label_room = 0;  // pixels at the right for the labels of series
  std::vector<std::pair<double, std::string>> x_names =
      {};  // in place of numbers along x, of one line or more; empty: numbers
};

struct Bar {
  std::string label;
  double value;
  double error = 0;        // half the length of its error bar
  bool highlight = false;  // in the first colour, the others in gray
};

/// Horizontal bars from 0, each with its label and value.
struct BarChart {
  std::string title, x_label;
  std::vector<Bar> bars;
};

/// Dots of 2-D points [N, 2] in the square [-limit, limit]^2.
struct Scatter {
  std::string title;
  at::Tensor points;
  double limit = 3;
};

constexpr Colour kQuietColour{0.68, 0.70, 0.73};  // of what is there for comparison only

/// A drawing in pixels on white; everything drawn on it is kept as vectors until it is saved.
class Picture {
 public:
  Picture(double width, double height);
  ~Picture();
  Picture(Picture&&) noexcept;

  void text(const std::string& text, double x, double y, double size = 12, double anchor = 0);
  /// uint8 [C, H, W], C = 1 or 3, enlarged `zoom` times without smoothing.
  void image(const at::Tensor& pixels, double x, double y, double zoom = 1);
  void line_chart(const LineChart& chart, const Box& box);
  void bar_chart(const BarChart& chart, const Box& box);
  void scatter(const Scatter& chart, const Box& box);

  /// uint8 [3, height, width].
  at::Tensor pixels() const;
  /// The drawing as an SVG document; its text becomes outlines, so that it needs no font.
  std::string svg() const;
  /// .png or .svg, told by the name.  Written atomically; throws Error on another name.
  void save(const std::string& path, const TextChunks& texts = {}) const;

 private:
  struct Surface;
  std::unique_ptr<Surface> surface_;
};

}  // namespace tweedie
