/* optimizer.c - updates in place. Kernels: sgd_step_forward, adam_step_forward, f32 and f64.
**
** The formulas are PyTorch's (torch.optim.SGD without dampening; torch.optim.Adam with L2 weight decay). */
#include "pieces.h"
#include "real_math.h"

typedef struct Sgd {
  REAL *param, *buffer; /* buffer: NULL without momentum */
  const REAL *grad;
  REAL lr, momentum, weight_decay, grad_scale;
  bool nesterov;
} Sgd;

static void sgd(void *context, int64_t begin, int64_t end) {
  const Sgd *s = context;
  REAL *restrict param = s->param, *restrict buffer = s->buffer;
  const REAL *restrict grad = s->grad;
  REAL lr = s->lr, momentum = s->momentum, weight_decay = s->weight_decay, grad_scale = s->grad_scale;
  if (!buffer) {
    for (int64_t i = begin; i < end; i++) param[i] -= lr * (grad_scale * grad[i] + weight_decay * param[i]);
    return;
  }
  REAL ahead = s->nesterov ? 1 : 0, along = s->nesterov ? momentum : 1;
  for (int64_t i = begin; i < end; i++) {
    REAL g = grad_scale * grad[i] + weight_decay * param[i];
    buffer[i] = momentum * buffer[i] + g;
    param[i] -= lr * (ahead * g + along * buffer[i]);
  }
}

CnErr FN(sgd_step_forward)(CnCall *call) {
  Sgd s = { .param = DATA(REAL, call->in[0]), .buffer = call->in[2] ? DATA(REAL, call->in[2]) : NULL,
            .grad = DATA(REAL, call->in[1]), .lr = (REAL)call->attr[0].f, .momentum = (REAL)call->attr[1].f,
            .weight_decay = (REAL)call->attr[2].f, .nesterov = call->attr[3].i != 0,
            .grad_scale = (REAL)call->attr[4].f };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, sgd, &s);
  return CN_OK;
}

typedef struct Adam {
  REAL *param, *mean, *square;
  const REAL *grad;
  REAL step_size, beta1, rest1, beta2, rest2, eps, weight_decay, grad_scale; /* rest: 1 - beta, rounded once */
  REAL root_correction; /* sqrt(1 - beta2^step) */
} Adam;

static void adam(void *context, int64_t begin, int64_t end) {
  const Adam a = *(const Adam *)context;
  REAL *restrict param = a.param, *restrict mean = a.mean, *restrict square = a.square;
  const REAL *restrict grad = a.grad;
  for (int64_t i = begin; i < end; i++) {
    REAL g = a.grad_scale * grad[i] + a.weight_decay * param[i];
    mean[i] = a.beta1 * mean[i] + a.rest1 * g;
    square[i] = a.beta2 * square[i] + a.rest2 * g * g;
    param[i] -= a.step_size * mean[i] / (M(sqrt)(square[i]) / a.root_correction + a.eps);
  }
}

CnErr FN(adam_step_forward)(CnCall *call) {
  double lr = call->attr[0].f, beta1 = call->attr[1].f, beta2 = call->attr[2].f, step = (double)call->attr[5].i;
  if (step < 1) return cn_fail(CN_EUSAGE, "adam_step: steps count from 1, got %lld", (long long)call->attr[5].i);
  Adam a = { .param = DATA(REAL, call->in[0]), .mean = DATA(REAL, call->in[2]), .square = DATA(REAL, call->in[3]),
             .grad = DATA(REAL, call->in[1]), .step_size = (REAL)(lr / (1 - pow(beta1, step))),
             .beta1 = (REAL)beta1, .rest1 = (REAL)(1 - beta1), .beta2 = (REAL)beta2, .rest2 = (REAL)(1 - beta2),
             .eps = (REAL)call->attr[3].f, .weight_decay = (REAL)call->attr[4].f,
             .grad_scale = (REAL)call->attr[6].f, .root_correction = (REAL)sqrt(1 - pow(beta2, step)) };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, adam, &a);
  return CN_OK;
}
