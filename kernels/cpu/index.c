/* index.c - entries chosen by index. Kernels: index_select, gather, embedding, _forward and _backward, f32 and f64.
**
** Indices are checked before anything is written. A gradient adds up where an index comes twice: each piece of the work
** owns a range of the result and adds in the order of the indices, so sums do not depend on the threads. */
#include "nest.h"

static CnErr check(const char *name, const int64_t *index, int64_t count, int64_t n) {
  for (int64_t i = 0; i < count; i++)
    if (index[i] < 0 || index[i] >= n)
      return cn_fail(CN_EUSAGE, "%s: index %lld at position %lld is outside 0 … %lld", name, (long long)index[i],
                     (long long)i, (long long)n - 1);
  return CN_OK;
}

/* index_select, and embedding, which is index_select along the first of two dimensions. An array is (outer, n, inner),
** the selection (outer, count, inner). */
typedef struct Select {
  int64_t n, count, inner;
  const int64_t *index;
  REAL *out;     /* the selection; backward: the array's gradient */
  const REAL *x; /* the array; backward: the selection's gradient */
} Select;

static Select select_make(const CnCall *call, int dim) {
  const CnSpec *spec = &call->in_spec[0];
  return (Select){ .n = spec->shape[dim], .count = count_of(&call->in_spec[1]),
                   .inner = count_between(spec, dim + 1, spec->ndim), .index = DATA(int64_t, call->in[1]) };
}

/* Rows (outer, count) begin … end-1 of the selection. */
static void take_rows(void *context, int64_t begin, int64_t end) {
  const Select *s = context;
  for (int64_t row = begin; row < end; row++) {
    int64_t from = row / s->count * s->n + s->index[row % s->count];
    memcpy(s->out + row * s->inner, s->x + from * s->inner, (size_t)s->inner * sizeof(REAL));
  }
}

/* Rows (outer, n) begin … end-1 of the array's gradient. */
static void add_rows(void *context, int64_t begin, int64_t end) {
  const Select *s = context;
  memset(s->out + begin * s->inner, 0, (size_t)((end - begin) * s->inner) * sizeof(REAL));
  for (int64_t outer = begin / s->n; outer * s->n < end; outer++) {
    for (int64_t i = 0; i < s->count; i++) {
      int64_t row = outer * s->n + s->index[i];
      if (row < begin || row >= end) continue;
      REAL *restrict to = s->out + row * s->inner;
      const REAL *restrict from = s->x + (outer * s->count + i) * s->inner;
      for (int64_t k = 0; k < s->inner; k++) to[k] += from[k];
    }
  }
}

static CnErr select_forward(CnCall *call, const char *name, int dim) {
  Select s = select_make(call, dim);
  CN_TRY(check(name, s.index, s.count, s.n));
  s.out = DATA(REAL, call->out[0]);
  s.x = DATA(REAL, call->in[0]);
  int64_t rows = count_between(&call->in_spec[0], 0, dim) * s.count;
  in_pieces(rows, rows_in_piece(s.inner), take_rows, &s);
  return CN_OK;
}

static CnErr select_backward(CnCall *call, int dim) {
  if (!call->gin[0]) return CN_OK;
  Select s = select_make(call, dim);
  s.out = DATA(REAL, call->gin[0]);
  s.x = DATA(REAL, call->gout[0]);
  int64_t rows = count_between(&call->in_spec[0], 0, dim) * s.n;
  int64_t work = s.inner * (1 + s.count / CN_MAX(1, s.n)); /* on one row */
  /* Pieces that share a block of n rows each read all indices: few enough that reading costs less than adding. */
  in_pieces(rows, CN_MAX(rows_in_piece(work), 4 * s.n / CN_MAX(1, s.inner)), add_rows, &s);
  return CN_OK;
}

CnErr FN(index_select_forward)(CnCall *call) { return select_forward(call, "index_select", (int)call->attr[0].i); }
CnErr FN(index_select_backward)(CnCall *call) { return select_backward(call, (int)call->attr[0].i); }
CnErr FN(embedding_forward)(CnCall *call) { return select_forward(call, "embedding", 0); }
CnErr FN(embedding_backward)(CnCall *call) { return select_backward(call, 0); }

/* gather: index has as many dimensions as x, and its shape is that of the result; outside `dim` it may be smaller than
** x. Element (…, i, …) of the result is x at (…, index(…, i, …), …). */
typedef struct Pick {
  Nest nest;     /* over index; the operand is x with stride 0 along dim */
  int64_t along; /* x's stride along dim */
  const int64_t *index;
  REAL *out;
  const REAL *x;
} Pick;

static void pick_row(void *context, const Nest *nest, int64_t at, const int64_t offset[NEST_OPERANDS], int64_t n) {
  const Pick *p = context;
  int64_t stride = nest->stride[nest->ndim - 1][0];
  const REAL *x = p->x + offset[0];
  for (int64_t i = 0; i < n; i++) p->out[at + i] = x[i * stride + p->index[at + i] * p->along];
}

static void pick(void *context, int64_t begin, int64_t end) {
  const Pick *p = context;
  nest_walk(&p->nest, begin, end, pick_row, context);
}

static void put_row(void *context, const Nest *nest, int64_t at, const int64_t offset[NEST_OPERANDS], int64_t n) {
  const Pick *p = context;
  int64_t stride = nest->stride[nest->ndim - 1][0];
  REAL *gx = p->out + offset[0];
  for (int64_t i = 0; i < n; i++) gx[i * stride + p->index[at + i] * p->along] += p->x[at + i];
}

/* Entries of the dimensions outside `dim` own separate parts of x; begin and end are multiples of what is inside. */
static void put(void *context, int64_t begin, int64_t end) {
  const Pick *p = context;
  nest_walk(&p->nest, begin, end, put_row, context);
}

static Pick pick_make(const CnCall *call) {
  const CnSpec *x = &call->in_spec[0];
  int dim = (int)call->attr[0].i;
  Pick p = { .index = DATA(int64_t, call->in[1]), .along = count_between(x, dim + 1, x->ndim) };
  int64_t stride[CN_MAX_DIMS], shape[CN_MAX_DIMS], row_major = 1;
  for (int d = x->ndim - 1; d >= 0; d--) {
    stride[d] = d == dim ? 0 : row_major;
    shape[d] = d == dim ? 1 : x->shape[d];
    row_major *= x->shape[d];
  }
  NestOperand operand = { x->ndim, shape, stride };
  nest_make(&p.nest, &call->in_spec[1], &operand, 1);
  return p;
}

CnErr FN(gather_forward)(CnCall *call) {
  Pick p = pick_make(call);
  const CnSpec *x = &call->in_spec[0];
  CN_TRY(check("gather", p.index, p.nest.count, x->ndim == 0 ? 1 : x->shape[call->attr[0].i]));
  p.out = DATA(REAL, call->out[0]);
  p.x = DATA(REAL, call->in[0]);
  in_pieces(p.nest.count, GRAIN, pick, &p);
  return CN_OK;
}

CnErr FN(gather_backward)(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  Pick p = pick_make(call);
  const CnSpec *index = &call->in_spec[1];
  p.out = DATA(REAL, call->gin[0]);
  p.x = DATA(REAL, call->gout[0]);
  memset(p.out, 0, (size_t)count_of(&call->in_spec[0]) * sizeof(REAL));
  int64_t block = count_between(index, (int)call->attr[0].i, index->ndim);
  if (block > 0) in_pieces(p.nest.count, block * rows_in_piece(block), put, &p);
  return CN_OK;
}
