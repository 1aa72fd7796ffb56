/* feature.c - making, writing and adding features. */
#include "nn/feature.h"

static bool enabled = true;

bool cn_blocks_enable(bool on) {
  bool before = enabled;
  enabled = on;
  return before;
}

bool cn_blocks_wanted(const CnFeature *f) {
  const CnDeviceModule *module = NULL;
  CnDtype dtype = f->x[0]->dtype;
  if (!enabled || !cn_dtype_is_float(dtype) || f->x[0]->ndim != 4) return false;
  if (cn_device_module(&module, cn_feature_device(f).kind) != CN_OK || module->kernels == NULL) return false;
  return module->kernels[CN_OP_separable_block].forward[dtype] != NULL;
}

CnFeature cn_feature_of(CnTensor *x) {
  return (CnFeature){ .count = 1, .x = { cn_tensor_ref(x) } };
}

CnFeature cn_feature_copy(const CnFeature *f) {
  CnTensor *small[] = { f->scale, f->shift, f->mean, f->var };
  for (int i = 0; i < f->count; i++) cn_tensor_ref(f->x[i]);
  for (int i = 0; i < 4; i++)
    if (small[i] != NULL) cn_tensor_ref(small[i]);
  return *f;
}

void cn_feature_clear(CnFeature *f) {
  for (int i = 0; i < f->count; i++) cn_tensor_unref(f->x[i]);
  cn_tensor_unref(f->scale);
  cn_tensor_unref(f->shift);
  cn_tensor_unref(f->mean);
  cn_tensor_unref(f->var);
  *f = (CnFeature){ 0 };
}

CnSpec cn_feature_spec(const CnFeature *f) {
  CnSpec spec = cn_tensor_spec(f->x[0]);
  for (int i = 1; i < f->count; i++) spec.shape[3] += f->x[i]->shape[3];
  return spec;
}

CnDevice cn_feature_device(const CnFeature *f) { return cn_tensor_device(f->x[0]); }

CnErr cn_feature_to(CnFeature *f, CnDtype dtype) {
  for (int i = 0; i < f->count; i++) {
    CnTensor *same;
    if (f->x[i]->dtype == dtype) continue;
    CN_TRY(cn_apply1(&same, CN_OP_cast, f->x[i], (CnAttr[]){ { dtype } }));
    cn_tensor_unref(f->x[i]);
    f->x[i] = same;
  }
  return CN_OK;
}

static CnErr write_as_it_is(const CnFeature *f, CnTensor **out) {
  CnAttr channels = { 3 };
  if (f->count > 1) return cn_apply(out, CN_OP_concat, f->x, f->count, &channels);
  if (f->scale == NULL) {
    *out = cn_tensor_ref(f->x[0]);
    return CN_OK;
  }
  CnTensor *in[8] = { f->x[0], NULL, f->scale, f->shift };
  return cn_apply(out, CN_OP_add_block, in, 8, NULL);
}

CnErr cn_feature_write(const CnFeature *f, CnTensor **out) {
  CnFeature real = cn_feature_copy(f);
  CnErr e = cn_feature_to(&real, cn_dtype_real(f->x[0]->dtype));
  if (e == CN_OK) e = write_as_it_is(&real, out);
  cn_feature_clear(&real);
  return e;
}

/* The sum in plain rows: each term written out, scaled by image, added. */
static CnErr add_written(CnTensor **out, const CnFeature *x, CnTensor *keep) {
  CnTensor *term, *factor, *sum;
  CN_TRY(cn_feature_write(x, &term));
  CnErr e = CN_OK;
  if (keep != NULL) {
    CnAttr shape[CN_MAX_ATTRS] = { { 4 }, { keep->shape[0] }, { 1 }, { 1 }, { 1 } };
    e = cn_apply1(&factor, CN_OP_reshape, keep, shape);
    if (e == CN_OK) {
      e = cn_apply2(&sum, CN_OP_mul, term, factor, NULL);
      cn_tensor_unref(factor);
    }
    cn_tensor_unref(term);
    CN_TRY(e);
    term = sum;
  }
  if (*out != NULL) {
    e = cn_apply2(&sum, CN_OP_add, *out, term, NULL);
    cn_tensor_unref(term);
    CN_TRY(e);
    cn_tensor_unref(*out);
    term = sum;
  }
  *out = term;
  return CN_OK;
}

CnErr cn_feature_add(CnFeature *out, const CnFeature *x, const CnFeature *y, CnTensor *x_keep, CnTensor *y_keep) {
  CnTensor *z = NULL;
  CnErr e;
  if (cn_blocks_wanted(x) && x->count == 1 && y->count <= 1) {
    CnTensor *in[8] = { x->x[0], y->x[0], x->scale, x->shift, y->scale, y->shift, x_keep, y_keep };
    e = cn_apply(&z, CN_OP_add_block, in, 8, NULL);
  } else {
    e = add_written(&z, x, x_keep);
    if (e == CN_OK && y->count > 0) e = add_written(&z, y, y_keep);
  }
  if (e == CN_OK) *out = (CnFeature){ .count = 1, .x = { z } };
  else cn_tensor_unref(z);
  return e;
}
