/* optimizer.cu - steps in place over many parameters at once. Kernels: sgd_step_forward and adam_step_forward, of one
** parameter; cn_cuda_norm and cn_cuda_move, for whole optimizers.
**
** A list of tensors goes with the arguments of a launch, in which it must fit: a longer one takes several launches. Every
** block has a piece of one tensor, so that hundreds of small ones keep the GPU busy. What clips gradients is the norm
** where a kernel has left it: nobody waits for it. A step whose norm is not finite moves nothing. */
#include "kernels/cuda/kernel.cuh"

extern "C" {
#include "kernels/cuda/module.h"
}

namespace {

constexpr int PIECE = 4096;     /* elements that a block works on */
constexpr int ARGUMENTS = 3840; /* bytes of a list: of the 4 KiB that a launch's arguments may have */

struct Nothing {};

/* TENSORS arrays of T of equal length (parameter, gradient, …; NULL: there is none), with something of Each. */
template <class T, int TENSORS, class Each> struct List {
  static constexpr int MOST = ARGUMENTS / (8 * TENSORS + 12 + static_cast<int>(sizeof(Each)));
  T *at[TENSORS][MOST];
  int64_t count[MOST];
  unsigned begin[MOST + 1]; /* the first block of each; behind the last one, how many there are */
  Each each[MOST];
  int entries;

  List() : entries(0) { begin[0] = 0; }
  bool full() const { return entries == MOST; }
  void add(int64_t n, const Each &of) {
    count[entries] = n;
    each[entries] = of;
    begin[entries + 1] = begin[entries] + static_cast<unsigned>(ceil_div<int64_t>(n, PIECE));
    entries++;
  }
  unsigned blocks() const { return begin[entries]; }

  /* The entry of the running block. */
  __device__ int find() const {
    int low = 0, high = entries;
    while (high - low > 1) {
      int middle = (low + high) / 2;
      if (begin[middle] <= blockIdx.x) low = middle;
      else high = middle;
    }
    return low;
  }
  __device__ int64_t piece(int entry) const { return static_cast<int64_t>(blockIdx.x - begin[entry]) * PIECE; }
  __device__ int64_t piece_end(int entry) const {
    int64_t end = piece(entry) + PIECE;
    return end < count[entry] ? end : count[entry];
  }
};

int64_t elements(const CnTensor *t) {
  int64_t n = 1;
  for (int d = 0; d < t->ndim; d++) n *= t->shape[d];
  return n;
}

/* ---------------------------------------------------------------- the rules */

template <class T> T attribute(const CnCall *call, int i) { return static_cast<T>(call->attr[i].f); }

template <class T> struct Sgd {
  static constexpr int TENSORS = 3; /* the third: the buffer, there or not */
  typedef Nothing Each;
  T lr, momentum, weight_decay, grad_scale;
  bool nesterov;

  explicit Sgd(const CnCall *call)
      : lr(attribute<T>(call, 0)), momentum(attribute<T>(call, 1)), weight_decay(attribute<T>(call, 2)),
        grad_scale(attribute<T>(call, 4)), nesterov(call->attr[3].i != 0) {}
  static Each each(const CnCall *, int64_t) { return {}; }

  __device__ void operator()(const Each &, T scale, T &param, T grad, T *buffer, T *) const {
    T g = scale * grad + weight_decay * param;
    if (!buffer) {
      param -= lr * g;
      return;
    }
    *buffer = momentum * *buffer + g;
    param -= lr * (nesterov ? g + momentum * *buffer : *buffer);
  }
};

template <class T> struct Adam {
  static constexpr int TENSORS = 4;
  struct Each {
    T step_size, root_correction; /* root_correction: sqrt(1 - beta2^step) */
  };
  T beta1, rest1, beta2, rest2, eps, weight_decay, grad_scale; /* rest: 1 - beta, rounded once */

  explicit Adam(const CnCall *call)
      : beta1(attribute<T>(call, 1)), rest1(static_cast<T>(1 - call->attr[1].f)), beta2(attribute<T>(call, 2)),
        rest2(static_cast<T>(1 - call->attr[2].f)), eps(attribute<T>(call, 3)), weight_decay(attribute<T>(call, 4)),
        grad_scale(attribute<T>(call, 6)) {}
  static Each each(const CnCall *call, int64_t number) {
    double step = static_cast<double>(number);
    return { static_cast<T>(call->attr[0].f / (1 - pow(call->attr[1].f, step))),
             static_cast<T>(sqrt(1 - pow(call->attr[2].f, step))) };
  }

  __device__ void operator()(const Each &of, T scale, T &param, T grad, T *mean, T *square) const {
    T g = scale * grad + weight_decay * param;
    *mean = beta1 * *mean + rest1 * g;
    *square = beta2 * *square + rest2 * g * g;
    param -= of.step_size * *mean / (sqrt(*square) / of.root_correction + eps);
  }
};

/* param += grad: the row accumulate, of many. */
template <class T> struct AddUp {
  static constexpr int TENSORS = 2;
  typedef Nothing Each;
  T grad_scale;
  explicit AddUp(const CnCall *call) : grad_scale(attribute<T>(call, 0)) {}
  static Each each(const CnCall *, int64_t) { return {}; }
  __device__ void operator()(const Each &, T scale, T &param, T grad, T *, T *) const { param = param + scale * grad; }
};

/* ---------------------------------------------------------------- moving */

template <class T, class Rule> using Moves = List<T, Rule::TENSORS, typename Rule::Each>;

/* `norm`: of all gradients, which are scaled so that it is at most `clip` (0: any); NULL: they are scaled as the rule
** says. */
template <class T, class Rule>
__global__ void __launch_bounds__(THREADS) move_pieces(const __grid_constant__ Moves<T, Rule> list, const Rule rule,
                                                const double *norm, double clip) {
  typedef Pack<T, 4> Four;
  T scale = rule.grad_scale;
  if (norm) {
    double size = *norm;
    if (!(size < HUGE_VAL)) return;
    scale = static_cast<T>(clip > 0 ? fmin(1.0, clip / (size + 1e-6)) : 1.0);
  }
  int entry = list.find();
  const typename Rule::Each of = list.each[entry];
  T *param = list.at[0][entry], *grad = list.at[1][entry], *first = NULL, *second = NULL;
  if constexpr (Rule::TENSORS > 2) first = list.at[2][entry];
  if constexpr (Rule::TENSORS > 3) second = list.at[3][entry];
  bool packed = is_packed<4>(param) && is_packed<4>(grad) && is_packed<4>(first) && is_packed<4>(second);
  int64_t end = list.piece_end(entry);
  for (int64_t i = list.piece(entry) + 4 * static_cast<int64_t>(threadIdx.x); i < end; i += 4 * THREADS) {
    if (packed && i + 4 <= end) {
      Four p = *reinterpret_cast<Four *>(param + i), a = {}, b = {};
      const Four g = *reinterpret_cast<const Four *>(grad + i);
      if (first) a = *reinterpret_cast<Four *>(first + i);
      if (second) b = *reinterpret_cast<Four *>(second + i);
#pragma unroll
      for (int k = 0; k < 4; k++) rule(of, scale, p.at[k], g.at[k], first ? &a.at[k] : NULL, second ? &b.at[k] : NULL);
      *reinterpret_cast<Four *>(param + i) = p;
      if (first) *reinterpret_cast<Four *>(first + i) = a;
      if (second) *reinterpret_cast<Four *>(second + i) = b;
    } else {
      for (int64_t k = i; k < i + 4 && k < end; k++)
        rule(of, scale, param[k], grad[k], first ? first + k : NULL, second ? second + k : NULL);
    }
  }
}

template <class T, class Rule>
CnErr move_all(const CnCall *call, const CnMoved *moved, int count, const double *norm, double clip) {
  const Rule rule(call);
  for (int next = 0; next < count;) {
    Moves<T, Rule> list;
    for (; next < count && !list.full(); next++) {
      int64_t n = elements(moved[next].in[0]);
      if (n == 0) continue;
      for (int k = 0; k < Rule::TENSORS; k++) list.at[k][list.entries] = data<T>(moved[next].in[k]);
      list.add(n, Rule::each(call, moved[next].step));
    }
    CN_TRY(launch(call, move_pieces<T, Rule>, dim3(list.blocks()), THREADS, 0, list, rule, norm, clip));
  }
  return CN_OK;
}

template <class T> CnErr sgd_step_forward(CnCall *call) {
  const CnMoved one = { { call->in[0], call->in[1], call->in[2], NULL }, 0 };
  return move_all<T, Sgd<T>>(call, &one, 1, NULL, 0);
}

template <class T> CnErr adam_step_forward(CnCall *call) {
  const CnMoved one = { { call->in[0], call->in[1], call->in[2], call->in[3] }, call->attr[5].i };
  if (one.step < 1)
    return cn_cuda_fail(CN_EUSAGE, "adam_step: steps count from 1, got %lld", static_cast<long long>(one.step));
  return move_all<T, Adam<T>>(call, &one, 1, NULL, 0);
}

template <class T>
CnErr move_as(const CnCall *call, const CnMoved *moved, int count, const double *norm, double clip) {
  switch (call->op->id) {
    case CN_OP_sgd_step: return move_all<T, Sgd<T>>(call, moved, count, norm, clip);
    case CN_OP_adam_step: return move_all<T, Adam<T>>(call, moved, count, norm, clip);
    default: return move_all<T, AddUp<T>>(call, moved, count, norm, clip);
  }
}

/* ---------------------------------------------------------------- the norm */

template <class T> using Gradients = List<const T, 1, int>; /* each: the parameter's number, from 0 */

/* The sum of squares of each piece. One that is not finite is reported at its parameter's number, from 1. */
template <class T>
__global__ void __launch_bounds__(THREADS) square_pieces(const __grid_constant__ Gradients<T> list, double *partial,
                                                         bool reports, CnFaults faults) {
  typedef Pack<T, 4> Four;
  int entry = list.find();
  const T *x = list.at[0][entry];
  bool packed = is_packed<4>(x);
  int64_t end = list.piece_end(entry);
  double sum = 0;
  for (int64_t i = list.piece(entry) + 4 * static_cast<int64_t>(threadIdx.x); i < end; i += 4 * THREADS) {
    if (packed && i + 4 <= end) {
      const Four v = *reinterpret_cast<const Four *>(x + i);
#pragma unroll
      for (int k = 0; k < 4; k++) sum += static_cast<double>(v.at[k]) * static_cast<double>(v.at[k]);
    } else {
      for (int64_t k = i; k < i + 4 && k < end; k++) sum += static_cast<double>(x[k]) * static_cast<double>(x[k]);
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x > 0) return;
  partial[blockIdx.x] = sum;
  if (reports && !(sum < HUGE_VAL)) report_fault(faults, list.each[entry] + 1);
}

/* The root of the sum of all pieces, by one block; NaN where the loss, as f32 or f64, is there and not finite. That is
** reported at 0, a sum that overflows at `last`. */
__global__ void __launch_bounds__(THREADS) finish_norm(int64_t pieces, const double *partial, const float *loss32,
                                                       const double *loss64, double *norm, bool reports,
                                                       CnFaults faults, int64_t last) {
  double sum = 0, loss = loss32 ? static_cast<double>(*loss32) : loss64 ? *loss64 : 0;
  for (int64_t i = threadIdx.x; i < pieces; i += THREADS) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x > 0) return;
  bool lost = !(fabs(loss) < HUGE_VAL);
  *norm = lost ? static_cast<double>(NAN) : sqrt(sum);
  if (reports && lost) report_fault(faults, 0);
  else if (reports && !(sum < HUGE_VAL)) report_fault(faults, last);
}

/* Those of the gradients that are T, from partial[*pieces] on. */
template <class T>
CnErr square_all(const CnCall *call, CnTensor *const *gradient, int count, CnDtype dtype, double *partial,
                 int64_t *pieces, bool reports, CnFaults faults) {
  for (int next = 0; next < count;) {
    Gradients<T> list;
    for (; next < count && !list.full(); next++) {
      const CnTensor *g = gradient[next];
      if (g == NULL || g->dtype != dtype || elements(g) == 0) continue;
      list.at[0][list.entries] = data<const T>(g);
      list.add(elements(g), next);
    }
    CN_TRY(launch(call, square_pieces<T>, dim3(list.blocks()), THREADS, 0, list, partial + *pieces, reports, faults));
    *pieces += list.blocks();
  }
  return CN_OK;
}

template <class T> const T *loss_as(const CnTensor *loss, CnDtype dtype) {
  return loss != NULL && loss->dtype == dtype ? data<const T>(loss) : NULL;
}

} // namespace

