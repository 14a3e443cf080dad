#define TWEEDIE_TABLE avx512_table
#define TWEEDIE_TABLE_NAME "avx512"
#include "tweedie/kernels/loops.inc"
