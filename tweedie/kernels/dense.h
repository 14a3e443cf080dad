// Networks of dense layers in bfloat16: kDenseRows rows of a batch go through all layers while they
// are in the caches.  A network is a list of values [rows][width], inputs first; a layer's value is
//
//     a = SiLU(z) or z,   z = W1 a1 [+ W2 a2] + biases [+ z0]
//
// of earlier values a1, a2, z0.  Activations between two layers and the gradients in them are bf16;
// sums, z0 and its gradient, weights and their gradients are float32.  Widths are multiples of 32:
// columns beyond an input's or output's own are zeros.  The rows of one call may be given to
// threads block by block; a result never depends on how many there are.
#pragma once

#include <cstdint>

#include "tweedie/kernels/bf16.h"

namespace tweedie::kernels {

constexpr int64_t kDenseRows = 64;   // of a block
constexpr int64_t kDenseBlock = 32;  // columns
constexpr int kDenseValues = 64, kDenseInputs = 3, kDenseTerms = 2;

/// float32 [outputs][inputs].  Its first `split` inputs are columns twice: where x comes as the sum
/// of two bf16, the second in columns after all others.
struct DenseWeight {
  const float* values;
  int64_t outputs, inputs, split;
};

struct DenseTerm {
  int from;                         // an earlier value
  const bf16 *weight, *transposed;  // packed
};

struct DenseValue {
  int64_t width = 0;
  int term_count = 0;  // 0: an input
  DenseTerm terms[kDenseTerms] = {};
  const float* bias = nullptr;  // [width], of all terms
  int residual = -1;            // the value whose z is added; no other may add the same
  bool silu = false;
  // Where its part of a block is, see lay_out.
  int64_t activations = 0, slopes = 0, gradients = 0;
};

struct DenseNetwork {
  int input_count = 0, value_count = 0;
  DenseValue values[kDenseValues];  // the last one is the output, without SiLU
  int64_t kept = 0, gradients = 0;  // values of a block, see lay_out
};

/// Fills in where a block keeps what.
void lay_out(DenseNetwork& network);

/// Columns with those of zeros.
inline int64_t dense_width(int64_t columns) {
  return (columns + kDenseBlock - 1) / kDenseBlock * kDenseBlock;
}

inline int64_t dense_blocks(int64_t rows) { return (rows + kDenseRows - 1) / kDenseRows; }

/// Two arrays [rows][columns] side by side; the second may be null.
struct DenseInput {
  const float* parts[2];
  int64_t columns[2];
  int64_t split;  // see DenseWeight; at most columns[0]
};

struct DenseForward {
  const DenseNetwork* network;
  int64_t rows;
  DenseInput inputs[kDenseInputs];
  float* y;  // [rows][outputs]
  int64_t outputs;
  bf16* kept;  // [blocks][network.kept] for the gradient, or null
};

struct DenseBackward {
  const DenseNetwork* network;
  int64_t rows;
  const bf16* kept;
  const float* dy;  // [rows][outputs]
  int64_t outputs;
  float* dx[kDenseInputs];  // [rows][columns] of an input's first columns, or null
  int64_t columns[kDenseInputs];
  bf16* gradients;  // [blocks][network.gradients] for the gradients of weights, or null
};

/// Of one term of one value.
struct DenseWeightGradient {
  const DenseNetwork* network;
  int64_t rows;
  const bf16 *kept, *gradients;
  int value, term;
  int64_t outputs, inputs, split;  // see DenseWeight
  float *dweight, *dbias;
  bool add = false;  // to what is there, else it is overwritten
};

/// Cosines and sines of an angle for each row and frequency.
struct AngleFeatures {
  const float* label;   // [rows]
  const double* turns;  // [count]: frequencies, over 2 pi
  int64_t count;
};

struct DenseTable {
  const char* name;
  bool fast;  // than float32 through LibTorch: has tiles
  /// Blocks of 32 outputs from `begin` to `end`; both packed arrays have dense_width(outputs) x
  /// dense_width(inputs + split) values and begin on a cache line.
  void (*pack)(const DenseWeight& weight, bf16* packed, int64_t begin, int64_t end);
  /// The same for the gradient of what comes in: blocks of 32 columns.
  void (*pack_transposed)(const DenseWeight& weight, bf16* packed, int64_t begin, int64_t end);
  void (*forward)(const DenseForward& forward, int64_t block);
  void (*backward)(const DenseBackward& backward, int64_t block);
  /// A block of 32 outputs, over all rows.
  void (*weight_gradient)(const DenseWeightGradient& gradient, int64_t block);
  /// cos, then sin: [rows][2 count]; absolute error below 5e-7 for angles up to 1e6.
  void (*angle_features)(const AngleFeatures& angles, int64_t begin, int64_t end, float* out);
};

}  // namespace tweedie::kernels
