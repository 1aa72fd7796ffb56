/* norm.cu - the sum of squares of all elements. Kernel: squared_norm_forward, f32 and f64; summed and returned in
** f64. */
#include "kernels/cuda/reduce.cuh"

namespace {

template <class T> CnErr squared_norm_forward(CnCall *call) {
  const CnSpec *spec = &call->in_spec[0];
  return reduce_sum(call, data<double>(call->out[0]), data<T>(call->in[0]), spec, (1u << spec->ndim) - 1, 1, Square());
}

} // namespace

KERNEL_FLOATS(squared_norm_forward)
