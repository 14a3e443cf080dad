// What a network is told of the noise, as features.
#pragma once

#include <string>
#include <vector>

#include <torch/types.h>

namespace tweedie {

using torch::Tensor;

struct PositionalOptions {
  int64_t channels;
  bool cosine_first = true;  // diffusers' flip_sin_to_cos
  double shift = 0;  // diffusers' freq_shift: frequencies reach 10000^-1 at channels/2 - shift
};

/// Sines and cosines of `label` [B] at geometrically falling frequencies [B, channels].  Vaswani et
/// al. 2017 (arXiv:1706.03762), 3.5.
Tensor positional_features(const Tensor& label, const PositionalOptions& options);

/// For each place of a grid, row by row: the features of its column, then of its row, sines first;
/// doubles [rows columns, channels], channels a multiple of 4.  Peebles & Xie 2023
/// (arXiv:2212.09748).
Tensor grid_features(int64_t channels, int64_t rows, int64_t columns);

/// x and, for each power n, sin(2^n pi x) and cos(2^n pi x), along dimension 1.  Kingma et al. 2021
/// (arXiv:2107.00630), appendix C.
Tensor fourier_features(const Tensor& x, const std::vector<int64_t>& powers);

/// Rows of an embedding of `classes` classes and, with `null_class`, "no class" after them: `label`
/// [B], or "no class" everywhere if it is undefined.  Throws Error, naming the network, on another
/// number of labels or a class that there is not.
Tensor class_rows(const Tensor& label, int64_t classes, bool null_class, const Tensor& x,
                  const std::string& network);

/// Throws Error if a power of fourier_features is not usable.
void check_fourier_powers(const std::vector<int64_t>& powers);

}  // namespace tweedie
