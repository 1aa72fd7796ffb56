/* accumulate.cu - a sum in place. Kernel: accumulate_forward of floats, bf16 too. */
#include "kernels/cuda/elementwise.cuh"

namespace {

template <class R> struct AddScaled {
  R factor;
  __device__ R operator()(R x, R y) const { return x + factor * y; }
};

template <class T> CnErr accumulate_forward(CnCall *call) {
  AddScaled<Real<T>> f{ static_cast<Real<T>>(call->attr[0].f) };
  return map(call, data<T>(call->in[0]), &call->in_spec[0], f, operand<T>(call->in[0]), operand<T>(call->in[1]));
}

} // namespace

KERNEL_ALL_FLOATS(accumulate_forward)
