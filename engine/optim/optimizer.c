/* optimizer.c - groups of parameters, and the step over those that have a gradient.
**
** A step checks and allocates everything before it moves anything: a failure leaves parameters and state as they were.
** Norms are summed over parameters in the order they were added. */
#include "optim/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dist/communicator.h"
#include "dist/gradients.h"
#include "optim/internal.h"
#include "tensor/autograd.h"
#include "tensor/op.h"

static const char *const kind_name[] = { [CN_SGD] = "sgd", [CN_ADAM] = "adam" };

CnErr cn_optimizer_new(CnOptimizer **out, CnOptimizerKind kind) {
  CnOptimizer *o = cn_alloc_zeroed(sizeof *o);
  if (o == NULL) return CN_EMEMORY;
  o->kind = kind;
  *out = o;
  return CN_OK;
}

void cn_optimizer_free(CnOptimizer *o) {
  if (o == NULL) return;
  cn_gradients_free(o->gradients);
  for (int i = 0; i < o->count; i++) {
    CnParameter *p = &o->parameter[i];
    cn_free(p->name);
    cn_tensor_unref(p->tensor);
    cn_tensor_unref(p->state[0]);
    cn_tensor_unref(p->state[1]);
    cn_tensor_unref(p->step);
  }
  cn_free(o->parameter);
  cn_free(o->group);
  cn_free(o);
}

/* ---- groups and parameters ---- */

/* Room for one more entry of `size` bytes in *array, which holds `count`. */
static CnErr reserve(void **array, int count, int *capacity, size_t size) {
  if (count < *capacity) return CN_OK;
  int wanted = *capacity > 0 ? 2 * *capacity : 8;
  void *larger = cn_alloc((size_t)wanted * size);
  if (larger == NULL) return CN_EMEMORY;
  if (count > 0) memcpy(larger, *array, (size_t)count * size);
  cn_free(*array);
  *array = larger;
  *capacity = wanted;
  return CN_OK;
}

CnGroup cn_group_defaults(CnOptimizerKind kind, double lr) {
  CnGroup g = { .lr = lr };
  if (kind == CN_ADAM) {
    g.beta1 = 0.9;
    g.beta2 = 0.999;
    g.eps = 1e-8;
  }
  return g;
}

CnErr cn_group_check(CnOptimizerKind kind, const CnGroup *g) {
  const char *who = kind_name[kind];
  if (!(g->lr >= 0 && isfinite(g->lr))) return cn_fail(CN_EUSAGE, "%s: lr must be 0 or more, got %g", who, g->lr);
  if (!(g->weight_decay >= 0 && isfinite(g->weight_decay)))
    return cn_fail(CN_EUSAGE, "%s: weight_decay must be 0 or more, got %g", who, g->weight_decay);
  if (kind == CN_SGD) {
    if (!(g->momentum >= 0 && g->momentum < 1))
      return cn_fail(CN_EUSAGE, "sgd: momentum must be in [0, 1), got %g", g->momentum);
    if (g->nesterov && g->momentum == 0) return cn_fail(CN_EUSAGE, "sgd: nesterov needs a momentum above 0");
    return CN_OK;
  }
  if (!(g->beta1 >= 0 && g->beta1 < 1)) return cn_fail(CN_EUSAGE, "adam: beta1 must be in [0, 1), got %g", g->beta1);
  if (!(g->beta2 >= 0 && g->beta2 < 1)) return cn_fail(CN_EUSAGE, "adam: beta2 must be in [0, 1), got %g", g->beta2);
  if (!(g->eps > 0 && isfinite(g->eps))) return cn_fail(CN_EUSAGE, "adam: eps must be above 0, got %g", g->eps);
  return CN_OK;
}

CnErr cn_optimizer_add_group(CnOptimizer *o, CnGroup group, int *index) {
  CN_TRY(cn_group_check(o->kind, &group));
  CN_TRY(reserve((void **)&o->group, o->groups, &o->group_capacity, sizeof group));
  o->group[o->groups] = group;
  *index = o->groups++;
  return CN_OK;
}

