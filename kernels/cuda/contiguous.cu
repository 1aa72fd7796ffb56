/* contiguous.cu - strided values copied to row-major order. Kernels: contiguous_forward of any type,
** contiguous_backward of floats. */
#include "kernels/cuda/elementwise.cuh"

namespace {

struct Same {
  template <class V> __device__ V operator()(V x) const { return x; }
};

template <class T> CnErr contiguous_forward(CnCall *call) {
  return map(call, data<T>(call->out[0]), &call->out_spec[0], Same(), operand<T>(call->in[0]));
}

template <class T> CnErr contiguous_backward(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  return map(call, data<T>(call->gin[0]), &call->out_spec[0], Same(), operand<T>(call->gout[0]));
}

} // namespace

KERNEL_ANY(contiguous_forward)
KERNEL_ALL_FLOATS(contiguous_backward)
