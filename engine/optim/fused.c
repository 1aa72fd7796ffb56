/* fused.c - an optimizer's step on a GPU: a handful of launches for all parameters, and no waiting.
**
** The norm of the gradients stays where it is computed; what moves the parameters reads it there. Watchers are told of
** one row for each launch list: sgd_step or adam_step. */
#include "base/memory.h"
#include "device/cuda.h"
#include "optim/internal.h"
#include "tensor/watch.h"

/* A call that a watcher can be told of, and what the row's kernel does not get: first, so that one is the other. */
typedef struct Fused {
  CnCall call;
  const CnGpu *gpu;
  CnTensor *norm;
  CnTensor *const *gradient; /* for the norm: of all parameters */
  const CnTensor *loss;
  bool reports;
  const CnMoved *moved; /* for moving */
  double clip;
  int count; /* of gradients, or moved */
} Fused;

static bool same_place(const CnTensor *a, const CnTensor *b) {
  return a->dtype == b->dtype && cn_device_equal(cn_tensor_device(a), cn_tensor_device(b));
}

bool cn_fused_can(const CnOptimizer *o, CnDevice *device) {
  int seen = 0;
  for (int i = 0; i < o->count; i++) {
    const CnParameter *p = &o->parameter[i];
    if (p->tensor->grad == NULL) continue;
    if (seen++ == 0) *device = cn_tensor_device(p->tensor);
    if (!cn_device_equal(*device, cn_tensor_device(p->tensor)) || !same_place(p->tensor, p->tensor->grad) ||
        !cn_tensor_is_contiguous(p->tensor) || !cn_tensor_is_contiguous(p->tensor->grad))
      return false;
    for (int k = 0; k < 2; k++)
      if (p->state[k] != NULL && !same_place(p->tensor, p->state[k])) return false;
  }
  return seen > 0 && device->kind == CN_CUDA;
}

static CnOpId row_of(const CnOptimizer *o) { return o->kind == CN_SGD ? CN_OP_sgd_step : CN_OP_adam_step; }

static Fused begin(const CnOptimizer *o, const CnGpu *gpu, CnDevice device) {
  Fused f = { .call = { .op = cn_op(row_of(o)), .device = device, .dtype = CN_F32 }, .gpu = gpu };
  for (int i = 0; i < CN_MAX_INPUTS; i++) f.call.in_spec[i].ndim = -1;
  return f;
}

/* ---- the norm ---- */

static CnErr run_norm(CnCall *call) {
  const Fused *f = (const Fused *)call;
  return f->gpu->norm(call, f->norm, f->loss, f->gradient, f->count, f->reports);
}

CnErr cn_fused_norm(CnTensor **out, const CnOptimizer *o, CnDevice device, const CnTensor *loss, bool reports) {
  const CnGpu *gpu;
  CN_TRY(cn_gpu(&gpu));
  CnTensor **gradient = cn_alloc((size_t)o->count * sizeof *gradient), *norm;
  if (gradient == NULL) return CN_EMEMORY;
  for (int i = 0; i < o->count; i++) gradient[i] = o->parameter[i].tensor->grad;
  CnErr e = cn_tensor_new(&norm, CN_F64, device, 0, NULL);
  if (e == CN_OK) {
    Fused f = begin(o, gpu, device);
    f.norm = norm;
    f.gradient = gradient;
    f.count = o->count;
    f.loss = loss;
    f.reports = reports;
    e = cn_run_watched(run_norm, &f.call);
    if (e == CN_OK) *out = norm;
    else cn_tensor_unref(norm);
  }
  cn_free(gradient);
  return e;
}

/* ---- moving ---- */

static CnErr run_move(CnCall *call) {
  const Fused *f = (const Fused *)call;
  return f->gpu->move(call, f->moved, f->count, f->norm, f->clip);
}

/* What a parameter's row gets; counts Adam's step. */
static CnMoved moved_of(const CnOptimizer *o, CnParameter *p) {
  CnMoved m = { { p->tensor, p->tensor->grad, p->state[0], p->state[1] }, 0 };
  if (o->kind == CN_SGD && o->group[p->group].momentum == 0) m.in[2] = NULL;
  if (p->step != NULL) m.step = ++*(int64_t *)cn_tensor_data(p->step);
  for (int k = 0; k < 4; k++)
    if (m.in[k] != NULL) m.in[k]->storage->version++;
  return m;
}

/* Moves the parameters of one group and type; `list` has room for all. */
static CnErr move_some(CnOptimizer *o, Fused *f, CnMoved *list, int group, CnDtype dtype) {
  f->count = 0;
  for (int i = 0; i < o->count; i++) {
    CnParameter *p = &o->parameter[i];
    if (p->tensor->grad != NULL && p->group == group && p->tensor->dtype == dtype) list[f->count++] = moved_of(o, p);
  }
  if (f->count == 0) return CN_OK;
  f->moved = list;
  f->call.dtype = dtype;
  f->call.nin = 4;
  for (int k = 0; k < 4; k++) { /* a watcher sees the first one's */
    f->call.in[k] = list[0].in[k];
    if (list[0].in[k] != NULL) f->call.in_spec[k] = cn_tensor_spec(list[0].in[k]);
  }
  cn_step_attributes(f->call.attr, o, &o->group[group], 1, 1);
  return cn_run_watched(run_move, &f->call);
}

CnErr cn_fused_move(CnOptimizer *o, CnDevice device, CnTensor *norm, double clip) {
  const CnGpu *gpu;
  CN_TRY(cn_gpu(&gpu));
  CnMoved *list = cn_alloc((size_t)o->count * sizeof *list);
  if (list == NULL) return CN_EMEMORY;
  Fused f = begin(o, gpu, device);
  f.norm = norm;
  f.clip = clip;
  CnErr e = CN_OK;
  for (int group = 0; group < o->groups && e == CN_OK; group++) {
    e = move_some(o, &f, list, group, CN_F32);
    if (e == CN_OK) e = move_some(o, &f, list, group, CN_F64);
  }
  cn_free(list);
  return e;
}
