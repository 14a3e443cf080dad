#include "tweedie/jobs/picture.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "tweedie/base/spread.h"
#include "tweedie/jobs/plot.h"
#include "tweedie/tensor/image.h"

namespace tweedie {
namespace {

constexpr int64_t kPanels = 16;     // charts in a picture, or examples that are no images
constexpr int64_t kPlanes = 8;      // of an example that is no image, side by side
constexpr int64_t kLongest = 16;    // a longer vector is drawn as a curve
constexpr int64_t kMoments = 2000;  // of a curve, and pixels of a plane in each direction

using Shape = std::vector<int64_t>;

bool is_image(const Shape& shape) { return shape.size() == 3 && shape[0] <= 4 && shape[1] > 1; }
bool is_plane(const Shape& shape) { return shape.size() == 1 && shape[0] == 2; }
/// Channels over time, or a vector too long for a chart of each number.
bool is_series(const DataShape& data) {
  const Shape& shape = data.shape;
  return (shape.size() == 3 && shape[1] == 1 && shape[2] > 1) ||
         (shape.size() == 1 && shape[0] > kLongest && data.columns.empty());
}

int64_t square_side(int64_t count) {
  return static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
}

Tensor image_tiles(const Tensor& x, int64_t across, int64_t levels) {
  const int64_t zoom =
      std::max<int64_t>(1, 56 / std::max(x.size(2), x.size(3)));  // a small image is 56 pixels wide
  return tile_images(x, across, 2, zoom, levels == 65536 ? 65536 : 256);
}

/// `count` charts in a near-square grid.
Tensor panels(int64_t count, const std::function<void(Picture&, int64_t, const Box&)>& draw) {
  const int64_t across = square_side(count), down = (count + across - 1) / across;
  const double width = across == 1 ? 480 : 300, height = across == 1 ? 320 : 190;
  Picture picture(width * static_cast<double>(across), height * static_cast<double>(down));
  for (int64_t i = 0; i < count; ++i)
    draw(picture, i,
         {width * static_cast<double>(i % across), height * static_cast<double>(i / across), width,
          height});
  return picture.pixels();
}

std::vector<double> numbers(const Tensor& values) {
  const Tensor flat = values.to(at::kCPU, at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// An example in each chart, a line for each channel.
Tensor curves(const Tensor& x) {
  const Tensor all = x.dim() == 2 ? x.unsqueeze(1) : x.squeeze(2);  // [B, C, L]
  const std::vector<int64_t> moments = spread_places(kMoments, all.size(2));
  const Tensor lines = all.index_select(2, at::tensor(moments));
  const std::vector<double> time(moments.begin(), moments.end());
  return panels(std::min(lines.size(0), kPanels),
                [&](Picture& picture, int64_t example, const Box& box) {
                  LineChart chart;
                  for (int64_t c = 0; c < lines.size(1); ++c) {
                    Series series;
                    series.x = time;
                    series.y = numbers(lines[example][c]);
                    chart.series.push_back(series);
                  }
                  picture.line_chart(chart, box);
                });
}

/// How often each value comes: of numbers in equal steps, of categories each.
void draw_distribution(Picture& picture, const Tensor& all, const std::string& name,
                       const Box& box) {
  const Tensor values = all.masked_select(all.isfinite());
  if (values.numel() == 0) return picture.text(name + ": no number is finite", box.x, box.y + 20);
  const double least = values.min().item<double>(), most = values.max().item<double>();
  const double from = least < most ? least : least - 0.5, to = least < most ? most : least + 0.5;
  const int64_t bins = std::clamp<int64_t>(square_side(values.numel()), 5, 40);
  Series series;
  series.bars = true;
  series.y = numbers(at::histc(values.to(at::kDouble), bins, from, to));
  for (int64_t i = 0; i <= bins; ++i)
    series.x.push_back(from + (to - from) * static_cast<double>(i) / static_cast<double>(bins));
  LineChart chart;
  chart.title = name;
  chart.series = {series};
  chart.count_y = true;
  picture.line_chart(chart, box);
}

void draw_categories(Picture& picture, const Tensor& scores, const Json& column, const Box& box) {
  constexpr size_t kMostBars = 8;
  const std::vector<double> counts =
      numbers(at::bincount(scores.argmax(1), {}, scores.size(1)).to(at::kDouble));
  BarChart chart;
  chart.title = column.at("name").get<std::string>();
  for (size_t i = 0; i < counts.size() && i < kMostBars; ++i)
    chart.bars.push_back({.label = column["categories"][i].get<std::string>(), .value = counts[i]});
  if (counts.size() > kMostBars)
    chart.title += " (" + std::to_string(counts.size()) + " categories)";
  picture.bar_chart(chart, box);
}

/// A chart for each column of a table, in the table's own units, or number of a vector.
Tensor distributions(const Tensor& x, const Json& columns) {
  if (columns.empty())
    return panels(x.size(1), [&](Picture& picture, int64_t i, const Box& box) {
      draw_distribution(picture, x.select(1, i), "x" + std::to_string(i), box);
    });
  std::vector<int64_t> first = {0};  // coordinate of each column
  for (const Json& column : columns)
    first.push_back(first.back() + (column.contains("categories")
                                        ? static_cast<int64_t>(column["categories"].size())
                                        : 1));
  check(first.back() == x.size(1), "the columns have ", first.back(), " coordinates, the samples ",
        x.size(1));
  const auto count = static_cast<int64_t>(columns.size());
  return panels(std::min(count, kPanels), [&](Picture& picture, int64_t i, const Box& box) {
    const auto place = static_cast<size_t>(i);
    const Json& column = columns[place];
    if (column.contains("categories"))
      return draw_categories(picture, x.slice(1, first[place], first[place + 1]), column, box);
    const Tensor values =
        x.select(1, first[place]).to(at::kDouble) * column.at("scale").get<double>() +
        column.at("mean").get<double>();
    draw_distribution(picture, values, column.at("name").get<std::string>(), box);
  });
}

}  // namespace

int64_t picture_count(const DataShape& data) {
  if (is_image(data.shape)) return 64;
  return data.shape.size() == 1 && !is_series(data) ? 2000 : kPanels;
}

Tensor samples_picture(const Tensor& x, const DataShape& data, int64_t columns) {
  const Shape& shape = data.shape;
  const Tensor host = x.to(at::kCPU);
  if (is_image(shape))
    return image_tiles(host, columns > 0 ? columns : square_side(x.size(0)), data.levels);
  if (is_series(data)) return curves(host);
  if (is_plane(shape) && data.columns.empty()) {
    Picture picture(480, 480);
    picture.scatter({.title = "", .points = host}, {0, 0, 480, 480});
    return picture.pixels();
  }
  if (shape.size() == 1) return distributions(host, data.columns);
  const Tensor planes = host.reshape({x.size(0), -1, shape[shape.size() - 2], shape.back()})
                            .slice(2, 0, kMoments)
                            .slice(3, 0, kMoments);
  if (planes.size(1) == 1) return image_tiles(planes, square_side(x.size(0)), data.levels);
  const Tensor rows = planes.slice(0, 0, kPanels).slice(1, 0, kPlanes);
  return image_tiles(rows.flatten(0, 1).unsqueeze(1), rows.size(1), data.levels);
}

}  // namespace tweedie
