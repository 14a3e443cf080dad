// Every table's dense layers against sums written out in doubles, on sizes that fill no block.
#include "tweedie/kernels/dense.h"

#include <doctest/doctest.h>

#include <memory>

#include "tests/kernels/support.h"
#include "tweedie/kernels/scratch.h"

using namespace tweedie;
using namespace tweedie::testing;
using kernels::bf16;

namespace {

using Doubles = std::vector<double>;

/// Relative to the largest of b.
double relative_distance(const Floats& a, const Doubles& b) {
  double most = 0, scale = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    most = std::max(most, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return a.size() == b.size() ? most / scale : HUGE_VAL;
}

/// A weight and what it multiplies.
struct TermSpec {
  int from;
  int64_t outputs, inputs, split;
  Floats weight;  // of bf16 numbers, so that packing does not round it
};

struct ValueSpec {
  std::vector<TermSpec> terms;
  Floats bias;
  int residual = -1;
  bool silu = false;
};

constexpr int64_t kWidth = 64, kOutputs = 3, kDims = 3, kFeatures = 5, kTimes = 39;
constexpr int kInputs = 3;

TermSpec term(int from, int64_t outputs, int64_t inputs, int64_t split, unsigned seed) {
  TermSpec spec{from, outputs, inputs, split,
                normals(outputs * inputs, seed, 0, 1 / std::sqrt(static_cast<float>(inputs)))};
  for (float& w : spec.weight) w = kernels::float_of(kernels::bf16_of(w));
  return spec;
}

/// Of all that there is: an input split in two, one added as it is, two terms, residuals.
std::vector<ValueSpec> example() {
  return {{},
          {},
          {},
          {{term(1, kWidth, kTimes, 0, 1)}, normals(kWidth, 11), 2, true},
          {{term(0, kWidth, kDims + kFeatures, kDims, 2)}, normals(kWidth, 12), -1, true},
          {{term(4, kWidth, kWidth, 0, 3), term(3, kWidth, kWidth, 0, 4)},
           normals(kWidth, 13),
           -1,
           true},
          {{term(5, kWidth, kWidth, 0, 5)}, normals(kWidth, 14), 4, true},
          {{term(6, kOutputs, kWidth, 0, 6)}, normals(kOutputs, 15), -1, false}};
}

/// Inputs of a batch, row by row; rounded where the kernel rounds them.
struct Inputs {
  Floats x, features, times, add;
  explicit Inputs(int64_t rows)
      : x(normals(rows * kDims, 21)),
        features(rounded(normals(rows * kFeatures, 22))),
        times(rounded(normals(rows * kTimes, 23))),
        add(normals(rows * kWidth, 24)) {}
  static Floats rounded(Floats values) {
    for (float& v : values) v = kernels::float_of(kernels::bf16_of(v));
    return values;
  }
  Doubles row_of(int input, int64_t row) const {
    Doubles out;
    const auto append = [&](const Floats& from, int64_t width) {
      out.insert(out.end(), from.begin() + row * width, from.begin() + (row + 1) * width);
    };
    if (input == 0) append(x, kDims), append(features, kFeatures);
    if (input == 1) append(times, kTimes);
    if (input == 2) append(add, kWidth);
    return out;
  }
};

/// What the network gives and its gradients, for loss sum(dy y).
struct Expected {
  Doubles y, dx, dadd;
  std::vector<std::vector<Doubles>> dweight;  // by value and term
  std::vector<Doubles> dbias;
};

double silu(double z) { return z / (1 + std::exp(-z)); }
double silu_slope(double z) {
  const double s = 1 / (1 + std::exp(-z));
  return s * (1 + z * (1 - s));
}

Expected in_doubles(const std::vector<ValueSpec>& net, const Inputs& in, int64_t rows,
                    const Floats& dy) {
  Expected e;
  for (const ValueSpec& value : net) {
    e.dweight.emplace_back();
    for (const TermSpec& t : value.terms) e.dweight.back().emplace_back(t.weight.size());
    e.dbias.emplace_back(value.bias.size());
  }
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<Doubles> z(net.size()), a(net.size()), dz(net.size());
    for (size_t v = 0; v < net.size(); ++v) {
      if (v < kInputs) z[v] = in.row_of(static_cast<int>(v), row);
      if (v >= kInputs) z[v].assign(net[v].bias.begin(), net[v].bias.end());
      for (const TermSpec& t : net[v].terms)
        for (size_t i = 0; i < t.weight.size(); ++i)
          z[v][i / static_cast<size_t>(t.inputs)] +=
              t.weight[i] * a[static_cast<size_t>(t.from)][i % static_cast<size_t>(t.inputs)];
      for (size_t i = 0; net[v].residual >= 0 && i < z[v].size(); ++i)
        z[v][i] += z[static_cast<size_t>(net[v].residual)][i];
      for (const double x : z[v]) a[v].push_back(net[v].silu ? silu(x) : x);
    }
    e.y.insert(e.y.end(), z.back().begin(), z.back().end());
    dz.back().assign(dy.begin() + row * kOutputs, dy.begin() + (row + 1) * kOutputs);
    for (size_t v = net.size(); v-- > 0;) {
      if (v + 1 < net.size()) dz[v].assign(z[v].size(), 0);
      for (size_t u = v + 1; u < net.size(); ++u)
        for (const TermSpec& t : net[u].terms)
          for (size_t i = 0; static_cast<size_t>(t.from) == v && i < t.weight.size(); ++i) {
            const size_t input = i % static_cast<size_t>(t.inputs);
            dz[v][input] += t.weight[i] * dz[u][i / static_cast<size_t>(t.inputs)] *
                            (net[v].silu ? silu_slope(z[v][input]) : 1);
          }
      for (size_t u = v + 1; u < net.size(); ++u)
        for (size_t i = 0; net[u].residual == static_cast<int>(v) && i < dz[v].size(); ++i)
          dz[v][i] += dz[u][i];
      for (size_t t = 0; t < net[v].terms.size(); ++t)
        for (size_t i = 0; i < net[v].terms[t].weight.size(); ++i) {
          const auto inputs = static_cast<size_t>(net[v].terms[t].inputs);
          e.dweight[v][t][i] +=
              dz[v][i / inputs] * a[static_cast<size_t>(net[v].terms[t].from)][i % inputs];
        }
      for (size_t i = 0; i < e.dbias[v].size(); ++i) e.dbias[v][i] += dz[v][i];
    }
    e.dx.insert(e.dx.end(), dz[0].begin(), dz[0].begin() + kDims);
    e.dadd.insert(e.dadd.end(), dz[2].begin(), dz[2].end());
  }
  return e;
}

/// The network with packed weights, for one table.
struct Packed {
  std::vector<std::unique_ptr<kernels::Scratch>> memory;
  std::vector<Floats> biases;
  kernels::DenseNetwork network;

