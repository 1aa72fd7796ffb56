/* shape_block.c - shape rules of the blocks between two batch normalisations. Images are (N,H,W,C). */
#include "tensor/shape.h"

static const CnSpec *in(const CnCall *call, int i) { return &call->in_spec[i]; }

/* Mean and variance of the channels of an output, behind it. */
static void set_statistics_of(CnCall *call, int z) {
  int64_t channels = call->out_spec[z].shape[3];
  SET(call, z + 1, channels);
  SET(call, z + 2, channels);
  call->out_spec[z + 1].dtype = call->out_spec[z + 2].dtype = cn_dtype_real(call->dtype);
}
static void set_statistics(CnCall *call) { set_statistics_of(call, 0); }

/* Inputs i and i+1, scale and shift of so many channels: both or neither. */
static CnErr expect_factors(const CnCall *call, int i, int64_t channels) {
  CN_TRY(EXPECT(call, i, channels));
  CN_TRY(EXPECT(call, i + 1, channels));
  if (in(call, i)->ndim == in(call, i + 1)->ndim) return CN_OK;
  const CnOpInfo *info = cn_op_info(call->op->id);
  return cn_fail(CN_EUSAGE, "%s: %s and %s go together", call->op->name, info->input[i].name, info->input[i + 1].name);
}

CnErr cn_shape_separable_block(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1, -1, -1));
  const int64_t *x = in(call, 0)->shape, *depthwise = in(call, 1)->shape, *pointwise = in(call, 2)->shape;
  const CnAttr *a = call->attr;
  int64_t height = 0, width = 0;
  CN_TRY(EXPECT(call, 1, -1, -1, 1, x[3]));
  CN_TRY(EXPECT(call, 2, 1, 1, x[3], -1));
  CN_TRY(expect_factors(call, 3, x[3]));
  CN_TRY(cn_shape_slide(call, &height, x[1], depthwise[0], a[0].i, a[2].i, a[4].i));
  CN_TRY(cn_shape_slide(call, &width, x[2], depthwise[1], a[1].i, a[3].i, a[5].i));
  SET(call, 0, x[0], height, width, pointwise[3]);
  set_statistics(call);
  return CN_OK;
}

/* Images of one size, inputs `first` and those behind it; *channels: of all together. */
static CnErr expect_sources(const CnCall *call, int first, int64_t *channels) {
  const int64_t *x = in(call, first)->shape;
  *channels = 0;
  for (int i = first; i < call->nin; i++) {
    if (i == first) CN_TRY(EXPECT(call, i, -1, -1, -1, -1));
    else CN_TRY(EXPECT(call, i, x[0], x[1], x[2], -1));
    *channels += in(call, i)->shape[3];
  }
  return CN_OK;
}

CnErr cn_shape_pointwise_block(CnCall *call) {
  int64_t channels = 0;
  CN_TRY(expect_sources(call, 3, &channels));
  CN_TRY(EXPECT(call, 0, 1, 1, channels, -1));
  CN_TRY(expect_factors(call, 1, channels));
  const int64_t *x = in(call, 3)->shape;
  SET(call, 0, x[0], x[1], x[2], in(call, 0)->shape[3]);
  set_statistics(call);
  return CN_OK;
}

CnErr cn_shape_pointwise_blocks(CnCall *call) {
  int64_t channels = 0;
  CN_TRY(expect_sources(call, 5, &channels));
  CN_TRY(expect_factors(call, 3, channels));
  const int64_t *x = in(call, 5)->shape;
  call->nout = in(call, 2)->ndim == -1 ? 6 : 9;
  for (int i = 0; i < call->nout / 3; i++) {
    CN_TRY(EXPECT(call, i, 1, 1, channels, -1));
    SET(call, 3 * i, x[0], x[1], x[2], in(call, i)->shape[3]);
    set_statistics_of(call, 3 * i);
  }
  return CN_OK;
}

CnErr cn_shape_reduce_block(CnCall *call) {
  int64_t channels = 0;
  CN_TRY(expect_sources(call, 4, &channels));
  CN_TRY(EXPECT(call, 0, 1, 1, channels, -1));
  CN_TRY(EXPECT(call, 1, 1, 1, channels, in(call, 0)->shape[3]));
  CN_TRY(expect_factors(call, 2, channels));
  const int64_t *x = in(call, 4)->shape;
  SET(call, 0, x[0], (x[1] + 1) / 2, (x[2] + 1) / 2, in(call, 0)->shape[3] + in(call, 1)->shape[3]);
  set_statistics(call);
  return CN_OK;
}

CnErr cn_shape_conv_block(CnCall *call) {
  CN_TRY(cn_shape_conv2d(call));
  set_statistics(call);
  return CN_OK;
}

CnErr cn_shape_pool_block(CnCall *call) {
  CN_TRY(cn_shape_pool(call));
  CN_TRY(expect_factors(call, 1, in(call, 0)->shape[3]));
  set_statistics(call);
  if (call->attr[6].i) return cn_shape_argmax(call, 3);
  SET(call, 3, 0);
  call->out_spec[3].dtype = CN_U8;
  return CN_OK;
}

CnErr cn_shape_add_block(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1, -1, -1));
  const int64_t *x = in(call, 0)->shape;
  CN_TRY(EXPECT(call, 1, x[0], x[1], x[2], x[3]));
  for (int i = 2; i < 6; i++) CN_TRY(EXPECT(call, i, x[3]));
  for (int i = 6; i < 8; i++) CN_TRY(EXPECT(call, i, x[0]));
  SET(call, 0, x[0], x[1], x[2], x[3]);
  return CN_OK;
}

CnErr cn_shape_norm_factors(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1));
  int64_t channels = in(call, 0)->shape[0], count = call->attr[0].i;
  bool training = call->attr[1].i != 0;
  for (int i = 1; i < 6; i++) CN_TRY(EXPECT(call, i, channels));
  if (in(call, 4)->ndim != in(call, 5)->ndim)
    return cn_fail(CN_EUSAGE, "norm_factors: running_mean and running_var go together");
  if (!training && in(call, 4)->ndim == -1)
    return cn_fail(CN_EUSAGE, "norm_factors: without running statistics it can only run in training");
  if (training && count < 2)
    return cn_fail(CN_EUSAGE, "norm_factors: training needs more than one value for each channel, got %lld",
                   (long long)count);
  SET(call, 0, channels);
  SET(call, 1, channels);
  return CN_OK;
}
