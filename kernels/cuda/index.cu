/* index.cu - entries chosen by index. Kernels: index_select, gather, embedding, _forward and _backward, f32 and f64.
**
** A wrong index gives NaN, and is an error later. A gradient adds up where an index comes twice: the thread that owns an
** element of it goes through the indices in order. */
#include "kernels/cuda/kernel.cuh"

namespace {

/* index_select, and embedding, which is index_select along the first of two dimensions: an array (outer, n, inner), and
** the selection (outer, count, inner). gather: for each inner element an index of its own. */
struct Choice {
  int64_t outer, n, count, inner;
  bool own; /* index is (outer, count, inner), not (count) */
  __device__ int64_t place(int64_t o, int64_t i, int64_t k) const { return own ? (o * count + i) * inner + k : i; }
};

template <class T> __global__ void take(Choice c, const int64_t *index, const T *x, T *y, CnFaults faults) {
  int64_t at = thread_number();
  if (at >= c.outer * c.count * c.inner) return;
  int64_t k = at % c.inner, i = at / c.inner % c.count, o = at / c.inner / c.count;
  int64_t chosen = index[c.place(o, i, k)];
  bool known = chosen >= 0 && chosen < c.n;
  if (!known) report_fault(faults, c.place(o, i, k));
  y[at] = known ? x[(o * c.n + chosen) * c.inner + k] : static_cast<T>(NAN);
}

template <class T> __global__ void add_up(Choice c, const int64_t *index, const T *gy, T *gx) {
  int64_t at = thread_number();
  if (at >= c.outer * c.n * c.inner) return;
  int64_t k = at % c.inner, entry = at / c.inner % c.n, o = at / c.inner / c.n;
  T sum = 0;
  for (int64_t i = 0; i < c.count; i++)
    if (index[c.place(o, i, k)] == entry) sum += gy[(o * c.count + i) * c.inner + k];
  gx[at] = sum;
}

template <class T> CnErr forward(CnCall *call, Choice c) {
  CnFaults faults;
  CN_TRY(cn_cuda_faults(&faults, call, "index", c.n));
  return launch(call, take<T>, blocks_for(c.outer * c.count * c.inner), THREADS, 0, c, data<int64_t>(call->in[1]),
                data<T>(call->in[0]), data<T>(call->out[0]), faults);
}

template <class T> CnErr backward(CnCall *call, Choice c) {
  if (!call->gin[0]) return CN_OK;
  return launch(call, add_up<T>, blocks_for(c.outer * c.n * c.inner), THREADS, 0, c, data<int64_t>(call->in[1]),
                data<T>(call->gout[0]), data<T>(call->gin[0]));
}

Choice selection(const CnCall *call, int dim) {
  const CnSpec *x = &call->in_spec[0];
  return { count_between(x, 0, dim), x->shape[dim], count_of(&call->in_spec[1]), count_between(x, dim + 1, x->ndim),
           false };
}

/* index has the shape of x but along `dim`. */
Choice gathering(const CnCall *call) {
  const CnSpec *x = &call->in_spec[0], *index = &call->in_spec[1];
  int dim = static_cast<int>(call->attr[0].i);
  if (x->ndim == 0) return { 1, 1, 1, 1, true };
  return { count_between(x, 0, dim), x->shape[dim], index->shape[dim], count_between(x, dim + 1, x->ndim), true };
}

template <class T> CnErr index_select_forward(CnCall *call) {
  return forward<T>(call, selection(call, static_cast<int>(call->attr[0].i)));
}
template <class T> CnErr index_select_backward(CnCall *call) {
  return backward<T>(call, selection(call, static_cast<int>(call->attr[0].i)));
}
template <class T> CnErr embedding_forward(CnCall *call) { return forward<T>(call, selection(call, 0)); }
template <class T> CnErr embedding_backward(CnCall *call) { return backward<T>(call, selection(call, 0)); }
template <class T> CnErr gather_forward(CnCall *call) { return forward<T>(call, gathering(call)); }
template <class T> CnErr gather_backward(CnCall *call) { return backward<T>(call, gathering(call)); }

} // namespace

KERNEL_FLOATS(index_select_forward)
KERNEL_FLOATS(index_select_backward)
KERNEL_FLOATS(embedding_forward)
KERNEL_FLOATS(embedding_backward)
KERNEL_FLOATS(gather_forward)
KERNEL_FLOATS(gather_backward)
