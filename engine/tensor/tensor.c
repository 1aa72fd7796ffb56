/* tensor.c - making, sharing, reading and dropping tensors. */
#include "tensor/tensor.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "device/cuda.h"
#include "tensor/autograd.h"
#include "tensor/bf16.h"
#include "tensor/op.h"

#define SHAPE_TEXT 160 /* bytes that callers of cn_shape_text have */

static atomic_llong live;

static const struct {
  const char *name;
  size_t size;
} dtypes[CN_DTYPES] = {
  [CN_F32] = { "f32", 4 }, [CN_F64] = { "f64", 8 }, [CN_I64] = { "i64", 8 }, [CN_U8] = { "u8", 1 },
  [CN_BF16] = { "bf16", 2 }
};

size_t cn_dtype_size(CnDtype dtype) { return dtypes[dtype].size; }

const char *cn_dtype_name(CnDtype dtype) { return dtypes[dtype].name; }

CnErr cn_dtype_parse(CnDtype *out, const char *name) {
  for (int i = 0; i < CN_DTYPES; i++) {
    if (strcmp(name, dtypes[i].name)) continue;
    *out = (CnDtype)i;
    return CN_OK;
  }
  return cn_fail(CN_EUSAGE, "unknown type '%s': expected f32, f64, i64, u8 or bf16", name);
}

const char *cn_shape_text(int ndim, const int64_t *shape, char *text) {
  size_t used = 0;
  for (int i = 0; i < ndim && i < CN_MAX_DIMS; i++) /* at most 21 bytes each */
    used += (size_t)snprintf(text + used, SHAPE_TEXT - used, i ? ",%lld" : "(%lld", (long long)shape[i]);
  snprintf(text + used, SHAPE_TEXT - used, ndim ? ")" : "()");
  return text;
}

static CnTensor *header_new(void) {
  CnTensor *t = cn_alloc_zeroed(sizeof *t);
  if (!t) return NULL;
  t->refs = 1;
  atomic_fetch_add(&live, 1);
  return t;
}

int64_t cn_tensor_live(void) { return atomic_load(&live); }

CnErr cn_tensor_new(CnTensor **out, CnDtype dtype, CnDevice device, int ndim, const int64_t *shape) {
  size_t bytes = cn_dtype_size(dtype);
  char text[160];
  if (ndim < 0 || ndim > CN_MAX_DIMS)
    return cn_fail(CN_EUSAGE, "a tensor has at most %d dimensions, got %d", CN_MAX_DIMS, ndim);
  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0) return cn_fail(CN_EUSAGE, "a size is negative in %s", cn_shape_text(ndim, shape, text));
    if (__builtin_mul_overflow(bytes, (size_t)shape[i], &bytes) || bytes > (size_t)1 << 46)
      return cn_fail(CN_EMEMORY, "out of memory: a tensor of shape %s is too large", cn_shape_text(ndim, shape, text));
  }
  CnTensor *t = header_new();
  CnStorage *storage = t ? cn_alloc_zeroed(sizeof *storage) : NULL;
  CnErr e = storage ? cn_device_alloc(&storage->data, device, bytes) : CN_EMEMORY;
  if (e != CN_OK) {
    cn_free(storage);
    cn_tensor_unref(t);
    return e;
  }
  storage->refs = 1;
  storage->device = device;
  storage->bytes = bytes;
  t->storage = storage;
  t->dtype = dtype;
  t->ndim = ndim;
  int64_t stride = 1;
  for (int i = ndim - 1; i >= 0; i--) {
    t->shape[i] = shape[i];
    t->stride[i] = stride;
    stride *= shape[i];
  }
  *out = t;
  return CN_OK;
}

CnErr cn_tensor_new_like(CnTensor **out, const CnTensor *like) {
  return cn_tensor_new(out, like->dtype, cn_tensor_device(like), like->ndim, like->shape);
}

static CnErr fill(CnTensor *t, double value) { return cn_apply1(NULL, CN_OP_fill, t, &(CnAttr){ .f = value }); }

CnErr cn_tensor_zeros(CnTensor **out, CnDtype dtype, CnDevice device, int ndim, const int64_t *shape) {
  CnTensor *t = NULL;
  CN_TRY(cn_tensor_new(&t, dtype, device, ndim, shape));
  CnErr e = fill(t, 0);
  if (e != CN_OK) cn_tensor_unref(t);
  else *out = t;
  return e;
}

CnErr cn_tensor_scalar(CnTensor **out, CnDtype dtype, CnDevice device, double value) {
  CnTensor *t = NULL;
  CN_TRY(cn_tensor_new(&t, dtype, device, 0, NULL));
  CnErr e = fill(t, value);
  if (e != CN_OK) cn_tensor_unref(t);
  else *out = t;
  return e;
}

