/* matmul.c - row matmul: z (M,N) = x (M,K) y (K,N), or one such product for each entry of a batch B. */
#include "kernels/cpu/gemm.h"

typedef struct Sizes {
  int64_t batch, m, k, n;
} Sizes;

static Sizes sizes_of(const CnCall *call) {
  const CnSpec *x = &call->in_spec[0], *y = &call->in_spec[1];
  bool batched = x->ndim == 3;
  return (Sizes){ batched ? x->shape[0] : 1, x->shape[batched], x->shape[batched + 1], y->shape[batched + 1] };
}

CnErr FN(matmul_forward)(CnCall *call) {
  Sizes s = sizes_of(call);
  const REAL *x = DATA(REAL, call->in[0]), *y = DATA(REAL, call->in[1]);
  REAL *z = DATA(REAL, call->out[0]);
  for (int64_t b = 0; b < s.batch; b++)
    CN_TRY(FN(gemm)(s.m, s.n, s.k, x + b * s.m * s.k, y + b * s.k * s.n, false, NULL, z + b * s.m * s.n));
  return CN_OK;
}

/* gx = gz * yT, gy = xT * gz. */
CnErr FN(matmul_backward)(CnCall *call) {
  Sizes s = sizes_of(call);
  const REAL *gz = DATA(REAL, call->gout[0]);
  for (int64_t b = 0; b < s.batch; b++) {
    const REAL *g = gz + b * s.m * s.n;
    if (call->gin[0] != NULL)
      CN_TRY(FN(gemm)(s.m, s.k, s.n, g, DATA(REAL, call->in[1]) + b * s.k * s.n, true, NULL,
                      DATA(REAL, call->gin[0]) + b * s.m * s.k));
    if (call->gin[1] != NULL)
      CN_TRY(FN(gemm_outer)(s.m, s.k, s.n, DATA(REAL, call->in[0]) + b * s.m * s.k, g,
                            DATA(REAL, call->gin[1]) + b * s.k * s.n));
  }
  return CN_OK;
}
