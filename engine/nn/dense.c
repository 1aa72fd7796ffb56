/* dense.c - layers on vectors: linear, embedding, LSTM cell. Weights are (in,out): the output is contiguous. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "nn/layers.h"
#include "nn/weights.h"

/* Finishes a constructor: hands out `m`, or drops it on failure. */
static CnErr finish(CnModule **out, CnModule *m, CnErr e) {
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}

/* That the last size of *x is `width`. */
static CnErr check_width(const char *who, const CnSpec *x, int64_t width) {
  char text[160];
  if (x->ndim == 2 && x->shape[1] == width) return CN_OK;
  return cn_fail(CN_EUSAGE, "%s: expected (N,%" PRId64 "), got %s", who, width, cn_shape_text(x->ndim, x->shape, text));
}

/* ---- linear: slots weight (I,O), bias (O) ---- */

static CnErr linear_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  CnTensor *in[3] = { x[0], self->slots[0].tensor, self->count > 1 ? self->slots[1].tensor : NULL };
  (void)nx;
  return cn_apply(out, CN_OP_linear, in, 3, NULL);
}

static void linear_describe(const CnModule *self, char *text, size_t size) {
  const CnTensor *weight = self->slots[0].tensor;
  snprintf(text, size, "%" PRId64 " -> %" PRId64 "%s", weight->shape[0], weight->shape[1],
           self->count > 1 ? "" : ", no bias");
}

static CnErr linear_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  const CnTensor *weight = self->slots[0].tensor;
  CN_TRY(check_width("linear", x, weight->shape[0]));
  x->shape[1] = weight->shape[1];
  cost->linear_macs += x->shape[0] * weight->shape[0] * weight->shape[1];
  return CN_OK;
}

static const CnModuleKind linear_kind = {
  .name = "linear",
  .forward = linear_forward,
  .describe = linear_describe,
  .cost = linear_cost,
};

CnErr cn_linear_new(CnModule **out, int64_t inp, int64_t outp, bool bias, CnRng *rng) {
  CnModule *m;
  CN_TRY(cn_check_least("linear", "inp", inp, 1));
  CN_TRY(cn_check_least("linear", "out", outp, 1));
  CN_TRY(cn_module_new(&m, &linear_kind, NULL));
  double bound = 1 / sqrt((double)inp);
  CnErr e = cn_weight_uniform(m, "weight", 2, (int64_t[]){ inp, outp }, bound, rng);
  if (e == CN_OK && bias) e = cn_weight_uniform(m, "bias", 1, &outp, bound, rng);
  return finish(out, m, e);
}

/* ---- embedding: slot weight (V,E) ---- */

static CnErr embedding_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  (void)nx;
  return cn_apply2(out, CN_OP_embedding, self->slots[0].tensor, x[0], NULL);
}

static void embedding_describe(const CnModule *self, char *text, size_t size) {
  const CnTensor *weight = self->slots[0].tensor;
  snprintf(text, size, "%" PRId64 " rows of %" PRId64, weight->shape[0], weight->shape[1]);
}

static CnErr embedding_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  (void)cost;
  if (x->ndim == CN_MAX_DIMS) return cn_fail(CN_EUSAGE, "embedding: indices have too many dimensions (%d)", x->ndim);
  x->dtype = self->slots[0].tensor->dtype;
  x->shape[x->ndim++] = self->slots[0].tensor->shape[1];
  return CN_OK;
}

static const CnModuleKind embedding_kind = {
  .name = "embedding",
  .forward = embedding_forward,
  .describe = embedding_describe,
  .cost = embedding_cost,
};

CnErr cn_embedding_new(CnModule **out, int64_t rows, int64_t width, CnRng *rng) {
  CnModule *m;
  CN_TRY(cn_check_least("embedding", "rows", rows, 1));
  CN_TRY(cn_check_least("embedding", "width", width, 1));
  CN_TRY(cn_module_new(&m, &embedding_kind, NULL));
  return finish(out, m, cn_weight_normal(m, "weight", 2, (int64_t[]){ rows, width }, 1, rng));
}

/* ---- LSTM cell: slots weight_ih (I,4H), weight_hh (H,4H), bias (4H) ---- */

static void lstm_describe(const CnModule *self, char *text, size_t size) {
  snprintf(text, size, "%" PRId64 " -> %" PRId64, self->slots[0].tensor->shape[0], self->slots[1].tensor->shape[0]);
}

static CnErr lstm_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  int64_t inp = self->slots[0].tensor->shape[0], hidden = self->slots[1].tensor->shape[0];
  CN_TRY(check_width("lstm_cell", x, inp));
  x->shape[1] = hidden;
  cost->linear_macs += x->shape[0] * 4 * hidden * (inp + hidden);
  return CN_OK;
}

static const CnModuleKind lstm_cell_kind = {
  .name = "lstm_cell",
  .describe = lstm_describe,
  .cost = lstm_cost,
};

CnErr cn_lstm_cell_new(CnModule **out, int64_t inp, int64_t hidden, CnRng *rng) {
  CnModule *m;
  CN_TRY(cn_check_least("lstm_cell", "inp", inp, 1));
  CN_TRY(cn_check_least("lstm_cell", "hidden", hidden, 1));
  CN_TRY(cn_module_new(&m, &lstm_cell_kind, NULL));
  double bound = 1 / sqrt((double)hidden);
  int64_t gates = 4 * hidden;
  CnErr e = cn_weight_uniform(m, "weight_ih", 2, (int64_t[]){ inp, gates }, bound, rng);
  if (e == CN_OK) e = cn_weight_uniform(m, "weight_hh", 2, (int64_t[]){ hidden, gates }, bound, rng);
  if (e == CN_OK) e = cn_weight_uniform(m, "bias", 1, &gates, bound, rng);
  return finish(out, m, e);
}

bool cn_lstm_cell_is(const CnModule *m) {
  return m->kind == &lstm_cell_kind;
}

CnErr cn_lstm_cell_forward(CnModule *m, CnTensor **h, CnTensor **c, CnTensor *x, CnTensor *h0, CnTensor *c0) {
  CnTensor *out[2];
  if (!cn_lstm_cell_is(m)) return cn_fail(CN_EUSAGE, "lstm_cell: expected an LSTM cell, got %s", m->kind->name);
  CnTensor *in[6] = { x, h0, c0, m->slots[0].tensor, m->slots[1].tensor, m->slots[2].tensor };
  CN_TRY(cn_apply(out, CN_OP_lstm_cell, in, 6, NULL));
  *h = out[0];
  *c = out[1];
  return CN_OK;
}
