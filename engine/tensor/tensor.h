/* tensor.h - strided n-dimensional arrays with counted references.
**
** Shapes are row-major, outermost first. Images are (N,H,W,C): channels are contiguous. Convolution weights are
** (KH,KW,C/groups,O), linear weights (I,O): the output channel is contiguous.
** Out parameters come first; a CnTensor* stored there is a new reference that the caller owns (cn_tensor_unref).
** Tensors belong to one thread at a time; storage bytes are counted across threads. */
#ifndef CN_TENSOR_H
#define CN_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "device/device.h"

typedef enum CnDtype { CN_F32, CN_F64, CN_I64, CN_U8, CN_BF16, CN_DTYPES } CnDtype;

#define CN_MAX_DIMS 6

typedef struct CnStorage {
  int refs;
  CnDevice device;
  uint32_t version; /* counts writes in place, so that backward notices a saved value that changed */
  size_t bytes;
  void *data;
} CnStorage;

struct CnNode; /* autograd.h */

typedef struct CnTensor {
  int refs;
  CnDtype dtype;
  int ndim; /* 0 … CN_MAX_DIMS; 0 is a scalar */
  int64_t shape[CN_MAX_DIMS];
  int64_t stride[CN_MAX_DIMS]; /* in elements */
  int64_t offset;              /* of the first element, in elements */
  CnStorage *storage;
  bool requires_grad;     /* a leaf whose gradient is wanted */
  struct CnTensor *grad;  /* of a leaf; NULL until backward reached it. Same shape, type, device */
  int awaited;            /* of a leaf: contributions to `grad` that a backward with a listener has yet to bring */
  struct CnNode *node;    /* what computed it; NULL for a leaf */
  int node_output;        /* which output of `node` */
} CnTensor;

/* What a tensor is, without its values. */
typedef struct CnSpec {
  CnDtype dtype;
  int ndim;
  int64_t shape[CN_MAX_DIMS];
} CnSpec;

size_t cn_dtype_size(CnDtype dtype);
const char *cn_dtype_name(CnDtype dtype);             /* "f32" … */
CnErr cn_dtype_parse(CnDtype *out, const char *name);
/* Floats have gradients. bf16 is for keeping images only: what is computed from it is computed in f32. */
static inline bool cn_dtype_is_float(CnDtype dtype) { return dtype == CN_F32 || dtype == CN_F64 || dtype == CN_BF16; }
/* The type in which a type is computed. */
static inline CnDtype cn_dtype_real(CnDtype dtype) { return dtype == CN_BF16 ? CN_F32 : dtype; }
/* f32 and f64: what a parameter can be. */
static inline bool cn_dtype_is_real(CnDtype dtype) { return dtype == CN_F32 || dtype == CN_F64; }

/* New contiguous tensors. _new leaves the values undefined. Sizes may be 0, not negative. */
CnErr cn_tensor_new(CnTensor **out, CnDtype dtype, CnDevice device, int ndim, const int64_t *shape);
CnErr cn_tensor_new_like(CnTensor **out, const CnTensor *like);
CnErr cn_tensor_zeros(CnTensor **out, CnDtype dtype, CnDevice device, int ndim, const int64_t *shape);
/* A 0-d tensor holding `value` (rounded to the type). */
CnErr cn_tensor_scalar(CnTensor **out, CnDtype dtype, CnDevice device, double value);
/* Another tensor on the same storage, out of the graph. */
CnErr cn_tensor_detach(CnTensor **out, const CnTensor *t);
/* A view: same storage, other shape, strides (elements) and offset; out of the graph. The caller checks the range. */
CnErr cn_tensor_view(CnTensor **out, const CnTensor *t, int ndim, const int64_t *shape, const int64_t *stride,
                     int64_t offset);

CnTensor *cn_tensor_ref(CnTensor *t);
void cn_tensor_unref(CnTensor *t); /* NULL is allowed */

int64_t cn_tensor_count(const CnTensor *t); /* elements */
size_t cn_tensor_bytes(const CnTensor *t);  /* of the elements */
bool cn_tensor_is_contiguous(const CnTensor *t);
bool cn_tensor_same_shape(const CnTensor *a, const CnTensor *b);
CnSpec cn_tensor_spec(const CnTensor *t);
bool cn_tensor_tracked(const CnTensor *t); /* requires_grad or computed from one that does */

static inline CnDevice cn_tensor_device(const CnTensor *t) { return t->storage->device; }

/* Address of the first element. On the CPU it can be read and written; else only kernels and copies may use it. */
static inline void *cn_tensor_data(const CnTensor *t) {
  return (char *)t->storage->data + (size_t)t->offset * cn_dtype_size(t->dtype);
}

/* "(2,3)" into `text` of at least 160 bytes; returns `text`. */
const char *cn_shape_text(int ndim, const int64_t *shape, char *text);

/* Whole contents to and from CPU memory in row-major order, `bytes` = cn_tensor_bytes. Waits for the device. */
CnErr cn_tensor_read(const CnTensor *t, void *to, size_t bytes);
CnErr cn_tensor_write(CnTensor *t, const void *from, size_t bytes);
/* The single element of a tensor as a double; CN_EUSAGE when it has more or fewer. */
CnErr cn_tensor_item(double *out, const CnTensor *t);
/* A copy on another device and/or of another type; a new reference to `t` itself when nothing changes. In the graph. */
CnErr cn_tensor_to(CnTensor **out, CnTensor *t, CnDtype dtype, CnDevice device);
/* Copies values of the same shape and type into `to` (any strides, any device). Out of the graph. */
CnErr cn_tensor_copy(CnTensor *to, CnTensor *from);

/* Tensors that exist now, everywhere: a test ends with it back at its start. */
int64_t cn_tensor_live(void);

#endif
