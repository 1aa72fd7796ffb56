/* backbone.c - stem, cells, global pool, classifier: building them, running them, counting them. */
#include "nas/backbone.h"

#include <inttypes.h>
#include <stdio.h>

#include "nn/weights.h"
#include "tensor/watch.h"

/* ---- building ---- */

/* A convolution 3x3 and its BN. A supernet's stem has an affine BN without running statistics. */
static void add_conv_bn(CnBuilder *b, int64_t inp, int64_t out, int64_t stride, bool track, CnRng *rng) {
  CnConv2dOptions conv = { .inp = inp, .out = out, .kernel = { 3, 3 }, .stride = { stride, stride },
                           .padding = { 1, 1 } };
  CnBatchNormOptions bn = { .channels = out, .affine = true, .track = track };
  cn_build_add(b, cn_conv2d_new(&b->next, conv, rng));
  cn_build_add(b, cn_batch_norm_new(&b->next, bn));
}

static CnErr add_cifar_stem(CnModule *m, const CnBackboneOptions *o, CnRng *rng) {
  CnModule *stem;
  CnBuilder b = cn_build_begin();
  add_conv_bn(&b, o->in_channels, 3 * o->channels, 1, o->genotype != NULL, rng);
  return cn_module_adopt(m, "stem", cn_build_sequential(&stem, &b), &stem);
}

static CnErr add_imagenet_stems(CnModule *m, const CnBackboneOptions *o, CnRng *rng) {
  CnModule *stem;
  int64_t c = o->channels;
  CnBuilder b = cn_build_begin();
  add_conv_bn(&b, o->in_channels, c / 2, 2, true, rng);
  cn_build_add(&b, cn_relu_new(&b.next));
  add_conv_bn(&b, c / 2, c, 2, true, rng);
  CN_TRY(cn_module_adopt(m, "stem0", cn_build_sequential(&stem, &b), &stem));
  b = cn_build_begin();
  cn_build_add(&b, cn_relu_new(&b.next));
  add_conv_bn(&b, c, c, 2, true, rng);
  return cn_module_adopt(m, "stem1", cn_build_sequential(&stem, &b), &stem);
}

/* *last: the channels that come out. */
static CnErr add_cells(CnModule *m, CnBackbone *b, const CnBackboneOptions *o, CnRng *rng, int64_t *last) {
  int64_t stem = o->imagenet ? o->channels : 3 * o->channels;
  CnCellOptions cell = { .space = o->space, .nodes = (int)o->nodes, .channels_before_last = stem, .channels_last = stem,
                         .channels = o->channels, .reduction = o->imagenet, .precision = o->precision };
  char name[32];
  for (int i = 0; i < b->layers; i++) {
    CnModule *made;
    cell.after_reduction = cell.reduction; /* the ImageNet stems count as a reduction cell */
    cell.reduction = i == b->layers / 3 || i == b->tap;
    if (cell.reduction) cell.channels *= 2;
    if (o->genotype != NULL) cell.arch = cell.reduction ? &o->genotype->reduction : &o->genotype->normal;
    snprintf(name, sizeof name, "cells.%d", i);
    CN_TRY(cn_module_adopt(m, name, cn_cell_new(&made, cell, rng), &made));
    cell.channels_before_last = cell.channels_last;
    cell.channels_last = cn_cell_channels(made);
    if (i == b->tap) b->tap_channels = cell.channels_last;
  }
  *last = cell.channels_last;
  return CN_OK;
}

static CnErr check_options(const CnBackboneOptions *o) {
  const char *who = o->genotype != NULL ? "network" : "supernet";
  CN_TRY(cn_check_least(who, "channels", o->channels, 1));
  CN_TRY(cn_check_least(who, "layers", o->layers, 1));
  CN_TRY(cn_check_least(who, "classes", o->classes, 1));
  CN_TRY(cn_check_least(who, "in_channels", o->in_channels, 1));
  CN_TRY(cn_check_least(who, "nodes", o->nodes, 1));
  if (o->nodes > CN_MAX_NODES)
    return cn_fail(CN_EUSAGE, "%s: nodes must be at most %d, got %" PRId64, who, CN_MAX_NODES, o->nodes);
  if (o->layers > 1000 || o->channels > 1 << 16 || o->classes > 1 << 24)
    return cn_fail(CN_EUSAGE, "%s: too large: %" PRId64 " channels, %" PRId64 " layers, %" PRId64 " classes", who,
                   o->channels, o->layers, o->classes);
  if (o->imagenet && o->channels % 2 != 0)
    return cn_fail(CN_EUSAGE, "%s: channels must be even for the ImageNet stem, got %" PRId64, who, o->channels);
  if (o->precision != CN_F32 && o->precision != CN_BF16)
    return cn_fail(CN_EUSAGE, "%s: precision must be f32 or bf16, got %s", who, cn_dtype_name(o->precision));
  if (o->space->count == 0) return cn_fail(CN_EUSAGE, "%s: the space has no operation", who);
  return CN_OK;
}

