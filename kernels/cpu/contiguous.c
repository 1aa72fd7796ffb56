/* contiguous.c - strided values copied to row-major order. Kernels: contiguous_forward of any type, contiguous_backward
** of floats. */
#include "nest.h"

typedef struct Gather {
  Nest nest;
  STORED *out;
  const STORED *x;
} Gather;

static void gather_row(void *context, const Nest *nest, int64_t at, const int64_t offset[NEST_OPERANDS], int64_t n) {
  const Gather *c = context;
  int64_t stride = nest->stride[nest->ndim - 1][0];
  STORED *restrict out = c->out + at;
  const STORED *restrict x = c->x + offset[0];
  if (stride == 1) memcpy(out, x, (size_t)n * sizeof(STORED));
  else
    for (int64_t i = 0; i < n; i++) out[i] = x[i * stride];
}

static void gather_pieces(void *context, int64_t begin, int64_t end) {
  const Gather *c = context;
  nest_walk(&c->nest, begin, end, gather_row, context);
}

static CnErr copy(STORED *out, const STORED *x, NestOperand operand, const CnSpec *spec) {
  Gather c = { .out = out, .x = x };
  nest_make(&c.nest, spec, &operand, 1);
  in_pieces(c.nest.count, GRAIN, gather_pieces, &c);
  return CN_OK;
}

CnErr FN(contiguous_forward)(CnCall *call) {
  const CnTensor *x = call->in[0];
  return copy(DATA(STORED, call->out[0]), DATA(STORED, x), operand_of_tensor(x), &call->out_spec[0]);
}

#if CN_REAL_IS_FLOAT
CnErr FN(contiguous_backward)(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  return copy(DATA(STORED, call->gin[0]), DATA(STORED, call->gout[0]), operand_of_spec(&call->out_spec[0]),
              &call->out_spec[0]);
}
#endif
