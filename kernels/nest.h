/* nest.h - operands of any strides seen as loops in the row-major order of one output shape, for the kernels of every
** device.
**
** A nest is the output's loops with each operand's stride in each loop: 0 where the operand is broadcast. Loops of size
** 1 are dropped and neighbours merged wherever every operand allows it, so that tensors of one shape, however many
** dimensions, become a single loop, and a bias added to images becomes two. */
#ifndef CN_KERNELS_NEST_H
#define CN_KERNELS_NEST_H

#include <string.h>

#include "kernels/sizes.h"

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

static inline NestOperand operand_of_tensor(const CnTensor *t) {
  NestOperand operand = { t->ndim, t->shape, t->stride };
  return operand;
}
static inline NestOperand operand_of_spec(const CnSpec *s) {
  NestOperand operand = { s->ndim, s->shape, NULL };
  return operand;
}

static inline bool nest_loops_merge(const Nest *nest, int outer, const int64_t inner_stride[NEST_OPERANDS],
                                    int64_t inner_size) {
  for (int i = 0; i < NEST_OPERANDS; i++)
    if (nest->stride[outer][i] != inner_stride[i] * inner_size) return false;
  return true;
}

static inline void nest_make(Nest *nest, const CnSpec *out, const NestOperand *operand, int operands) {
  int64_t full[CN_MAX_DIMS][NEST_OPERANDS];
  memset(full, 0, sizeof full);
  for (int i = 0; i < operands; i++) {
    int64_t row_major = 1;
    for (int d = operand[i].ndim - 1; d >= 0; d--) {
      int64_t stride = operand[i].stride ? operand[i].stride[d] : row_major;
      full[out->ndim - operand[i].ndim + d][i] = operand[i].shape[d] == 1 ? 0 : stride;
      row_major *= operand[i].shape[d];
    }
  }
  memset(nest, 0, sizeof *nest);
  nest->count = count_of(out);
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

#endif
