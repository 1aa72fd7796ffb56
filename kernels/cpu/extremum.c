/* extremum.c - the largest and smallest along one dimension. Kernels: max, min (_forward, _backward), argmax, argmin.
**
** An array is (outer, n, inner). The first of equals is taken; NaN counts as more extreme than any number. */
#include "pieces.h"

typedef struct Extremum {
  int64_t n, inner;
  const REAL *x;
  REAL *y;        /* NULL: not wanted */
  int64_t *index;
} Extremum;

typedef bool Better(REAL a, REAL b);

static inline bool larger(REAL a, REAL b) { return a > b || (a != a && b == b); }
static inline bool smaller(REAL a, REAL b) { return a < b || (a != a && b == b); }

/* Results begin … end-1 of (outer, inner). */
ALWAYS_INLINE void search(void *context, int64_t begin, int64_t end, Better *better) {
  const Extremum *e = context;
  for (int64_t at = begin; at < end; at++) {
    const REAL *x = e->x + at / e->inner * e->n * e->inner + at % e->inner;
    REAL best = x[0];
    int64_t index = 0;
    for (int64_t i = 1; i < e->n; i++) {
      if (better(x[i * e->inner], best)) {
        best = x[i * e->inner];
        index = i;
      }
    }
    if (e->y) e->y[at] = best;
    e->index[at] = index;
  }
}

static void search_largest(void *context, int64_t begin, int64_t end) { search(context, begin, end, larger); }
static void search_smallest(void *context, int64_t begin, int64_t end) { search(context, begin, end, smaller); }

static CnErr extremum(CnCall *call, CnTensor *y, CnTensor *index, PieceWork *work) {
  const CnSpec *spec = &call->in_spec[0];
  int dim = (int)call->attr[0].i;
  Extremum e = { .n = spec->ndim == 0 ? 1 : spec->shape[dim], .inner = count_between(spec, dim + 1, spec->ndim),
                 .x = DATA(REAL, call->in[0]), .y = y ? DATA(REAL, y) : NULL, .index = DATA(int64_t, index) };
  in_pieces(count_of(&call->out_spec[0]), rows_in_piece(e.n), work, &e);
  return CN_OK;
}

CnErr FN(max_forward)(CnCall *call) { return extremum(call, call->out[0], call->out[1], search_largest); }
CnErr FN(min_forward)(CnCall *call) { return extremum(call, call->out[0], call->out[1], search_smallest); }
CnErr FN(argmax_forward)(CnCall *call) { return extremum(call, NULL, call->out[0], search_largest); }
CnErr FN(argmin_forward)(CnCall *call) { return extremum(call, NULL, call->out[0], search_smallest); }

typedef struct Scatter {
  int64_t n, inner;
  REAL *gx;
  const REAL *g;
  const int64_t *index;
} Scatter;

/* Rows (outer, n) begin … end-1 of the input's gradient. */
static void scatter(void *context, int64_t begin, int64_t end) {
  const Scatter *s = context;
  for (int64_t row = begin; row < end; row++) {
    int64_t i = row % s->n, result = row / s->n * s->inner;
    for (int64_t k = 0; k < s->inner; k++)
      s->gx[row * s->inner + k] = s->index[result + k] == i ? s->g[result + k] : 0;
  }
}

static CnErr extremum_gradient(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  const CnSpec *spec = &call->in_spec[0];
  int dim = (int)call->attr[0].i;
  Scatter s = { .n = spec->ndim == 0 ? 1 : spec->shape[dim], .inner = count_between(spec, dim + 1, spec->ndim),
                .gx = DATA(REAL, call->gin[0]), .g = DATA(REAL, call->gout[0]),
                .index = DATA(int64_t, call->out[1]) };
  if (s.inner > 0) in_pieces(count_of(spec) / s.inner, rows_in_piece(s.inner), scatter, &s);
  return CN_OK;
}

CnErr FN(max_backward)(CnCall *call) { return extremum_gradient(call); }
CnErr FN(min_backward)(CnCall *call) { return extremum_gradient(call); }
