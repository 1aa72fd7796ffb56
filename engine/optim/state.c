/* state.c - an optimizer's state in and out by name: "NAME.momentum", or "NAME.mean", "NAME.square", "NAME.step".
**
** Loading keeps a copy of its own, so the tensors given may be changed or freed afterwards. */
#include <stdio.h>
#include <string.h>

#include "optim/internal.h"

#define NAME_SIZE 560 /* bytes of a name with its ending */

static const char *const state_name[2][2] = { [CN_SGD] = { "momentum", NULL }, [CN_ADAM] = { "mean", "square" } };

static CnErr visit_parameter(const CnOptimizer *o, const CnParameter *p, CnStateVisit visit, void *context) {
  char name[NAME_SIZE];
  for (int i = 0; i < 2; i++) {
    if (p->state[i] == NULL) continue;
    snprintf(name, sizeof name, "%s.%s", p->name, state_name[o->kind][i]);
    CN_TRY(visit(context, name, p->state[i]));
  }
  if (p->step == NULL) return CN_OK;
  snprintf(name, sizeof name, "%s.step", p->name);
  return visit(context, name, p->step);
}

CnErr cn_optimizer_visit(CnOptimizer *o, CnStateVisit visit, void *context) {
  for (int i = 0; i < o->count; i++) CN_TRY(visit_parameter(o, &o->parameter[i], visit, context));
  return CN_OK;
}

/* Replaces *state by a copy of `tensor`, which must be like `like`. */
static CnErr load_tensor(CnTensor **state, const CnTensor *like, const char *name, CnTensor *tensor) {
  char expected[160], came[160];
  CnTensor *copy;
  if (tensor->dtype != like->dtype || !cn_tensor_same_shape(tensor, like))
    return cn_fail(CN_EDATA, "optimizer state '%s': expected %s %s, got %s %s", name, cn_dtype_name(like->dtype),
                   cn_shape_text(like->ndim, like->shape, expected), cn_dtype_name(tensor->dtype),
                   cn_shape_text(tensor->ndim, tensor->shape, came));
  CN_TRY(cn_tensor_new(&copy, like->dtype, cn_tensor_device(like), like->ndim, like->shape));
  CnErr e = cn_tensor_copy(copy, tensor);
  if (e != CN_OK) {
    cn_tensor_unref(copy);
    return e;
  }
  cn_tensor_unref(*state);
  *state = copy;
  return CN_OK;
}

static CnErr load_step(CnParameter *p, const char *name, CnTensor *tensor) {
  CnTensor *zero;
  CN_TRY(cn_tensor_zeros(&zero, CN_I64, CN_DEVICE_CPU, 0, NULL));
  CnErr e = load_tensor(&p->step, zero, name, tensor);
  cn_tensor_unref(zero);
  return e;
}

CnErr cn_optimizer_load(CnOptimizer *o, const char *name, CnTensor *tensor) {
  const char *dot = strrchr(name, '.');
  size_t length = dot != NULL ? (size_t)(dot - name) : 0;
  for (int i = 0; i < o->count && length > 0; i++) {
    CnParameter *p = &o->parameter[i];
    if (strlen(p->name) != length || memcmp(p->name, name, length) != 0) continue;
    for (int k = 0; k < 2; k++) {
      const char *ending = state_name[o->kind][k];
      if (ending != NULL && strcmp(dot + 1, ending) == 0) return load_tensor(&p->state[k], p->tensor, name, tensor);
    }
    if (o->kind == CN_ADAM && strcmp(dot + 1, "step") == 0) return load_step(p, name, tensor);
  }
  return cn_fail(CN_EDATA, "optimizer state '%s': no parameter of this %s optimizer has such state", name,
                 o->kind == CN_ADAM ? "adam" : "sgd");
}