CnErr cn_optimizer_add(CnOptimizer *o, int group, const char *name, CnTensor *parameter) {
  const char *who = kind_name[o->kind];
  if (group < 0 || group >= o->groups)
    return cn_fail(CN_EUSAGE, "%s: parameter '%s': there is no group %d", who, name, group);
  if (!cn_dtype_is_real(parameter->dtype) || !cn_tensor_is_contiguous(parameter))
    return cn_fail(CN_EUSAGE, "%s: parameter '%s' must be a contiguous f32 or f64 tensor, got %s", who, name,
                   cn_dtype_name(parameter->dtype));
  if (!parameter->requires_grad || parameter->node != NULL)
    return cn_fail(CN_EUSAGE, "%s: parameter '%s' must be a leaf that requires a gradient", who, name);
  for (int i = 0; i < o->count; i++) {
    if (o->parameter[i].tensor == parameter)
      return cn_fail(CN_EUSAGE, "%s: parameter '%s' was given already, as '%s'", who, name, o->parameter[i].name);
    if (strcmp(o->parameter[i].name, name) == 0)
      return cn_fail(CN_EUSAGE, "%s: two parameters have the name '%s'", who, name);
  }
  CN_TRY(reserve((void **)&o->parameter, o->count, &o->capacity, sizeof *o->parameter));
  char *copy = cn_strdup(name);
  if (copy == NULL) return CN_EMEMORY;
  o->parameter[o->count++] = (CnParameter){ .name = copy, .group = group, .tensor = cn_tensor_ref(parameter) };
  return CN_OK;
}

CnOptimizerKind cn_optimizer_kind(const CnOptimizer *o) {
  return o->kind;
}

int cn_optimizer_groups(const CnOptimizer *o) {
  return o->groups;
}

CnGroup *cn_optimizer_group(CnOptimizer *o, int index) {
  return &o->group[index];
}

void cn_optimizer_zero_grad(CnOptimizer *o) {
  for (int i = 0; i < o->count; i++) {
    cn_tensor_unref(o->parameter[i].tensor->grad);
    o->parameter[i].tensor->grad = NULL;
  }
}

/* ---- gradients ---- */

CnErr cn_optimizer_share(CnOptimizer *o) {
  const CnWorld *world;
  CN_TRY(cn_world(&world));
  o->shared = world->size > 1;
  return CN_OK;
}

/* The parameters as leaves; all of them have been added by the first step. */
static CnErr make_gradients(CnOptimizer *o) {
  if (o->gradients != NULL) return CN_OK;
  CnTensor **leaf = cn_alloc((size_t)o->count * sizeof *leaf);
  if (leaf == NULL) return CN_EMEMORY;
  for (int i = 0; i < o->count; i++) leaf[i] = o->parameter[i].tensor;
  CnErr e = cn_gradients_new(&o->gradients, leaf, o->count);
  cn_free(leaf);
  return e;
}

static CnErr backward(CnOptimizer *o, CnTensor *loss) {
  if (!o->shared) return cn_backward(loss, NULL, false);
  CN_TRY(make_gradients(o));
  return cn_gradients_backward(o->gradients, loss);
}

CnErr cn_optimizer_backward(CnOptimizer *o, CnTensor *loss) {
  CnErr e = backward(o, loss);
  if (e != CN_OK) cn_optimizer_zero_grad(o);
  return e;
}

CnErr cn_optimizer_average(CnOptimizer *o) {
  if (!o->shared) return CN_OK;
  CN_TRY(make_gradients(o));
  return cn_gradients_average(o->gradients);
}

/* ---- the norm ---- */

/* total += sum of squares of `gradient`; `total` is an f64 scalar on the gradient's device, made at first use. */
static CnErr add_squares(CnTensor **total, CnTensor *gradient) {
  CnTensor *squares;
  CN_TRY(cn_apply1(&squares, CN_OP_squared_norm, gradient, NULL));
  if (*total == NULL) {
    *total = squares;
    return CN_OK;
  }
  CnTensor *in[2] = { *total, squares };
  CnErr e = cn_apply(NULL, CN_OP_accumulate, in, 2, NULL);
  cn_tensor_unref(squares);
  return e;
}

