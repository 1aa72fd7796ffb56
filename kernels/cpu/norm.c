/* norm.c - the sum of squares of all elements. Kernel: squared_norm_forward, f32 and f64; summed
** and returned in f64. */
#include "pieces.h"

#define LANES 16

typedef struct Norm {
  const REAL *x;
  double *partial; /* one for each piece */
} Norm;

static void square_sum(void *context, int64_t begin, int64_t end) {
  const Norm *norm = context;
  const REAL *x = norm->x;
  double lane[LANES] = { 0 }, total = 0;
  int64_t i = begin;
  for (; i + LANES <= end; i += LANES)
    for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
  for (; i < end; i++) total += (double)x[i] * (double)x[i];
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int l = 0; l < width; l++) lane[l] += lane[l + width];
  norm->partial[begin / GRAIN] = total + lane[0];
}

CnErr FN(squared_norm_forward)(CnCall *call) {
  int64_t n = count_of(&call->in_spec[0]), pieces = piece_count(n, GRAIN);
  Norm norm = { .x = DATA(REAL, call->in[0]), .partial = cn_alloc((size_t)pieces * sizeof(double)) };
  if (!norm.partial) return CN_EMEMORY;
  in_pieces(n, GRAIN, square_sum, &norm);
  double total = 0;
  for (int64_t p = 0; p < pieces; p++) total += norm.partial[p];
  cn_free(norm.partial);
  *DATA(double, call->out[0]) = total;
  return CN_OK;
}
