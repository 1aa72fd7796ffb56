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

/* The dimensions of `out` along which an input of shape `in` was broadcast, as bits. */
static inline uint32_t broadcast_dims(const CnSpec *out, const CnSpec *in) {
  uint32_t dims = 0;
  int missing = out->ndim - in->ndim;
  for (int d = 0; d < out->ndim; d++)
    if (d < missing || in->shape[d - missing] != out->shape[d]) dims |= 1u << d;
  return dims;
}

#endif
