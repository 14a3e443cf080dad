// Points in the plane, centred and of about unit variance, drawn afresh for any n and seed.
#include <cmath>
#include <memory>
#include <numeric>

#include "tweedie/base/fields.h"
#include "tweedie/datasets/datasets.h"
#include "tweedie/datasets/split.h"
#include "tweedie/tensor/random.h"

namespace tweedie {
namespace {

constexpr double kPi = 3.14159265358979323846;

struct ToyOptions {
  std::string path;
  int64_t n = 10000, n_test = 2000, seed = 0;
  template <class Visit>
  void fields(Visit&& visit) {
    visit("path", path, "which: swiss-roll, two-moons, checkerboard, rings, gaussian-mixture");
    visit("n", n, "points of the training split");
    visit("n_test", n_test, "points of the test split, of the same density");
    visit("seed", seed, "of the points");
  }
};

struct NoisyOptions : ToyOptions {
  double std = 0.05;
  template <class Visit>
  void fields(Visit&& visit) {
    ToyOptions::fields(visit);
    visit("std", std, "of the noise around the curve");
  }
};

struct CheckerboardOptions : ToyOptions {
  int64_t squares = 4;
  template <class Visit>
  void fields(Visit&& visit) {
    ToyOptions::fields(visit);
    visit("squares", squares, "a side, an even number; half of them are filled");
  }
};

struct RingsOptions : ToyOptions {
  int64_t components = 3;
  double std = 0.05;
  template <class Visit>
  void fields(Visit&& visit) {
    ToyOptions::fields(visit);
    visit("components", components, "rings around one centre, equally probable");
    visit("std", std, "of the radius around each ring");
  }
};

struct GaussianMixtureOptions : ToyOptions {
  int64_t components = 8;
  double std = 0.2;
  template <class Visit>
  void fields(Visit&& visit) {
    ToyOptions::fields(visit);
    visit("components", components, "Gaussians on a circle, equally probable; 1: at its centre");
    visit("std", std, "of each Gaussian");
  }
};

/// What a toy is made of: independent draws for each point, [n] each.
class Draws {
 public:
  Draws(const ToyOptions& options, Split split)
      : key_{static_cast<uint64_t>(options.seed), Stream::data} {
    for (const int64_t size : {options.n, options.n_test})
      check(size >= 1 && size <= 100'000'000, "toy: n and n_test are 1 to 100000000, got ", size);
    // The test split's points come after the training split's, whatever their numbers.
    samples_.resize(static_cast<size_t>(split == Split::train ? options.n : options.n_test));
    std::iota(samples_.begin(), samples_.end(),
              split == Split::train ? int64_t{0} : int64_t{1} << 40);
  }
  Tensor uniform() { return keyed_uniform(key_, samples_, ++step_, {}); }
  Tensor normal() { return keyed_normal(key_, samples_, ++step_, {}); }
  Tensor normal_pair() { return keyed_normal(key_, samples_, ++step_, {2}); }  // [n, 2]
  /// 0..count-1, equally probable.
  Tensor choice(int64_t count) {
    return uniform()
        .mul(static_cast<double>(count))
        .floor()
        .clamp_max(static_cast<double>(count - 1));
  }

