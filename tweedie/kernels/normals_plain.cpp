#define TWEEDIE_ISA plain
#include "tweedie/kernels/normals.inc"
