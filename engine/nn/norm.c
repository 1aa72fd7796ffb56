/* norm.c - batch normalisation.
**
** Slots, where there are any: weight, bias (affine), then running_mean, running_var (tracked). Without tracking the
** statistics are the batch's, in training and when scoring alike: a supernet has no others that mean anything. */
#include <inttypes.h>
#include <stdio.h>

#include "nn/layers.h"
#include "nn/weights.h"

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
  CnAttr attr[CN_MAX_ATTRS] = { { .i = self->training || !o->track }, { .f = o->momentum }, { .f = o->eps } };
  return cn_apply(out, CN_OP_batch_norm, in, 5, attr);
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
