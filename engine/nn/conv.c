/* conv.c - the convolution layer, and the factorized reduction made of two of them.
**
** Slots of a convolution: 0 is the weight, 1 the bias where there is one. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "nn/layers.h"
#include "nn/weights.h"

/* ---- conv2d ---- */

/* In the slots of rows conv2d and conv_block. */
static void set_attributes(const CnConv2dOptions *o, bool relu, CnAttr attr[CN_MAX_ATTRS]) {
  for (int d = 0; d < 2; d++) {
    attr[d].i = o->stride[d];
    attr[2 + d].i = o->padding[d];
    attr[4 + d].i = o->dilation[d];
  }
  attr[6].i = o->groups;
  attr[7].i = relu;
}

static CnErr convolve(const CnModule *m, CnTensor **out, CnTensor *x, bool relu) {
  const CnConv2dOptions *o = m->data;
  CnTensor *in[3] = { x, m->slots[0].tensor, o->bias ? m->slots[1].tensor : NULL };
  CnAttr attr[CN_MAX_ATTRS];
  set_attributes(o, relu, attr);
  return cn_apply(out, CN_OP_conv2d, in, 3, attr);
}

static CnErr conv_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  (void)nx;
  return convolve(self, out, x[0], false);
}

CnErr cn_conv2d_forward_relu(CnModule *m, CnTensor **out, CnTensor *x) {
  return convolve(m, out, x, true);
}

static void conv_describe(const CnModule *self, char *text, size_t size) {
  const CnConv2dOptions *o = self->data;
  int n = snprintf(text, size, "%" PRId64 "x%" PRId64 ", %" PRId64 " -> %" PRId64, o->kernel[0], o->kernel[1], o->inp,
                   o->out);
  if (o->stride[0] != 1 || o->stride[1] != 1)
    n += snprintf(text + n, size - (size_t)n, ", stride %" PRId64 "x%" PRId64, o->stride[0], o->stride[1]);
  if (o->dilation[0] != 1 || o->dilation[1] != 1)
    n += snprintf(text + n, size - (size_t)n, ", dilation %" PRId64 "x%" PRId64, o->dilation[0], o->dilation[1]);
  if (o->groups != 1) snprintf(text + n, size - (size_t)n, ", groups %" PRId64, o->groups);
}

static CnErr conv_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  const CnConv2dOptions *o = self->data;
  CN_TRY(cn_check_image("conv2d", x, o->inp));
  for (int d = 0; d < 2; d++) {
    int64_t window = o->dilation[d] * (o->kernel[d] - 1) + 1;
    int64_t room = x->shape[1 + d] + 2 * o->padding[d] - window;
    if (room < 0)
      return cn_fail(CN_EUSAGE, "conv2d: a window of %" PRId64 " does not fit into %" PRId64 " padded by %" PRId64,
                     window, x->shape[1 + d], o->padding[d]);
    x->shape[1 + d] = room / o->stride[d] + 1;
  }
  x->shape[3] = o->out;
  int64_t weights = o->kernel[0] * o->kernel[1] * (o->inp / o->groups) * o->out;
  cost->conv_macs += x->shape[0] * x->shape[1] * x->shape[2] * weights;
  return CN_OK;
}

static const CnModuleKind conv2d_kind = {
  .name = "conv2d",
  .forward = conv_forward,
  .destroy = cn_module_free_data,
  .describe = conv_describe,
  .cost = conv_cost,
};

bool cn_conv2d_is(const CnModule *m) {
  return m->kind == &conv2d_kind;
}

/* A result with its statistics, from a block's three outputs; takes them over. */
static void set_block(CnFeature *out, CnTensor *const y[CN_MAX_OUTPUTS]) {
  *out = (CnFeature){ .count = 1, .x = { y[0] }, .mean = y[1], .var = y[2] };
}

bool cn_conv2d_has_bias(const CnModule *m) { return ((const CnConv2dOptions *)m->data)->bias; }

static bool takes(const CnConv2dOptions *o, const CnFeature *x) {
  CnSpec spec = cn_feature_spec(x);
  return spec.ndim == 4 && spec.shape[3] == o->inp;
}

static bool is_plain_1x1(const CnConv2dOptions *o) {
  return o->kernel[0] == 1 && o->kernel[1] == 1 && o->stride[0] == 1 && o->stride[1] == 1 && o->padding[0] == 0 &&
         o->padding[1] == 0 && o->groups == 1 && !o->bias;
}

bool cn_conv2d_is_pointwise(const CnModule *m, const CnFeature *x) {
  return cn_conv2d_is(m) && is_plain_1x1(m->data) && takes(m->data, x);
}

CnErr cn_conv2d_pass_pointwise(CnModule *m, bool relu, CnFeature *out, const CnFeature *x) {
  CnTensor *in[3 + CN_MAX_JOINED] = { m->slots[0].tensor, x->scale, x->shift }, *y[CN_MAX_OUTPUTS];
  CnAttr attr[CN_MAX_ATTRS] = { { relu } };
  for (int i = 0; i < x->count; i++) in[3 + i] = x->x[i];
  CN_TRY(cn_apply(y, CN_OP_pointwise_block, in, 3 + x->count, attr));
  set_block(out, y);
  return CN_OK;
}