CnErr cn_backbone_build(CnModule *m, CnBackbone *b, const CnBackboneOptions *o, CnRng *rng) {
  CnModule *part;
  int64_t last;
  CN_TRY(check_options(o));
  *b = (CnBackbone){ .stems = o->imagenet ? 2 : 1, .layers = (int)o->layers, .tap = (int)(2 * o->layers / 3),
                     .in_channels = o->in_channels, .precision = o->precision };
  CN_TRY(o->imagenet ? add_imagenet_stems(m, o, rng) : add_cifar_stem(m, o, rng));
  CN_TRY(add_cells(m, b, o, rng, &last));
  if (o->auxiliary)
    CN_TRY(cn_module_adopt(m, "auxiliary_head", cn_auxiliary_new(&part, b->tap_channels, o->classes, o->imagenet, rng),
                           &part));
  return cn_module_adopt(m, "classifier", cn_linear_new(&part, last, o->classes, true, rng), &part);
}

static CnModule *stem(const CnModule *m, int i) { return m->slots[i].child; }
static CnModule *cell(const CnModule *m, const CnBackbone *b, int i) { return m->slots[b->stems + i].child; }
static CnModule *classifier(const CnModule *m) { return m->slots[m->count - 1].child; }

/* ---- running ---- */

/* What has been brought to the cells that are still to run: inputs 0 and 1 of the next one, input 0 of the one after. */
typedef struct Waiting {
  CnFeature next[2], after;
} Waiting;

/* Brings y, the output of cell i (-1: of the stem), to cells i+1 and i+2. A stem that is its own predecessor (`twice`)
** is input 0 of cell i+1 too. */
static CnErr bring(CnModule *m, const CnBackbone *b, Waiting *w, const CnFeature *y, int i, bool twice) {
  const CnModule *cells[3];
  CnFeature out[3];
  int inputs[3], which[3], n = 0, failed = 0;
  if (twice && i + 1 < b->layers) cells[n] = cell(m, b, which[n] = i + 1), inputs[n++] = 0;
  if (i + 1 < b->layers) cells[n] = cell(m, b, which[n] = i + 1), inputs[n++] = 1;
  if (i + 2 < b->layers) cells[n] = cell(m, b, which[n] = i + 2), inputs[n++] = 0;
  if (n == 0) return CN_OK;
  CnErr e = cn_cell_bring(cells, inputs, n, out, y, &failed);
  if (e != CN_OK) return cn_fail_within(e, "in cells.%d: ", which[failed]);
  for (int k = 0; k < n; k++) *(which[k] == i + 2 ? &w->after : &w->next[inputs[k]]) = out[k];
  return CN_OK;
}

/* Images that are to be kept in bf16 are brought to it; else they stay what they are. */
static CnErr keep_in_precision(const CnBackbone *b, CnFeature *f) {
  return b->precision == CN_BF16 ? cn_feature_to(f, CN_BF16) : CN_OK;
}

/* Runs the stems, in the images' type, and brings what they give; one stem alone is both inputs of the first cell. */
static CnErr run_stems(CnModule *m, const CnBackbone *b, CnTensor *images, Waiting *w, CnFeature *y) {
  CnFeature from = { .count = 1, .x = { images } }, first = { 0 };
  CN_TRY(cn_module_pass(stem(m, 0), &first, &from));
  if (b->stems == 1) {
    *y = first;
    CN_TRY(keep_in_precision(b, y));
    return bring(m, b, w, y, -1, true);
  }
  CnErr e = cn_module_pass(stem(m, 1), y, &first);
  if (e == CN_OK) e = keep_in_precision(b, y);
  if (e == CN_OK) e = keep_in_precision(b, &first);
  if (e == CN_OK && b->layers > 0) {
    const CnModule *reader = cell(m, b, 0);
    int failed = 0;
    e = cn_cell_bring(&reader, (int[]){ 0 }, 1, &w->next[0], &first, &failed);
    if (e != CN_OK) e = cn_fail_within(e, "in cells.0: ");
  }
  cn_feature_clear(&first);
  return e == CN_OK ? bring(m, b, w, y, -1, false) : e;
}

