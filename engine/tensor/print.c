/* print.c - printing tensors: what they are, then their values in columns. */
#include "tensor/print.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/bf16.h"

/* A dimension longer than twice its edge and two is printed as edge, "…", edge: three for the last two dimensions, one
** for those before, so that a stack of images stays readable. */
#define EDGE(t, dim) ((dim) < (t)->ndim - 2 ? 1 : 3)
#define TEXT_MAX 65536 /* the text ends here, with "…" */

typedef struct Text {
  char *start;
  size_t used;
} Text;

static void put(Text *text, const char *format, ...) {
  va_list args;
  va_start(args, format);
  size_t room = TEXT_MAX - text->used;
  int n = vsnprintf(text->start + text->used, room, format, args);
  va_end(args);
  if (n > 0) text->used += (size_t)n < room ? (size_t)n : room - 1;
}

static double value(const CnTensor *t, const void *data, int64_t i) {
  switch (t->dtype) {
    case CN_F32: return ((const float *)data)[i];
    case CN_F64: return ((const double *)data)[i];
    case CN_I64: return (double)((const int64_t *)data)[i];
    case CN_BF16: return (double)cn_bf16_to_float(((const CnBf16 *)data)[i]);
    default: return ((const uint8_t *)data)[i];
  }
}

static void put_value(Text *text, const CnTensor *t, const void *data, int64_t i, int width) {
  if (t->dtype == CN_I64) put(text, "%*lld", width, (long long)((const int64_t *)data)[i]);
  else if (t->dtype == CN_U8) put(text, "%*d", width, ((const uint8_t *)data)[i]);
  else if (isnan(value(t, data, i))) put(text, "%*s", width, "nan"); /* without its sign */
  else put(text, "%*.5g", width, value(t, data, i));
}

static bool elided(const CnTensor *t, int dim, int64_t i) {
  int64_t size = t->shape[dim], edge = EDGE(t, dim);
  return size > 2 * edge + 2 && i >= edge && i < size - edge;
}

/* The widest number that will be printed. */
static int column_width(const CnTensor *t, const void *data, int dim, int64_t at) {
  if (dim == t->ndim) {
    char word[32];
    if (t->dtype == CN_I64) return snprintf(word, sizeof word, "%lld", (long long)((const int64_t *)data)[at]);
    return isnan(value(t, data, at)) ? 3 : snprintf(word, sizeof word, "%.5g", value(t, data, at));
  }
  int width = 0;
  int64_t step = 1;
  for (int d = dim + 1; d < t->ndim; d++) step *= t->shape[d];
  for (int64_t i = 0; i < t->shape[dim]; i++) {
    if (elided(t, dim, i)) continue;
    int w = column_width(t, data, dim + 1, at + i * step);
    width = w > width ? w : width;
  }
  return width;
}

static void put_values(Text *text, const CnTensor *t, const void *data, int dim, int64_t at, int width) {
  if (dim == t->ndim) {
    put_value(text, t, data, at, width);
    return;
  }
  int64_t step = 1;
  bool rows = dim < t->ndim - 1;
  for (int d = dim + 1; d < t->ndim; d++) step *= t->shape[d];
  put(text, "{");
  for (int64_t i = 0; i < t->shape[dim]; i++) {
    if (i > 0) put(text, rows ? "\n%*s" : " %*s", rows ? dim + 1 : 0, "");
    if (elided(t, dim, i)) {
      put(text, "…");
      i = t->shape[dim] - EDGE(t, dim) - 1;
    } else {
      put_values(text, t, data, dim + 1, at + i * step, width);
    }
  }
  put(text, "}");
}

static void put_header(Text *text, const CnTensor *t, const void *data) {
  char shape[160], device[16];
  double low = INFINITY, high = -INFINITY, sum = 0;
  int64_t nans = 0, infinite = 0, count = cn_tensor_count(t);
  for (int64_t i = 0; i < count; i++) {
    double v = value(t, data, i);
    if (isnan(v)) nans++;
    else if (isinf(v)) infinite++;
    else {
      low = v < low ? v : low;
      high = v > high ? v : high;
      sum += v;
    }
  }
  put(text, "%s %s on %s", cn_dtype_name(t->dtype), cn_shape_text(t->ndim, t->shape, shape),
      cn_device_name(cn_tensor_device(t), device));
  if (low <= high && count > 1)
    put(text, ", from %.5g to %.5g, mean %.5g", low, high, sum / (double)(count - nans - infinite));
  if (nans) put(text, ", %lld NaN", (long long)nans);
  if (infinite) put(text, ", %lld infinite", (long long)infinite);
  if (cn_tensor_tracked(t)) put(text, t->requires_grad ? ", requires gradient" : ", in the graph");
}

CnErr cn_tensor_format(char **out, const CnTensor *t) {
  size_t bytes = cn_tensor_bytes(t);
  void *data = cn_alloc(bytes);
  Text text = { cn_alloc(TEXT_MAX + 8), 0 };
  CnErr e = data && text.start ? cn_tensor_read(t, data, bytes) : CN_EMEMORY;
  if (e == CN_OK) {
    put_header(&text, t, data);
    if (cn_tensor_count(t) > 0) {
      put(&text, "\n");
      put_values(&text, t, data, 0, 0, t->ndim ? column_width(t, data, 0, 0) : 0);
    }
    if (text.used >= TEXT_MAX - 1) strcpy(text.start + text.used, "…");
    *out = text.start;
  } else {
    cn_free(text.start);
  }
  cn_free(data);
  return e;
}
