#include "tweedie/kernels/conv_plan.h"

#include <algorithm>
#include <cstddef>

namespace tweedie::kernels {
namespace {

int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/// A window of an image, row by row: pixel (y, x) of it is (y step + top, x step + left) of the
/// image, zeros where that is outside.
struct Window {
  int64_t rows, pitch;  // columns, padding included
  int64_t top, left, step;
};

/// Appends the window's packed rows; returns where they begin.
int32_t append(std::vector<int32_t>& source, int64_t height, int64_t width, const Window& window) {
  const auto begin = static_cast<int32_t>(source.size());
  for (int64_t i = 0; i < window.rows * window.pitch; ++i) {
    const int64_t y = i / window.pitch * window.step + window.top,
                  x = i % window.pitch * window.step + window.left;
    const bool inside = y >= 0 && y < height && x >= 0 && x < width;
    source.push_back(inside ? static_cast<int32_t>(y * width + x) : kZeros);
  }
  return begin;
}

/// Outputs: pixels (y, x) of a grid [rows][columns], read with rows `pitch` apart, written to
/// (y step + top, x step + left) of an image of that width.
struct Grid {
  int64_t rows, columns, pitch;
  int64_t width, top = 0, left = 0, step = 1;
  int32_t target(int64_t position) const {
    const int64_t y = position / pitch, x = position % pitch;
    if (y >= rows || x >= columns) return kZeros;
    return static_cast<int32_t>((y * step + top) * width + x * step + left);
  }
};

void add_tiles(ConvPhase& phase, const Grid& grid) {
  const int64_t positions = (grid.rows - 1) * grid.pitch + grid.columns;
  for (int64_t p = 0; p < positions; p += kTileRows) {
    phase.tiles.push_back(static_cast<int32_t>(p));
    for (int64_t j = 0; j < kTileRows; ++j) phase.target.push_back(grid.target(p + j));
  }
}

/// The last tile may read beyond what is packed: room for it, of zeros.
void pad(ConvPlan& plan) {
  int64_t needed = 0;
  for (const ConvPhase& phase : plan.phases)
    for (const Tap& tap : phase.taps)
      needed = std::max<int64_t>(needed, phase.tiles.back() + tap.row + kTileRows);
  if (needed > static_cast<int64_t>(plan.source.size()))
    plan.source.resize(static_cast<size_t>(needed), kZeros);
}

/// A 3x3 kernel: tap (r, s) reads one of the three windows shifted by s - 1 columns, whose rows are
/// as wide as the output so that 16 outputs in a row are 16 packed rows in a row.  Where 16 divides
/// the width, or two columns more are less work than three copies, one window with a border serves.
ConvPlan same_plan(int64_t height, int64_t width, bool rotated) {
  ConvPlan plan{height * width, height * width, 9, {}, {ConvPhase{}}};
  ConvPhase& phase = plan.phases[0];
  const bool one_window = width % kTileRows == 0 || width >= 24;
  const int64_t pitch = one_window ? width + 2 : width;
  int32_t windows[3];
  if (one_window) {
    windows[0] = append(plan.source, height, width, {height + 2, pitch, -1, -1, 1});
    windows[1] = windows[0] + 1;
    windows[2] = windows[0] + 2;
  } else {
    for (int s = 0; s < 3; ++s)
      windows[s] = append(plan.source, height, width, {height + 2, pitch, -1, s - 1, 1});
  }
  for (int32_t r = 0; r < 3; ++r)
    for (int32_t s = 0; s < 3; ++s)
      phase.taps.push_back(
          {windows[s] + r * static_cast<int32_t>(pitch), rotated ? 8 - (3 * r + s) : 3 * r + s});
  if (width % kTileRows == 0) {
    for (int64_t p = 0; p < height * width; p += kTileRows) {
      phase.tiles.push_back(static_cast<int32_t>(p / width * pitch + p % width));
      for (int64_t j = 0; j < kTileRows; ++j) phase.target.push_back(static_cast<int32_t>(p + j));
    }
  } else {
    add_tiles(phase, {height, width, pitch, width});
  }
  plan.centre = {phase.taps[4].row, 0};
  pad(plan);
  return plan;
}

ConvPlan pointwise_plan(int64_t height, int64_t width) {
  ConvPlan plan{height * width, height * width, 1, {}, {ConvPhase{}}};
  append(plan.source, height, width, {height, width, 0, 0, 1});
  plan.phases[0].taps = {{0, 0}};
  add_tiles(plan.phases[0], {height, width, width, width});
  pad(plan);
  return plan;
}

/// Output (y, x) reads input (2y + r - before, 2x + s - before): windows of every other row and
/// column, one for each s and parity of r.
ConvPlan halved_plan(const ConvPlans& shape, int64_t before) {
  ConvPlan plan{
      shape.height * shape.width, shape.out_height * shape.out_width, 9, {}, {ConvPhase{}}};
  ConvPhase& phase = plan.phases[0];
  const int64_t pitch = shape.out_width;
  for (int32_t s = 0; s < 3; ++s) {
    int32_t parity[2];
    for (int a = 0; a < 2; ++a)
      parity[a] = append(plan.source, shape.height, shape.width,
                         {shape.out_height + 1, pitch, a - before, s - before, 2});
    for (int32_t r = 0; r < 3; ++r)
      phase.taps.push_back({parity[r % 2] + r / 2 * static_cast<int32_t>(pitch), 3 * r + s});
  }
  add_tiles(phase, {shape.out_height, shape.out_width, pitch, pitch});
  pad(plan);
  return plan;
}

/// Input (Y, X) takes part in output y by tap r where Y = 2y + r - before.  For Y = 2u + a the taps
/// are those with r - before of the parity a.
ConvPlan halved_backward_plan(const ConvPlans& shape, int64_t before) {
  ConvPlan plan{shape.out_height * shape.out_width, shape.height * shape.width, 9, {}, {}};
  const int64_t rows = (shape.height + 1) / 2, columns = (shape.width + 1) / 2;
  int32_t windows[3];  // shifted by s - 1 columns, beginning one row above
  for (int s = 0; s < 3; ++s)
    windows[s] =
        append(plan.source, shape.out_height, shape.out_width, {rows + 2, columns, -1, s - 1, 1});
  for (int64_t a = 0; a < 2; ++a)
    for (int64_t b = 0; b < 2; ++b) {
      ConvPhase phase;
      for (int64_t r = 0; r < 3; ++r)
        for (int64_t s = 0; s < 3; ++s) {
          const int64_t up = a + before - r, left = b + before - s;  // 2 (y - u), 2 (x - v)
          if (up % 2 != 0 || left % 2 != 0) continue;
          phase.taps.push_back(
              {windows[left / 2 + 1] + static_cast<int32_t>((up / 2 + 1) * columns),
               static_cast<int32_t>(3 * r + s)});
        }
      const int64_t phase_rows = (shape.height - a + 1) / 2,
                    phase_columns = (shape.width - b + 1) / 2;
      if (phase_rows == 0 || phase_columns == 0) continue;
      add_tiles(phase, {phase_rows, phase_columns, columns, shape.width, a, b, 2});
      plan.phases.push_back(phase);
    }
  pad(plan);
  return plan;
}

/// Phase (a, b) writes pixels (2y + a, 2x + b) and reads the small image around (y, x).
ConvPlan doubled_plan(int64_t height, int64_t width) {
  ConvPlan plan{height * width, 4 * height * width, 16, {}, {}};
  int32_t windows[3];
  for (int s = 0; s < 3; ++s)
    windows[s] = append(plan.source, height, width, {height + 2, width, -1, s - 1, 1});
  for (int32_t a = 0; a < 2; ++a)
    for (int32_t b = 0; b < 2; ++b) {
      ConvPhase phase;
      for (int32_t i = 0; i < 2; ++i)
        for (int32_t j = 0; j < 2; ++j)
          phase.taps.push_back({windows[b + j] + (a + i) * static_cast<int32_t>(width),
                                4 * (2 * a + b) + 2 * i + j});
      add_tiles(phase, {height, width, width, 2 * width, a, b, 2});
      plan.phases.push_back(phase);
    }
  pad(plan);
  return plan;
}

/// The small image's pixel (u, v) is read by outputs of phase (a, b) at (u - a - i + 1, ...).
ConvPlan doubled_backward_plan(int64_t height, int64_t width) {
  ConvPlan plan{4 * height * width, height * width, 16, {}, {ConvPhase{}}};
  ConvPhase& phase = plan.phases[0];
  for (int32_t a = 0; a < 2; ++a)
    for (int32_t b = 0; b < 2; ++b)
      for (int32_t j = 0; j < 2; ++j) {
        // Rows u + dy with dy = 1 - a - i; columns v + 1 - b - j.
        const int32_t window = append(plan.source, 2 * height, 2 * width,
                                      {height + 1, width, 2 * -a + a, 2 * (1 - b - j) + b, 2});
        for (int32_t i = 0; i < 2; ++i)
          phase.taps.push_back(
              {window + (1 - i) * static_cast<int32_t>(width), 4 * (2 * a + b) + 2 * i + j});
      }
  add_tiles(phase, {height, width, width, width});
  pad(plan);
  return plan;
}

constexpr int64_t kGradientRows = 32;

/// Positions of the output, rows `pitch` apart; the last tile is filled up with nothing.
void add_positions(GradientPhase& phase, const Grid& grid) {
  const int64_t positions = rounded_up(grid.rows * grid.pitch, kGradientRows);
  for (int64_t q = 0; q < positions; ++q) phase.gradient.push_back(grid.target(q));
}

void pad(GradientPlan& plan) {
  int64_t needed = 0;
  for (const GradientPhase& phase : plan.phases)
    for (const Tap& tap : phase.taps)
      needed = std::max(needed, tap.row + static_cast<int64_t>(phase.gradient.size()));
  needed = rounded_up(std::max<int64_t>(needed, static_cast<int64_t>(plan.source.size())), 2);
  plan.source.resize(static_cast<size_t>(needed), kZeros);
}

int64_t even(int64_t n) { return rounded_up(n, 2); }

GradientPlan pointwise_gradient(int64_t height, int64_t width) {
  GradientPlan plan{height * width, height * width, 1, {}, {GradientPhase{}}};
  append(plan.source, height, width, {height, width, 0, 0, 1});
  plan.phases[0].taps = {{0, 0}};
  add_positions(plan.phases[0], {1, height * width, height * width, height * width});
  pad(plan);
  return plan;
}

GradientPlan same_gradient(int64_t height, int64_t width) {
  GradientPlan plan{height * width, height * width, 9, {}, {GradientPhase{}}};
  const int64_t pitch = even(width);
  for (int32_t s = 0; s < 3; ++s) {
    const int32_t window = append(plan.source, height, width, {height + 2, pitch, -1, s - 1, 1});
    for (int32_t r = 0; r < 3; ++r)
      plan.phases[0].taps.push_back({window + r * static_cast<int32_t>(pitch), 3 * r + s});
  }
  add_positions(plan.phases[0], {height, width, pitch, width});
  pad(plan);
  return plan;
}

GradientPlan halved_gradient(const ConvPlans& shape, int64_t before) {
  GradientPlan plan{
      shape.height * shape.width, shape.out_height * shape.out_width, 9, {}, {GradientPhase{}}};
  const int64_t pitch = even(shape.out_width);
  for (int32_t s = 0; s < 3; ++s) {
    int32_t parity[2];
    for (int a = 0; a < 2; ++a)
      parity[a] = append(plan.source, shape.height, shape.width,
                         {shape.out_height + 1, pitch, a - before, s - before, 2});
    for (int32_t r = 0; r < 3; ++r)
      plan.phases[0].taps.push_back(
          {parity[r % 2] + r / 2 * static_cast<int32_t>(pitch), 3 * r + s});
  }
  add_positions(plan.phases[0], {shape.out_height, shape.out_width, pitch, shape.out_width});
  pad(plan);
  return plan;
}

GradientPlan doubled_gradient(int64_t height, int64_t width) {
  GradientPlan plan{height * width, 4 * height * width, 16, {}, {}};
  const int64_t pitch = even(width);
  int32_t windows[3];
  for (int s = 0; s < 3; ++s)
    windows[s] = append(plan.source, height, width, {height + 2, pitch, -1, s - 1, 1});
  for (int32_t a = 0; a < 2; ++a)
    for (int32_t b = 0; b < 2; ++b) {
      GradientPhase phase;
      for (int32_t j = 0; j < 2; ++j)
        for (int32_t i = 0; i < 2; ++i)
          phase.taps.push_back({windows[b + j] + (a + i) * static_cast<int32_t>(pitch),
                                4 * (2 * a + b) + 2 * i + j});
      add_positions(phase, {height, width, pitch, 2 * width, a, b, 2});
      plan.phases.push_back(phase);
    }
  pad(plan);
  return plan;
}

/// Of the taps r of the 3x3 kernel, those that tap i of phase a adds up: the rows of the large
/// image 2y + a + r - 1 that are row y + a + i - 1 of the small one.
bool folds(int a, int i, int r) { return (a + r + 1) / 2 == a + i; }

template <class Visit>
void each_folded(Visit&& visit) {
  for (int a = 0; a < 2; ++a)
    for (int b = 0; b < 2; ++b)
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j)
          for (int r = 0; r < 3; ++r)
            for (int s = 0; s < 3; ++s)
              if (folds(a, i, r) && folds(b, j, s)) visit(4 * (2 * a + b) + 2 * i + j, 3 * r + s);
}

}  // namespace

