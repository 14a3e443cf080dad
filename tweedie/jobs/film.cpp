#include "tweedie/jobs/film.h"

#include <algorithm>
#include <cmath>

#include "tweedie/base/error.h"

namespace tweedie {
namespace {

constexpr double kGap = 4, kTitle = 22, kCaption = 15, kPanel = 150;

bool is_points(const at::Tensor& examples) { return examples.dim() == 2; }

/// Small images are enlarged by whole factors, large ones shrunk to 128 pixels.
double zoom_of(int64_t width) {
  if (width > 128) return 128.0 / static_cast<double>(width);
  return std::max(1.0, std::floor(90.0 / static_cast<double>(width)));
}

struct Cell {
  double width, height;
  int64_t rows;
};

Cell cell_of(const FilmBand& band) {
  const at::Tensor& first = band.moments.front();
  if (is_points(first)) return {kPanel, kPanel, 1};
  const double zoom = zoom_of(first.size(3));
  return {static_cast<double>(first.size(3)) * zoom, static_cast<double>(first.size(2)) * zoom,
          first.size(0)};
}

}  // namespace

bool can_be_drawn(const std::vector<int64_t>& shape) {
  return (shape.size() == 3 && (shape[0] == 1 || shape[0] == 3)) ||
         (shape.size() == 1 && shape[0] == 2);
}

Box film_size(const Film& film) {
  double width = 0, height = 0;
  for (const FilmBand& band : film.bands) {
    const Cell cell = cell_of(band);
    width = std::max(width, static_cast<double>(band.moments.size()) * (cell.width + kGap));
    height += kTitle + static_cast<double>(cell.rows) * (cell.height + kGap);
  }
  size_t lines = 0;
  for (const auto& caption : film.captions) lines = std::max(lines, caption.size());
  return {0, 0, width, height + static_cast<double>(lines) * kCaption + 6};
}

void draw_film(Picture& picture, const Film& film, double x, double y) {
  for (const FilmBand& band : film.bands) {
    const Cell cell = cell_of(band);
    picture.text(band.title, x, y + kTitle - 8, 12);
    y += kTitle;
    for (size_t column = 0; column < band.moments.size(); ++column) {
      const double left = x + static_cast<double>(column) * (cell.width + kGap);
      const at::Tensor& moment = band.moments[column];
      if (is_points(moment)) {
        picture.scatter({"", moment, film.limit}, {left, y, cell.width, cell.height});
        continue;
      }
      for (int64_t row = 0; row < cell.rows; ++row)
        picture.image(to_pixels(moment[row]).to(at::kByte), left,
                      y + static_cast<double>(row) * (cell.height + kGap), zoom_of(moment.size(3)));
    }
    y += static_cast<double>(cell.rows) * (cell.height + kGap);
  }
  const Cell cell = cell_of(film.bands.front());
  for (size_t column = 0; column < film.captions.size(); ++column)
    for (size_t line = 0; line < film.captions[column].size(); ++line)
      picture.text(film.captions[column][line],
                   x + (static_cast<double>(column) + 0.5) * (cell.width + kGap),
                   y + kCaption * (static_cast<double>(line) + 1), 10, 0.5);
}

double panel_limit(const at::Tensor& points) {
  const double widest = points.abs().to(at::kDouble).flatten().quantile(0.995).item<double>();
  return std::max(0.5, 1.15 * widest);
}

at::Tensor film_frame(const at::Tensor& examples, const std::string& caption, double limit) {
  if (is_points(examples)) {
    Picture picture(420, 450);
    picture.scatter({"", examples, limit}, {10, 8, 400, 400});
    picture.text(caption, 210, 432, 13, 0.5);
    return picture.pixels();
  }
  const int64_t columns =
      static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(examples.size(0)))));
  const int64_t zoom = std::clamp<int64_t>(480 / (columns * examples.size(3)), 1, 8);
  const at::Tensor tiles = tile_images(examples, columns, 2, zoom);
  const double width = static_cast<double>(tiles.size(2)),
               height = static_cast<double>(tiles.size(1));
  Picture picture(std::max(width, 160.0), height + 24);
  picture.image(tiles, 0, 0);
  picture.text(caption, std::max(width, 160.0) / 2, height + 17, 12, 0.5);
  return picture.pixels();
}

}  // namespace tweedie
