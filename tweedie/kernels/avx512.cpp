#define TWEEDIE_ISA avx512
#include "tweedie/kernels/loops.inc"
