/* clamp.c - values limited to an interval. Kernels: clamp_forward, clamp_backward, f32 and f64.
**
** NaN stays NaN; where min > max every value becomes max. */
#include "pieces.h"

typedef struct Clamp {
  REAL *out;
  const REAL *x, *g;
  REAL min, max;
} Clamp;

static void limit(void *context, int64_t begin, int64_t end) {
  const Clamp *c = context;
  REAL *restrict out = c->out;
  const REAL *restrict x = c->x;
  REAL min = c->min, max = c->max;
  for (int64_t i = begin; i < end; i++) {
    REAL raised = x[i] < min ? min : x[i];
    out[i] = raised > max ? max : raised;
  }
}

static void limit_gradient(void *context, int64_t begin, int64_t end) {
  const Clamp *c = context;
  REAL *restrict out = c->out;
  const REAL *restrict x = c->x, *restrict g = c->g;
  REAL min = c->min, max = c->max;
  for (int64_t i = begin; i < end; i++) out[i] = (x[i] >= min) & (x[i] <= max) ? g[i] : 0;
}

CnErr FN(clamp_forward)(CnCall *call) {
  Clamp c = { .out = DATA(REAL, call->out[0]), .x = DATA(REAL, call->in[0]), .min = (REAL)call->attr[0].f,
              .max = (REAL)call->attr[1].f };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, limit, &c);
  return CN_OK;
}

CnErr FN(clamp_backward)(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  Clamp c = { .out = DATA(REAL, call->gin[0]), .x = DATA(REAL, call->in[0]), .g = DATA(REAL, call->gout[0]),
              .min = (REAL)call->attr[0].f, .max = (REAL)call->attr[1].f };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, limit_gradient, &c);
  return CN_OK;
}
