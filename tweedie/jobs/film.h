// Film strips: examples side by side at the moments of a trajectory.
#pragma once

#include <string>
#include <vector>

#include "tweedie/jobs/plot.h"

namespace tweedie {

/// Rows of one kind: every moment holds the same examples, images [n, C, H, W] in [-1, 1] (C = 1
/// or 3) or points [n, 2], which become one panel.
struct FilmBand {
  std::string title;
  std::vector<at::Tensor> moments;
};

struct Film {
  std::vector<std::vector<std::string>> captions;  // a few lines under each moment
  std::vector<FilmBand> bands;
  double limit = 3;  // points: half the side of the panel
};

/// Whether examples of this shape can be drawn: images with 1 or 3 channels, or points of the
/// plane.
bool can_be_drawn(const std::vector<int64_t>& shape);

/// Width and height in pixels that the film takes.
Box film_size(const Film& film);
void draw_film(Picture& picture, const Film& film, double x, double y);

/// Half the side of a square that holds nearly all of the points [n, 2].
double panel_limit(const at::Tensor& points);

/// One frame of an animation, uint8 [3, H, W]: examples tiled in a square, or points in a panel,
/// with a caption.
at::Tensor film_frame(const at::Tensor& examples, const std::string& caption, double limit);

}  // namespace tweedie
