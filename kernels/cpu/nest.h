/* nest.h - walking operands of any strides together, in the row-major order of one output shape.
**
** A nest is the output's loops with each operand's stride in each loop: 0 where the operand is broadcast. Loops of size
** 1 are dropped and neighbours merged wherever every operand allows it, so that tensors of one shape, however many
** dimensions, become a single loop, and a bias added to images becomes two. */
#ifndef CN_NEST_H
#define CN_NEST_H

#include "pieces.h"

#define NEST_OPERANDS 3

typedef struct Nest {
  int ndim;      /* at least 1 */
  int64_t count; /* elements of the output */
  int64_t size[CN_MAX_DIMS];
  int64_t stride[CN_MAX_DIMS][NEST_OPERANDS]; /* in elements */
} Nest;

/* What a nest is made of: shape and stride in elements (NULL: row-major). Operands line up with the output at the
** right. */
typedef struct NestOperand {
  int ndim;
  const int64_t *shape, *stride;
} NestOperand;

static inline NestOperand operand_of_tensor(const CnTensor *t) { return (NestOperand){ t->ndim, t->shape, t->stride }; }
static inline NestOperand operand_of_spec(const CnSpec *s) { return (NestOperand){ s->ndim, s->shape, NULL }; }

static inline bool nest_loops_merge(const Nest *nest, int outer, const int64_t inner_stride[NEST_OPERANDS],
                                    int64_t inner_size) {
  for (int i = 0; i < NEST_OPERANDS; i++)
    if (nest->stride[outer][i] != inner_stride[i] * inner_size) return false;
  return true;
}

static inline void nest_make(Nest *nest, const CnSpec *out, const NestOperand *operand, int operands) {
  int64_t full[CN_MAX_DIMS][NEST_OPERANDS] = { { 0 } };
  for (int i = 0; i < operands; i++) {
    int64_t row_major = 1;
    for (int d = operand[i].ndim - 1; d >= 0; d--) {
      int64_t stride = operand[i].stride ? operand[i].stride[d] : row_major;
      full[out->ndim - operand[i].ndim + d][i] = operand[i].shape[d] == 1 ? 0 : stride;
      row_major *= operand[i].shape[d];
    }
  }
  *nest = (Nest){ .count = count_of(out) };
  for (int d = 0; d < out->ndim; d++) {
    if (out->shape[d] == 1) continue;
    int last = nest->ndim - 1;
    if (last >= 0 && nest_loops_merge(nest, last, full[d], out->shape[d])) {
      nest->size[last] *= out->shape[d];
    } else {
      nest->size[++last] = out->shape[d];
      nest->ndim++;
    }
    memcpy(nest->stride[last], full[d], sizeof full[d]);
  }
  if (nest->ndim == 0) { /* a single element: one loop of one */
    nest->ndim = 1;
    nest->size[0] = 1;
    for (int i = 0; i < NEST_OPERANDS; i++) nest->stride[0][i] = 0;
  }
}

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
