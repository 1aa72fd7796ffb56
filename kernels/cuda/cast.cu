/* cast.cu - values of one type as another (see kernels/convert.h). Kernels: cast_forward of any type, cast_backward of
** floats.
**
** The row's type is that of the input. */
#include "kernels/cuda/elementwise.cuh"

extern "C" {
#include "kernels/convert.h"
}

namespace {

/* A number, computed with as R, as an element of type To. */
template <class To> struct Convert {
  template <class R> __device__ To operator()(R x) const {
    if constexpr (std::is_same<To, int64_t>::value && std::is_integral<R>::value) return i64_of_i64(x);
    else if constexpr (std::is_same<To, int64_t>::value) return i64_of_double(static_cast<double>(x));
    else if constexpr (std::is_same<To, uint8_t>::value && std::is_integral<R>::value) return u8_of_i64(x);
    else if constexpr (std::is_same<To, uint8_t>::value) return u8_of_double(static_cast<double>(x));
    else if constexpr (std::is_same<To, Bf16>::value && std::is_same<R, double>::value) return { cn_bf16_of_double(x) };
    else if constexpr (std::is_same<To, Bf16>::value && std::is_same<R, int64_t>::value) return { cn_bf16_of_i64(x) };
    else if constexpr (std::is_same<To, Bf16>::value) return { cn_bf16_of_float(static_cast<float>(x)) };
    else return static_cast<To>(x);
  }
};

template <class To, class From> CnErr convert(CnCall *call, const CnTensor *out, const CnTensor *x) {
  return map(call, data<To>(out), &call->in_spec[0], Convert<To>(), operand<From>(x));
}

template <class T> CnErr cast_forward(CnCall *call) {
  switch (call->out_spec[0].dtype) {
    case CN_F32: return convert<float, T>(call, call->out[0], call->in[0]);
    case CN_F64: return convert<double, T>(call, call->out[0], call->in[0]);
    case CN_I64: return convert<int64_t, T>(call, call->out[0], call->in[0]);
    case CN_U8: return convert<uint8_t, T>(call, call->out[0], call->in[0]);
    default: return convert<Bf16, T>(call, call->out[0], call->in[0]);
  }
}

template <class T> CnErr cast_backward(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  if (!call->gout[0]) { /* to an integer: no gradient comes back */
    size_t bytes = static_cast<size_t>(count_of(&call->in_spec[0])) * sizeof(T);
    return cn_cuda_launched(call, cudaMemsetAsync(data<T>(call->gin[0]), 0, bytes, cudaStreamPerThread));
  }
  switch (call->out_spec[0].dtype) {
    case CN_F32: return convert<T, float>(call, call->gin[0], call->gout[0]);
    case CN_F64: return convert<T, double>(call, call->gin[0], call->gout[0]);
    default: return convert<T, Bf16>(call, call->gin[0], call->gout[0]);
  }
}

} // namespace

KERNEL_ANY(cast_forward)
KERNEL_ALL_FLOATS(cast_backward)
