/* norm.c - batch normalisation.
**
** Slots, where there are any: weight, bias (affine), then running_mean, running_var (tracked). Without tracking the
** statistics are the batch's, in training and when scoring alike: a supernet has no others that mean anything. */
#include <inttypes.h>
#include <stdio.h>

#include "nn/layers.h"
#include "nn/weights.h"

static const CnModuleKind batch_norm_kind;

/* Whether a call normalises by the batch's statistics. */
static bool uses_batch(const CnModule *m) { return m->training || !((const CnBatchNormOptions *)m->data)->track; }

static CnErr norm_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  const CnBatchNormOptions *o = self->data;
  int running = o->affine ? 2 : 0; /* the slot of running_mean */
  CnTensor *in[5] = { x[0], NULL, NULL, NULL, NULL };
  (void)nx;
  if (o->affine) {
    in[1] = self->slots[0].tensor;
    in[2] = self->slots[1].tensor;
  }
  if (o->track) {
    in[3] = self->slots[running].tensor;
    in[4] = self->slots[running + 1].tensor;
  }
  CnAttr attr[CN_MAX_ATTRS] = { { .i = uses_batch(self) }, { .f = o->momentum }, { .f = o->eps } };
  return cn_apply(out, CN_OP_batch_norm, in, 5, attr);
}

bool cn_batch_norm_is(const CnModule *m) { return m->kind == &batch_norm_kind; }

bool cn_batch_norm_can_follow(const CnModule *m, const CnFeature *x) {
  if (m->kind != &batch_norm_kind || x->count != 1 || x->mean == NULL || x->scale != NULL) return false;
  const CnBatchNormOptions *o = m->data;
  CnSpec spec = cn_feature_spec(x);
  int64_t values = spec.shape[0] * spec.shape[1] * spec.shape[2];
  return spec.shape[3] == o->channels && (values > 1 || !uses_batch(m));
}

CnErr cn_batch_norm_follow(CnModule *m, CnFeature *x) {
  const CnBatchNormOptions *o = m->data;
  CnSpec spec = cn_feature_spec(x);
  CnTensor *in[6] = { x->mean, x->var }, *factors[CN_MAX_OUTPUTS];
  CnAttr attr[CN_MAX_ATTRS] = { { spec.shape[0] * spec.shape[1] * spec.shape[2] }, { uses_batch(m) },
                                { .f = o->momentum }, { .f = o->eps } };
  for (int i = 0; i < m->count; i++) in[i + (o->affine ? 2 : 4)] = m->slots[i].tensor;
  CN_TRY(cn_apply(factors, CN_OP_norm_factors, in, 6, attr));
  x->scale = factors[0];
  x->shift = factors[1];
  cn_tensor_unref(x->mean);
  cn_tensor_unref(x->var);
  x->mean = x->var = NULL;
  return CN_OK;
}

static void norm_describe(const CnModule *self, char *text, size_t size) {
  const CnBatchNormOptions *o = self->data;
  snprintf(text, size, "%" PRId64 "%s%s", o->channels, o->affine ? ", affine" : "", o->track ? ", tracked" : "");
}

static CnErr norm_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  const CnBatchNormOptions *o = self->data;
  (void)cost;
  return cn_check_image("batch_norm", x, o->channels);
}

static const CnModuleKind batch_norm_kind = {
  .name = "batch_norm",
  .forward = norm_forward,
  .destroy = cn_module_free_data,
  .describe = norm_describe,
  .cost = norm_cost,
};

CnErr cn_batch_norm_new(CnModule **out, CnBatchNormOptions o) {
  CnModule *m;
  if (o.eps == 0) o.eps = 1e-5;
  if (o.momentum == 0) o.momentum = 0.1;
  CN_TRY(cn_check_least("batch_norm", "channels", o.channels, 1));
  if (!(o.eps > 0) || !(o.momentum > 0 && o.momentum <= 1))
    return cn_fail(CN_EUSAGE, "batch_norm: eps must be above 0 and momentum in (0, 1], got %g and %g", o.eps,
                   o.momentum);
  CN_TRY(cn_module_new_copy(&m, &batch_norm_kind, &o, sizeof o));
  CnErr e = CN_OK;
  if (o.affine) e = cn_weight_constant(m, "weight", o.channels, 1, false);
  if (o.affine && e == CN_OK) e = cn_weight_constant(m, "bias", o.channels, 0, false);
  if (o.track && e == CN_OK) e = cn_weight_constant(m, "running_mean", o.channels, 0, true);
  if (o.track && e == CN_OK) e = cn_weight_constant(m, "running_var", o.channels, 1, true);
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}
