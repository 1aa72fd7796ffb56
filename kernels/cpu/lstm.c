/* lstm.c - row lstm_gates: the elementwise part of an LSTM step.
**
** gates (N,4H) hold the inputs of the input, forget, cell and output gates; with i, f, o = sigmoid and g = tanh of
** them, next = f * c + i * g and h = o * tanh(next). The nonlinearities are computed again in backward, not kept. */
#include "kernels/cpu/lanes.h"

static REAL sigmoid_of(REAL x) { return (REAL)(1 / (1 + exp(-(double)x))); }
static REAL tanh_of(REAL x) { return (REAL)tanh((double)x); }

CnErr FN(lstm_gates_forward)(CnCall *call) {
  int64_t rows = call->in_spec[1].shape[0], size = call->in_spec[1].shape[1];
  const REAL *gates = DATA(REAL, call->in[0]), *c = DATA(REAL, call->in[1]);
  REAL *h = DATA(REAL, call->out[0]), *next = DATA(REAL, call->out[1]);
  CN_PARALLEL_FOR_IF_WORTH(32 * rows * size) /* five exponentials each */
  for (int64_t n = 0; n < rows; n++) {
    const REAL *row = gates + n * 4 * size;
    for (int64_t j = 0; j < size; j++) {
      REAL in = sigmoid_of(row[j]), forget = sigmoid_of(row[size + j]), cell = tanh_of(row[2 * size + j]),
           out = sigmoid_of(row[3 * size + j]);
      REAL state = forget * c[n * size + j] + in * cell;
      next[n * size + j] = state;
      h[n * size + j] = out * tanh_of(state);
    }
  }
  return CN_OK;
}

CnErr FN(lstm_gates_backward)(CnCall *call) {
  int64_t rows = call->in_spec[1].shape[0], size = call->in_spec[1].shape[1];
  const REAL *gates = DATA(REAL, call->in[0]), *c = DATA(REAL, call->in[1]), *next = DATA(REAL, call->out[1]);
  const REAL *gh = call->gout[0] != NULL ? DATA(REAL, call->gout[0]) : NULL;
  const REAL *gnext = call->gout[1] != NULL ? DATA(REAL, call->gout[1]) : NULL;
  REAL *ggates = call->gin[0] != NULL ? DATA(REAL, call->gin[0]) : NULL;
  REAL *gc = call->gin[1] != NULL ? DATA(REAL, call->gin[1]) : NULL;
  CN_PARALLEL_FOR_IF_WORTH(32 * rows * size) /* five exponentials each */
  for (int64_t n = 0; n < rows; n++) {
    const REAL *row = gates + n * 4 * size;
    for (int64_t j = 0; j < size; j++) {
      int64_t at = n * size + j;
      REAL in = sigmoid_of(row[j]), forget = sigmoid_of(row[size + j]), cell = tanh_of(row[2 * size + j]),
           out = sigmoid_of(row[3 * size + j]);
      REAL t = tanh_of(next[at]), g = gh != NULL ? gh[at] : 0;
      REAL gstate = g * out * (1 - t * t) + (gnext != NULL ? gnext[at] : 0);
      if (gc != NULL) gc[at] = gstate * forget;
      if (ggates == NULL) continue;
      REAL *to = ggates + n * 4 * size;
      to[j] = gstate * cell * in * (1 - in);
      to[size + j] = gstate * c[at] * forget * (1 - forget);
      to[2 * size + j] = gstate * in * (1 - cell * cell);
      to[3 * size + j] = g * t * out * (1 - out);
    }
  }
  return CN_OK;
}
