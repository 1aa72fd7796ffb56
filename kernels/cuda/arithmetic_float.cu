/* arithmetic_float.cu - broadcasting arithmetic of floats: kernels div, maximum, minimum, _forward and _backward.
**
** maximum and minimum are NaN where either input is; there, both inputs get the gradient. */
#include "kernels/cuda/binary.cuh"

namespace {

struct Quotient {
  template <class R> __device__ R operator()(R x, R y) const { return x / y; }
};
struct QuotientGradientX {
  template <class R> __device__ R operator()(R g, R, R y) const { return g / y; }
};
struct QuotientGradientY {
  template <class R> __device__ R operator()(R g, R x, R y) const { return -g * (x / y) / y; }
};

struct Larger {
  template <class R> __device__ R operator()(R x, R y) const { return x > y || x != x ? x : y; }
};
struct Smaller {
  template <class R> __device__ R operator()(R x, R y) const { return x < y || x != x ? x : y; }
};
/* Of the larger of `mine` and `other`, for `mine`; of equals half. */
template <class R> __device__ R gradient_of_larger(R g, R mine, R other) {
  return mine < other ? R(0) : mine == other ? g / 2 : g;
}
struct LargerGradientX {
  template <class R> __device__ R operator()(R g, R x, R y) const { return gradient_of_larger(g, x, y); }
};
struct LargerGradientY {
  template <class R> __device__ R operator()(R g, R x, R y) const { return gradient_of_larger(g, y, x); }
};
struct SmallerGradientX {
  template <class R> __device__ R operator()(R g, R x, R y) const { return gradient_of_larger(g, -x, -y); }
};
struct SmallerGradientY {
  template <class R> __device__ R operator()(R g, R x, R y) const { return gradient_of_larger(g, -y, -x); }
};

template <class T> CnErr div_forward(CnCall *call) { return binary_forward<T>(call, Quotient()); }
template <class T> CnErr div_backward(CnCall *call) {
  CN_TRY(binary_gradient<T>(call, 0, QuotientGradientX()));
  return binary_gradient<T>(call, 1, QuotientGradientY());
}

template <class T> CnErr maximum_forward(CnCall *call) { return binary_forward<T>(call, Larger()); }
template <class T> CnErr maximum_backward(CnCall *call) {
  CN_TRY(binary_gradient<T>(call, 0, LargerGradientX()));
  return binary_gradient<T>(call, 1, LargerGradientY());
}

template <class T> CnErr minimum_forward(CnCall *call) { return binary_forward<T>(call, Smaller()); }
template <class T> CnErr minimum_backward(CnCall *call) {
  CN_TRY(binary_gradient<T>(call, 0, SmallerGradientX()));
  return binary_gradient<T>(call, 1, SmallerGradientY());
}

} // namespace

KERNEL_FLOATS(div_forward)
KERNEL_FLOATS(div_backward)
KERNEL_FLOATS(maximum_forward)
KERNEL_FLOATS(maximum_backward)
KERNEL_FLOATS(minimum_forward)
KERNEL_FLOATS(minimum_backward)