CnErr cn_tensor_view(CnTensor **out, const CnTensor *t, int ndim, const int64_t *shape, const int64_t *stride,
                     int64_t offset) {
  CnTensor *view = header_new();
  if (!view) return CN_EMEMORY;
  view->storage = t->storage;
  view->storage->refs++;
  view->dtype = t->dtype;
  view->offset = offset;
  view->ndim = ndim;
  for (int i = 0; i < ndim; i++) {
    view->shape[i] = shape[i];
    view->stride[i] = stride[i];
  }
  *out = view;
  return CN_OK;
}

CnErr cn_tensor_detach(CnTensor **out, const CnTensor *t) {
  return cn_tensor_view(out, t, t->ndim, t->shape, t->stride, t->offset);
}

CnTensor *cn_tensor_ref(CnTensor *t) {
  t->refs++;
  return t;
}

static void storage_unref(CnStorage *storage) {
  if (!storage || --storage->refs > 0) return;
  cn_device_free(storage->device, storage->data);
  cn_free(storage);
}

void cn_tensor_unref(CnTensor *t) {
  if (!t || --t->refs > 0) return;
  cn_tensor_unref(t->grad);
  cn_node_unref(t->node);
  storage_unref(t->storage);
  cn_free(t);
  atomic_fetch_sub(&live, 1);
}

int64_t cn_tensor_count(const CnTensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++) n *= t->shape[i];
  return n;
}

size_t cn_tensor_bytes(const CnTensor *t) { return (size_t)cn_tensor_count(t) * cn_dtype_size(t->dtype); }

bool cn_tensor_is_contiguous(const CnTensor *t) {
  int64_t stride = 1;
  for (int i = t->ndim - 1; i >= 0; i--) {
    if (t->shape[i] == 0) return true;
    if (t->shape[i] != 1 && t->stride[i] != stride) return false;
    stride *= t->shape[i];
  }
  return true;
}

bool cn_tensor_same_shape(const CnTensor *a, const CnTensor *b) {
  return a->ndim == b->ndim && !memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof a->shape[0]);
}

CnSpec cn_tensor_spec(const CnTensor *t) {
  CnSpec spec = { .dtype = t->dtype, .ndim = t->ndim };
  memcpy(spec.shape, t->shape, sizeof spec.shape);
  return spec;
}

bool cn_tensor_tracked(const CnTensor *t) { return t->requires_grad || t->node; }

/* `t` itself when it is contiguous, else a contiguous copy out of the graph; a new reference either way. */
static CnErr dense(CnTensor **out, const CnTensor *t) {
  CnTensor *alias = NULL;
  CN_TRY(cn_tensor_detach(&alias, t));
  if (cn_tensor_is_contiguous(t)) {
    *out = alias;
    return CN_OK;
  }
  CnErr e = cn_apply1(out, CN_OP_contiguous, alias, NULL);
  cn_tensor_unref(alias);
  return e;
}

CnErr cn_tensor_read(const CnTensor *t, void *to, size_t bytes) {
  if (bytes != cn_tensor_bytes(t))
    return cn_fail(CN_EUSAGE, "tensor read: expected room for %zu bytes, got %zu", cn_tensor_bytes(t), bytes);
  CnTensor *from = NULL;
  CN_TRY(dense(&from, t));
  CnErr e = cn_device_copy(to, CN_DEVICE_CPU, cn_tensor_data(from), cn_tensor_device(from), bytes);
  cn_tensor_unref(from);
  return e;
}

CnErr cn_tensor_write(CnTensor *t, const void *from, size_t bytes) {
  if (bytes != cn_tensor_bytes(t))
    return cn_fail(CN_EUSAGE, "tensor write: expected %zu bytes, got %zu", cn_tensor_bytes(t), bytes);
  if (!cn_tensor_is_contiguous(t)) return cn_fail(CN_EUSAGE, "tensor write: the tensor must be contiguous");
  t->storage->version++;
  return cn_device_copy(cn_tensor_data(t), cn_tensor_device(t), from, CN_DEVICE_CPU, bytes);
}

CnErr cn_tensor_item(double *out, const CnTensor *t) {
  char text[160];
  if (cn_tensor_count(t) != 1)
    return cn_fail(CN_EUSAGE, "item: expected a tensor of one element, got shape %s",
                   cn_shape_text(t->ndim, t->shape, text));
  union { float f32; double f64; int64_t i64; uint8_t u8; CnBf16 bf16; } value;
  CN_TRY(cn_device_copy(&value, CN_DEVICE_CPU, cn_tensor_data(t), cn_tensor_device(t), cn_dtype_size(t->dtype)));
  switch (t->dtype) {
    case CN_F32: *out = value.f32; break;
    case CN_F64: *out = value.f64; break;
    case CN_I64: *out = (double)value.i64; break;
    case CN_BF16: *out = (double)cn_bf16_to_float(value.bf16); break;
    default: *out = value.u8; break;
  }
  return CN_OK;
}

/* Moving between devices is no row: its gradient is the move back. */
typedef struct Move {
  CnDevice home;
} Move;

