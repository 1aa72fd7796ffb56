/* nest.h - walking the loops of a nest (kernels/nest.h) in the row-major order of its output. */
#ifndef CN_NEST_H
#define CN_NEST_H

#include "kernels/nest.h"
#include "pieces.h"

/* A run of `n` output elements from `at`, along the innermost loop; operand i begins at offset[i]. */
typedef void NestRow(void *context, const Nest *nest, int64_t at, const int64_t offset[NEST_OPERANDS], int64_t n);

/* Calls `row` for the runs that make up the outputs begin … end-1. */
ALWAYS_INLINE void nest_walk(const Nest *nest, int64_t begin, int64_t end, NestRow *row, void *context) {
  int inner = nest->ndim - 1;
  int64_t index[CN_MAX_DIMS], offset[NEST_OPERANDS] = { 0 };
  int64_t rest = begin;
  for (int d = inner; d >= 0; d--) {
    index[d] = rest % nest->size[d];
    rest /= nest->size[d];
    for (int i = 0; i < NEST_OPERANDS; i++) offset[i] += index[d] * nest->stride[d][i];
  }
  for (int64_t at = begin; at < end;) {
    int64_t n = CN_MIN(nest->size[inner] - index[inner], end - at);
    row(context, nest, at, offset, n);
    at += n;
    index[inner] += n;
    for (int i = 0; i < NEST_OPERANDS; i++) offset[i] += n * nest->stride[inner][i];
    for (int d = inner; d > 0 && index[d] == nest->size[d]; d--) { /* carry into the loop outside */
      index[d] = 0;
      index[d - 1]++;
      for (int i = 0; i < NEST_OPERANDS; i++)
        offset[i] += nest->stride[d - 1][i] - nest->size[d] * nest->stride[d][i];
    }
  }
}

#endif
