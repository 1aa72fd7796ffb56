/* where.c - a choice between two values, element by element. Kernels: where_forward, where_backward, f32 and f64. */
#include "nest.h"
#include "reduce.h"

typedef struct Where {
  Nest nest; /* cond, x, y; backward: cond alone */
  REAL *out;
  const uint8_t *cond;
  const REAL *x, *y, *g;
  bool chosen; /* backward: the value of cond for which this input got through */
} Where;

static void choose_row(void *context, const Nest *nest, int64_t at, const int64_t offset[NEST_OPERANDS], int64_t n) {
  const Where *w = context;
  const int64_t *stride = nest->stride[nest->ndim - 1];
  REAL *restrict out = w->out + at;
  const uint8_t *cond = w->cond + offset[0];
  const REAL *x = w->x + offset[1], *y = w->y + offset[2];
  int64_t sc = stride[0], sx = stride[1], sy = stride[2];
  if (sc == 1 && sx == 1 && sy == 1) {
    for (int64_t i = 0; i < n; i++) {
      REAL a = x[i], b = y[i];
      out[i] = cond[i] ? a : b;
    }
  } else {
    for (int64_t i = 0; i < n; i++) out[i] = cond[i * sc] ? x[i * sx] : y[i * sy];
  }
}

static void choose(void *context, int64_t begin, int64_t end) {
  const Where *w = context;
  nest_walk(&w->nest, begin, end, choose_row, context);
}

static void mask_row(void *context, const Nest *nest, int64_t at, const int64_t offset[NEST_OPERANDS], int64_t n) {
  const Where *w = context;
  int64_t sc = nest->stride[nest->ndim - 1][0];
  const uint8_t *cond = w->cond + offset[0];
  bool chosen = w->chosen;
  for (int64_t i = 0; i < n; i++) w->out[at + i] = (cond[i * sc] != 0) == chosen ? w->g[at + i] : 0;
}

static void mask(void *context, int64_t begin, int64_t end) {
  const Where *w = context;
  nest_walk(&w->nest, begin, end, mask_row, context);
}

CnErr FN(where_forward)(CnCall *call) {
  Where w = { .out = DATA(REAL, call->out[0]), .cond = DATA(uint8_t, call->in[0]), .x = DATA(REAL, call->in[1]),
              .y = DATA(REAL, call->in[2]) };
  NestOperand operand[3] = { operand_of_tensor(call->in[0]), operand_of_tensor(call->in[1]),
                             operand_of_tensor(call->in[2]) };
  nest_make(&w.nest, &call->out_spec[0], operand, 3);
  in_pieces(w.nest.count, GRAIN, choose, &w);
  return CN_OK;
}

CnErr FN(where_backward)(CnCall *call) {
  Where w = { .cond = DATA(uint8_t, call->in[0]), .g = DATA(REAL, call->gout[0]) };
  NestOperand operand = operand_of_tensor(call->in[0]);
  nest_make(&w.nest, &call->out_spec[0], &operand, 1);
  for (int which = 1; which <= 2; which++) {
    if (!call->gin[which]) continue;
    uint32_t summed = broadcast_dims(&call->out_spec[0], &call->in_spec[which]);
    w.chosen = which == 1;
    w.out = summed ? cn_alloc((size_t)w.nest.count * sizeof(REAL)) : DATA(REAL, call->gin[which]);
    if (!w.out) return CN_EMEMORY;
    in_pieces(w.nest.count, GRAIN, mask, &w);
    if (summed) {
      CnErr err = FN(cn_reduce_sum)(DATA(REAL, call->gin[which]), w.out, &call->out_spec[0], summed, 1);
      cn_free(w.out);
      CN_TRY(err);
    }
  }
  return CN_OK;
}