 private:
  RandomKey key_;
  std::vector<int64_t> samples_;
  int64_t step_ = 0;
};

/// log p at x [B, 2], in double.
using LogDensity = std::function<Tensor(const Tensor& x)>;

struct Toy {
  Tensor points;  // [n, 2]
  LogDensity log_density;
};

Tensor pair(const Tensor& x, const Tensor& y) { return at::stack({x, y}, 1); }

void check_std(double std, const std::string& name) {
  check(std > 0 && std < 1, "toy:", name, ": std is between 0 and 1 (the data have about unit ",
        "variance), got ", std);
}

Toy swiss_roll(const NoisyOptions& options, Draws draws) {
  check_std(options.std, "swiss-roll");
  const Tensor angle = draws.uniform().mul(2).add(1).mul(1.5 * kPi);  // 1.5 pi .. 4.5 pi
  // The curve's mean is (2, 2 / 3 pi), and its variances, (43.86 + 48.32) / 2, are made 1.
  const Tensor x = (angle * angle.cos()).sub(2).div(6.789);
  const Tensor y = (angle * angle.sin()).sub(2 / (3 * kPi)).div(6.789);
  const Tensor noise = draws.normal_pair();
  return {pair(x, y) + noise * options.std, nullptr};
}

Toy two_moons(const NoisyOptions& options, Draws draws) {
  check_std(options.std, "two-moons");
  const Tensor upper = draws.choice(2), angle = draws.uniform().mul(kPi);
  const Tensor sign = upper.mul(2).sub(1);
  // (cos, sin) and (1 - cos, 1/2 - sin), about their centre (1/2, 1/4).
  const Tensor x = sign * angle.cos().sub(0.5), y = sign * angle.sin().sub(0.25);
  const Tensor noise = draws.normal_pair();
  // Variances 3/4 and 1/2 - 2 * (2 / pi) * (1/4) + 1/16; their mean is made 1.
  const double scale = std::sqrt((0.75 + 0.5625 - 1 / kPi) / 2);
  return {pair(x, y) / scale + noise * options.std, nullptr};
}

Toy checkerboard(const CheckerboardOptions& options, Draws draws) {
  check(options.squares >= 2 && options.squares % 2 == 0 && options.squares <= 1000,
        "toy:checkerboard: squares is an even number from 2 to 1000, got ", options.squares);
  const auto squares = static_cast<double>(options.squares);
  const double side = std::sqrt(12.0);  // a uniform coordinate of unit variance
  const Tensor column = draws.choice(options.squares), half = draws.choice(options.squares / 2);
  const Tensor row = half * 2 + at::remainder(column, 2);
  const Tensor x = (column + draws.uniform()) / squares, y = (row + draws.uniform()) / squares;
  Toy out{(pair(x, y) - 0.5) * side, nullptr};
  out.log_density = [squares, side](const Tensor& x) {
    const Tensor cell = ((x / side + 0.5) * squares).floor();  // [B, 2]
    const Tensor inside = cell.ge(0).logical_and(cell.lt(squares)).all(1);
    const Tensor filled = at::remainder(cell.sum(1), 2).eq(0).logical_and(inside);
    // Half of side^2 = 12 is filled.
    return at::where(filled, at::full({x.size(0)}, -std::log(6.0), at::kDouble),
                     at::full({x.size(0)}, -INFINITY, at::kDouble));
  };
  return out;
}

/// log N(value; mean, std^2)
Tensor log_normal(const Tensor& value, const Tensor& mean, double std) {
  return ((value - mean) / std).square().mul(-0.5).sub(std::log(std) + 0.5 * std::log(2 * kPi));
}

Toy rings(const RingsOptions& options, Draws draws) {
  check_std(options.std, "rings");
  check(options.components >= 1 && options.components <= 1000,
        "toy:rings: components is 1 to 1000, got ", options.components);
  const Tensor count = at::arange(1, options.components + 1, at::kDouble);
  // Radii 1, 2, ... times what makes E[r^2] = 2, that is, unit variance of each coordinate.
  const double scale =
      std::sqrt((2 - options.std * options.std) / count.square().mean().item<double>());
  const Tensor ring = draws.choice(options.components).add(1).mul(scale);
  const Tensor radius = ring + draws.normal() * options.std;
  const Tensor angle = draws.uniform().mul(2 * kPi);
  Toy out{pair(radius * angle.cos(), radius * angle.sin()), nullptr};
  out.log_density = [radii = (count * scale).unsqueeze(0), std = options.std](const Tensor& x) {
    const Tensor r = x.square().sum(1, true).sqrt();  // [B, 1]
    // A negative radius is the opposite point, so that |radius| has two branches.
    const Tensor branches = at::cat({log_normal(r, radii, std), log_normal(-r, radii, std)}, 1);
    const auto components = static_cast<double>(radii.numel());
    return branches.logsumexp(1) - std::log(components) - (2 * kPi * r.squeeze(1)).log();
  };
  return out;
}

Toy gaussian_mixture(const GaussianMixtureOptions& options, Draws draws) {
  check_std(options.std, "gaussian-mixture");
  check(options.components >= 1 && options.components <= 1000,
        "toy:gaussian-mixture: components is 1 to 1000, got ", options.components);
  // On this circle the coordinates have unit variance on average.
  const double radius =
      options.components == 1 ? 0 : std::sqrt(2 * (1 - options.std * options.std));
  const Tensor angles = at::arange(options.components, at::kDouble)
                            .mul(2 * kPi / static_cast<double>(options.components));
  const Tensor centres = pair(angles.cos(), angles.sin()) * radius;  // [K, 2]
  const Tensor which = draws.choice(options.components).to(at::kLong);
  const Tensor noise = draws.normal_pair();
  Toy out{centres.index_select(0, which) + noise * options.std, nullptr};
  out.log_density = [centres, std = options.std](const Tensor& x) {
    const Tensor terms = log_normal(x.unsqueeze(1), centres.unsqueeze(0), std).sum(2);  // [B, K]
    return terms.logsumexp(1) - std::log(static_cast<double>(centres.size(0)));
  };
  return out;
}

struct Kind {
  const char* name;
  std::function<Toy(const Json& options, Split split)> make;
  std::function<std::string()> help;
};

template <class Options>
Kind kind(const char* name, Toy (*make)(const Options&, Draws)) {
  return {name,
          [name, make](const Json& given, Split split) {
            const auto options = from_json<Options>(given, std::string("toy:") + name);
            check(options.seed >= 0, "toy:", name, ": seed is 0 or more, got ", options.seed);
            return make(options, Draws(options, split));
          },
          [] { return fields_help<Options>("    "); }};
}

std::vector<Kind> kinds() {
  return {kind("swiss-roll", swiss_roll), kind("two-moons", two_moons),
          kind("checkerboard", checkerboard), kind("rings", rings),
          kind("gaussian-mixture", gaussian_mixture)};
}

}  // namespace

Dataset make_toy(const Json& given) {
  Json rest = given;
  const Split split = take_split(rest, "toy");
  const std::string name =
      rest.contains("path") && rest["path"].is_string() ? rest["path"].get<std::string>() : "";
  std::vector<std::string> names;
  for (const Kind& kind : kinds()) names.emplace_back(kind.name);
  check(!name.empty(), "toy: which? Say toy:NAME", suggestion("", names));
  for (const Kind& kind : kinds()) {
    if (name != kind.name) continue;
    const Toy toy = kind.make(rest, split);
    Dataset out;
    out.name = "toy:" + name;
    out.size = toy.points.size(0);
    out.shape = {2};
    const Tensor points = toy.points.to(at::kFloat).contiguous();
    out.get = [points, name](at::ArrayRef<int64_t> indices) {
      Batch batch{at::empty({static_cast<int64_t>(indices.size()), 2}), {}};
      auto* to = batch.x.data_ptr<float>();
      for (const int64_t index : indices) {
        check(index >= 0 && index < points.size(0), "toy:", name, ": there is no example ", index,
              "; there are ", points.size(0));
        for (int64_t d = 0; d < 2; ++d) *to++ = points.data_ptr<float>()[2 * index + d];
      }
      return batch;
    };
    if (toy.log_density)
      out.log_density = [name, log_density = toy.log_density](const Tensor& x) {
        check(x.dim() == 2 && x.size(1) == 2, "toy:", name,
              ": its density takes points [B, 2], got ", x.sizes());
        return log_density(x.detach().to(at::kCPU, at::kDouble));
      };
    return out;
  }
  throw Error("toy: there is no '" + name + "'" + suggestion(name, names));
}

std::string toy_options_help() {
  std::string out;
  for (const Kind& kind : kinds()) out += std::string("  toy:") + kind.name + "\n" + kind.help();
  return out;
}

}  // namespace tweedie
