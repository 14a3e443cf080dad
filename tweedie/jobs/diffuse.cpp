#include "tweedie/jobs/diffuse.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "tweedie/base/format.h"
#include "tweedie/base/spread.h"
#include "tweedie/jobs/film.h"
#include "tweedie/tensor/levels.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr double kMargin = 18;

/// `count` levels evenly spread from data to noise; a chain starts at clean data.
std::vector<Level> evenly_spread(const Schedule& schedule, int64_t count) {
  std::vector<Level> levels;
  for (int64_t i = 0; i < count; ++i) {
    const double fraction = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0;
    const double steps = static_cast<double>(schedule.steps);
    levels.push_back(
        schedule.steps > 0
            ? schedule.at(std::round(fraction * steps) / steps)
            : schedule.at(schedule.t_min + fraction * (schedule.t_max - schedule.t_min)));
  }
  return levels;
}

/// Processes that let the variance grow are shown at unit variance, or they would be all black and
/// white.
at::Tensor shown(const at::Tensor& x, const Level& level) {
  return x / std::max(1.0, std::hypot(level.alpha, level.sigma));
}

std::string time_caption(const Schedule& schedule, const Level& level) {
  if (schedule.steps == 0) return "t = " + format("%.3g", level.t);
  return "t = " + format("%.0f", level.t * static_cast<double>(schedule.steps));
}

struct Curves {
  std::vector<double> t, alpha, sigma, log_snr;
};

Curves curves_of(const Schedule& schedule) {
  Curves curves;
  const int64_t count = schedule.steps > 0 ? std::min<int64_t>(schedule.steps + 1, 257) : 257;
  for (const Level& level : evenly_spread(schedule, count)) {
    curves.t.push_back(schedule.steps > 0 ? level.t * static_cast<double>(schedule.steps)
                                          : level.t);
    curves.alpha.push_back(level.alpha);
    curves.sigma.push_back(level.sigma);
    curves.log_snr.push_back(log_snr(level));
  }
  return curves;
}

struct Trajectory {
  std::vector<Level> levels;
  std::vector<at::Tensor> x;  // one noise for the whole way, so that one sees the same image drown
  double mean_square = 0;
};

Trajectory trajectory_of(const Dataset& data, const Schedule& schedule, int64_t moments,
                         int64_t examples, uint64_t seed) {
  const std::vector<int64_t> indices = spread_places(examples, data.size);
  const at::Tensor x0 = data.get(indices).x;
  const at::Tensor eps = keyed_normal({seed, Stream::noise}, indices, 0, data.shape);
  Trajectory way{
      evenly_spread(schedule, moments), {}, x0.to(at::kDouble).square().mean().item<double>()};
  for (const Level& level : way.levels) way.x.push_back(diffuse(x0, level, eps));
  return way;
}

void write_animation(const std::string& out, const std::vector<at::Tensor>& moments,
                     const std::vector<std::string>& captions, double limit) {
  std::vector<at::Tensor> frames;
  for (size_t i = 0; i < moments.size(); ++i)
    frames.push_back(film_frame(moments[i], captions[i], limit));
  for (int i = 0; i < 5; ++i) frames.push_back(frames.back());  // rest at the end
  frames.insert(frames.begin(), 3, frames.front());
  write_gif(out, frames, 0.08);
}

bool is_animation(const std::string& out) {
  check(out.ends_with(".gif") || out.ends_with(".png") || out.ends_with(".svg"), out,
        ": a picture's name must end in .png, .svg or .gif");
  return out.ends_with(".gif");
}

Json moments_json(const Schedule& schedule, const Trajectory& way) {
  Json moments = Json::array();
  for (const Level& level : way.levels)
    moments.push_back(
        {{"t", schedule.steps > 0 ? level.t * static_cast<double>(schedule.steps) : level.t},
         {"alpha_bar", level.alpha * level.alpha},
         {"sigma", level.sigma},
         {"log_snr", std::isfinite(log_snr(level)) ? Json(log_snr(level)) : Json()}});
  return moments;
}

void draw_strip(const Dataset& data, const Schedule& schedule, const Trajectory& way,
                double mismatch, double limit, const std::string& out, const TextChunks& texts) {
  Film film;
  film.limit = limit;
  film.bands.push_back({"x_0 (left) to x_T (right)", {}});
  for (size_t i = 0; i < way.levels.size(); ++i) {
    const Level& level = way.levels[i];
    film.bands[0].moments.push_back(data.shape.size() == 1 ? way.x[i] : shown(way.x[i], level));
    film.captions.push_back(
        {time_caption(schedule, level), "alpha_bar " + format("%.2g", level.alpha * level.alpha)});
  }
  const Box size = film_size(film);
  const double width = std::max(size.width + 2 * kMargin, 760.0), half = (width - 2 * kMargin) / 2;
  const double charts = 44 + size.height + 16;
  Picture picture(width, charts + 270 + kMargin);
  picture.text("Forward process: " + data.name + ", schedule " + schedule.name, kMargin, 26, 16);
  picture.text("L_T = " + format("%.2g", mismatch) +
                   " nats per dimension: how far x_T still is from pure noise",
               kMargin, 44, 11.5);
  draw_film(picture, film, kMargin, 48);
  const Curves curves = curves_of(schedule);
  const std::string t_label = schedule.steps > 0 ? "t (step)" : "t";
  picture.line_chart(
      {"Signal and noise",
       t_label,
       "amplitude",
       false,
       false,
       {{"alpha: signal", curves.t, curves.alpha}, {"sigma: noise", curves.t, curves.sigma}}},
      {kMargin, charts, half, 270});
  picture.line_chart({"Signal-to-noise ratio",
                      t_label,
                      "log(alpha^2 / sigma^2), nats",
                      false,
                      false,
                      {{"", curves.t, curves.log_snr}}},
                     {kMargin + half, charts, half, 270});
  picture.save(out, texts);
}

}  // namespace

