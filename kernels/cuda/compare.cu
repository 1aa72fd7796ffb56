/* compare.cu - broadcasting comparisons: kernels eq, ne, lt, le, gt, ge of any type; the result is u8, 0 or 1. */
#include "kernels/cuda/elementwise.cuh"

namespace {

#define COMPARISON(id, sign) \
  struct id##_of { \
    template <class R> __device__ uint8_t operator()(R x, R y) const { return x sign y; } \
  }; \
  template <class T> CnErr id##_forward(CnCall *call) { \
    return map(call, data<uint8_t>(call->out[0]), &call->out_spec[0], id##_of(), operand<T>(call->in[0]), \
               operand<T>(call->in[1])); \
  }

COMPARISON(eq, ==)
COMPARISON(ne, !=)
COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(gt, >)
COMPARISON(ge, >=)

} // namespace

KERNEL_ANY(eq_forward)
KERNEL_ANY(ne_forward)
KERNEL_ANY(lt_forward)
KERNEL_ANY(le_forward)
KERNEL_ANY(gt_forward)
KERNEL_ANY(ge_forward)
