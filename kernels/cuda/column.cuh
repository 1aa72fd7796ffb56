/* column.cuh - work on the columns of an array (outer, n, inner), each the n elements at one (outer, inner).
**
** A column along memory (inner 1) belongs to a warp, whose lanes take neighbouring elements; others belong to a thread,
** neighbouring threads to neighbouring columns. Kernels are templates of LANES, WARP or 1; `launch_columns` chooses. */
#ifndef CN_CUDA_COLUMN_CUH
#define CN_CUDA_COLUMN_CUH

#include "kernels/cuda/kernel.cuh"

struct Columns {
  int64_t count, n, inner;
  /* The offset of a column's first element; the others follow at steps of inner. */
  __device__ int64_t begin(int64_t column) const { return column / inner * n * inner + column % inner; }
};

/* Those of a call's first input along dimension `dim`. */
inline Columns columns_of(const CnCall *call, int64_t dim) {
  const CnSpec *spec = &call->in_spec[0];
  int64_t n = spec->ndim == 0 ? 1 : spec->shape[dim];
  return { n > 0 ? count_of(spec) / n : 0, n, count_between(spec, static_cast<int>(dim) + 1, spec->ndim) };
}

/* The column of the running thread (which may lie behind the last one), and its place among those that share it. */
template <int LANES> __device__ inline int64_t column_number() { return thread_number() / LANES; }
template <int LANES> __device__ inline int column_lane() { return threadIdx.x % LANES; }

/* `by_warp` and `by_thread` are one kernel with LANES = WARP and 1; its first argument is the columns. */
template <class Kernel, class... A>
inline CnErr launch_columns(const CnCall *call, Kernel by_warp, Kernel by_thread, Columns c, A... args) {
  bool along = c.inner == 1;
  return launch(call, along ? by_warp : by_thread, blocks_for(c.count * (along ? WARP : 1)), THREADS, 0, c, args...);
}

/* What the lanes of a column make of it together. Lanes of columns behind the last take part with n = 0. */
struct LargerOf {
  template <class R> __device__ R operator()(R a, R b) const { return b > a ? b : a; }
};
template <int LANES, class T> __device__ inline T column_largest(const T *x, int64_t n, int64_t step) {
  T top = -HUGE_VAL;
  for (int64_t i = column_lane<LANES>(); i < n; i += LANES) top = LargerOf()(top, x[i * step]);
  return warp_reduce<LANES>(top, LargerOf());
}
template <int LANES, class T> __device__ inline double column_total(const T *x, int64_t n, int64_t step) {
  double total = 0;
  for (int64_t i = column_lane<LANES>(); i < n; i += LANES) total += static_cast<double>(x[i * step]);
  return warp_sum<LANES>(total);
}
/* The sum of e^(x - shift). */
template <int LANES, class T> __device__ inline double column_exp_total(const T *x, int64_t n, int64_t step, T shift) {
  double total = 0;
  for (int64_t i = column_lane<LANES>(); i < n; i += LANES) total += static_cast<double>(exp(x[i * step] - shift));
  return warp_sum<LANES>(total);
}

/* An element and where it stands in its column. */
template <class T> struct Element {
  T value;
  int64_t index; /* negative: none */
};

/* Whether a comes before b, largest first, equals by index; NaN counts as larger than any number. */
template <class T> __device__ inline bool comes_before(Element<T> a, Element<T> b) {
  if (a.index < 0 || b.index < 0) return b.index < 0 && a.index >= 0;
  bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan;
  if (a.value > b.value || a.value < b.value) return a.value > b.value;
  return a.index < b.index;
}

/* That of the lanes' elements which comes before the others', in each lane. */
template <int LANES, class T> __device__ inline Element<T> column_first(Element<T> e) {
  for (int offset = LANES / 2; offset > 0; offset /= 2) {
    Element<T> other = { __shfl_xor_sync(FULL, e.value, offset),
                         static_cast<int64_t>(__shfl_xor_sync(FULL, static_cast<long long>(e.index), offset)) };
    if (comes_before(other, e)) e = other;
  }
  return e;
}

#endif
