#define TWEEDIE_TABLE plain_table
#define TWEEDIE_TABLE_NAME "plain"
#include "tweedie/kernels/loops.inc"
