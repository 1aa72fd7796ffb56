/* operations.c - every operation of the literature that cells are made of, by name.
**
** All keep the number of channels and, at stride 1, the image's size; padding is half the (dilated) window. No
** convolution has a bias. What is built has the structure and the names of published checkpoints: chains have their
** layers under "op", ReLUs count. */
#include "nas/operations.h"

#include <string.h>

typedef struct Operation {
  const char *name;
  CnErr (*build)(CnModule **out, const CnOpSettings *s, int64_t kernel);
  int64_t kernel;
} Operation;

static CnBatchNormOptions norm(const CnOpSettings *s) {
  return (CnBatchNormOptions){ .channels = s->channels, .affine = s->affine, .track = s->track };
}

CnErr cn_relu_conv_bn_new(CnModule **out, int64_t inp, int64_t kernel, const CnOpSettings *s) {
  CnConv2dOptions conv = { .inp = inp, .out = s->channels, .kernel = { kernel, kernel },
                           .stride = { s->stride, s->stride }, .padding = { kernel / 2, kernel / 2 } };
  CnBuilder b = cn_build_begin();
  cn_build_add(&b, cn_relu_new(&b.next));
  cn_build_add(&b, cn_conv2d_new(&b.next, conv, s->rng));
  cn_build_add(&b, cn_batch_norm_new(&b.next, norm(s)));
  return cn_build_chain(out, &b);
}

static CnErr build_conv(CnModule **out, const CnOpSettings *s, int64_t kernel) {
  return cn_relu_conv_bn_new(out, s->channels, kernel, s);
}

/* ReLU, depthwise convolution, 1x1 convolution, BN. */
static void add_separable(CnBuilder *b, const CnOpSettings *s, int64_t kernel, int64_t stride, int64_t dilation) {
  int64_t c = s->channels, pad = dilation * (kernel - 1) / 2;
  CnConv2dOptions depthwise = { .inp = c, .out = c, .kernel = { kernel, kernel }, .stride = { stride, stride },
                                .padding = { pad, pad }, .dilation = { dilation, dilation }, .groups = c };
  CnConv2dOptions pointwise = { .inp = c, .out = c };
  cn_build_add(b, cn_relu_new(&b->next));
  cn_build_add(b, cn_conv2d_new(&b->next, depthwise, s->rng));
  cn_build_add(b, cn_conv2d_new(&b->next, pointwise, s->rng));
  cn_build_add(b, cn_batch_norm_new(&b->next, norm(s)));
}

static CnErr build_sep_conv(CnModule **out, const CnOpSettings *s, int64_t kernel) {
  CnBuilder b = cn_build_begin();
  add_separable(&b, s, kernel, s->stride, 1);
  add_separable(&b, s, kernel, 1, 1);
  return cn_build_chain(out, &b);
}

static CnErr build_dil_conv(CnModule **out, const CnOpSettings *s, int64_t kernel) {
  CnBuilder b = cn_build_begin();
  add_separable(&b, s, kernel, s->stride, 2);
  return cn_build_chain(out, &b);
}

/* ReLU, 1 x kernel with the stride along the width, kernel x 1 with the stride along the height, BN. Not under "op". */
static CnErr build_cross_conv(CnModule **out, const CnOpSettings *s, int64_t kernel) {
  int64_t c = s->channels;
  CnConv2dOptions row = { .inp = c, .out = c, .kernel = { 1, kernel }, .stride = { 1, s->stride },
                          .padding = { 0, kernel / 2 } };
  CnConv2dOptions column = { .inp = c, .out = c, .kernel = { kernel, 1 }, .stride = { s->stride, 1 },
                             .padding = { kernel / 2, 0 } };
  CnBuilder b = cn_build_begin();
  cn_build_add(&b, cn_relu_new(&b.next));
  cn_build_add(&b, cn_conv2d_new(&b.next, row, s->rng));
  cn_build_add(&b, cn_conv2d_new(&b.next, column, s->rng));
  cn_build_add(&b, cn_batch_norm_new(&b.next, norm(s)));
  return cn_build_sequential(out, &b);
}