static CnErr move_values(CnTensor **out, const CnTensor *t, CnDevice device) {
  CnTensor *from = NULL, *to = NULL;
  CN_TRY(dense(&from, t));
  CnErr e = cn_tensor_new(&to, t->dtype, device, t->ndim, t->shape);
  if (e == CN_OK)
    e = cn_device_copy(cn_tensor_data(to), device, cn_tensor_data(from), cn_tensor_device(from), cn_tensor_bytes(to));
  cn_tensor_unref(from);
  if (e != CN_OK) cn_tensor_unref(to);
  else *out = to;
  return e;
}

static CnErr move_backward(void *data, CnTensor *const *gout, int nout, CnTensor **gin, int nin) {
  (void)nout;
  (void)nin;
  return move_values(&gin[0], gout[0], ((Move *)data)->home);
}

static CnErr move(CnTensor **out, CnTensor *t, CnDevice device) {
  CnTensor *moved = NULL;
  CN_TRY(move_values(&moved, t, device));
  Move *data = cn_alloc(sizeof *data);
  if (!data) {
    cn_tensor_unref(moved);
    return CN_EMEMORY;
  }
  data->home = cn_tensor_device(t);
  CnErr e = cn_custom_record(&moved, 1, &t, 1, (CnCustom){ data, move_backward, cn_free });
  if (e != CN_OK) cn_tensor_unref(moved);
  else *out = moved;
  return e;
}

CnErr cn_tensor_to(CnTensor **out, CnTensor *t, CnDtype dtype, CnDevice device) {
  if (t->dtype == dtype && cn_device_equal(cn_tensor_device(t), device)) {
    *out = cn_tensor_ref(t);
    return CN_OK;
  }
  CnTensor *here = NULL;
  if (t->dtype == dtype) here = cn_tensor_ref(t);
  else CN_TRY(cn_apply1(&here, CN_OP_cast, t, &(CnAttr){ .i = dtype }));
  if (cn_device_equal(cn_tensor_device(here), device)) {
    *out = here;
    return CN_OK;
  }
  CnErr e = move(out, here, device);
  cn_tensor_unref(here);
  return e;
}

/* Copies `from` into the elements of `to`, run by run of the last dimension. CPU only: strides are walked here. */
static void copy_strided(CnTensor *to, const CnTensor *from, int dim, int64_t to_offset, int64_t from_offset) {
  size_t size = cn_dtype_size(to->dtype);
  char *a = to->storage->data;
  const char *b = from->storage->data;
  if (dim == to->ndim) {
    memcpy(a + (size_t)to_offset * size, b + (size_t)from_offset * size, size);
    return;
  }
  if (dim == to->ndim - 1 && to->stride[dim] == 1 && from->stride[dim] == 1) {
    memcpy(a + (size_t)to_offset * size, b + (size_t)from_offset * size, (size_t)to->shape[dim] * size);
    return;
  }
  for (int64_t i = 0; i < to->shape[dim]; i++)
    copy_strided(to, from, dim + 1, to_offset + i * to->stride[dim], from_offset + i * from->stride[dim]);
}

/* Within a device. */
static CnErr copy_at_strides(CnTensor *to, const CnTensor *from) {
  const CnGpu *gpu = NULL;
  if (cn_tensor_device(to).kind == CN_CPU) {
    copy_strided(to, from, 0, to->offset, from->offset);
    return CN_OK;
  }
  CN_TRY(cn_gpu(&gpu));
  return gpu->copy_strided(to, from);
}

CnErr cn_tensor_copy(CnTensor *to, CnTensor *from) {
  char a[160], b[160];
  if (!cn_tensor_same_shape(to, from) || to->dtype != from->dtype)
    return cn_fail(CN_EUSAGE, "copy: expected %s %s, got %s %s", cn_dtype_name(to->dtype),
                   cn_shape_text(to->ndim, to->shape, a), cn_dtype_name(from->dtype),
                   cn_shape_text(from->ndim, from->shape, b));
  to->storage->version++;
  if (cn_tensor_device(to).kind == CN_CPU && cn_tensor_device(from).kind == CN_CPU && to->storage != from->storage) {
    copy_strided(to, from, 0, to->offset, from->offset);
    return CN_OK;
  }
  CnTensor *source = NULL, *dense_copy = NULL;
  if (!cn_tensor_is_contiguous(to)) { /* of values at hand on its device, and apart from it */
    CN_TRY(move_values(&source, from, cn_tensor_device(to)));
    CnErr e = copy_at_strides(to, source);
    cn_tensor_unref(source);
    return e;
  }
  CN_TRY(dense(&source, from));
  CnErr e = CN_OK;
  if (source->storage == to->storage) { /* may overlap: through a copy */
    e = move_values(&dense_copy, source, cn_tensor_device(to));
    cn_tensor_unref(source);
    source = dense_copy;
  }
  if (e == CN_OK)
    e = cn_device_copy(cn_tensor_data(to), cn_tensor_device(to), cn_tensor_data(source), cn_tensor_device(source),
                       cn_tensor_bytes(to));
  cn_tensor_unref(source);
  return e;
}