void fold_doubled(int64_t outputs, int64_t inputs, const float* weight, float* folded) {
  for (int64_t k = 0; k < outputs; ++k) {
    for (int64_t i = 0; i < 16 * inputs; ++i) folded[k * 16 * inputs + i] = 0;
    each_folded([&](int64_t to, int64_t from) {
      for (int64_t c = 0; c < inputs; ++c)
        folded[(k * 16 + to) * inputs + c] += weight[(k * 9 + from) * inputs + c];
    });
  }
}

void unfold_doubled(int64_t outputs, int64_t inputs, const float* folded, float* weight) {
  for (int64_t k = 0; k < outputs; ++k) {
    each_folded([&](int64_t from, int64_t to) {
      for (int64_t c = 0; c < inputs; ++c)
        weight[(k * 9 + to) * inputs + c] += folded[(k * 16 + from) * inputs + c];
    });
  }
}

ConvPlans make_plans(ConvKind kind, int64_t height, int64_t width) {
  ConvPlans plans{height, width, height, width, {}, {}, {}};
  switch (kind) {
    case ConvKind::pointwise:
      plans.forward = plans.backward = pointwise_plan(height, width);
      plans.gradient = pointwise_gradient(height, width);
      break;
    case ConvKind::same:
      plans.forward = same_plan(height, width, false);
      plans.backward = same_plan(height, width, true);
      plans.gradient = same_gradient(height, width);
      break;
    case ConvKind::halved:
    case ConvKind::halved_after: {
      const int64_t before = kind == ConvKind::halved ? 1 : 0;
      plans.out_height = before ? (height + 1) / 2 : height / 2;
      plans.out_width = before ? (width + 1) / 2 : width / 2;
      plans.forward = halved_plan(plans, before);
      plans.backward = halved_backward_plan(plans, before);
      plans.gradient = halved_gradient(plans, before);
      break;
    }
    case ConvKind::doubled:
      plans.out_height = 2 * height;
      plans.out_width = 2 * width;
      plans.forward = doubled_plan(height, width);
      plans.backward = doubled_backward_plan(height, width);
      plans.gradient = doubled_gradient(height, width);
      break;
  }
  return plans;
}

}  // namespace tweedie::kernels