/* The value is read once, at the end: on a GPU reading waits. */
static CnErr sum_squares(CnOptimizer *o, double *out) {
  CnTensor *total = NULL;
  CnErr e = CN_OK;
  for (int i = 0; i < o->count && e == CN_OK; i++)
    if (o->parameter[i].tensor->grad != NULL) e = add_squares(&total, o->parameter[i].tensor->grad);
  *out = 0;
  if (e == CN_OK && total != NULL) e = cn_tensor_item(out, total);
  cn_tensor_unref(total);
  return e;
}

/* Names the first gradient that is not finite. */
static CnErr fail_not_finite(CnOptimizer *o) {
  for (int i = 0; i < o->count; i++) {
    const CnParameter *p = &o->parameter[i];
    CnTensor *squares;
    double value;
    if (p->tensor->grad == NULL) continue;
    CN_TRY(cn_apply1(&squares, CN_OP_squared_norm, p->tensor->grad, NULL));
    CnErr e = cn_tensor_item(&value, squares);
    cn_tensor_unref(squares);
    CN_TRY(e);
    if (!isfinite(value))
      return cn_fail(CN_ENOTFINITE, "%s: the gradient of '%s' is not finite; no parameter was moved",
                     kind_name[o->kind], p->name);
  }
  return cn_fail(CN_ENOTFINITE, "%s: the gradients' norm overflows; no parameter was moved", kind_name[o->kind]);
}

/* Runs `work` with recording off. */
static CnErr unrecorded(CnErr (*work)(CnOptimizer *o, double *value), CnOptimizer *o, double *value) {
  bool recorded = cn_grad_enable(false);
  CnErr e = work(o, value);
  cn_grad_enable(recorded);
  return e;
}

/* The norm; where a GPU has it, that too in *there (else NULL). */
static CnErr find_norm(CnOptimizer *o, double *norm, CnTensor **there) {
  CnDevice device;
  *there = NULL;
  if (!cn_fused_can(o, &device)) {
    CN_TRY(unrecorded(sum_squares, o, norm));
    *norm = sqrt(*norm);
    return CN_OK;
  }
  CN_TRY(cn_fused_norm(there, o, device, NULL, false));
  CnErr e = cn_tensor_item(norm, *there);
  if (e == CN_OK) return CN_OK;
  cn_tensor_unref(*there);
  *there = NULL;
  return e;
}

CnErr cn_optimizer_grad_norm(CnOptimizer *o, double *norm) {
  CnTensor *there;
  CN_TRY(find_norm(o, norm, &there));
  cn_tensor_unref(there);
  return CN_OK;
}

/* ---- the step ---- */

/* The state a parameter's next step needs, as zeros. */
static CnErr prepare(CnOptimizer *o, CnParameter *p) {
  int needed = o->kind == CN_ADAM ? 2 : o->group[p->group].momentum != 0 ? 1 : 0;
  const CnTensor *t = p->tensor;
  for (int i = 0; i < needed; i++)
    if (p->state[i] == NULL)
      CN_TRY(cn_tensor_zeros(&p->state[i], t->dtype, cn_tensor_device(t), t->ndim, t->shape));
  if (o->kind == CN_ADAM && p->step == NULL) CN_TRY(cn_tensor_zeros(&p->step, CN_I64, CN_DEVICE_CPU, 0, NULL));
  return CN_OK;
}

static CnErr prepare_all(CnOptimizer *o) {
  for (int i = 0; i < o->count; i++)
    if (o->parameter[i].tensor->grad != NULL) CN_TRY(prepare(o, &o->parameter[i]));
  return CN_OK;
}

