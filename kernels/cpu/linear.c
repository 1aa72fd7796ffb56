/* linear.c - row linear: x (N,I) times weight (I,O) plus bias (O). */
#include "kernels/cpu/gemm.h"

CnErr FN(linear_forward)(CnCall *call) {
  const int64_t *weight = call->in_spec[1].shape;
  const REAL *bias = call->nin > 2 && call->in[2] != NULL ? DATA(REAL, call->in[2]) : NULL;
  return FN(gemm)(call->in_spec[0].shape[0], weight[1], weight[0], DATA(REAL, call->in[0]), DATA(REAL, call->in[1]),
                  false, bias, DATA(REAL, call->out[0]));
}

CnErr FN(linear_backward)(CnCall *call) {
  int64_t rows = call->in_spec[0].shape[0], inputs = call->in_spec[1].shape[0], outputs = call->in_spec[1].shape[1];
  const REAL *gy = DATA(REAL, call->gout[0]);
  if (call->gin[0] != NULL)
    CN_TRY(FN(gemm)(rows, inputs, outputs, gy, DATA(REAL, call->in[1]), true, NULL, DATA(REAL, call->gin[0])));
  if (call->gin[1] != NULL)
    CN_TRY(FN(gemm_outer)(rows, inputs, outputs, DATA(REAL, call->in[0]), gy, DATA(REAL, call->gin[1])));
  if (call->nin > 2 && call->gin[2] != NULL) CN_TRY(FN(column_sums)(rows, outputs, gy, DATA(REAL, call->gin[2])));
  return CN_OK;
}
