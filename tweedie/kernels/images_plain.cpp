#define TWEEDIE_ISA plain
#include "tweedie/kernels/images.inc"
