/* compare.c - broadcasting comparisons: kernels eq, ne, lt, le, gt, ge of any type; the result is u8, 0 or 1. */
#include "nest.h"

typedef uint8_t Comparison(REAL x, REAL y);

typedef struct Compare {
  Nest nest;
  uint8_t *out;
  const STORED *x, *y;
} Compare;

ALWAYS_INLINE void run(uint8_t *restrict out, const STORED *x, int64_t sx, const STORED *y, int64_t sy, int64_t n,
                       Comparison *f) {
  if (sx == 1 && sy == 1) {
    for (int64_t i = 0; i < n; i++) out[i] = f(real_of(x[i]), real_of(y[i]));
  } else if (sx == 1 && sy == 0) {
    REAL constant = real_of(*y);
    for (int64_t i = 0; i < n; i++) out[i] = f(real_of(x[i]), constant);
  } else {
    for (int64_t i = 0; i < n; i++) out[i] = f(real_of(x[i * sx]), real_of(y[i * sy]));
  }
}

static CnErr compare(CnCall *call, PieceWork *pieces) {
  Compare c = { .out = DATA(uint8_t, call->out[0]), .x = DATA(STORED, call->in[0]), .y = DATA(STORED, call->in[1]) };
  NestOperand operand[2] = { operand_of_tensor(call->in[0]), operand_of_tensor(call->in[1]) };
  nest_make(&c.nest, &call->out_spec[0], operand, 2);
  in_pieces(c.nest.count, GRAIN, pieces, &c);
  return CN_OK;
}

/* The kernel of row `id` around a comparison operator. */
#define COMPARISON(id, operator) \
  static inline uint8_t id(REAL x, REAL y) { return x operator y; } \
  static void id##_row(void *context, const Nest *nest, int64_t at, const int64_t *offset, int64_t n) { \
    const Compare *c = context; \
    const int64_t *stride = nest->stride[nest->ndim - 1]; \
    run(c->out + at, c->x + offset[0], stride[0], c->y + offset[1], stride[1], n, id); \
  } \
  static void id##_pieces(void *context, int64_t begin, int64_t end) { \
    const Compare *c = context; \
    nest_walk(&c->nest, begin, end, id##_row, context); \
  } \
  CnErr FN(id##_forward)(CnCall *call) { return compare(call, id##_pieces); }

COMPARISON(eq, ==)
COMPARISON(ne, !=)
COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(gt, >)
COMPARISON(ge, >=)
