/* reduce.h - sums over dimensions of a contiguous array, for reduce.c and for the gradients of broadcasting. */
#ifndef CN_REDUCE_H
#define CN_REDUCE_H

#include "pieces.h"

#if CN_REAL_IS_FLOAT
typedef STORED SUM; /* what a sum is returned in … */
typedef double ACC; /* … and taken in */
#else
typedef int64_t SUM, ACC;
#endif

/* out = factor * sum of x (row-major, of shape `spec`) over the dimensions whose bit is set in `dims`; out has the
** others, row-major. `factor` is for floats. */
CnErr FN(cn_reduce_sum)(SUM *out, const STORED *x, const CnSpec *spec, uint32_t dims, double factor);

#endif
