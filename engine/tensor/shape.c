/* shape.c - shape rules of elementwise, copying, reducing and indexing rows (the image and matrix rows: shape_nn.c). */
#include "tensor/shape.h"

#include <string.h>

static const CnSpec *in(const CnCall *call, int i) { return &call->in_spec[i]; }

static void set(CnCall *call, int i, CnDtype dtype, int ndim, const int64_t *shape) {
  CnSpec *spec = &call->out_spec[i];
  spec->dtype = dtype;
  spec->ndim = ndim;
  for (int d = 0; d < ndim; d++) spec->shape[d] = shape[d];
}

CnErr cn_shape_dim(CnCall *call, int slot, int extra) {
  int ndim = in(call, 0)->ndim + extra;
  int64_t dim = call->attr[slot].i, absolute = dim < 0 ? dim + ndim : dim;
  if (absolute < 0 || absolute >= ndim)
    return cn_fail(CN_EUSAGE, "%s: dimension %lld of a tensor with %d", call->op->name,
                   (long long)(dim < 0 ? dim : dim + 1), in(call, 0)->ndim);
  call->attr[slot].i = absolute;
  return CN_OK;
}

CnErr cn_shape_same(CnCall *call) {
  call->out_spec[0] = *in(call, 0);
  return CN_OK;
}

CnErr cn_shape_noise(CnCall *call) {
  double p = call->attr[0].f;
  if (!(p >= 0 && p < 1)) return cn_fail(CN_EUSAGE, "%s: p must be in [0, 1), got %g", call->op->name, p);
  return cn_shape_same(call);
}

CnErr cn_shape_none(CnCall *call) {
  (void)call;
  return CN_OK;
}

static CnErr mismatch(const CnCall *call, int i) {
  char a[160], b[160];
  const CnOpInfo *info = cn_op_info(call->op->id);
  return cn_fail(CN_EUSAGE, "%s: %s must have the shape of %s, %s, got %s", call->op->name, info->input[i].name,
                 info->input[0].name, cn_shape_text(in(call, 0)->ndim, in(call, 0)->shape, a),
                 cn_shape_text(in(call, i)->ndim, in(call, i)->shape, b));
}

CnErr cn_shape_pair(CnCall *call) {
  for (int i = 1; i < call->nin; i++)
    if (call->in[i] && !cn_tensor_same_shape(call->in[0], call->in[i])) return mismatch(call, i);
  return CN_OK;
}

/* Widens `to` by `from` as NumPy does; false when they do not fit. */
static bool broadcast(CnSpec *to, const CnSpec *from) {
  int ndim = to->ndim > from->ndim ? to->ndim : from->ndim;
  int64_t shape[CN_MAX_DIMS];
  for (int d = 0; d < ndim; d++) {
    int a = d - (ndim - to->ndim), b = d - (ndim - from->ndim);
    int64_t x = a < 0 ? 1 : to->shape[a], y = b < 0 ? 1 : from->shape[b];
    if (x != y && x != 1 && y != 1) return false;
    shape[d] = x == 1 ? y : x;
  }
  to->ndim = ndim;
  memcpy(to->shape, shape, (size_t)ndim * sizeof shape[0]);
  return true;
}

static CnErr broadcast_inputs(CnCall *call, CnDtype dtype) {
  CnSpec spec = *in(call, 0);
  for (int i = 1; i < call->nin; i++) {
    if (broadcast(&spec, in(call, i))) continue;
    char a[160], b[160];
    return cn_fail(CN_EUSAGE, "%s: shapes %s and %s do not broadcast", call->op->name,
                   cn_shape_text(spec.ndim, spec.shape, a), cn_shape_text(in(call, i)->ndim, in(call, i)->shape, b));
  }
  spec.dtype = dtype;
  call->out_spec[0] = spec;
  return CN_OK;
}

CnErr cn_shape_broadcast(CnCall *call) { return broadcast_inputs(call, call->dtype); }
CnErr cn_shape_compare(CnCall *call) { return broadcast_inputs(call, CN_U8); }
CnErr cn_shape_where(CnCall *call) { return broadcast_inputs(call, call->dtype); }

CnErr cn_shape_cast(CnCall *call) {
  call->out_spec[0] = *in(call, 0);
  call->out_spec[0].dtype = (CnDtype)call->attr[0].i;
  return CN_OK;
}

CnErr cn_shape_concat(CnCall *call) {
  CN_TRY(cn_shape_dim(call, 0, 0));
  int dim = (int)call->attr[0].i;
  CnSpec spec = *in(call, 0);
  for (int i = 1; i < call->nin; i++) {
    bool fits = in(call, i)->ndim == spec.ndim;
    for (int d = 0; fits && d < spec.ndim; d++) fits = d == dim || in(call, i)->shape[d] == spec.shape[d];
    char a[160], b[160];
    if (!fits)
      return cn_fail(CN_EUSAGE, "concat: input %d is %s, which does not continue %s along dimension %d", i + 1,
                     cn_shape_text(in(call, i)->ndim, in(call, i)->shape, a), cn_shape_text(spec.ndim, spec.shape, b),
                     dim + 1);
    spec.shape[dim] += in(call, i)->shape[dim];
  }
  call->out_spec[0] = spec;
  return CN_OK;
}

