// Attention of float32 images.  A head of an example is rows of q, k and v inside those of qkv:
//
//     rows of qkv:  pixel 0  [q of head 0][q of head 1]...[k of head 0]...[v of head 0]...
//                   pixel 1  ...
//
// which products of matrices take as they are, their rows 3 C apart: one head a thread.
#include <oneapi/dnnl/dnnl.h>
#include <cmath>

#include "tweedie/nets/float_images.h"
#include "tweedie/tensor/parallel.h"

namespace tweedie {
namespace {

/// A matrix inside another, or the transpose of one.
struct Matrix {
  float* values;
  int64_t stride;
  bool transposed = false;
};

Matrix transposed(const Matrix& m) { return {m.values, m.stride, !m.transposed}; }

/// c [rows, columns] = scale a b, both with `inner` terms.
void multiply(int64_t rows, int64_t columns, int64_t inner, float scale, const Matrix& a,
              const Matrix& b, const Matrix& c) {
  dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', rows, columns, inner, scale,
             a.values, a.stride, b.values, b.stride, 0, c.values, c.stride);
}

struct Heads {
  int64_t batch, pixels, count, width;
  int64_t channels() const { return count * width; }
  float scale() const { return 1 / std::sqrt(static_cast<float>(width)); }
};

Heads heads_of(const Tensor& qkv, int64_t heads) {
  return {qkv.size(0), qkv.size(1) * qkv.size(2), heads, qkv.size(3) / 3 / heads};
}

/// Of rows [B, pixels, parts * C]: a part (of q, k, v) of a head.
Matrix head_of(const Heads& h, const Tensor& rows, int64_t example, int64_t head,
               int64_t part = 0) {
  const int64_t stride = rows.size(2);
  return {
      rows.data_ptr<float>() + example * h.pixels * stride + part * h.channels() + head * h.width,
      stride};
}

/// Of [B, heads, pixels, pixels].
Matrix square_of(const Heads& h, const Tensor& all, int64_t example, int64_t head) {
  return {all.data_ptr<float>() + (example * h.count + head) * h.pixels * h.pixels, h.pixels};
}

template <class Work>
void each_head(const Heads& h, const Work& work) {
  in_parallel(h.batch * h.count, [&](int64_t part) { work(part / h.count, part % h.count); });
}

Tensor scores_of(const Heads& h, const Tensor& rows) {
  const Tensor scores = at::empty({h.batch, h.count, h.pixels, h.pixels}, at::kFloat);
  each_head(h, [&](int64_t i, int64_t head) {
    multiply(h.pixels, h.pixels, h.width, h.scale(), head_of(h, rows, i, head, 0),
             transposed(head_of(h, rows, i, head, 1)), square_of(h, scores, i, head));
  });
  return scores;
}

}  // namespace

Tensor attend_floats(const Tensor& qkv, int64_t heads, const Tensor& log_sum) {
  const Heads h = heads_of(qkv, heads);
  const Tensor rows = rows_of(qkv), scores = scores_of(h, rows);
  if (log_sum.defined()) log_sum.copy_(scores.logsumexp(-1));
  const Tensor p = scores.softmax(-1), o = at::empty({h.batch, h.pixels, h.channels()}, at::kFloat);
  each_head(h, [&](int64_t i, int64_t head) {
    multiply(h.pixels, h.width, h.pixels, 1, square_of(h, p, i, head), head_of(h, rows, i, head, 2),
             head_of(h, o, i, head));
  });
  return image_of_rows(o, qkv.size(1), qkv.size(2));
}

/// Dao et al. 2022 (arXiv:2205.14135), algorithm 4: the weights are made again from log_sum.
Tensor attend_backward_floats(const Tensor& qkv, int64_t heads, const Tensor& o,
                              const Tensor& log_sum, const Tensor& dout) {
  const Heads h = heads_of(qkv, heads);
  const Tensor rows = rows_of(qkv), dout_rows = rows_of(dout);
  const Tensor p = scores_of(h, rows).sub_(log_sum.unsqueeze(-1)).exp_();
  const Tensor mean = (dout_rows * rows_of(o))
                          .view({h.batch, h.pixels, h.count, h.width})
                          .sum(-1)
                          .transpose(1, 2)
                          .unsqueeze(-1);  // [B, heads, pixels, 1]
  const Tensor ds = at::empty_like(p), out = at::empty_like(rows);
  each_head(h, [&](int64_t i, int64_t head) {
    multiply(h.pixels, h.pixels, h.width, 1, head_of(h, dout_rows, i, head),
             transposed(head_of(h, rows, i, head, 2)), square_of(h, ds, i, head));
  });
  ds.sub_(mean).mul_(p);
  each_head(h, [&](int64_t i, int64_t head) {
    const Matrix s = square_of(h, ds, i, head);
    multiply(h.pixels, h.width, h.pixels, h.scale(), s, head_of(h, rows, i, head, 1),
             head_of(h, out, i, head, 0));
    multiply(h.pixels, h.width, h.pixels, h.scale(), transposed(s), head_of(h, rows, i, head, 0),
             head_of(h, out, i, head, 1));
    multiply(h.pixels, h.width, h.pixels, 1, transposed(square_of(h, p, i, head)),
             head_of(h, dout_rows, i, head), head_of(h, out, i, head, 2));
  });
  return image_of_rows(out, qkv.size(1), qkv.size(2));
}

}  // namespace tweedie