  Packed(const kernels::DenseTable& table, const std::vector<ValueSpec>& net) {
    const int64_t widths[] = {kernels::dense_width(2 * kDims + kFeatures),
                              kernels::dense_width(kTimes), kWidth};
    network.input_count = kInputs;
    network.value_count = static_cast<int>(net.size());
    biases.resize(net.size());
    for (size_t v = 0; v < net.size(); ++v) {
      kernels::DenseValue& value = network.values[v];
      value.width = v < kInputs ? widths[v] : kernels::dense_width(net[v].terms[0].outputs);
      value.residual = net[v].residual;
      value.silu = net[v].silu;
      biases[v] = net[v].bias;
      biases[v].resize(static_cast<size_t>(value.width));
      value.bias = biases[v].data();
      for (const TermSpec& t : net[v].terms)
        value.terms[value.term_count++] = {t.from, packed(table.pack, t, t.outputs),
                                           packed(table.pack_transposed, t, t.inputs + t.split)};
    }
    kernels::lay_out(network);
  }

  const bf16* packed(decltype(kernels::DenseTable::pack) pack, const TermSpec& t, int64_t columns) {
    memory.push_back(std::make_unique<kernels::Scratch>());
    bf16* const to = memory.back()->get<bf16>(kernels::dense_width(t.outputs) *
                                              kernels::dense_width(t.inputs + t.split));
    pack({t.weight.data(), t.outputs, t.inputs, t.split}, to, 0,
         kernels::dense_width(columns) / 32);
    return to;
  }
};

constexpr double kRounding = 1.0 / 256;  // of a number to bf16, at most

struct Got {
  Floats y, dx, dadd;
  std::vector<std::vector<Floats>> dweight;
  std::vector<Floats> dbias;
};

Got run_dense(const kernels::DenseTable& table, const std::vector<ValueSpec>& net, const Inputs& in,
              int64_t rows, const Floats& dy) {
  const Packed packed(table, net);
  const int64_t blocks = kernels::dense_blocks(rows);
  const auto floats = [](int64_t count) { return Floats(static_cast<size_t>(count), 7); };
  Got got{floats(rows * kOutputs), floats(rows * kDims), floats(rows * kWidth), {}, {}};
  kernels::Scratch kept, gradients;
  const kernels::DenseForward forward{
      &packed.network,
      rows,
      {{{in.x.data(), in.features.data()}, {kDims, kFeatures}, kDims},
       {{in.times.data(), nullptr}, {kTimes, 0}, 0},
       {{in.add.data(), nullptr}, {kWidth, 0}, 0}},
      got.y.data(),
      kOutputs,
      kept.get<bf16>(blocks * packed.network.kept)};
  const kernels::DenseBackward backward{
      &packed.network,    rows,
      forward.kept,       dy.data(),
      kOutputs,           {got.dx.data(), nullptr, got.dadd.data()},
      {kDims, 0, kWidth}, gradients.get<bf16>(blocks * packed.network.gradients)};
  for (int64_t block = 0; block < blocks; ++block) table.forward(forward, block);
  const Floats with_gradient = got.y;
  kernels::DenseForward alone = forward;
  alone.kept = nullptr;
  for (int64_t block = blocks; block-- > 0;) table.forward(alone, block);
  CHECK(got.y == with_gradient);  // whatever is kept, in any order
  for (int64_t block = 0; block < blocks; ++block) table.backward(backward, block);
  for (size_t v = 0; v < net.size(); ++v) {
    got.dweight.emplace_back();
    got.dbias.push_back(floats(static_cast<int64_t>(net[v].bias.size())));
    for (size_t t = 0; t < net[v].terms.size(); ++t) {
      const TermSpec& spec = net[v].terms[t];
      Floats dweight(spec.weight.size(), 7);
      const auto gradient = [&](bool add) {
        for (int64_t block = 0; block < kernels::dense_width(spec.outputs) / 32; ++block)
          table.weight_gradient({&packed.network, rows, forward.kept, backward.gradients,
                                 static_cast<int>(v), static_cast<int>(t), spec.outputs,
                                 spec.inputs, spec.split, dweight.data(), got.dbias[v].data(), add},
                                block);
      };
      gradient(true);
      for (float& w : dweight) w -= 7;
      const Floats added = dweight;
      gradient(false);
      got.dweight[v].push_back(dweight);
      CHECK(distance(added, dweight) < 1e-5);
    }
  }
  return got;
}

}  // namespace

