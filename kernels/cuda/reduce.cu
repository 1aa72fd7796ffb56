/* reduce.cu - sums and means over any dimensions. Kernels: sum (any type), mean (floats), _forward and _backward. */
#include "kernels/cuda/reduce.cuh"

namespace {

/* Attributes: dims, keepdim. */
uint32_t call_dims(const CnCall *call) {
  uint32_t all = (1u << call->in_spec[0].ndim) - 1, dims = static_cast<uint32_t>(call->attr[0].i);
  return dims == 0 ? all : dims;
}

/* x's shape with size 1 where it was summed: that of the sum, as if keepdim. */
CnSpec kept_spec(const CnCall *call) {
  CnSpec kept = call->in_spec[0];
  for (int d = 0; d < kept.ndim; d++)
    if (call_dims(call) >> d & 1) kept.shape[d] = 1;
  return kept;
}

double mean_factor(const CnCall *call) {
  int64_t summed = 1;
  for (int d = 0; d < call->in_spec[0].ndim; d++)
    if (call_dims(call) >> d & 1) summed *= call->in_spec[0].shape[d];
  return 1.0 / static_cast<double>(summed);
}

template <class T> CnErr sum_scaled(CnCall *call, double factor) {
  return reduce_sum(call, data<SumOf<T>>(call->out[0]), data<T>(call->in[0]), &call->in_spec[0], call_dims(call),
                    factor);
}

/* gin = factor * gout, repeated along the dimensions that were summed. */
template <class T> CnErr spread(CnCall *call, double factor) {
  if (!call->gin[0]) return CN_OK;
  CnSpec kept = kept_spec(call);
  return map(call, data<T>(call->gin[0]), &call->in_spec[0], Times{ factor }, operand(data<T>(call->gout[0]), &kept));
}

template <class T> CnErr sum_forward(CnCall *call) { return sum_scaled<T>(call, 1); }
template <class T> CnErr sum_backward(CnCall *call) { return spread<T>(call, 1); }
template <class T> CnErr mean_forward(CnCall *call) { return sum_scaled<T>(call, mean_factor(call)); }
template <class T> CnErr mean_backward(CnCall *call) { return spread<T>(call, mean_factor(call)); }

} // namespace

KERNEL_ANY(sum_forward)
KERNEL_ALL_FLOATS(sum_backward)
KERNEL_ALL_FLOATS(mean_forward)
KERNEL_ALL_FLOATS(mean_backward)
