/* auxiliary.c - the auxiliary head: features.{2,3,5,6} and classifier, as published.
**
** For CIFAR-10 it is made for 8x8 maps, which it brings to 1x1; for ImageNet for 14x14, and there is no BN after its
** second convolution. The published CIFAR-10 head flattens its 1x1 map; the mean over the map is the same there, and
** defined for images of other sizes too. */
#include "nas/backbone.h"

enum { FEATURES, CLASSIFIER }; /* slots */

static CnErr auxiliary_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  CnTensor *map, *features;
  (void)nx;
  CN_TRY(cn_module_forward1(self->slots[FEATURES].child, &map, x[0]));
  CnErr e = cn_apply1(&features, CN_OP_global_avg_pool2d, map, NULL);
  cn_tensor_unref(map);
  CN_TRY(e);
  e = cn_module_forward1(self->slots[CLASSIFIER].child, out, features);
  cn_tensor_unref(features);
  return e;
}

static CnErr auxiliary_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  CN_TRY(cn_module_cost(self->slots[FEATURES].child, cost, x));
  *x = (CnSpec){ .dtype = x->dtype, .ndim = 2, .shape = { x->shape[0], x->shape[3] } };
  return cn_module_cost(self->slots[CLASSIFIER].child, cost, x);
}

static const CnModuleKind auxiliary_kind = {
  .name = "auxiliary_head",
  .forward = auxiliary_forward,
  .cost = auxiliary_cost,
};

static CnErr features_new(CnModule **out, int64_t channels, bool imagenet, CnRng *rng) {
  CnConv2dOptions narrow = { .inp = channels, .out = 128 };
  CnConv2dOptions wide = { .inp = 128, .out = 768, .kernel = { 2, 2 } };
  CnBatchNormOptions norm_narrow = { .channels = 128, .affine = true, .track = true };
  CnBatchNormOptions norm_wide = { .channels = 768, .affine = true, .track = true };
  CnBuilder b = cn_build_begin();
  cn_build_add(&b, cn_relu_new(&b.next));
  cn_build_add(&b, cn_avg_pool_new(&b.next, 5, imagenet ? 2 : 3, 0));
  cn_build_add(&b, cn_conv2d_new(&b.next, narrow, rng));
  cn_build_add(&b, cn_batch_norm_new(&b.next, norm_narrow));
  cn_build_add(&b, cn_relu_new(&b.next));
  cn_build_add(&b, cn_conv2d_new(&b.next, wide, rng));
  if (!imagenet) cn_build_add(&b, cn_batch_norm_new(&b.next, norm_wide));
  cn_build_add(&b, cn_relu_new(&b.next));
  return cn_build_sequential(out, &b);
}

CnErr cn_auxiliary_new(CnModule **out, int64_t channels, int64_t classes, bool imagenet, CnRng *rng) {
  CnModule *m, *part;
  CN_TRY(cn_module_new(&m, &auxiliary_kind, NULL));
  CnErr e = cn_module_adopt(m, "features", features_new(&part, channels, imagenet, rng), &part);
  if (e == CN_OK) e = cn_module_adopt(m, "classifier", cn_linear_new(&part, 768, classes, true, rng), &part);
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}
