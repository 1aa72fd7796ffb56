/* pool.cu - rows max_pool2d, avg_pool2d (see pool.cuh) and global_avg_pool2d. */
#include "kernels/cuda/pool.cuh"

namespace {

template <class T> CnErr forward(const CnCall *call, uint8_t *argmax) {
  PoolForward<T> f = { pool_of(call), {}, data<T>(call->in[0]), data<T>(call->out[0]), argmax };
  return pool_forward(call, f, NULL);
}

template <class T> CnErr backward(const CnCall *call, const uint8_t *argmax) {
  if (!call->gin[0]) return CN_OK;
  PoolBackward<T> b = { pool_of(call), {}, argmax, {} };
  b.incoming.g = data<T>(call->gout[0]);
  b.outgoing.gx = data<T>(call->gin[0]);
  return pool_backward(call, b, NULL);
}

template <class T> CnErr max_pool2d_forward(CnCall *call) { return forward<T>(call, data<uint8_t>(call->out[1])); }
template <class T> CnErr max_pool2d_backward(CnCall *call) { return backward<T>(call, data<uint8_t>(call->out[1])); }
template <class T> CnErr avg_pool2d_forward(CnCall *call) { return forward<T>(call, NULL); }
template <class T> CnErr avg_pool2d_backward(CnCall *call) { return backward<T>(call, NULL); }

template <class T> CnErr global_avg_pool2d_forward(CnCall *call) {
  const CnSpec *x = &call->in_spec[0];
  double pixels = static_cast<double>(x->shape[1] * x->shape[2]);
  return reduce_sum(call, data<T>(call->out[0]), data<T>(call->in[0]), x, 1u << 1 | 1u << 2, 1 / pixels);
}

template <class T> CnErr global_avg_pool2d_backward(CnCall *call) {
  const CnSpec *x = &call->in_spec[0];
  if (!call->gin[0]) return CN_OK;
  CnSpec means = *x; /* (N,1,1,C) */
  means.shape[1] = means.shape[2] = 1;
  return map(call, data<T>(call->gin[0]), x, Times{ 1 / static_cast<double>(x->shape[1] * x->shape[2]) },
             operand(static_cast<const T *>(data<T>(call->gout[0])), &means));
}

} // namespace

KERNEL_FLOATS(max_pool2d_forward)
KERNEL_FLOATS(max_pool2d_backward)
KERNEL_FLOATS(avg_pool2d_forward)
KERNEL_FLOATS(avg_pool2d_backward)
KERNEL_FLOATS(global_avg_pool2d_forward)
KERNEL_FLOATS(global_avg_pool2d_backward)
