/* softmax.cu - softmax and its logarithm along one dimension. Kernels: softmax, log_softmax, _forward and _backward.
**
** The largest value is taken off before exp, so nothing overflows; sums are in f64. */
#include "kernels/cuda/column.cuh"

namespace {

/* y = e^(x - top) / sum, or its logarithm. */
template <int LANES, class T> __global__ void normalize(Columns c, const T *x, T *y, bool logarithm) {
  int64_t column = column_number<LANES>();
  int64_t n = column < c.count ? c.n : 0, begin = n > 0 ? c.begin(column) : 0;
  T top = column_largest<LANES>(x + begin, n, c.inner);
  double total = column_exp_total<LANES>(x + begin, n, c.inner, top);
  T factor = static_cast<T>(1 / total), shift = static_cast<T>(log(total));
  for (int64_t i = column_lane<LANES>(); i < n; i += LANES) {
    T above = x[begin + i * c.inner] - top;
    y[begin + i * c.inner] = logarithm ? above - shift : exp(above) * factor;
  }
}

/* gx = y (g - sum g y) */
template <int LANES, class T> __global__ void softmax_gradient(Columns c, const T *y, const T *g, T *gx) {
  int64_t column = column_number<LANES>();
  int64_t n = column < c.count ? c.n : 0, begin = n > 0 ? c.begin(column) : 0;
  double total = 0;
  for (int64_t i = column_lane<LANES>(); i < n; i += LANES)
    total += static_cast<double>(g[begin + i * c.inner]) * static_cast<double>(y[begin + i * c.inner]);
  T sum = static_cast<T>(warp_sum<LANES>(total));
  for (int64_t i = column_lane<LANES>(); i < n; i += LANES)
    gx[begin + i * c.inner] = y[begin + i * c.inner] * (g[begin + i * c.inner] - sum);
}

/* gx = g - e^y sum g */
template <int LANES, class T> __global__ void log_softmax_gradient(Columns c, const T *y, const T *g, T *gx) {
  int64_t column = column_number<LANES>();
  int64_t n = column < c.count ? c.n : 0, begin = n > 0 ? c.begin(column) : 0;
  T sum = static_cast<T>(column_total<LANES>(g + begin, n, c.inner));
  for (int64_t i = column_lane<LANES>(); i < n; i += LANES)
    gx[begin + i * c.inner] = g[begin + i * c.inner] - exp(y[begin + i * c.inner]) * sum;
}

template <class T> CnErr forward(CnCall *call, bool logarithm) {
  return launch_columns(call, normalize<WARP, T>, normalize<1, T>, columns_of(call, call->attr[0].i),
                        data<T>(call->in[0]), data<T>(call->out[0]), logarithm);
}

template <class T> CnErr softmax_forward(CnCall *call) { return forward<T>(call, false); }
template <class T> CnErr softmax_backward(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  return launch_columns(call, softmax_gradient<WARP, T>, softmax_gradient<1, T>, columns_of(call, call->attr[0].i),
                        data<T>(call->out[0]), data<T>(call->gout[0]), data<T>(call->gin[0]));
}

template <class T> CnErr log_softmax_forward(CnCall *call) { return forward<T>(call, true); }
template <class T> CnErr log_softmax_backward(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  return launch_columns(call, log_softmax_gradient<WARP, T>, log_softmax_gradient<1, T>,
                        columns_of(call, call->attr[0].i), data<T>(call->out[0]), data<T>(call->gout[0]),
                        data<T>(call->gin[0]));
}

} // namespace

KERNEL_FLOATS(softmax_forward)
KERNEL_FLOATS(softmax_backward)
KERNEL_FLOATS(log_softmax_forward)
KERNEL_FLOATS(log_softmax_backward)