void cn_step_attributes(CnAttr *attr, const CnOptimizer *o, const CnGroup *g, int64_t step, double scale) {
  const CnAttr sgd[] = { { .f = g->lr }, { .f = g->momentum }, { .f = g->weight_decay }, { .i = g->nesterov },
                         { .f = scale } };
  const CnAttr adam[] = { { .f = g->lr }, { .f = g->beta1 }, { .f = g->beta2 }, { .f = g->eps },
                          { .f = g->weight_decay }, { .i = step }, { .f = scale } };
  if (o->kind == CN_SGD) memcpy(attr, sgd, sizeof sgd);
  else memcpy(attr, adam, sizeof adam);
}

static CnErr move(CnOptimizer *o, CnParameter *p, double scale) {
  const CnGroup *g = &o->group[p->group];
  CnTensor *in[4] = { p->tensor, p->tensor->grad, p->state[0], p->state[1] };
  CnAttr attr[CN_MAX_ATTRS] = { { .i = 0 } };
  int64_t *step = p->step != NULL ? cn_tensor_data(p->step) : NULL;
  cn_step_attributes(attr, o, g, step != NULL ? *step + 1 : 0, scale);
  if (o->kind == CN_SGD) {
    if (g->momentum == 0) in[2] = NULL;
    return cn_apply(NULL, CN_OP_sgd_step, in, 3, attr);
  }
  CN_TRY(cn_apply(NULL, CN_OP_adam_step, in, 4, attr));
  ++*step;
  return CN_OK;
}

static CnErr move_all(CnOptimizer *o, double *scale) {
  for (int i = 0; i < o->count; i++)
    if (o->parameter[i].tensor->grad != NULL) CN_TRY(move(o, &o->parameter[i], *scale));
  return CN_OK;
}

static CnErr refuse_not_finite(CnOptimizer *o, double *value) {
  (void)value;
  return fail_not_finite(o);
}

static CnErr check_groups(const CnOptimizer *o) {
  for (int i = 0; i < o->groups; i++) CN_TRY(cn_group_check(o->kind, &o->group[i]));
  return CN_OK;
}

/* Moves by gradients of this norm, which is `there` too where they are on a GPU. */
static CnErr step_by(CnOptimizer *o, double clip, double norm, CnTensor *there) {
  if (!isfinite(norm)) return unrecorded(refuse_not_finite, o, &norm);
  CN_TRY(prepare_all(o));
  if (there != NULL) return cn_fused_move(o, cn_tensor_device(there), there, clip);
  double scale = clip > 0 ? fmin(1, clip / (norm + 1e-6)) : 1;
  return unrecorded(move_all, o, &scale);
}

CnErr cn_optimizer_step(CnOptimizer *o, double clip, double *norm_out) {
  double norm;
  CnTensor *there;
  CN_TRY(check_groups(o));
  CN_TRY(find_norm(o, &norm, &there));
  CnErr e = step_by(o, clip, norm, there);
  cn_tensor_unref(there);
  CN_TRY(e);
  cn_optimizer_zero_grad(o);
  if (norm_out != NULL) *norm_out = norm;
  return CN_OK;
}

CnErr cn_optimizer_step_late(CnOptimizer *o, const CnTensor *loss, double clip, CnTensor **norm_out) {
  CnDevice device;
  CnTensor *norm = NULL;
  if (!cn_fused_can(o, &device)) {
    double value;
    CN_TRY(cn_tensor_zeros(&norm, CN_F64, CN_DEVICE_CPU, 0, NULL));
    CnErr e = cn_optimizer_step(o, clip, &value);
    if (e == CN_OK) *(double *)cn_tensor_data(norm) = value, *norm_out = norm;
    else cn_tensor_unref(norm);
    return e;
  }
  if (loss != NULL && !cn_device_equal(cn_tensor_device(loss), device)) loss = NULL;
  CN_TRY(check_groups(o));
  CN_TRY(prepare_all(o));
  CN_TRY(cn_fused_norm(&norm, o, device, loss, true));
  CnErr e = cn_fused_move(o, device, norm, clip);
  if (e != CN_OK) {
    cn_tensor_unref(norm);
    return e;
  }
  cn_optimizer_zero_grad(o);
  *norm_out = norm;
  return CN_OK;
}
