/* simple.c - layers without parameters: each is one row of ops.def with its settings, or less. */
#include <inttypes.h>
#include <stdio.h>

#include "nn/layers.h"
#include "nn/weights.h"

/* ---- relu, identity ---- */

static CnErr relu_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  (void)self;
  (void)nx;
  return cn_apply1(out, CN_OP_relu, x[0], NULL);
}

static CnErr identity_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  (void)self;
  (void)nx;
  *out = cn_tensor_ref(x[0]);
  return CN_OK;
}

static CnErr identity_pass(CnModule *self, CnFeature *out, const CnFeature *x) {
  (void)self;
  *out = cn_feature_copy(x);
  return CN_OK;
}

static const CnModuleKind relu_kind = { .name = "relu", .forward = relu_forward };
static const CnModuleKind identity_kind = { .name = "identity", .forward = identity_forward,
                                            .pass = identity_pass };

CnErr cn_relu_new(CnModule **out) {
  return cn_module_new(out, &relu_kind, NULL);
}

CnErr cn_identity_new(CnModule **out) {
  return cn_module_new(out, &identity_kind, NULL);
}

bool cn_relu_is(const CnModule *m) {
  return m->kind == &relu_kind;
}

bool cn_identity_is(const CnModule *m) {
  return m->kind == &identity_kind;
}

/* ---- windows: zero and the pools ---- */

typedef struct Window {
  int64_t kernel, stride, padding;
} Window;

static void window_describe(const CnModule *self, char *text, size_t size) {
  const Window *w = self->data;
  snprintf(text, size, "%" PRId64 "x%" PRId64 ", stride %" PRId64 ", padding %" PRId64, w->kernel, w->kernel, w->stride,
           w->padding);
}

static CnErr window_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  const Window *w = self->data;
  (void)cost;
  CN_TRY(cn_check_image(self->kind->name, x, 0));
  for (int d = 1; d <= 2; d++) {
    int64_t room = x->shape[d] + 2 * w->padding - w->kernel;
    if (room < 0)
      return cn_fail(CN_EUSAGE, "%s: a window of %" PRId64 " does not fit into %" PRId64 " padded by %" PRId64,
                     self->kind->name, w->kernel, x->shape[d], w->padding);
    x->shape[d] = room / w->stride + 1;
  }
  return CN_OK;
}

static CnErr window_new(CnModule **out, const CnModuleKind *kind, Window w) {
  CN_TRY(cn_check_least(kind->name, "kernel", w.kernel, 1));
  CN_TRY(cn_check_least(kind->name, "stride", w.stride, 1));
  CN_TRY(cn_check_least(kind->name, "padding", w.padding, 0));
  if (w.padding > w.kernel / 2)
    return cn_fail(CN_EUSAGE, "%s: padding must be at most half the kernel (%" PRId64 "), got %" PRId64, kind->name,
                   w.kernel / 2, w.padding);
  return cn_module_new_copy(out, kind, &w, sizeof w);
}

static CnErr pool(CnModule *self, CnTensor **out, CnTensor *x, CnOpId row) {
  const Window *w = self->data;
  CnAttr attr[CN_MAX_ATTRS] = { { w->kernel }, { w->kernel }, { w->stride }, { w->stride }, { w->padding },
                                { w->padding } };
  return cn_apply1(out, row, x, attr);
}

static CnErr max_pool_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  (void)nx;
  return pool(self, out, x[0], CN_OP_max_pool2d);
}

static CnErr avg_pool_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  (void)nx;
  return pool(self, out, x[0], CN_OP_avg_pool2d);
}

/* Zeros of the strided shape: a window of one pixel. Out of the graph, since nothing flows back. */
static CnErr zero_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  CnCost none = { 0 };
  CnSpec spec = cn_tensor_spec(x[0]);
  (void)nx;
  CN_TRY(window_cost(self, &none, &spec));
  return cn_tensor_zeros(out, spec.dtype, cn_tensor_device(x[0]), spec.ndim, spec.shape);
}

