/* where.cu - a choice between two values, element by element. Kernels: where_forward, where_backward, f32 and f64. */
#include "kernels/cuda/binary.cuh"

namespace {

struct Choose {
  template <class R> __device__ R operator()(uint8_t cond, R x, R y) const { return cond ? x : y; }
};

/* g where the condition is (not) 0. */
struct Mask {
  bool chosen;
  template <class R> __device__ R operator()(R g, uint8_t cond) const { return (cond != 0) == chosen ? g : R(0); }
};

template <class T> CnErr where_forward(CnCall *call) {
  return map(call, data<T>(call->out[0]), &call->out_spec[0], Choose(), operand<uint8_t>(call->in[0]),
             operand<T>(call->in[1]), operand<T>(call->in[2]));
}

template <class T> CnErr where_backward(CnCall *call) {
  for (int which = 1; which <= 2; which++) {
    auto make = [&](T *out) {
      return map(call, out, &call->out_spec[0], Mask{ which == 1 }, operand<T>(call->gout[0]),
                 operand<uint8_t>(call->in[0]));
    };
    CN_TRY(broadcast_gradient<T>(call, which, make));
  }
  return CN_OK;
}

} // namespace

KERNEL_FLOATS(where_forward)
KERNEL_FLOATS(where_backward)
