/* arithmetic.cu - broadcasting arithmetic of any type: kernels add, sub, mul; their gradients for floats.
**
** Integers wrap as C's unsigned numbers do. */
#include "kernels/cuda/binary.cuh"

namespace {

/* Where overflow is defined, and the low bits are those of the result. */
template <class R> using Wrapping = std::conditional_t<std::is_integral<R>::value, uint64_t, R>;

#define ARITHMETIC(name, sign) \
  struct name { \
    template <class R> __device__ R operator()(R x, R y) const { \
      return static_cast<R>(static_cast<Wrapping<R>>(x) sign static_cast<Wrapping<R>>(y)); \
    } \
  };
ARITHMETIC(Plus, +)
ARITHMETIC(Minus, -)
ARITHMETIC(Product, *)

struct ProductGradientX {
  template <class R> __device__ R operator()(R g, R, R y) const { return g * y; }
};
struct ProductGradientY {
  template <class R> __device__ R operator()(R g, R x, R) const { return g * x; }
};

template <class T> CnErr add_forward(CnCall *call) { return binary_forward<T>(call, Plus()); }
template <class T> CnErr sub_forward(CnCall *call) { return binary_forward<T>(call, Minus()); }
template <class T> CnErr mul_forward(CnCall *call) { return binary_forward<T>(call, Product()); }

template <class T> CnErr sum_gradients(CnCall *call, double sign) {
  const T *g = data<T>(call->gout[0]);
  if (call->gin[0]) CN_TRY(binary_sum_gradient(call, 0, g, 1));
  return call->gin[1] ? binary_sum_gradient(call, 1, g, sign) : CN_OK;
}

template <class T> CnErr add_backward(CnCall *call) { return sum_gradients<T>(call, 1); }
template <class T> CnErr sub_backward(CnCall *call) { return sum_gradients<T>(call, -1); }
template <class T> CnErr mul_backward(CnCall *call) {
  CN_TRY(binary_gradient<T>(call, 0, ProductGradientX()));
  return binary_gradient<T>(call, 1, ProductGradientY());
}

} // namespace

KERNEL_ANY(add_forward)
KERNEL_ALL_FLOATS(add_backward)
KERNEL_ANY(sub_forward)
KERNEL_ALL_FLOATS(sub_backward)
KERNEL_ANY(mul_forward)
KERNEL_ALL_FLOATS(mul_backward)