static const CnModuleKind max_pool_kind;
static const CnModuleKind avg_pool_kind;

bool cn_pool_is(const CnModule *m) {
  return m->kind == &max_pool_kind || m->kind == &avg_pool_kind;
}

CnErr cn_pool_pass(CnModule *m, bool relu, CnFeature *out, const CnFeature *x) {
  const Window *w = m->data;
  CnTensor *in[3] = { x->x[0], x->scale, x->shift }, *y[CN_MAX_OUTPUTS];
  CnAttr attr[CN_MAX_ATTRS] = { { w->kernel },  { w->kernel },  { w->stride },                { w->stride },
                                { w->padding }, { w->padding }, { m->kind == &max_pool_kind }, { relu } };
  CN_TRY(cn_apply(y, CN_OP_pool_block, in, 3, attr));
  *out = (CnFeature){ .count = 1, .x = { y[0] }, .mean = y[1], .var = y[2] };
  return CN_OK;
}

static const CnModuleKind max_pool_kind = { "max_pool", max_pool_forward, cn_module_free_data, window_describe,
                                            window_cost, NULL };
static const CnModuleKind avg_pool_kind = { "avg_pool", avg_pool_forward, cn_module_free_data, window_describe,
                                            window_cost, NULL };
static const CnModuleKind zero_kind = { "zero", zero_forward, cn_module_free_data, NULL, window_cost, NULL };

CnErr cn_max_pool_new(CnModule **out, int64_t kernel, int64_t stride, int64_t padding) {
  return window_new(out, &max_pool_kind, (Window){ kernel, stride, padding });
}

CnErr cn_avg_pool_new(CnModule **out, int64_t kernel, int64_t stride, int64_t padding) {
  return window_new(out, &avg_pool_kind, (Window){ kernel, stride, padding });
}

CnErr cn_zero_new(CnModule **out, int64_t stride) {
  return window_new(out, &zero_kind, (Window){ 1, stride, 0 });
}

bool cn_zero_is(const CnModule *m) {
  return m->kind == &zero_kind;
}

static CnErr global_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  (void)self;
  (void)nx;
  return cn_apply1(out, CN_OP_global_avg_pool2d, x[0], NULL);
}

static CnErr global_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  (void)cost;
  CN_TRY(cn_check_image(self->kind->name, x, 0));
  x->ndim = 2;
  x->shape[1] = x->shape[3];
  return CN_OK;
}

static const CnModuleKind global_avg_pool_kind = { "global_avg_pool", global_forward, NULL, NULL, global_cost, NULL };

CnErr cn_global_avg_pool_new(CnModule **out) {
  return cn_module_new(out, &global_avg_pool_kind, NULL);
}

/* ---- dropout ---- */

typedef struct Dropout {
  double p;
  CnRng *stream; /* borrowed */
} Dropout;

static CnErr dropout_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  const Dropout *d = self->data;
  if (!self->training || d->p == 0) return identity_forward(self, out, x, nx);
  CnAttr attr[CN_MAX_ATTRS] = { { .f = d->p }, { (int64_t)d->stream->seed }, { (int64_t)d->stream->stream },
                                { (int64_t)d->stream->counter } };
  CN_TRY(cn_apply1(out, CN_OP_dropout, x[0], attr));
  d->stream->counter += ((uint64_t)cn_tensor_count(x[0]) + 3) / 4; /* one block decides four elements */
  return CN_OK;
}

static void dropout_describe(const CnModule *self, char *text, size_t size) {
  snprintf(text, size, "p %g", ((const Dropout *)self->data)->p);
}

static const CnModuleKind dropout_kind = { "dropout", dropout_forward, cn_module_free_data, dropout_describe, NULL,
                                           NULL };

CnErr cn_dropout_new(CnModule **out, double p, CnRng *stream) {
  if (!(p >= 0 && p < 1)) return cn_fail(CN_EUSAGE, "dropout: p must be in [0, 1), got %g", p);
  Dropout data = { p, stream };
  return cn_module_new_copy(out, &dropout_kind, &data, sizeof data);
}