/* *y becomes the last cell's output. */
static CnErr run_cells(CnModule *m, const CnBackbone *b, Waiting *w, CnFeature *y, CnTensor **tapped,
                       const CnCellCall call[2]) {
  for (int i = 0; i < b->layers; i++) {
    cn_feature_clear(y); /* its readers have it */
    CnErr e = cn_cell_forward(cell(m, b, i), y, w->next, &call[cn_cell_is_reduction(cell(m, b, i))]);
    if (e != CN_OK) return cn_fail_within(e, "in cells.%d: ", i);
    w->next[0] = w->after;
    w->after = (CnFeature){ 0 };
    CN_TRY(bring(m, b, w, y, i, false));
    if (i == b->tap && tapped != NULL) CN_TRY(cn_feature_write(y, tapped));
  }
  return CN_OK;
}

/* The mean of each channel over the image: (N,C). The images of a feature are averaged one by one, then joined. */
static CnErr average(const CnFeature *x, CnTensor **out) {
  CnFeature means = { 0 };
  CnErr e = CN_OK;
  if (x->scale != NULL) {
    CnTensor *written;
    CN_TRY(cn_feature_write(x, &written));
    e = cn_apply1(out, CN_OP_global_avg_pool2d, written, NULL);
    cn_tensor_unref(written);
    return e;
  }
  for (int i = 0; i < x->count && e == CN_OK; i++) {
    CnFeature one = { .count = 1, .x = { x->x[i] } };
    CnTensor *written;
    e = cn_feature_write(&one, &written);
    if (e != CN_OK) break;
    e = cn_apply1(&means.x[i], CN_OP_global_avg_pool2d, written, NULL);
    cn_tensor_unref(written);
    if (e == CN_OK) means.count++;
  }
  if (e == CN_OK && means.count == 1) *out = cn_tensor_ref(means.x[0]);
  else if (e == CN_OK) e = cn_apply(out, CN_OP_concat, means.x, means.count, (CnAttr[]){ { 1 } });
  cn_feature_clear(&means);
  return e;
}

static CnErr classify(CnModule *m, CnTensor **logits, const CnFeature *x) {
  CnTensor *features;
  CN_TRY(average(x, &features));
  CnErr e = cn_module_forward1(classifier(m), logits, features);
  cn_tensor_unref(features);
  return e;
}

CnErr cn_backbone_forward(CnModule *m, const CnBackbone *b, CnTensor **logits, CnTensor **tapped, CnTensor *images,
                          const CnCellCall call[2]) {
  Waiting w = { .after = { 0 } };
  CnFeature y = { 0 };
  CnWork before = cn_work_for(m);
  if (tapped != NULL) *tapped = NULL;
  CnErr e = run_stems(m, b, images, &w, &y);
  if (e == CN_OK) e = run_cells(m, b, &w, &y, tapped, call);
  cn_feature_clear(&w.next[0]);
  cn_feature_clear(&w.next[1]);
  cn_feature_clear(&w.after);
  if (e == CN_OK) e = classify(m, logits, &y);
  cn_feature_clear(&y);
  cn_work = before;
  if (e != CN_OK && tapped != NULL) {
    cn_tensor_unref(*tapped);
    *tapped = NULL;
  }
  return e;
}

/* ---- cost ---- */

CnErr cn_backbone_cost(const CnModule *m, const CnBackbone *b, CnCost *cost, int64_t height, int64_t width,
                       const CnCellCall call[2]) {
  CN_TRY(cn_check_least(m->kind->name, "height", height, 1));
  CN_TRY(cn_check_least(m->kind->name, "width", width, 1));
  if (height > 1 << 16 || width > 1 << 16)
    return cn_fail(CN_EUSAGE, "%s: images of %" PRId64 "x%" PRId64 " are too large", m->kind->name, height, width);
  CnSpec s[2] = { { .dtype = CN_F32, .ndim = 4, .shape = { 1, height, width, b->in_channels } } };
  CN_TRY(cn_module_cost(stem(m, 0), cost, &s[0]));
  s[1] = s[0];
  if (b->stems == 2) CN_TRY(cn_module_cost(stem(m, 1), cost, &s[1]));
  for (int i = 0; i < b->layers; i++) {
    CnSpec last = s[1];
    CnErr e = cn_cell_cost(cell(m, b, i), cost, &s[0], &s[1], &call[cn_cell_is_reduction(cell(m, b, i))]);
    if (e != CN_OK) return cn_fail_within(e, "in cells.%d: ", i);
    s[0] = last;
  }
  CnSpec features = { .dtype = CN_F32, .ndim = 2, .shape = { 1, s[1].shape[3] } };
  return cn_module_cost(classifier(m), cost, &features);
}
