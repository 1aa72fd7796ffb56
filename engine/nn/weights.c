/* weights.c - making parameters: a zeroed tensor, filled from the stream where there is one. */
#include "nn/weights.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"

/* Fills with a row of two numbers and a stream, moving it on: one block makes four elements. */
static CnErr fill(CnTensor *t, CnOpId row, double first, double second, CnRng *rng) {
  CnAttr attr[CN_MAX_ATTRS] = { { .f = first }, { .f = second }, { .i = (int64_t)rng->seed },
                                { .i = (int64_t)rng->stream }, { .i = (int64_t)rng->counter } };
  CN_TRY(cn_apply(NULL, row, &t, 1, attr));
  rng->counter += ((uint64_t)cn_tensor_count(t) + 3) / 4;
  return CN_OK;
}

static CnErr random_weight(CnModule *m, const char *name, int ndim, const int64_t *shape, CnOpId row, double first,
                           double second, CnRng *rng) {
  CnTensor *t;
  CN_TRY(cn_tensor_zeros(&t, CN_F32, CN_DEVICE_CPU, ndim, shape));
  CnErr e = rng != NULL ? fill(t, row, first, second, rng) : CN_OK;
  if (e == CN_OK) e = cn_module_add_tensor(m, name, t, false);
  cn_tensor_unref(t);
  return e;
}

CnErr cn_weight_uniform(CnModule *m, const char *name, int ndim, const int64_t *shape, double bound, CnRng *rng) {
  return random_weight(m, name, ndim, shape, CN_OP_fill_uniform, -bound, bound, rng);
}

CnErr cn_weight_normal(CnModule *m, const char *name, int ndim, const int64_t *shape, double deviation, CnRng *rng) {
  return random_weight(m, name, ndim, shape, CN_OP_fill_normal, 0, deviation, rng);
}

CnErr cn_weight_constant(CnModule *m, const char *name, int64_t size, double value, bool buffer) {
  CnTensor *t;
  CN_TRY(cn_tensor_zeros(&t, CN_F32, CN_DEVICE_CPU, 1, &size));
  float *x = cn_tensor_data(t);
  for (int64_t i = 0; i < size; i++) x[i] = (float)value;
  CnErr e = cn_module_add_tensor(m, name, t, buffer);
  cn_tensor_unref(t);
  return e;
}

CnErr cn_module_new_copy(CnModule **out, const CnModuleKind *kind, const void *data, size_t size) {
  void *copy = cn_alloc(size);
  if (copy == NULL) return CN_EMEMORY;
  memcpy(copy, data, size);
  CnErr e = cn_module_new(out, kind, copy);
  if (e != CN_OK) cn_free(copy);
  return e;
}

void cn_module_free_data(CnModule *m) {
  cn_free(m->data);
}

CnErr cn_check_least(const char *who, const char *name, int64_t value, int64_t least) {
  if (value >= least) return CN_OK;
  return cn_fail(CN_EUSAGE, "%s: %s must be at least %" PRId64 ", got %" PRId64, who, name, least, value);
}

CnErr cn_check_image(const char *who, const CnSpec *x, int64_t channels) {
  char text[160];
  if (x->ndim == 4 && (channels == 0 || x->shape[3] == channels)) return CN_OK;
  cn_shape_text(x->ndim, x->shape, text);
  if (channels == 0) return cn_fail(CN_EUSAGE, "%s: expected images (N,H,W,C), got %s", who, text);
  return cn_fail(CN_EUSAGE, "%s: expected images (N,H,W,%" PRId64 "), got %s", who, channels, text);
}
