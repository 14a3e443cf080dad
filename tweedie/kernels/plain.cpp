#define TWEEDIE_ISA plain
#include "tweedie/kernels/loops.inc"
