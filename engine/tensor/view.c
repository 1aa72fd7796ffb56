/* view.c - views: another shape and other strides on the same storage, and the way back for gradients. */
#include "tensor/view.h"

#include <string.h>

#include "tensor/shape.h"

/* The view being made: starts as the input itself. */
typedef struct Form {
  int ndim;
  int64_t shape[CN_MAX_DIMS], stride[CN_MAX_DIMS], offset;
} Form;

static Form form_of(const CnTensor *x) {
  Form f = { .ndim = x->ndim, .offset = x->offset };
  memcpy(f.shape, x->shape, sizeof f.shape);
  memcpy(f.stride, x->stride, sizeof f.stride);
  return f;
}

static CnErr finish(CnCall *call, const Form *f) {
  CN_TRY(cn_tensor_view(&call->out[0], call->in[0], f->ndim, f->shape, f->stride, f->offset));
  call->out_spec[0] = cn_tensor_spec(call->out[0]);
  return CN_OK;
}

/* A list attribute: its count is in slot 0. */
static int list(const CnCall *call, int64_t values[CN_MAX_DIMS]) {
  int n = (int)call->attr[0].i;
  for (int i = 0; i < n; i++) values[i] = call->attr[1 + i].i;
  return n;
}

CnErr reshape_view(CnCall *call) {
  CnTensor *x = call->in[0];
  Form f = { .offset = x->offset };
  f.ndim = list(call, f.shape);
  int64_t count = cn_tensor_count(x), known = 1;
  int open = -1;
  char a[160], b[160];
  for (int d = 0; d < f.ndim; d++) {
    if (f.shape[d] == -1 && open < 0) open = d;
    else if (f.shape[d] < 0 || __builtin_mul_overflow(known, f.shape[d], &known))
      return cn_fail(CN_EUSAGE, "reshape: sizes must not be negative (one may be -1), got %s",
                     cn_shape_text(f.ndim, f.shape, b));
  }
  if (open >= 0 && known > 0 && count % known == 0) f.shape[open] = count / known;
  else if (open >= 0 || known != count)
    return cn_fail(CN_EUSAGE, "reshape: %s has %lld elements and cannot become %s", cn_shape_text(x->ndim, x->shape, a),
                   (long long)count, cn_shape_text(f.ndim, f.shape, b));
  int64_t stride = 1;
  for (int d = f.ndim - 1; d >= 0; d--) {
    f.stride[d] = stride;
    stride *= f.shape[d];
  }
  return finish(call, &f);
}

/* The gradient in the input's shape: gout is contiguous, so a reshape of it always works. */
CnErr reshape_view_backward(CnCall *call) {
  const CnSpec *spec = &call->in_spec[0];
  CnAttr attr[CN_MAX_ATTRS] = { { .i = spec->ndim } };
  for (int d = 0; d < spec->ndim; d++) attr[1 + d].i = spec->shape[d];
  return cn_apply1(&call->gin[0], CN_OP_reshape, call->gout[0], attr);
}

CnErr transpose_view(CnCall *call) {
  CN_TRY(cn_shape_dim(call, 0, 0));
  CN_TRY(cn_shape_dim(call, 1, 0));
  Form f = form_of(call->in[0]);
  int64_t a = call->attr[0].i, b = call->attr[1].i, shape = f.shape[a], stride = f.stride[a];
  f.shape[a] = f.shape[b];
  f.stride[a] = f.stride[b];
  f.shape[b] = shape;
  f.stride[b] = stride;
  return finish(call, &f);
}

CnErr transpose_view_backward(CnCall *call) {
  return cn_apply1(&call->gin[0], CN_OP_transpose, call->gout[0], call->attr);
}

CnErr permute_view(CnCall *call) {
  CnTensor *x = call->in[0];
  Form f = { .ndim = x->ndim, .offset = x->offset };
  int64_t order[CN_MAX_DIMS];
  unsigned seen = 0;
  bool whole = list(call, order) == x->ndim;
  for (int d = 0; whole && d < x->ndim; d++) {
    whole = order[d] >= 1 && order[d] <= x->ndim && !(seen >> order[d] & 1);
    if (!whole) break;
    seen |= 1u << order[d];
    f.shape[d] = x->shape[order[d] - 1];
    f.stride[d] = x->stride[order[d] - 1];
  }
  if (!whole) return cn_fail(CN_EUSAGE, "permute: expected each dimension from 1 to %d once", x->ndim);
  return finish(call, &f);
}

CnErr permute_view_backward(CnCall *call) {
  CnAttr back[CN_MAX_ATTRS] = { call->attr[0] };
  for (int d = 0; d < call->in_spec[0].ndim; d++) back[call->attr[1 + d].i].i = d + 1;
  return cn_apply1(&call->gin[0], CN_OP_permute, call->gout[0], back);
}

/* Entries [start, start + length) of a dimension; start counts from 1, or from the end when negative. */
static CnErr part(CnCall *call, Form *f, int64_t *start, int64_t length) {
  CN_TRY(cn_shape_dim(call, 0, 0));
  *f = form_of(call->in[0]);
  int64_t dim = call->attr[0].i, size = f->shape[dim], from = *start < 0 ? *start + size : *start - 1;
  if (*start == 0 || from < 0 || length < 0 || from > size - length)
    return cn_fail(CN_EUSAGE, "%s: %lld entries from %lld of dimension %lld, which has %lld", call->op->name,
                   (long long)length, (long long)*start, (long long)dim + 1, (long long)size);
  *start = from + 1;
  f->offset += from * f->stride[dim];
  f->shape[dim] = length;
  return CN_OK;
}

