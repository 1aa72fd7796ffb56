/* optimizer.cu - updates in place, four elements to a thread. Kernels: sgd_step_forward, adam_step_forward. */
#include "kernels/cuda/kernel.cuh"

namespace {

template <class T> struct Sgd {
  T lr, momentum, weight_decay, grad_scale;
  bool nesterov;
  /* state: the buffer; there or not. */
  __device__ void operator()(T &param, T grad, T *buffer, T *) const {
    T g = grad_scale * grad + weight_decay * param;
    if (!buffer) {
      param -= lr * g;
      return;
    }
    *buffer = momentum * *buffer + g;
    param -= lr * (nesterov ? g + momentum * *buffer : *buffer);
  }
};

template <class T> struct Adam {
  T step_size, beta1, rest1, beta2, rest2, eps, weight_decay, grad_scale; /* rest: 1 - beta, rounded once */
  T root_correction;                                                      /* sqrt(1 - beta2^step) */
  __device__ void operator()(T &param, T grad, T *mean, T *square) const {
    T g = grad_scale * grad + weight_decay * param;
    *mean = beta1 * *mean + rest1 * g;
    *square = beta2 * *square + rest2 * g * g;
    param -= step_size * *mean / (sqrt(*square) / root_correction + eps);
  }
};

/* `first` and `second` are what the rule keeps for each element; NULL where it does not. */
template <class T, class F>
__global__ void update(int64_t n, bool packed, T *param, const T *grad, T *first, T *second, F rule) {
  typedef Pack<T, 4> Four;
  int64_t i = 4 * thread_number();
  if (packed && i + 4 <= n) {
    Four p = *reinterpret_cast<Four *>(param + i), a = {}, b = {};
    const Four g = *reinterpret_cast<const Four *>(grad + i);
    if (first) a = *reinterpret_cast<Four *>(first + i);
    if (second) b = *reinterpret_cast<Four *>(second + i);
#pragma unroll
    for (int k = 0; k < 4; k++) rule(p.at[k], g.at[k], first ? &a.at[k] : NULL, second ? &b.at[k] : NULL);
    *reinterpret_cast<Four *>(param + i) = p;
    if (first) *reinterpret_cast<Four *>(first + i) = a;
    if (second) *reinterpret_cast<Four *>(second + i) = b;
  } else {
    for (int64_t end = i + 4 < n ? i + 4 : n; i < end; i++)
      rule(param[i], grad[i], first ? first + i : NULL, second ? second + i : NULL);
  }
}

template <class T, class F> CnErr run(const CnCall *call, T *first, T *second, F rule) {
  int64_t n = count_of(&call->in_spec[0]);
  T *param = data<T>(call->in[0]);
  const T *grad = data<T>(call->in[1]);
  bool packed = is_packed<4>(param) && is_packed<4>(grad) && is_packed<4>(first) && is_packed<4>(second);
  return launch(call, update<T, F>, blocks_for(ceil_div<int64_t>(n, 4)), THREADS, 0, n, packed, param, grad, first,
                second, rule);
}

template <class T> T attribute(const CnCall *call, int i) { return static_cast<T>(call->attr[i].f); }

template <class T> CnErr sgd_step_forward(CnCall *call) {
  Sgd<T> rule = { attribute<T>(call, 0), attribute<T>(call, 1), attribute<T>(call, 2), attribute<T>(call, 4),
                  call->attr[3].i != 0 };
  return run(call, call->nin > 2 ? data<T>(call->in[2]) : NULL, static_cast<T *>(NULL), rule);
}

template <class T> CnErr adam_step_forward(CnCall *call) {
  double lr = call->attr[0].f, beta1 = call->attr[1].f, beta2 = call->attr[2].f;
  double step = static_cast<double>(call->attr[5].i);
  if (step < 1)
    return cn_cuda_fail(CN_EUSAGE, "adam_step: steps count from 1, got %lld", static_cast<long long>(call->attr[5].i));
  Adam<T> rule = { static_cast<T>(lr / (1 - pow(beta1, step))), static_cast<T>(beta1), static_cast<T>(1 - beta1),
                   static_cast<T>(beta2), static_cast<T>(1 - beta2), attribute<T>(call, 3), attribute<T>(call, 4),
                   attribute<T>(call, 6), static_cast<T>(sqrt(1 - pow(beta2, step))) };
  return run(call, data<T>(call->in[2]), data<T>(call->in[3]), rule);
}

} // namespace

KERNEL_FLOATS(sgd_step_forward)
KERNEL_FLOATS(adam_step_forward)
