#define TWEEDIE_ISA avx2
#include "tweedie/kernels/images.inc"