KERNEL_FLOATS(sgd_step_forward)
KERNEL_FLOATS(adam_step_forward)

extern "C" CnErr cn_cuda_norm(const CnCall *call, CnTensor *norm, const CnTensor *loss, CnTensor *const *gradient,
                              int count, bool reports) {
  CN_TRY(cn_cuda_use(call->device.index));
  CnFaults faults = {};
  if (reports) CN_TRY(cn_cuda_faults_of_step(&faults, call, count + 1));
  int64_t most = 1, pieces = 0;
  for (int i = 0; i < count; i++)
    if (gradient[i] != NULL) most += ceil_div<int64_t>(elements(gradient[i]), PIECE);
  Scratch<double> partial(call);
  CN_TRY(partial.take(most));
  CN_TRY(square_all<float>(call, gradient, count, CN_F32, partial.data(), &pieces, reports, faults));
  CN_TRY(square_all<double>(call, gradient, count, CN_F64, partial.data(), &pieces, reports, faults));
  return launch(call, finish_norm, dim3(1), THREADS, 0, pieces, partial.data(), loss_as<float>(loss, CN_F32),
                loss_as<double>(loss, CN_F64), data<double>(norm), reports, faults, count + 1);
}

extern "C" CnErr cn_cuda_move(const CnCall *call, const CnMoved *moved, int count, const CnTensor *norm, double clip) {
  CN_TRY(cn_cuda_use(call->device.index));
  return call->dtype == CN_F64 ? move_as<double>(call, moved, count, data<double>(norm), clip)
                               : move_as<float>(call, moved, count, data<double>(norm), clip);
}
