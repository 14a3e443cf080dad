#define TWEEDIE_TABLE avx2_table
#define TWEEDIE_TABLE_NAME "avx2"
#include "tweedie/kernels/loops.inc"
