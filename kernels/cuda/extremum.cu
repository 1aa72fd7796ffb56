/* extremum.cu - the largest and smallest along one dimension. Kernels: max, min (_forward, _backward), argmax, argmin.
**
** The first of equals is taken; NaN counts as more extreme than any number. The smallest is the largest of -x. */
#include "kernels/cuda/column.cuh"

namespace {

/* y may be NULL. */
template <int LANES, class T>
__global__ void search(Columns c, const T *x, T *y, int64_t *index, bool smallest) {
  int64_t column = column_number<LANES>();
  Element<T> best = { T(0), -1 };
  if (column < c.count) {
    const T *from = x + c.begin(column);
    for (int64_t i = column_lane<LANES>(); i < c.n; i += LANES) {
      T value = from[i * c.inner];
      Element<T> e = { smallest ? -value : value, i };
      if (comes_before(e, best)) best = e;
    }
  }
  best = column_first<LANES>(best);
  if (column >= c.count || column_lane<LANES>() != 0) return;
  if (y != NULL) y[column] = smallest ? -best.value : best.value;
  index[column] = best.index;
}

template <class T> CnErr extremum(CnCall *call, CnTensor *y, CnTensor *index, bool smallest) {
  return launch_columns(call, search<WARP, T>, search<1, T>, columns_of(call, call->attr[0].i), data<T>(call->in[0]),
                        data<T>(y), data<int64_t>(index), smallest);
}

template <class T> CnErr max_forward(CnCall *call) { return extremum<T>(call, call->out[0], call->out[1], false); }
template <class T> CnErr min_forward(CnCall *call) { return extremum<T>(call, call->out[0], call->out[1], true); }
template <class T> CnErr argmax_forward(CnCall *call) { return extremum<T>(call, NULL, call->out[0], false); }
template <class T> CnErr argmin_forward(CnCall *call) { return extremum<T>(call, NULL, call->out[0], true); }

/* Element i of the input's gradient: that of its column's result, where the result is it. */
template <class T> __global__ void scatter(int64_t count, Columns c, T *gx, const T *g, const int64_t *index) {
  int64_t i = thread_number();
  if (i >= count) return;
  int64_t row = i / c.inner, column = row / c.n * c.inner + i % c.inner;
  gx[i] = index[column] == row % c.n ? g[column] : T(0);
}

template <class T> CnErr scatter_gradient(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  int64_t count = count_of(&call->in_spec[0]);
  return launch(call, scatter<T>, blocks_for(count), THREADS, 0, count, columns_of(call, call->attr[0].i),
                data<T>(call->gin[0]), data<T>(call->gout[0]), data<int64_t>(call->out[1]));
}

template <class T> CnErr max_backward(CnCall *call) { return scatter_gradient<T>(call); }
template <class T> CnErr min_backward(CnCall *call) { return scatter_gradient<T>(call); }

} // namespace

KERNEL_FLOATS(max_forward)
KERNEL_FLOATS(max_backward)
KERNEL_FLOATS(min_forward)
KERNEL_FLOATS(min_backward)
KERNEL_FLOATS(argmax_forward)
KERNEL_FLOATS(argmin_forward)
