/* linear.cu - row linear: x (N,I) times weight (I,O) plus bias (O). */
#include "kernels/cuda/gemm.cuh"

namespace {

template <class T> CnErr linear_forward(CnCall *call) {
  const int64_t *weight = call->in_spec[1].shape;
  return gemm<false, false, T>(call, 1, call->in_spec[0].shape[0], weight[1], weight[0], data<T>(call->in[0]),
                               data<T>(call->in[1]), call->nin > 2 ? data<T>(call->in[2]) : NULL,
                               data<T>(call->out[0]));
}

template <class T> CnErr linear_backward(CnCall *call) {
  int64_t rows = call->in_spec[0].shape[0], inputs = call->in_spec[1].shape[0], outputs = call->in_spec[1].shape[1];
  const T *g = data<T>(call->gout[0]);
  if (call->gin[0])
    CN_TRY((gemm<false, true, T>(call, 1, rows, inputs, outputs, g, data<T>(call->in[1]), NULL,
                                 data<T>(call->gin[0]))));
  if (call->gin[1])
    CN_TRY((gemm<true, false, T>(call, 1, inputs, outputs, rows, data<T>(call->in[0]), g, NULL,
                                 data<T>(call->gin[1]))));
  if (call->nin > 2 && call->gin[2])
    CN_TRY(reduce_sum(call, data<T>(call->gin[2]), g, &call->out_spec[0], 1u << 0, 1));
  return CN_OK;
}

} // namespace

KERNEL_FLOATS(linear_forward)
KERNEL_FLOATS(linear_backward)