CnErr cn_conv2d_pass_pointwise_together(CnModule *const *m, int n, bool relu, CnFeature *out, const CnFeature *x) {
  CnTensor *in[5 + CN_MAX_JOINED] = { [3] = x->scale, x->shift }, *y[CN_MAX_OUTPUTS];
  CnAttr attr[CN_MAX_ATTRS] = { { relu } };
  for (int i = 0; i < n; i++) in[i] = m[i]->slots[0].tensor;
  for (int i = 0; i < x->count; i++) in[5 + i] = x->x[i];
  CN_TRY(cn_apply(y, CN_OP_pointwise_blocks, in, 5 + x->count, attr));
  for (int i = 0; i < n; i++) set_block(&out[i], y + 3 * i);
  return CN_OK;
}

CnErr cn_conv2d_pass_any(CnModule *m, bool relu, CnFeature *out, const CnFeature *x) {
  CnTensor *in[2] = { NULL, m->slots[0].tensor }, *y[CN_MAX_OUTPUTS];
  CnAttr attr[CN_MAX_ATTRS];
  set_attributes(m->data, relu, attr);
  CN_TRY(cn_feature_write(x, &in[0]));
  CnErr e = cn_apply(y, CN_OP_conv_block, in, 2, attr);
  cn_tensor_unref(in[0]);
  if (e == CN_OK) set_block(out, y);
  return e;
}

bool cn_conv2d_is_separable(const CnModule *depthwise, const CnModule *pointwise, const CnFeature *x) {
  if (!cn_conv2d_is(depthwise) || !cn_conv2d_is(pointwise) || x->count != 1) return false;
  const CnConv2dOptions *d = depthwise->data, *p = pointwise->data;
  CnSpec spec = cn_feature_spec(x);
  CnCost none = { 0 };
  return d->groups == d->inp && d->inp == d->out && !d->bias && is_plain_1x1(p) && p->inp == d->out && takes(d, x) &&
         conv_cost(depthwise, &none, &spec) == CN_OK;
}

CnErr cn_conv2d_pass_separable(CnModule *depthwise, CnModule *pointwise, bool relu, CnFeature *out,
                               const CnFeature *x) {
  const CnConv2dOptions *o = depthwise->data;
  CnTensor *in[5] = { x->x[0], depthwise->slots[0].tensor, pointwise->slots[0].tensor, x->scale, x->shift };
  CnTensor *y[CN_MAX_OUTPUTS];
  CnAttr attr[CN_MAX_ATTRS] = { { o->stride[0] },  { o->stride[1] },   { o->padding[0] }, { o->padding[1] },
                                { o->dilation[0] }, { o->dilation[1] }, { relu } };
  CN_TRY(cn_apply(y, CN_OP_separable_block, in, 5, attr));
  set_block(out, y);
  return CN_OK;
}

static CnErr conv_check(CnConv2dOptions *o) {
  for (int d = 0; d < 2; d++) {
    if (o->kernel[d] == 0) o->kernel[d] = 1;
    if (o->stride[d] == 0) o->stride[d] = 1;
    if (o->dilation[d] == 0) o->dilation[d] = 1;
    CN_TRY(cn_check_least("conv2d", "kernel", o->kernel[d], 1));
    CN_TRY(cn_check_least("conv2d", "stride", o->stride[d], 1));
    CN_TRY(cn_check_least("conv2d", "dilation", o->dilation[d], 1));
    CN_TRY(cn_check_least("conv2d", "padding", o->padding[d], 0));
  }
  if (o->groups == 0) o->groups = 1;
  CN_TRY(cn_check_least("conv2d", "inp", o->inp, 1));
  CN_TRY(cn_check_least("conv2d", "out", o->out, 1));
  CN_TRY(cn_check_least("conv2d", "groups", o->groups, 1));
  if (o->inp % o->groups == 0 && o->out % o->groups == 0) return CN_OK;
  return cn_fail(CN_EUSAGE, "conv2d: groups must divide inp and out, got %" PRId64 " with %" PRId64 " -> %" PRId64,
                 o->groups, o->inp, o->out);
}

CnErr cn_conv2d_new(CnModule **out, CnConv2dOptions o, CnRng *rng) {
  CnModule *m;
  CN_TRY(conv_check(&o));
  CN_TRY(cn_module_new_copy(&m, &conv2d_kind, &o, sizeof o));
  int64_t shape[4] = { o.kernel[0], o.kernel[1], o.inp / o.groups, o.out };
  double bound = 1 / sqrt((double)(shape[0] * shape[1] * shape[2]));
  CnErr e = cn_weight_uniform(m, "weight", 4, shape, bound, rng);
  if (e == CN_OK && o.bias) e = cn_weight_uniform(m, "bias", 1, &o.out, bound, rng);
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}

/* ---- factorized reduce ---- */

enum { CONV_1, CONV_2, BN }; /* its slots */

