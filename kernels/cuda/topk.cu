/* topk.cu - the k largest along the last dimension, and the accuracy that asks for one of them. Kernels: topk_forward,
** accuracy_forward, f32 and f64.
**
** The order of elements (comes_before) is total, so the result is unique. A row belongs to a warp, which finds one after
** the other: k is small. */
#include "kernels/cuda/column.cuh"

namespace {

template <class T> __global__ void largest(int64_t rows, int64_t n, int64_t k, const T *x, int64_t *index) {
  int64_t row = column_number<WARP>();
  if (row >= rows) return; /* a whole warp */
  Element<T> last = { T(0), -1 };
  for (int64_t rank = 0; rank < k; rank++) {
    Element<T> best = { T(0), -1 };
    for (int64_t i = column_lane<WARP>(); i < n; i += WARP) {
      Element<T> e = { x[row * n + i], i };
      if ((rank == 0 || comes_before(last, e)) && comes_before(e, best)) best = e;
    }
    last = column_first<WARP>(best);
    if (column_lane<WARP>() == 0) index[row * k + rank] = last.index;
  }
}

/* One block; a warp counts what comes before the target of a row. */
template <class T>
__global__ void hit_rate(int64_t rows, int64_t n, int64_t k, const T *x, const int64_t *target, T *y, CnFaults faults) {
  int hits = 0;
  for (int64_t row = threadIdx.x / WARP; row < rows; row += blockDim.x / WARP) {
    int64_t t = target[row];
    bool known = t >= 0 && t < n;
    if (!known && column_lane<WARP>() == 0) report_fault(faults, row);
    int before = 0;
    for (int64_t i = column_lane<WARP>(); known && i < n; i += WARP)
      before += comes_before(Element<T>{ x[row * n + i], i }, Element<T>{ x[row * n + t], t });
    before = warp_sum(before);
    if (column_lane<WARP>() == 0) hits += known && before < k;
  }
  hits = block_sum(hits);
  if (threadIdx.x == 0) *y = static_cast<T>(static_cast<double>(hits) / static_cast<double>(rows));
}

template <class T> CnErr topk_forward(CnCall *call) {
  const CnSpec *spec = &call->in_spec[0];
  int64_t rows = count_between(spec, 0, spec->ndim - 1), n = spec->shape[spec->ndim - 1];
  return launch(call, largest<T>, blocks_for(rows * WARP), THREADS, 0, rows, n, call->attr[0].i, data<T>(call->in[0]),
                data<int64_t>(call->out[0]));
}

template <class T> CnErr accuracy_forward(CnCall *call) {
  int64_t rows = call->in_spec[0].shape[0], n = call->in_spec[0].shape[1];
  CnFaults faults;
  CN_TRY(cn_cuda_faults(&faults, call, "target", n));
  int threads = rows < WARP ? static_cast<int>(rows > 0 ? rows : 1) * WARP : WARP * WARP;
  return launch(call, hit_rate<T>, 1, threads, 0, rows, n, call->attr[0].i, data<T>(call->in[0]),
                data<int64_t>(call->in[1]), data<T>(call->out[0]), faults);
}

} // namespace

KERNEL_FLOATS(topk_forward)
KERNEL_FLOATS(accuracy_forward)
