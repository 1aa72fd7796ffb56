/* activation.cu - elementwise functions of one input, and their gradients.
**
** Kernels: neg, exp, log, sqrt, abs, tanh, sigmoid, relu, pow, scale; _forward and _backward of each, f32 and f64. */
#include "kernels/cuda/elementwise.cuh"

namespace {

template <class T, class F> CnErr forward(CnCall *call, F f) {
  return map(call, data<T>(call->out[0]), &call->in_spec[0], f, operand<T>(call->in[0]));
}

/* gx = f(g, saved); `saved` is the input or output that the row saves. */
template <class T, class F> CnErr backward(CnCall *call, const CnTensor *saved, F f) {
  if (!call->gin[0]) return CN_OK;
  return map(call, data<T>(call->gin[0]), &call->in_spec[0], f, operand<T>(call->gout[0]), operand<T>(saved));
}

/* Of a gradient that needs g alone. */
template <class T, class F> CnErr backward(CnCall *call, F f) {
  if (!call->gin[0]) return CN_OK;
  return map(call, data<T>(call->gin[0]), &call->in_spec[0], f, operand<T>(call->gout[0]));
}

/* A functor `name` of x (and constants, which come first), or of g and a saved value. */
#define FUNCTION(name, expression) \
  struct name { \
    template <class R> __device__ R operator()(R x) const { return expression; } \
  };
#define GRADIENT(name, saved, expression) \
  struct name { \
    template <class R> __device__ R operator()(R g, R saved) const { return expression; } \
  };

FUNCTION(Negative, -x)
FUNCTION(Exponential, exp(x))
FUNCTION(Logarithm, log(x))
FUNCTION(Root, sqrt(x))
FUNCTION(Absolute, fabs(x))
FUNCTION(Hyperbolic, tanh(x))
FUNCTION(Logistic, 1 / (1 + exp(-x)))
FUNCTION(Rectified, x < 0 ? 0 : x)
FUNCTION(Squared, x * x)

GRADIENT(ExponentialGradient, y, g * y)
GRADIENT(LogarithmGradient, x, g / x)
GRADIENT(RootGradient, y, g / (2 * y))
GRADIENT(AbsoluteGradient, x, x > 0 ? g : x < 0 ? -g : 0 * x) /* 0 at 0, NaN at NaN */
GRADIENT(HyperbolicGradient, y, g * (1 - y * y))
GRADIENT(LogisticGradient, y, g * (1 - y) * y)
GRADIENT(RectifiedGradient, y, y <= 0 ? 0 : g)
GRADIENT(SquaredGradient, x, g * 2 * x)

template <class R> struct Power {
  R exponent;
  __device__ R operator()(R x) const { return pow(x, exponent); }
};
template <class R> struct PowerGradient {
  R exponent, less; /* by one, but 0 stays: 0 * x^0, not 0 * x^-1, which is NaN at 0 */
  __device__ R operator()(R g, R x) const { return g * exponent * pow(x, less); }
};
template <class R> struct Scaled {
  R factor, shift;
  __device__ R operator()(R x) const { return factor * x + shift; }
};
template <class R> struct ScaledGradient {
  R factor;
  __device__ R operator()(R g) const { return factor * g; }
};

template <class T> CnErr neg_forward(CnCall *call) { return forward<T>(call, Negative()); }
template <class T> CnErr neg_backward(CnCall *call) { return backward<T>(call, Negative()); }

template <class T> CnErr exp_forward(CnCall *call) { return forward<T>(call, Exponential()); }
template <class T> CnErr exp_backward(CnCall *call) { return backward<T>(call, call->out[0], ExponentialGradient()); }

template <class T> CnErr log_forward(CnCall *call) { return forward<T>(call, Logarithm()); }
template <class T> CnErr log_backward(CnCall *call) { return backward<T>(call, call->in[0], LogarithmGradient()); }

template <class T> CnErr sqrt_forward(CnCall *call) { return forward<T>(call, Root()); }
template <class T> CnErr sqrt_backward(CnCall *call) { return backward<T>(call, call->out[0], RootGradient()); }

template <class T> CnErr abs_forward(CnCall *call) { return forward<T>(call, Absolute()); }
template <class T> CnErr abs_backward(CnCall *call) { return backward<T>(call, call->in[0], AbsoluteGradient()); }

template <class T> CnErr tanh_forward(CnCall *call) { return forward<T>(call, Hyperbolic()); }
template <class T> CnErr tanh_backward(CnCall *call) { return backward<T>(call, call->out[0], HyperbolicGradient()); }

template <class T> CnErr sigmoid_forward(CnCall *call) { return forward<T>(call, Logistic()); }
template <class T> CnErr sigmoid_backward(CnCall *call) { return backward<T>(call, call->out[0], LogisticGradient()); }

template <class T> CnErr relu_forward(CnCall *call) { return forward<T>(call, Rectified()); }
template <class T> CnErr relu_backward(CnCall *call) { return backward<T>(call, call->out[0], RectifiedGradient()); }

template <class T> CnErr pow_forward(CnCall *call) {
  double exponent = call->attr[0].f;
  if (exponent == 2) return forward<T>(call, Squared());
  return forward<T>(call, Power<T>{ static_cast<T>(exponent) });
}
template <class T> CnErr pow_backward(CnCall *call) {
  double exponent = call->attr[0].f;
  if (exponent == 2) return backward<T>(call, call->in[0], SquaredGradient());
  double less = exponent == 0 ? 0 : exponent - 1;
  return backward<T>(call, call->in[0], PowerGradient<T>{ static_cast<T>(exponent), static_cast<T>(less) });
}

template <class T> CnErr scale_forward(CnCall *call) {
  return forward<T>(call, Scaled<T>{ static_cast<T>(call->attr[0].f), static_cast<T>(call->attr[1].f) });
}
template <class T> CnErr scale_backward(CnCall *call) {
  return backward<T>(call, ScaledGradient<T>{ static_cast<T>(call->attr[0].f) });
}

} // namespace

KERNEL_FLOATS(neg_forward)
KERNEL_FLOATS(neg_backward)
KERNEL_FLOATS(exp_forward)
KERNEL_FLOATS(exp_backward)
KERNEL_FLOATS(log_forward)
KERNEL_FLOATS(log_backward)
KERNEL_FLOATS(sqrt_forward)
KERNEL_FLOATS(sqrt_backward)
KERNEL_FLOATS(abs_forward)
KERNEL_FLOATS(abs_backward)
KERNEL_FLOATS(tanh_forward)
KERNEL_FLOATS(tanh_backward)
KERNEL_FLOATS(sigmoid_forward)
KERNEL_FLOATS(sigmoid_backward)
KERNEL_FLOATS(relu_forward)
KERNEL_FLOATS(relu_backward)
KERNEL_FLOATS(pow_forward)
KERNEL_FLOATS(pow_backward)
KERNEL_FLOATS(scale_forward)
KERNEL_FLOATS(scale_backward)
