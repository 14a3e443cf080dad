// The twins for CUDA against the plain table, on sizes that fill no thread block.  A program of its
// own, since most machines cannot run it: exit status 77 says that there is no GPU.
#include "tweedie/kernels/cuda.h"

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "tests/kernels/support.h"

namespace tweedie::kernels::plain {
extern const Table table;
}

using namespace tweedie;
using namespace tweedie::testing;
using kernels::bf16;
using Halves = std::vector<bf16>;

namespace {

void check_cuda(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

/// A copy of host values in device memory; empty is null.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : count_(values.size()) {
    if (count_ == 0) return;
    check_cuda(cudaMalloc(reinterpret_cast<void**>(&data_), count_ * sizeof(T)));
    check_cuda(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~OnDevice() { cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* data() const { return data_; }
  std::vector<T> back() const {
    std::vector<T> out(count_);
    if (count_ > 0)
      check_cuda(cudaMemcpy(out.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return out;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

int failures = 0;

void expect(const std::string& what, double error, double most) {
  if (error <= most) return;  // NaN is a failure too
  std::printf("FAILED %s: off by %.3g, at most %.3g expected\n", what.c_str(), error, most);
  ++failures;
}

Halves halves(int64_t count, unsigned seed) {
  Halves out;
  for (const float x : normals(count, seed, 0.3F)) out.push_back(kernels::bf16_of(x));
  return out;
}

Floats floats(const Halves& x) {
  Floats out;
  for (const bf16 v : x) out.push_back(kernels::float_of(v));
  return out;
}

template <class T>
T* part(std::vector<T>& values, int64_t offset) {
  return values.empty() ? nullptr : values.data() + offset;
}

// --- Norms

enum class Time { none, added, scaled };

struct NormCase {
  int64_t channels[2], pixels, groups;
  Time time;
  bool silu;
  float dropout;
  bool residual;
};

constexpr int64_t kBatch = 3;

/// What a norm reads, on the host.
struct NormInputs {
  Halves x[2], plus[2], dy;
  Floats weight, bias, time;
  std::vector<uint32_t> keys;
  int64_t channels, time_stride;
};

NormInputs inputs_of(const NormCase& c) {
  NormInputs in;
  in.channels = c.channels[0] + c.channels[1];
  in.time_stride = c.time == Time::none ? 0 : c.time == Time::added ? in.channels : 2 * in.channels;
  for (unsigned k = 0; k < 2; ++k) {
    in.x[k] = halves(kBatch * c.pixels * c.channels[k], 1 + k);
    if (c.residual) in.plus[k] = halves(kBatch * c.pixels * c.channels[k], 3 + k);
  }
  in.dy = halves(kBatch * c.pixels * in.channels, 5);
  in.weight = normals(in.channels, 6, 1, 0.3F);
  in.bias = normals(in.channels, 7);
  in.time = normals(kBatch * in.time_stride, 8, 0, 0.3F);
  for (uint32_t i = 0; i < kBatch; ++i) in.keys.push_back(kernels::dropout_key(1, 2, i, 3));
  return in;
}

/// What a norm writes.
struct NormResults {
  Floats coefficients, dweight, dbias, dtime;
  Halves y, dx[2];

  NormResults(const NormCase& c, const NormInputs& in)
      : coefficients(static_cast<size_t>(kBatch * 4 * in.channels)),
        dweight(static_cast<size_t>(kBatch * in.channels)),
        dbias(dweight),
        dtime(in.time.size()),
        y(in.dy.size()) {
    for (int k = 0; k < 2; ++k)
      dx[k].resize(static_cast<size_t>(kBatch * c.pixels * c.channels[k]));
  }
};

kernels::ImageNorm norm_of(const NormCase& c, const bf16* x1, const bf16* x2, const float* weight,
                           const float* bias, const float* time) {
  kernels::ImageNorm norm{};
  norm.x[0] = x1;
  norm.x[1] = x2;
  norm.channels[0] = c.channels[0];
  norm.channels[1] = c.channels[1];
  norm.pixels = c.pixels;
  norm.groups = c.groups;
  norm.epsilon = 1e-5F;
  norm.weight = weight;
  norm.bias = bias;
  if (c.time == Time::added) norm.add = time;
  if (c.time == Time::scaled) {
    norm.scale = time;
    norm.shift = time + c.channels[0] + c.channels[1];
  }
  norm.silu = c.silu;
  norm.dropout.rate = c.dropout;
  return norm;
}

void point_at_time(const NormCase& c, float* dtime, int64_t channels, kernels::NormGradients& out) {
  if (c.time == Time::added) out.dadd = dtime;
  if (c.time == Time::scaled) {
    out.dscale = dtime;
    out.dshift = dtime + channels;
  }
}

NormResults plain_norm(const NormCase& c, NormInputs in) {
  NormResults r(c, in);
  const auto& table = *kernels::plain::table.images;
  for (int64_t i = 0; i < kBatch; ++i) {
    const int64_t first = i * c.pixels * c.channels[0], second = i * c.pixels * c.channels[1],
                  whole = first + second, C = in.channels;
    kernels::ImageNorm norm =
        norm_of(c, part(in.x[0], first), part(in.x[1], second), in.weight.data(), in.bias.data(),
                part(in.time, i * in.time_stride));
    norm.dropout.key = in.keys[static_cast<size_t>(i)];
    float* const a = r.coefficients.data() + i * 4 * C;
    const kernels::NormCoefficients with = {a, a + C, a + 2 * C, a + 3 * C};
    table.norm_statistics(norm, with, 0, C);
    table.norm_apply(norm, with, r.y.data() + whole, 0, C);
    kernels::NormGradients out{};
    out.dx[0] = part(r.dx[0], first);
    out.dx[1] = part(r.dx[1], second);
    out.plus[0] = part(in.plus[0], first);
    out.plus[1] = part(in.plus[1], second);
    out.dweight = r.dweight.data() + i * C;
    out.dbias = r.dbias.data() + i * C;
    point_at_time(c, part(r.dtime, i * in.time_stride), C, out);
    table.norm_backward(norm, with, in.dy.data() + whole, out, 0, C);
  }
  return r;
}

NormResults cuda_norm(const NormCase& c, const NormInputs& in) {
  NormResults r(c, in);
  const OnDevice<bf16> x1(in.x[0]), x2(in.x[1]), plus1(in.plus[0]), plus2(in.plus[1]), dy(in.dy),
      y(r.y), dx1(r.dx[0]), dx2(r.dx[1]);
  const OnDevice<float> weight(in.weight), bias(in.bias), time(in.time),
      coefficients(r.coefficients), dweight(r.dweight), dbias(r.dbias), dtime(r.dtime);
  const OnDevice<uint32_t> keys(in.keys);
  const kernels::cuda::BatchNorm norm = {
      norm_of(c, x1.data(), x2.data(), weight.data(), bias.data(), time.data()), kBatch,
      in.time_stride, keys.data()};
  kernels::NormGradients out{};
  out.dx[0] = dx1.data();
  out.dx[1] = dx2.data();
  out.plus[0] = plus1.data();
  out.plus[1] = plus2.data();
  out.dweight = dweight.data();
  out.dbias = dbias.data();
  point_at_time(c, dtime.data(), in.channels, out);
  const auto& table = kernels::cuda::table;
  table.norm_statistics(norm, coefficients.data(), nullptr);
  table.norm_apply(norm, coefficients.data(), y.data(), nullptr);
  table.norm_backward(norm, coefficients.data(), dy.data(), out, nullptr);
  r.coefficients = coefficients.back();
  r.y = y.back();
  r.dx[0] = dx1.back();
  r.dx[1] = dx2.back();
  r.dweight = dweight.back();
  r.dbias = dbias.back();
  r.dtime = dtime.back();
  return r;
}

void compare_norm(const NormCase& c) {
  const NormInputs in = inputs_of(c);
  const NormResults expected = plain_norm(c, in), got = cuda_norm(c, in);
  const std::string name = "norm " + std::to_string(c.channels[0]) + "+" +
                           std::to_string(c.channels[1]) + "x" + std::to_string(c.pixels) + "/" +
                           std::to_string(c.groups) + " time " +
                           std::to_string(static_cast<int>(c.time)) + (c.silu ? " silu" : "") +
                           (c.dropout > 0 ? " dropout" : "") + ": ";
  // Sums of floats in another order; where a bf16 rounds the other way, a unit in its last place.
  // The plain twin rounds dz to bf16 before it makes dx of it.
  constexpr double kSums = 2e-5, kUnit = 1.0 / 128;
  expect(name + "coefficients", distance(got.coefficients, expected.coefficients), kSums);
  expect(name + "y", distance(floats(got.y), floats(expected.y)), kUnit);
  for (int k = 0; k < 2; ++k)
    expect(name + "dx", distance(floats(got.dx[k]), floats(expected.dx[k])), 2 * kUnit);
  expect(name + "dweight", distance(got.dweight, expected.dweight), kSums);
  expect(name + "dbias", distance(got.dbias, expected.dbias), kSums);
  expect(name + "dtime", distance(got.dtime, expected.dtime), kSums);
}

void compare_norms() {
  const NormCase shapes[] = {{{32, 0}, 1, 2},   {{64, 32}, 49, 32},  {{96, 0}, 35, 8},
                             {{32, 64}, 17, 4}, {{128, 0}, 300, 32}, {{2016, 0}, 5, 32}};
  for (NormCase c : shapes)
    for (const Time time : {Time::none, Time::added, Time::scaled})
      for (const bool silu : {false, true})
        for (const float dropout : {0.0F, 0.3F}) {
          c.time = time;
          c.silu = silu;
          c.dropout = dropout;
          c.residual = silu;
          compare_norm(c);
        }
}

// --- The optimiser

struct Parameters {
  Floats weight, first, second;
  std::vector<Floats> averages;
};

Parameters start(int64_t count, unsigned averages) {
  Parameters p{normals(count, 1), normals(count, 2), normals(count, 3), {}};
  for (float& v : p.second) v *= v;  // a mean square
  for (unsigned k = 0; k < averages; ++k) p.averages.push_back(normals(count, 4 + k));
  return p;
}

const kernels::AdamStep kStep = {0.7F, 0.9F, 0.999F, 1e-2F, 3.0F, 1e-8F, 1e-3F, 1e-4F};

float keep_of(size_t k) { return 1 - 0.1F / static_cast<float>(k + 1); }

void compare_adam(int64_t count, unsigned average_count) {
  Parameters p = start(count, average_count);
  const Floats gradient = normals(count, 20);
  const OnDevice<float> weight(p.weight), first(p.first), second(p.second), g(gradient);
  std::vector<std::unique_ptr<OnDevice<float>>> averages;
  std::vector<kernels::Average> here, there;
  for (size_t k = 0; k < average_count; ++k) {
    averages.push_back(std::make_unique<OnDevice<float>>(p.averages[k]));
    here.push_back({p.averages[k].data(), keep_of(k)});
    there.push_back({averages[k]->data(), keep_of(k)});
  }
  for (int step = 0; step < 3; ++step) {
    kernels::plain::table.adam(kStep, count, p.weight.data(), gradient.data(), p.first.data(),
                               p.second.data(), here.data(), average_count);
    kernels::cuda::table.adam(kStep, count, weight.data(), g.data(), first.data(), second.data(),
                              there.data(), average_count, nullptr);
  }
  // Fused multiply-adds round once where the plain loop rounds twice, 3 steps long.
  const std::string name = "adam " + std::to_string(count) + ": ";
  expect(name + "weight", distance(weight.back(), p.weight), 2e-6);
  expect(name + "first moment", distance(first.back(), p.first), 1e-6);
  expect(name + "second moment", distance(second.back(), p.second), 1e-6);
  for (size_t k = 0; k < average_count; ++k)
    expect(name + "average", distance(averages[k]->back(), p.averages[k]), 2e-6);
}

void compare_sum(int64_t count) {
  const Floats x = normals(count, 21, 100);
  const OnDevice<float> there(x);
  const OnDevice<double> sums(std::vector<double>(kernels::cuda::kSumParts + 1));
  kernels::cuda::table.sum_of_squares(count, there.data(), sums.data(), nullptr);
  const double expected = kernels::plain::table.sum_of_squares(count, x.data());
  expect("sum of " + std::to_string(count) + " squares",
         std::abs(sums.back().back() - expected) / expected, 1e-12);
}

}  // namespace

int main() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0) {
    std::printf("no GPU (%s): not run\n", cudaGetErrorString(error));
    return 77;
  }
  compare_norms();
  for (const int64_t count : {1, 31, 1000, 70001})
    for (const unsigned averages : {0U, 1U, 4U, 6U}) compare_adam(count, averages);
  for (const int64_t count : {1, 31, 1000, 300001}) compare_sum(count);
  check_cuda(cudaDeviceSynchronize());
  std::printf("CUDA twins: %s\n", failures == 0 ? "all as the plain table" : "they differ");
  return failures == 0 ? 0 : 1;
}
