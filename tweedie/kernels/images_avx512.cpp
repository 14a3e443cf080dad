#define TWEEDIE_ISA avx512
#include "tweedie/kernels/images.inc"