CnErr narrow_view(CnCall *call) {
  Form f;
  CN_TRY(part(call, &f, &call->attr[1].i, call->attr[2].i));
  return finish(call, &f);
}

/* Zeros of the input's shape with the gradient in its place. */
static CnErr widen(CnCall *call, int64_t dim, int64_t start, CnTensor *piece) {
  const CnSpec *spec = &call->in_spec[0];
  CnTensor *whole = NULL, *place = NULL;
  CN_TRY(cn_tensor_zeros(&whole, spec->dtype, call->device, spec->ndim, spec->shape));
  CnAttr attr[CN_MAX_ATTRS] = { { .i = dim }, { .i = start }, { .i = piece->shape[dim] } };
  CnErr e = cn_apply1(&place, CN_OP_narrow, whole, attr);
  if (e == CN_OK) e = cn_tensor_copy(place, piece);
  cn_tensor_unref(place);
  if (e != CN_OK) cn_tensor_unref(whole);
  else call->gin[0] = whole;
  return e;
}

CnErr narrow_view_backward(CnCall *call) { return widen(call, call->attr[0].i, call->attr[1].i, call->gout[0]); }

static void drop(Form *f, int64_t dim) {
  f->ndim--;
  memmove(f->shape + dim, f->shape + dim + 1, (size_t)(f->ndim - dim) * sizeof f->shape[0]);
  memmove(f->stride + dim, f->stride + dim + 1, (size_t)(f->ndim - dim) * sizeof f->stride[0]);
}

CnErr select_view(CnCall *call) {
  Form f;
  CN_TRY(part(call, &f, &call->attr[1].i, 1));
  drop(&f, call->attr[0].i);
  return finish(call, &f);
}

CnErr select_view_backward(CnCall *call) {
  CnTensor *piece = NULL;
  CN_TRY(cn_apply1(&piece, CN_OP_unsqueeze, call->gout[0], call->attr));
  CnErr e = widen(call, call->attr[0].i, call->attr[1].i, piece);
  cn_tensor_unref(piece);
  return e;
}

CnErr expand_view(CnCall *call) {
  CnTensor *x = call->in[0];
  Form f = { .offset = x->offset };
  f.ndim = list(call, f.shape);
  int extra = f.ndim - x->ndim;
  bool fits = extra >= 0;
  for (int d = 0; fits && d < f.ndim; d++) {
    int64_t size = d < extra ? 1 : x->shape[d - extra];
    if (f.shape[d] == -1 && d >= extra) f.shape[d] = size;
    fits = f.shape[d] >= 0 && (size == 1 || size == f.shape[d]);
    f.stride[d] = d < extra || size == 1 ? 0 : x->stride[d - extra];
  }
  int64_t count = 1;
  for (int d = 0; fits && d < f.ndim; d++) fits = !__builtin_mul_overflow(count, f.shape[d], &count);
  char a[160], b[160];
  if (!fits)
    return cn_fail(CN_EUSAGE, "expand: %s does not stretch to %s", cn_shape_text(x->ndim, x->shape, a),
                   cn_shape_text(f.ndim, f.shape, b));
  return finish(call, &f);
}

/* Sums over what was stretched. */
CnErr expand_view_backward(CnCall *call) {
  const CnSpec *spec = &call->in_spec[0];
  CnTensor *g = call->gout[0], *sum = NULL;
  int extra = g->ndim - spec->ndim;
  int64_t mask = 0;
  for (int d = 0; d < g->ndim; d++)
    if (d < extra || (spec->shape[d - extra] == 1 && g->shape[d] != 1)) mask |= (int64_t)1 << d;
  if (mask == 0) return cn_apply1(&call->gin[0], CN_OP_contiguous, g, NULL);
  CN_TRY(cn_apply1(&sum, CN_OP_sum, g, (CnAttr[]){ { .i = mask }, { .i = 1 } }));
  CnTensor *home = call->gout[0];
  call->gout[0] = sum;
  CnErr e = reshape_view_backward(call);
  call->gout[0] = home;
  cn_tensor_unref(sum);
  return e;
}

CnErr squeeze_view(CnCall *call) {
  CN_TRY(cn_shape_dim(call, 0, 0));
  Form f = form_of(call->in[0]);
  int64_t dim = call->attr[0].i;
  if (f.shape[dim] != 1)
    return cn_fail(CN_EUSAGE, "squeeze: dimension %lld has size %lld, not 1",
                   (long long)dim + 1, (long long)f.shape[dim]);
  drop(&f, dim);
  return finish(call, &f);
}

CnErr squeeze_view_backward(CnCall *call) { return reshape_view_backward(call); }

CnErr unsqueeze_view(CnCall *call) {
  if (call->in[0]->ndim == CN_MAX_DIMS)
    return cn_fail(CN_EUSAGE, "unsqueeze: x has %d dimensions already", CN_MAX_DIMS);
  CN_TRY(cn_shape_dim(call, 0, 1));
  Form f = form_of(call->in[0]);
  int64_t dim = call->attr[0].i;
  memmove(f.shape + dim + 1, f.shape + dim, (size_t)(f.ndim - dim) * sizeof f.shape[0]);
  memmove(f.stride + dim + 1, f.stride + dim, (size_t)(f.ndim - dim) * sizeof f.stride[0]);
  f.shape[dim] = 1;
  f.stride[dim] = 1;
  f.ndim++;
  return finish(call, &f);
}

CnErr unsqueeze_view_backward(CnCall *call) { return reshape_view_backward(call); }
