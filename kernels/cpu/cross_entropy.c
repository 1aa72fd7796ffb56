/* cross_entropy.c - mean over a batch of -log softmax(x)[target], with label smoothing. Kernels: cross_entropy_forward,
** cross_entropy_backward, f32 and f64.
**
** x is (N,K), target (N). With smoothing e the target's probability is 1-e and each other class's e/(K-1); K = 1 leaves
** nothing to smooth. Losses are added in f64, by pieces of rows fixed by the shape. */
#include "rows.h"

typedef struct Loss {
  int64_t n, classes, grain; /* grain: rows in a piece */
  const REAL *x;
  const int64_t *target;
  double on, off;  /* probabilities of the target and of every other class */
  double *partial; /* forward: a sum of losses for each piece */
  REAL *gx;
  double g;        /* backward: gradient of the loss, over N */
} Loss;

static Loss loss_make(const CnCall *call) {
  int64_t n = call->in_spec[0].shape[0], classes = call->in_spec[0].shape[1];
  double smoothing = classes > 1 ? call->attr[0].f : 0;
  return (Loss){ .n = n, .classes = classes, .grain = rows_in_piece(classes * 8), .x = DATA(REAL, call->in[0]),
                 .target = DATA(int64_t, call->in[1]), .on = 1 - smoothing,
                 .off = classes > 1 ? smoothing / (double)(classes - 1) : 0 };
}

static void losses(void *context, int64_t begin, int64_t end) {
  const Loss *l = context;
  double total = 0;
  for (int64_t row = begin; row < end; row++) {
    const REAL *x = l->x + row * l->classes;
    REAL top = row_largest(x, l->classes);
    double norm = log(row_exp_total(x, l->classes, top)) + (double)top; /* log sum e^x */
    double target = norm - (double)x[l->target[row]];
    total += l->on * target;
    if (l->off > 0) total += l->off * ((double)l->classes * norm - row_total(x, l->classes) - target);
  }
  l->partial[begin / l->grain] = total;
}

/* gx = (softmax(x) - target distribution) g / N */
static void gradients(void *context, int64_t begin, int64_t end) {
  const Loss *l = context;
  for (int64_t row = begin; row < end; row++) {
    const REAL *x = l->x + row * l->classes;
    REAL *restrict gx = l->gx + row * l->classes;
    REAL top = row_largest(x, l->classes);
    double sum = row_exp_total(x, l->classes, top);
    REAL factor = (REAL)(l->g / sum), off = (REAL)(l->g * l->off);
    for (int64_t i = 0; i < l->classes; i++) gx[i] = M(exp)(x[i] - top) * factor - off;
    int64_t t = l->target[row];
    gx[t] = (REAL)(((double)M(exp)(x[t] - top) / sum - l->on) * l->g);
  }
}

CnErr FN(cross_entropy_forward)(CnCall *call) {
  Loss l = loss_make(call);
  for (int64_t i = 0; i < l.n; i++)
    if (l.target[i] < 0 || l.target[i] >= l.classes)
      return cn_fail(CN_EUSAGE, "cross_entropy: target %lld at position %lld is outside 0 … %lld",
                     (long long)l.target[i], (long long)i, (long long)l.classes - 1);
  int64_t pieces = piece_count(l.n, l.grain);
  l.partial = cn_alloc((size_t)pieces * sizeof(double));
  if (!l.partial) return CN_EMEMORY;
  in_pieces(l.n, l.grain, losses, &l);
  double total = 0;
  for (int64_t p = 0; p < pieces; p++) total += l.partial[p];
  cn_free(l.partial);
  *DATA(REAL, call->out[0]) = (REAL)(total / (double)l.n);
  return CN_OK;
}

CnErr FN(cross_entropy_backward)(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  Loss l = loss_make(call);
  l.gx = DATA(REAL, call->gin[0]);
  l.g = (double)*DATA(REAL, call->gout[0]) / (double)l.n;
  in_pieces(l.n, l.grain, gradients, &l);
  return CN_OK;
}
