/* lstm.cu - row lstm_gates: the elementwise part of an LSTM step.
**
** gates (N,4H) hold the inputs of the input, forget, cell and output gates; with i, f, o = sigmoid and g = tanh of
** them, next = f * c + i * g and h = o * tanh(next). The nonlinearities are computed again in backward, not kept. */
#include "kernels/cuda/kernel.cuh"

namespace {

template <class T> __device__ T sigmoid_of(T x) { return T(1) / (T(1) + exp(-x)); }

template <class T> struct Gates {
  T in, forget, cell, out;
  int64_t at; /* of the first in `gates` */
  __device__ Gates(const T *gates, int64_t i, int64_t size) : at(i / size * 4 * size + i % size) {
    in = sigmoid_of(gates[at]);
    forget = sigmoid_of(gates[at + size]);
    cell = tanh(gates[at + 2 * size]);
    out = sigmoid_of(gates[at + 3 * size]);
  }
};

template <class T>
__global__ void gates_forward(int64_t n, int64_t size, const T *gates, const T *c, T *h, T *next) {
  int64_t i = thread_number();
  if (i >= n) return;
  Gates<T> g(gates, i, size);
  T state = g.forget * c[i] + g.in * g.cell;
  next[i] = state;
  h[i] = g.out * tanh(state);
}

/* ggates, gc: NULL where they are not wanted. */
template <class T>
__global__ void gates_backward(int64_t n, int64_t size, const T *gates, const T *c, const T *next, const T *gh,
                               const T *gnext, T *ggates, T *gc) {
  int64_t i = thread_number();
  if (i >= n) return;
  Gates<T> g(gates, i, size);
  T t = tanh(next[i]), gout = gh ? gh[i] : T(0), gstate = gout * g.out * (T(1) - t * t) + (gnext ? gnext[i] : T(0));
  if (gc) gc[i] = gstate * g.forget;
  if (!ggates) return;
  T *to = ggates + g.at;
  to[0] = gstate * g.cell * g.in * (T(1) - g.in);
  to[size] = gstate * c[i] * g.forget * (T(1) - g.forget);
  to[2 * size] = gstate * g.in * (T(1) - g.cell * g.cell);
  to[3 * size] = gout * t * g.out * (T(1) - g.out);
}

template <class T> CnErr lstm_gates_forward(CnCall *call) {
  int64_t n = count_of(&call->in_spec[1]), size = call->in_spec[1].shape[1];
  return launch(call, gates_forward<T>, blocks_for(n), THREADS, 0, n, size, data<T>(call->in[0]), data<T>(call->in[1]),
                data<T>(call->out[0]), data<T>(call->out[1]));
}

template <class T> CnErr lstm_gates_backward(CnCall *call) {
  int64_t n = count_of(&call->in_spec[1]), size = call->in_spec[1].shape[1];
  return launch(call, gates_backward<T>, blocks_for(n), THREADS, 0, n, size, data<T>(call->in[0]), data<T>(call->in[1]),
                data<T>(call->out[1]), data<T>(call->gout[0]), data<T>(call->gout[1]), data<T>(call->gin[0]),
                data<T>(call->gin[1]));
}

} // namespace

KERNEL_FLOATS(lstm_gates_forward)
KERNEL_FLOATS(lstm_gates_backward)
