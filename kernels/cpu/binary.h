/* binary.h - elementwise functions of two broadcast inputs, and their gradients.
**
** A function is written once for scalars and inlined into the loops below: both inputs along memory, either one
** constant (a bias, a scalar), or any strides. A gradient is a function of (g, x, y); where an input was broadcast, its
** gradient is first made in the shape of the output, then summed. */
#ifndef CN_BINARY_H
#define CN_BINARY_H

#include "nest.h"
#include "reduce.h"

/* g is the gradient of the output in backward, and not to be used in forward. */
typedef REAL BinaryFunction(REAL g, REAL x, REAL y);

typedef struct Binary {
  Nest nest;
  STORED *out;
  const STORED *x, *y, *g;
} Binary;

ALWAYS_INLINE void binary_run(STORED *restrict out, const STORED *g, const STORED *x, int64_t sx, const STORED *y,
                              int64_t sy, int64_t n, BinaryFunction *f) {
#define RUN(value_x, value_y) \
  for (int64_t i = 0; i < n; i++) out[i] = stored_of(f(real_of(g[i]), value_x, value_y))
  if (sx == 1 && sy == 1) {
    RUN(real_of(x[i]), real_of(y[i]));
  } else if (sx == 1 && sy == 0) {
    REAL constant = real_of(*y);
    RUN(real_of(x[i]), constant);
  } else if (sx == 0 && sy == 1) {
    REAL constant = real_of(*x);
    RUN(constant, real_of(y[i]));
  } else {
    RUN(real_of(x[i * sx]), real_of(y[i * sy]));
  }
#undef RUN
}

/* Defines the piece of work name_pieces around a function `name`. */
#define BINARY_LOOPS(name) \
  static void name##_row(void *context, const Nest *nest, int64_t at, const int64_t *offset, int64_t n) { \
    const Binary *b = context; \
    const int64_t *stride = nest->stride[nest->ndim - 1]; \
    binary_run(b->out + at, b->g + at, b->x + offset[0], stride[0], b->y + offset[1], stride[1], n, name); \
  } \
  static void name##_pieces(void *context, int64_t begin, int64_t end) { \
    const Binary *b = context; \
    nest_walk(&b->nest, begin, end, name##_row, context); \
  }

static inline CnErr binary_forward(CnCall *call, PieceWork *pieces) {
  Binary b = { .out = DATA(STORED, call->out[0]), .x = DATA(STORED, call->in[0]), .y = DATA(STORED, call->in[1]) };
  b.g = b.out; /* any address: forward functions leave it alone */
  NestOperand operand[2] = { operand_of_tensor(call->in[0]), operand_of_tensor(call->in[1]) };
  nest_make(&b.nest, &call->out_spec[0], operand, 2);
  in_pieces(b.nest.count, GRAIN, pieces, &b);
  return CN_OK;
}

#if CN_REAL_IS_FLOAT
/* gin[which] = the sum, over the dimensions in which the input was broadcast, of the gradient in the output's shape. */
static inline CnErr binary_sum_gradient(CnCall *call, int which, const STORED *gradient, double factor) {
  uint32_t dims = broadcast_dims(&call->out_spec[0], &call->in_spec[which]);
  return FN(cn_reduce_sum)(DATA(STORED, call->gin[which]), gradient, &call->out_spec[0], dims, factor);
}

/* Gradient of input `which` by a function of (g, x, y); both inputs are saved. */
static inline CnErr binary_gradient(CnCall *call, int which, PieceWork *pieces) {
  if (!call->gin[which]) return CN_OK;
  Binary b = { .x = DATA(STORED, call->in[0]), .y = DATA(STORED, call->in[1]), .g = DATA(STORED, call->gout[0]) };
  NestOperand operand[2] = { operand_of_tensor(call->in[0]), operand_of_tensor(call->in[1]) };
  nest_make(&b.nest, &call->out_spec[0], operand, 2);
  bool summed = broadcast_dims(&call->out_spec[0], &call->in_spec[which]) != 0;
  b.out = summed ? cn_alloc((size_t)b.nest.count * sizeof(STORED)) : DATA(STORED, call->gin[which]);
  if (!b.out) return CN_EMEMORY;
  in_pieces(b.nest.count, GRAIN, pieces, &b);
  if (!summed) return CN_OK;
  CnErr err = binary_sum_gradient(call, which, b.out, 1);
  cn_free(b.out);
  return err;
}
#endif

#endif