/* Without the dimensions of `mask` (or with size 1 there). */
static void reduced(CnCall *call, int i, CnDtype dtype, int64_t mask, bool keep) {
  int ndim = 0;
  int64_t shape[CN_MAX_DIMS];
  for (int d = 0; d < in(call, 0)->ndim; d++) {
    if (!(mask >> d & 1)) shape[ndim++] = in(call, 0)->shape[d];
    else if (keep) shape[ndim++] = 1;
  }
  set(call, i, dtype, ndim, shape);
}

static CnErr reduce(CnCall *call, CnDtype dtype) {
  int64_t all = ((int64_t)1 << in(call, 0)->ndim) - 1;
  if (call->attr[0].i == 0) call->attr[0].i = all;
  if (call->attr[0].i & ~all)
    return cn_fail(CN_EUSAGE, "%s: a dimension is beyond the %d of x", call->op->name, in(call, 0)->ndim);
  reduced(call, 0, dtype, call->attr[0].i, call->attr[1].i);
  return CN_OK;
}

CnErr cn_shape_sum(CnCall *call) { return reduce(call, cn_dtype_is_float(call->dtype) ? call->dtype : CN_I64); }
CnErr cn_shape_reduce(CnCall *call) { return reduce(call, call->dtype); }

static CnErr along_one(CnCall *call) {
  CN_TRY(cn_shape_dim(call, 0, 0));
  if (in(call, 0)->shape[call->attr[0].i] == 0)
    return cn_fail(CN_EUSAGE, "%s: dimension %lld is empty", call->op->name, (long long)call->attr[0].i + 1);
  return CN_OK;
}

CnErr cn_shape_extremum(CnCall *call) {
  CN_TRY(along_one(call));
  int64_t mask = (int64_t)1 << call->attr[0].i;
  reduced(call, 0, call->dtype, mask, call->attr[1].i);
  reduced(call, 1, CN_I64, mask, call->attr[1].i);
  return CN_OK;
}

CnErr cn_shape_arg(CnCall *call) {
  CN_TRY(along_one(call));
  reduced(call, 0, CN_I64, (int64_t)1 << call->attr[0].i, call->attr[1].i);
  return CN_OK;
}

CnErr cn_shape_topk(CnCall *call) {
  CnSpec spec = *in(call, 0);
  int64_t k = call->attr[0].i, n = spec.ndim ? spec.shape[spec.ndim - 1] : 1;
  if (spec.ndim == 0 || k < 1 || k > n)
    return cn_fail(CN_EUSAGE, "topk: k must be from 1 to the last size %lld, got %lld", (long long)n, (long long)k);
  spec.shape[spec.ndim - 1] = k;
  spec.dtype = CN_I64;
  call->out_spec[0] = spec;
  return CN_OK;
}

CnErr cn_shape_squared_norm(CnCall *call) {
  set(call, 0, CN_F64, 0, NULL);
  return CN_OK;
}

CnErr cn_shape_index_select(CnCall *call) {
  CN_TRY(cn_shape_dim(call, 0, 0));
  if (in(call, 1)->ndim != 1)
    return cn_fail(CN_EUSAGE, "index_select: index must have 1 dimension, got %d", in(call, 1)->ndim);
  call->out_spec[0] = *in(call, 0);
  call->out_spec[0].shape[call->attr[0].i] = in(call, 1)->shape[0];
  return CN_OK;
}

CnErr cn_shape_gather(CnCall *call) {
  CN_TRY(cn_shape_dim(call, 0, 0));
  bool fits = in(call, 0)->ndim == in(call, 1)->ndim;
  for (int d = 0; fits && d < in(call, 0)->ndim; d++)
    fits = d == call->attr[0].i || in(call, 0)->shape[d] == in(call, 1)->shape[d];
  if (!fits) return mismatch(call, 1);
  set(call, 0, call->dtype, in(call, 1)->ndim, in(call, 1)->shape);
  return CN_OK;
}

CnErr cn_shape_embedding(CnCall *call) {
  const CnSpec *weight = in(call, 0), *index = in(call, 1);
  char text[160];
  if (weight->ndim != 2 || index->ndim >= CN_MAX_DIMS)
    return cn_fail(CN_EUSAGE, "embedding: weight must be (V,E), got %s",
                   cn_shape_text(weight->ndim, weight->shape, text));
  set(call, 0, call->dtype, index->ndim, index->shape);
  call->out_spec[0].shape[call->out_spec[0].ndim++] = weight->shape[1];
  return CN_OK;
}

CnErr cn_shape_dim_same(CnCall *call) {
  CN_TRY(along_one(call));
  return cn_shape_same(call);
}