/* In a supernet a pool is followed by BN, so that its output is of the same scale as a convolution's. */
static CnErr build_pool(CnModule **out, const CnOpSettings *s, int64_t kernel,
                        CnErr (*pool)(CnModule **, int64_t, int64_t, int64_t)) {
  if (!s->supernet) return pool(out, kernel, s->stride, kernel / 2);
  CnBuilder b = cn_build_begin();
  cn_build_add(&b, pool(&b.next, kernel, s->stride, kernel / 2));
  cn_build_add(&b, cn_batch_norm_new(&b.next, norm(s)));
  return cn_build_sequential(out, &b);
}

static CnErr build_max_pool(CnModule **out, const CnOpSettings *s, int64_t kernel) {
  return build_pool(out, s, kernel, cn_max_pool_new);
}

static CnErr build_avg_pool(CnModule **out, const CnOpSettings *s, int64_t kernel) {
  return build_pool(out, s, kernel, cn_avg_pool_new);
}

static CnErr build_none(CnModule **out, const CnOpSettings *s, int64_t kernel) {
  (void)kernel;
  return cn_zero_new(out, s->stride);
}

static CnErr build_skip(CnModule **out, const CnOpSettings *s, int64_t kernel) {
  (void)kernel;
  if (s->stride == 1) return cn_identity_new(out);
  return cn_factorized_reduce_new(out, s->channels, s->channels, s->affine, s->track, s->rng);
}

/* The DARTS space first, in its order. */
static const Operation operation[] = {
  { "sep_conv_3x3", build_sep_conv, 3 },
  { "sep_conv_5x5", build_sep_conv, 5 },
  { "max_pool_3x3", build_max_pool, 3 },
  { "avg_pool_3x3", build_avg_pool, 3 },
  { "none", build_none, 0 },
  { "skip_connect", build_skip, 0 },
  { "dil_conv_3x3", build_dil_conv, 3 },
  { "dil_conv_5x5", build_dil_conv, 5 },
  { "max_pool_5x5", build_max_pool, 5 },
  { "max_pool_7x7", build_max_pool, 7 },
  { "sep_conv_7x7", build_sep_conv, 7 },
  { "conv_1x7_7x1", build_cross_conv, 7 },
  { "conv_7x1_1x7", build_cross_conv, 7 }, /* DARTS's name for the same arithmetic */
  { "conv_1x3_3x1", build_cross_conv, 3 },
  { "conv_1x1", build_conv, 1 },
  { "conv_3x3", build_conv, 3 },
  { "conv_5x5", build_conv, 5 },
};

#define OPERATIONS ((int)(sizeof operation / sizeof *operation))
#define DARTS_OPERATIONS 8

const char *cn_space_builtin(int index) {
  return index >= 0 && index < OPERATIONS ? operation[index].name : NULL;
}

CnErr cn_space_darts(CnSpace **out) {
  CnSpace *s;
  CN_TRY(cn_space_new(&s));
  CnErr e = CN_OK;
  for (int i = 0; i < DARTS_OPERATIONS && e == CN_OK; i++) e = cn_space_add(s, operation[i].name);
  if (e == CN_OK) *out = s;
  else cn_space_unref(s);
  return e;
}

static CnErr build_operation(void *data, CnModule **out, const CnOpSettings *settings) {
  const Operation *o = data;
  return o->build(out, settings, o->kernel);
}

bool cn_operation_find(const char *name, CnCandidate *out) {
  for (int i = 0; i < OPERATIONS; i++) {
    if (strcmp(operation[i].name, name) != 0) continue;
    *out = (CnCandidate){ .build = build_operation, .data = (void *)&operation[i] };
    strcpy(out->name, name);
    return true;
  }
  return false;
}
