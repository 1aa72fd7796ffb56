/* softmax.c - softmax and its logarithm along one dimension. Kernels: softmax, log_softmax, _forward and _backward.
**
** An array is (outer, n, inner). The largest value is taken off before exp, so nothing overflows; sums are in f64. */
#include "rows.h"

typedef struct Softmax {
  int64_t n, inner;
  REAL *out;
  const REAL *x; /* forward: the input; backward: the saved output */
  const REAL *g;
} Softmax;

/* The columns of a piece begin at out, x, g + column_offset and step by inner. */
static inline int64_t column_offset(const Softmax *s, int64_t column) {
  return column / s->inner * s->n * s->inner + column % s->inner;
}

/* Columns along memory take the vectorised functions of rows.h, others a plain loop. */
static REAL column_largest(const REAL *x, int64_t n, int64_t stride) {
  if (stride == 1) return row_largest(x, n);
  REAL top = x[0];
  for (int64_t i = 1; i < n; i++) top = x[i * stride] > top ? x[i * stride] : top;
  return top;
}

static double column_total(const REAL *x, int64_t n, int64_t stride) {
  if (stride == 1) return row_total(x, n);
  double total = 0;
  for (int64_t i = 0; i < n; i++) total += (double)x[i * stride];
  return total;
}

/* y = e^(x - shift) */
static void column_exp(REAL *restrict y, const REAL *restrict x, int64_t n, int64_t stride, REAL shift) {
  if (stride == 1)
    for (int64_t i = 0; i < n; i++) y[i] = M(exp)(x[i] - shift);
  else
    for (int64_t i = 0; i < n; i++) y[i * stride] = M(exp)(x[i * stride] - shift);
}

static void softmax(void *context, int64_t begin, int64_t end) {
  const Softmax *s = context;
  for (int64_t column = begin; column < end; column++) {
    const REAL *x = s->x + column_offset(s, column);
    REAL *y = s->out + column_offset(s, column);
    column_exp(y, x, s->n, s->inner, column_largest(x, s->n, s->inner));
    REAL factor = (REAL)(1 / column_total(y, s->n, s->inner));
    for (int64_t i = 0; i < s->n; i++) y[i * s->inner] *= factor;
  }
}

/* gx = y (g - sum g y) */
static void softmax_gradient(void *context, int64_t begin, int64_t end) {
  const Softmax *s = context;
  for (int64_t column = begin; column < end; column++) {
    int64_t offset = column_offset(s, column);
    const REAL *y = s->x + offset, *g = s->g + offset;
    REAL *gx = s->out + offset;
    double sum = 0;
    for (int64_t i = 0; i < s->n; i++) sum += (double)g[i * s->inner] * (double)y[i * s->inner];
    for (int64_t i = 0; i < s->n; i++) gx[i * s->inner] = y[i * s->inner] * (g[i * s->inner] - (REAL)sum);
  }
}

static void log_softmax(void *context, int64_t begin, int64_t end) {
  const Softmax *s = context;
  for (int64_t column = begin; column < end; column++) {
    const REAL *x = s->x + column_offset(s, column);
    REAL *y = s->out + column_offset(s, column), top = column_largest(x, s->n, s->inner);
    column_exp(y, x, s->n, s->inner, top);
    REAL shift = (REAL)log(column_total(y, s->n, s->inner));
    for (int64_t i = 0; i < s->n; i++) y[i * s->inner] = x[i * s->inner] - top - shift;
  }
}

/* gx = g - e^y sum g */
static void log_softmax_gradient(void *context, int64_t begin, int64_t end) {
  const Softmax *s = context;
  for (int64_t column = begin; column < end; column++) {
    int64_t offset = column_offset(s, column);
    const REAL *y = s->x + offset, *g = s->g + offset;
    REAL *gx = s->out + offset;
    REAL sum = (REAL)column_total(g, s->n, s->inner);
    column_exp(gx, y, s->n, s->inner, 0);
    for (int64_t i = 0; i < s->n; i++) gx[i * s->inner] = g[i * s->inner] - gx[i * s->inner] * sum;
  }
}

static void run(const CnCall *call, Softmax *s, PieceWork *work) {
  const CnSpec *spec = &call->in_spec[0];
  int dim = (int)call->attr[0].i;
  s->n = spec->ndim == 0 ? 1 : spec->shape[dim];
  s->inner = count_between(spec, dim + 1, spec->ndim);
  if (s->n > 0) in_pieces(count_of(spec) / s->n, rows_in_piece(s->n * 8), work, s);
}

static CnErr forward(CnCall *call, PieceWork *work) {
  Softmax s = { .out = DATA(REAL, call->out[0]), .x = DATA(REAL, call->in[0]) };
  run(call, &s, work);
  return CN_OK;
}

static CnErr backward(CnCall *call, PieceWork *work) {
  if (!call->gin[0]) return CN_OK;
  Softmax s = { .out = DATA(REAL, call->gin[0]), .x = DATA(REAL, call->out[0]), .g = DATA(REAL, call->gout[0]) };
  run(call, &s, work);
  return CN_OK;
}

CnErr FN(softmax_forward)(CnCall *call) { return forward(call, softmax); }
CnErr FN(softmax_backward)(CnCall *call) { return backward(call, softmax_gradient); }
CnErr FN(log_softmax_forward)(CnCall *call) { return forward(call, log_softmax); }
CnErr FN(log_softmax_backward)(CnCall *call) { return backward(call, log_softmax_gradient); }
