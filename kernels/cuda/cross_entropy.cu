/* cross_entropy.cu - mean over a batch of -log softmax(x)[target], with label smoothing. Kernels: cross_entropy_forward,
** cross_entropy_backward, f32 and f64.
**
** x is (N,K), target (N). With smoothing e the target's probability is 1-e and each other class's e/(K-1); K = 1 leaves
** nothing to smooth. A row belongs to a warp; one block does the whole loss, so that one launch is enough. A target that
** is no class makes the loss and its row's gradient NaN, and is an error later. */
#include "kernels/cuda/column.cuh"

namespace {

constexpr int ALL_WARPS = 1024; /* threads of the one block */

struct Loss {
  int64_t n, classes;
  double on, off; /* probabilities of the target and of every other class */
};

Loss loss_of(const CnCall *call) {
  int64_t n = call->in_spec[0].shape[0], classes = call->in_spec[0].shape[1];
  double smoothing = classes > 1 ? call->attr[0].f : 0;
  return { n, classes, 1 - smoothing, classes > 1 ? smoothing / static_cast<double>(classes - 1) : 0 };
}

/* The target of a row, or -1. */
__device__ int64_t target_of(const Loss &l, const int64_t *target, int64_t row, CnFaults faults) {
  int64_t t = target[row];
  if (t >= 0 && t < l.classes) return t;
  if (threadIdx.x % WARP == 0) report_fault(faults, row);
  return -1;
}

template <class T> __global__ void mean_loss(Loss l, const T *x, const int64_t *target, T *y, CnFaults faults) {
  double total = 0;
  for (int64_t row = threadIdx.x / WARP; row < l.n; row += blockDim.x / WARP) {
    const T *from = x + row * l.classes;
    int64_t t = target_of(l, target, row, faults);
    T top = column_largest<WARP>(from, l.classes, 1);
    double norm = log(column_exp_total<WARP>(from, l.classes, 1, top)) + static_cast<double>(top); /* log sum e^x */
    double of_target = norm - (t >= 0 ? static_cast<double>(from[t]) : NAN);
    double loss = l.on * of_target;
    if (l.off > 0) {
      double sum = column_total<WARP>(from, l.classes, 1);
      loss += l.off * (static_cast<double>(l.classes) * norm - sum - of_target);
    }
    if (threadIdx.x % WARP == 0) total += loss;
  }
  total = block_sum(total);
  if (threadIdx.x == 0) *y = static_cast<T>(total / static_cast<double>(l.n));
}

/* gx = (softmax(x) - target distribution) g / N */
template <class T> __global__ void loss_gradient(Loss l, const T *x, const int64_t *target, const T *gy, T *gx) {
  int64_t row = column_number<WARP>();
  if (row >= l.n) return; /* a whole warp */
  const T *from = x + row * l.classes;
  double g = static_cast<double>(*gy) / static_cast<double>(l.n);
  int64_t t = target[row];
  if (t < 0 || t >= l.classes) g = NAN;
  T top = column_largest<WARP>(from, l.classes, 1);
  double sum = column_exp_total<WARP>(from, l.classes, 1, top);
  T factor = static_cast<T>(g / sum), off = static_cast<T>(g * l.off);
  for (int64_t i = column_lane<WARP>(); i < l.classes; i += WARP) {
    T e = exp(from[i] - top);
    gx[row * l.classes + i] =
      i == t ? static_cast<T>((static_cast<double>(e) / sum - l.on) * g) : e * factor - off;
  }
}

template <class T> CnErr cross_entropy_forward(CnCall *call) {
  Loss l = loss_of(call);
  CnFaults faults;
  CN_TRY(cn_cuda_faults(&faults, call, "target", l.classes));
  int threads = l.n < ALL_WARPS / WARP ? static_cast<int>(l.n > 0 ? l.n : 1) * WARP : ALL_WARPS;
  return launch(call, mean_loss<T>, 1, threads, 0, l, data<T>(call->in[0]), data<int64_t>(call->in[1]),
                data<T>(call->out[0]), faults);
}

template <class T> CnErr cross_entropy_backward(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  Loss l = loss_of(call);
  return launch(call, loss_gradient<T>, blocks_for(l.n * WARP), THREADS, 0, l, data<T>(call->in[0]),
                data<int64_t>(call->in[1]), data<T>(call->gout[0]), data<T>(call->gin[0]));
}

} // namespace

KERNEL_FLOATS(cross_entropy_forward)
KERNEL_FLOATS(cross_entropy_backward)