Json diffuse_pictures(const Dataset& data, const Schedule& schedule,
                      const DiffuseRequest& request) {
  const bool animation = is_animation(request.out);
  check(can_be_drawn(data.shape), "diffuse: examples of shape ", at::IntArrayRef(data.shape),
        " cannot be drawn; expected images with 1 or 3 channels or points of the plane");
  check(request.examples >= 1 && request.moments >= 2 && request.frames >= 2,
        "diffuse: needs at least 1 example and 2 moments, got ", request.examples, " and ",
        request.moments);
  const bool points = data.shape.size() == 1;
  const int64_t wanted = points      ? 2000
                         : animation ? std::max<int64_t>(request.examples, 16)
                                     : request.examples;
  const Trajectory way = trajectory_of(data, schedule, animation ? request.frames : request.moments,
                                       wanted, request.seed);
  double limit = 0;
  if (points)
    for (const at::Tensor& x : {way.x.front(), way.x.back()})
      limit = std::max(limit, panel_limit(x));
  const double mismatch = terminal_mismatch_nats(schedule, way.mean_square);
  const Json record = {{"data", data.name},       {"schedule", schedule.name},
                       {"steps", schedule.steps}, {"terminal_mismatch_nats_per_dim", mismatch},
                       {"seed", request.seed},    {"moments", moments_json(schedule, way)}};
  if (animation) {
    std::vector<std::string> captions;
    std::vector<at::Tensor> moments;
    for (size_t i = 0; i < way.levels.size(); ++i) {
      captions.push_back(time_caption(schedule, way.levels[i]) + "   alpha_bar " +
                         format("%.3f", way.levels[i].alpha * way.levels[i].alpha));
      moments.push_back(points ? way.x[i] : shown(way.x[i], way.levels[i]));
    }
    write_animation(request.out, moments, captions, limit);
  } else {
    draw_strip(data, schedule, way, mismatch, limit, request.out, {{"tweedie", record.dump()}});
  }
  return record;
}

void draw_reverse(const Model& model, const SampleResult& result, const std::string& out,
                  const TextChunks& texts) {
  const bool animation = is_animation(out);
  check(can_be_drawn(model.data.shape), "trajectory: examples of shape ",
        at::IntArrayRef(model.data.shape),
        " cannot be drawn; expected images with 1 or 3 channels or points of the plane");
  check(result.trajectory.size() >= 2, "trajectory: no moments were kept");
  const bool points = model.data.shape.size() == 1;
  double limit = 0;
  std::vector<at::Tensor> states, guesses;
  std::vector<std::string> captions;
  Film film;
  const int64_t rows = points ? result.trajectory[0].x.size(0)
                              : std::min<int64_t>(4, result.trajectory[0].x.size(0));
  for (const Frame& frame : result.trajectory) {
    const double grown =
        points || std::isinf(frame.log_snr) ? 1 : std::max(1.0, frame.x.std().item<double>());
    states.push_back(frame.x / grown);
    guesses.push_back(frame.x0);
    captions.push_back("log-SNR " + (std::isinf(frame.log_snr)
                                         ? std::string(frame.log_snr > 0 ? "infinite" : "-infinite")
                                         : format("%.1f", frame.log_snr)));
    film.captions.push_back({"t = " + format("%.3g", frame.t), captions.back()});
    if (points) limit = std::max(limit, panel_limit(frame.x));
  }
  if (animation) return write_animation(out, states, captions, limit);
  film.limit = limit;
  film.bands = {{"The state: from noise (left) to a sample (right)", {}},
                {"What the network takes the clean data to be at that moment", {}}};
  for (size_t i = 0; i < states.size(); ++i) {
    film.bands[0].moments.push_back(states[i].narrow(0, 0, rows));
    film.bands[1].moments.push_back(guesses[i].narrow(0, 0, rows));
  }
  const Box size = film_size(film);
  Picture picture(size.width + 2 * kMargin, size.height + 40 + kMargin);
  picture.text(
      "Reverse process: sampler " + result.sampler + ", " + std::to_string(result.steps) + " steps",
      kMargin, 26, 16);
  draw_film(picture, film, kMargin, 34);
  picture.save(out, texts);
}

}  // namespace tweedie