TEST_CASE("a network of dense layers and all its gradients, in every table") {
  const std::vector<ValueSpec> net = example();
  for (const kernels::Table* t : kernels::usable_tables())
    for (const int64_t rows : {1, 31, 32, 33, 64, 150}) {
      INFO(std::string(t->name));
      CAPTURE(rows);
      const Inputs in(rows);
      const Floats dy = Inputs::rounded(normals(rows * kOutputs, 31));
      const Expected expected = in_doubles(net, in, rows, dy);
      const Got got = run_dense(*t->dense, net, in, rows, dy);
      // Three layers whose activations are rounded, then as many for the gradients.
      CHECK(relative_distance(got.y, expected.y) < 2 * kRounding);
      CHECK(relative_distance(got.dx, expected.dx) < 4 * kRounding);
      CHECK(relative_distance(got.dadd, expected.dadd) < 4 * kRounding);
      for (size_t v = kInputs; v < net.size(); ++v) {
        CAPTURE(v);
        CHECK(relative_distance(got.dbias[v], expected.dbias[v]) < 4 * kRounding);
        for (size_t i = 0; i < net[v].terms.size(); ++i)
          CHECK(relative_distance(got.dweight[v][i], expected.dweight[v][i]) < 4 * kRounding);
      }
    }
}

TEST_CASE("an input that is split keeps 16 bits") {
  constexpr int64_t kRows = 40;
  const std::vector<ValueSpec> net = {
      {}, {}, {}, {{term(0, kOutputs, kDims + kFeatures, kDims, 2)}, normals(kOutputs, 12)}};
  const Inputs in(kRows);
  const Floats dy = Inputs::rounded(normals(kRows * kOutputs, 31));
  const Expected expected = in_doubles(net, in, kRows, dy);
  for (const kernels::Table* t : kernels::usable_tables()) {
    INFO(std::string(t->name));
    const Got got = run_dense(*t->dense, net, in, kRows, dy);
    CHECK(relative_distance(got.y, expected.y) < 1e-5);
    CHECK(relative_distance(got.dx, expected.dx) < 1e-5);
    CHECK(relative_distance(got.dweight[3][0], expected.dweight[3][0]) < 1e-5);
  }
}

TEST_CASE("cosines and sines of a label times frequencies") {
  const Floats labels = {0, 1, -3.5F, 999, 0.123F, 123456.7F};
  for (const int64_t count : {1, 16, 21}) {
    Doubles turns;
    for (int64_t i = 0; i < count; ++i) turns.push_back(std::pow(1e-4, i / 21.0) / (2 * M_PI));
    for (const kernels::Table* t : kernels::usable_tables()) {
      INFO(std::string(t->name));
      CAPTURE(count);
      const auto rows = static_cast<int64_t>(labels.size());
      Floats out(static_cast<size_t>(2 * count * rows));
      t->dense->angle_features({labels.data(), turns.data(), count}, 0, 2, out.data());
      t->dense->angle_features({labels.data(), turns.data(), count}, 2, rows, out.data());
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t i = 0; i < count; ++i) {
          const double angle =
              2 * M_PI * labels[static_cast<size_t>(row)] * turns[static_cast<size_t>(i)];
          const size_t at = static_cast<size_t>(row * 2 * count + i);
          CHECK(std::abs(out[at] - std::cos(angle)) < 5e-7);
          CHECK(std::abs(out[at + static_cast<size_t>(count)] - std::sin(angle)) < 5e-7);
        }
    }
  }
}
