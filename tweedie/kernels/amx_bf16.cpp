// The table of CPUs with AMX: tiles for what are products, AVX-512 with bf16 for the rest.
#define TWEEDIE_ISA amx_bf16
#include "tweedie/kernels/amx_tiles.h"
#include "tweedie/kernels/image_norm.inc"

namespace tweedie::kernels::amx_bf16 {
namespace {

/// What _tile_loadconfig reads, Intel's palette 1.
struct __attribute__((packed)) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_of_row[16] = {};
  uint8_t rows[16] = {};
};

TileShapes full_tiles() {
  TileShapes shapes;
  for (int i = 0; i < 8; ++i) {
    shapes.bytes_of_row[i] = 64;
    shapes.rows[i] = 16;
  }
  return shapes;
}

}  // namespace

TileSession::TileSession() {
  // Static: GCC 12 believes that only 8 bytes are read and would drop the stores to a local one.
  static const TileShapes shapes = full_tiles();
  _tile_loadconfig(&shapes);
}

extern const ImageTable images;
const ImageTable images = {"amx_bf16",
                           true,
                           true,
                           norm_statistics<bf16>,
                           norm_apply<bf16>,
                           norm_backward<bf16>,
                           pack_weight,
                           pack_weight_backward,
                           pack_inputs,
                           convolution,
                           weight_gradient,
                           attention,
                           attention_backward,
                           add,
                           norm_statistics<float>,
                           norm_apply<float>,
                           norm_backward<float>};

}  // namespace tweedie::kernels::amx_bf16
