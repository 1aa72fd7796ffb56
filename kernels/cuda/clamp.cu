/* clamp.cu - values limited to an interval. Kernels: clamp_forward, clamp_backward, f32 and f64.
**
** NaN stays NaN; where min > max every value becomes max. */
#include "kernels/cuda/elementwise.cuh"

namespace {

template <class R> struct Limit {
  R min, max;
  __device__ R operator()(R x) const {
    R raised = x < min ? min : x;
    return raised > max ? max : raised;
  }
};
template <class R> struct LimitGradient {
  R min, max;
  __device__ R operator()(R g, R x) const { return x >= min && x <= max ? g : R(0); }
};

template <class T> CnErr clamp_forward(CnCall *call) {
  Limit<T> f{ static_cast<T>(call->attr[0].f), static_cast<T>(call->attr[1].f) };
  return map(call, data<T>(call->out[0]), &call->in_spec[0], f, operand<T>(call->in[0]));
}

template <class T> CnErr clamp_backward(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  LimitGradient<T> f{ static_cast<T>(call->attr[0].f), static_cast<T>(call->attr[1].f) };
  return map(call, data<T>(call->gin[0]), &call->in_spec[0], f, operand<T>(call->gout[0]), operand<T>(call->in[0]));
}

} // namespace

KERNEL_FLOATS(clamp_forward)
KERNEL_FLOATS(clamp_backward)
