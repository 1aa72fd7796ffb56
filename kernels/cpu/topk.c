/* topk.c - the k largest along the last dimension, and the accuracy that asks for one of them. Kernels: topk_forward,
** accuracy_forward, f32 and f64.
**
** Elements are ordered by value, falling, then by index; NaN counts as larger than any number. The order is total, so
** the result is unique. */
#include "pieces.h"

/* Whether element i of a row comes before element j. */
static inline bool before(const REAL *x, int64_t i, int64_t j) {
  REAL a = x[i], b = x[j];
  bool a_nan = a != a, b_nan = b != b;
  if (a_nan != b_nan) return a_nan;
  if (a > b || a < b) return a > b;
  return i < j;
}

/* heap[0 … n-1] is a heap with the last in order at its root; `value` takes the root's place and sinks. */
static void sink(const REAL *x, int64_t *heap, int64_t n, int64_t value) {
  int64_t at = 0;
  for (;;) {
    int64_t child = 2 * at + 1;
    if (child >= n) break;
    if (child + 1 < n && before(x, heap[child], heap[child + 1])) child++;
    if (before(x, heap[child], value)) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = value;
}

static void rise(const REAL *x, int64_t *heap, int64_t at, int64_t value) {
  while (at > 0 && before(x, heap[(at - 1) / 2], value)) {
    heap[at] = heap[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  heap[at] = value;
}

/* The first k in order of x[0 … n-1], as a sorted list in `out`, which serves as the heap. */
static void row_topk(const REAL *x, int64_t n, int64_t k, int64_t *out) {
  for (int64_t i = 0; i < k; i++) rise(x, out, i, i);
  for (int64_t i = k; i < n; i++)
    if (before(x, i, out[0])) sink(x, out, k, i);
  for (int64_t left = k - 1; left > 0; left--) {
    int64_t last = out[left];
    out[left] = out[0];
    sink(x, out, left, last);
  }
}

typedef struct Topk {
  int64_t n, k;
  const REAL *x;
  int64_t *index;
} Topk;

static void topk_rows(void *context, int64_t begin, int64_t end) {
  const Topk *t = context;
  for (int64_t row = begin; row < end; row++) row_topk(t->x + row * t->n, t->n, t->k, t->index + row * t->k);
}

CnErr FN(topk_forward)(CnCall *call) {
  const CnSpec *spec = &call->in_spec[0];
  Topk t = { .n = spec->shape[spec->ndim - 1], .k = call->attr[0].i, .x = DATA(REAL, call->in[0]),
             .index = DATA(int64_t, call->out[0]) };
  if (t.k > 0) in_pieces(count_between(spec, 0, spec->ndim - 1), rows_in_piece(t.n), topk_rows, &t);
  return CN_OK;
}

CnErr FN(accuracy_forward)(CnCall *call) {
  int64_t rows = call->in_spec[0].shape[0], n = call->in_spec[0].shape[1], k = call->attr[0].i, hits = 0;
  const REAL *x = DATA(REAL, call->in[0]);
  const int64_t *target = DATA(int64_t, call->in[1]);
  for (int64_t r = 0; r < rows; r++) {
    if (target[r] < 0 || target[r] >= n)
      return cn_fail(CN_EUSAGE, "accuracy: target %lld at position %lld is outside 0 … %lld", (long long)target[r],
                     (long long)r, (long long)n - 1);
    int64_t rank = 0;
    for (int64_t i = 0; i < n; i++) rank += before(x + r * n, i, target[r]);
    hits += rank < k;
  }
  *DATA(REAL, call->out[0]) = (REAL)((double)hits / (double)rows);
  return CN_OK;
}
