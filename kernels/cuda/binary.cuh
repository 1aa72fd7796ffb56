/* binary.cuh - elementwise functions of two broadcast inputs, and their gradients.
**
** A gradient is a functor of (g, x, y); where an input was broadcast, its gradient is first made in the shape of the
** output, then summed. */
#ifndef CN_CUDA_BINARY_CUH
#define CN_CUDA_BINARY_CUH

#include "kernels/cuda/reduce.cuh"

template <class T, class F> inline CnErr binary_forward(CnCall *call, F f) {
  return map(call, data<T>(call->out[0]), &call->out_spec[0], f, operand<T>(call->in[0]), operand<T>(call->in[1]));
}

/* gin[which] = factor * the sum, over the dimensions in which the input was broadcast, of a gradient in the output's
** shape. */
template <class T> inline CnErr binary_sum_gradient(CnCall *call, int which, const T *gradient, double factor) {
  uint32_t dims = broadcast_dims(&call->out_spec[0], &call->in_spec[which]);
  return reduce_sum(call, data<T>(call->gin[which]), gradient, &call->out_spec[0], dims, factor);
}

/* Gradient of input `which` from `make`, which writes it in the output's shape where it is told to. */
template <class T, class Make> inline CnErr broadcast_gradient(CnCall *call, int which, Make make) {
  if (!call->gin[which]) return CN_OK;
  if (broadcast_dims(&call->out_spec[0], &call->in_spec[which]) == 0) return make(data<T>(call->gin[which]));
  Scratch<T> whole(call);
  CN_TRY(whole.take(count_of(&call->out_spec[0])));
  CN_TRY(make(whole.data()));
  return binary_sum_gradient(call, which, whole.data(), 1);
}

/* Gradient of input `which` by a functor of (g, x, y); both inputs are saved. */
template <class T, class F> inline CnErr binary_gradient(CnCall *call, int which, F f) {
  auto make = [&](T *out) {
    return map(call, out, &call->out_spec[0], f, operand<T>(call->gout[0]), operand<T>(call->in[0]),
               operand<T>(call->in[1]));
  };
  return broadcast_gradient<T>(call, which, make);
}

#endif