/* One grid of every second pixel from `offset` (height, width), then ReLU (which only has to see the pixels that are
** left), then one of the two convolutions. */
static CnErr reduce_grid(CnModule *conv, CnTensor **out, CnTensor *x, const int64_t offset[2]) {
  CnTensor *grid, *positive;
  CnAttr attr[CN_MAX_ATTRS] = { { 2 }, { offset[0] }, { offset[1] } };
  CN_TRY(cn_apply1(&grid, CN_OP_subsample2d, x, attr));
  CnErr e = cn_apply1(&positive, CN_OP_relu, grid, NULL);
  cn_tensor_unref(grid);
  CN_TRY(e);
  e = cn_module_forward1(conv, out, positive);
  cn_tensor_unref(positive);
  return e;
}

/* All of it but the normalisation in one block, which follows as scale and shift. */
static CnErr reduce_pass(CnModule *self, CnFeature *out, const CnFeature *x) {
  CnModule *conv_1 = self->slots[CONV_1].child, *conv_2 = self->slots[CONV_2].child, *bn = self->slots[BN].child;
  if (!cn_blocks_wanted(x) || !takes(conv_1->data, x)) {
    CnTensor *written, *y;
    CN_TRY(cn_feature_write(x, &written));
    CnErr e = cn_module_forward1(self, &y, written);
    cn_tensor_unref(written);
    if (e == CN_OK) *out = (CnFeature){ .count = 1, .x = { y } };
    return e;
  }
  CnTensor *in[4 + CN_MAX_JOINED] = { conv_1->slots[0].tensor, conv_2->slots[0].tensor, x->scale, x->shift };
  CnTensor *y[CN_MAX_OUTPUTS];
  for (int i = 0; i < x->count; i++) in[4 + i] = x->x[i];
  CN_TRY(cn_apply(y, CN_OP_reduce_block, in, 4 + x->count, (CnAttr[CN_MAX_ATTRS]){ { true } }));
  set_block(out, y);
  CnErr e = cn_batch_norm_follow(bn, out);
  if (e != CN_OK) cn_feature_clear(out);
  return e;
}

/* An even size gives the grids from pixels 0 and 1. An odd one is padded by one zero in front, so they are from -1 (the
** padding) and 0. */
static CnErr reduce_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  int64_t first[2], second[2];
  CnTensor *half[2], *both;
  (void)nx;
  if (x[0]->ndim != 4) {
    CnSpec spec = cn_tensor_spec(x[0]);
    return cn_check_image("factorized_reduce", &spec, 0);
  }
  for (int d = 0; d < 2; d++) {
    first[d] = -(x[0]->shape[1 + d] % 2);
    second[d] = first[d] + 1;
  }
  CN_TRY(reduce_grid(self->slots[CONV_1].child, &half[0], x[0], first));
  CnErr e = reduce_grid(self->slots[CONV_2].child, &half[1], x[0], second);
  if (e == CN_OK) {
    CnAttr channels = { 3 };
    e = cn_apply(&both, CN_OP_concat, half, 2, &channels);
    cn_tensor_unref(half[1]);
  }
  cn_tensor_unref(half[0]);
  CN_TRY(e);
  e = cn_module_forward1(self->slots[BN].child, out, both);
  cn_tensor_unref(both);
  return e;
}

static CnErr reduce_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  CN_TRY(cn_check_image("factorized_reduce", x, 0));
  x->shape[1] = (x->shape[1] + 1) / 2;
  x->shape[2] = (x->shape[2] + 1) / 2;
  CnSpec half = *x;
  CN_TRY(cn_module_cost(self->slots[CONV_1].child, cost, &half));
  CN_TRY(cn_module_cost(self->slots[CONV_2].child, cost, x));
  x->shape[3] += half.shape[3];
  return cn_module_cost(self->slots[BN].child, cost, x);
}

static const CnModuleKind factorized_reduce_kind = {
  .name = "factorized_reduce",
  .forward = reduce_forward,
  .cost = reduce_cost,
  .pass = reduce_pass,
};

CnErr cn_factorized_reduce_new(CnModule **out, int64_t inp, int64_t outp, bool affine, bool track, CnRng *rng) {
  CnModule *m, *child;
  if (outp % 2 != 0)
    return cn_fail(CN_EUSAGE, "factorized_reduce: out must be even (half from each grid), got %" PRId64, outp);
  CN_TRY(cn_check_least("factorized_reduce", "out", outp, 2));
  CnConv2dOptions half = { .inp = inp, .out = outp / 2 };
  CnBatchNormOptions bn = { .channels = outp, .affine = affine, .track = track };
  CN_TRY(cn_module_new(&m, &factorized_reduce_kind, NULL));
  CnErr e = cn_module_adopt(m, "conv_1", cn_conv2d_new(&child, half, rng), &child);
  if (e == CN_OK) e = cn_module_adopt(m, "conv_2", cn_conv2d_new(&child, half, rng), &child);
  if (e == CN_OK) e = cn_module_adopt(m, "bn", cn_batch_norm_new(&child, bn), &child);
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}
