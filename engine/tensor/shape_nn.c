/* shape_nn.c - shape rules of matrix, image and loss rows. Images are (N,H,W,C). */
#include "tensor/shape.h"

static const CnSpec *in(const CnCall *call, int i) { return &call->in_spec[i]; }

void cn_shape_set(CnCall *call, int i, int ndim, const int64_t *shape) {
  call->out_spec[i] = (CnSpec){ .dtype = call->dtype, .ndim = ndim };
  for (int d = 0; d < ndim; d++) call->out_spec[i].shape[d] = shape[d];
}

CnErr cn_shape_expect(const CnCall *call, int i, int ndim, const int64_t *shape) {
  const CnSpec *spec = in(call, i);
  if (spec->ndim == -1) return CN_OK; /* optional and not given */
  bool fits = spec->ndim == ndim;
  for (int d = 0; fits && d < ndim; d++) fits = shape[d] == -1 || shape[d] == spec->shape[d];
  if (fits) return CN_OK;
  char a[160], b[160];
  const CnOpInfo *info = cn_op_info(call->op->id);
  return cn_fail(CN_EUSAGE, "%s: %s must be %s%s, got %s", call->op->name, info->input[CN_INPUT_INDEX(info, i)].name,
                 cn_shape_text(ndim, shape, a), ndim == 4 && shape[0] == -1 ? " (N,H,W,C)" : "",
                 cn_shape_text(spec->ndim, spec->shape, b));
}

CnErr cn_shape_matmul(CnCall *call) {
  const int64_t *x = in(call, 0)->shape, *y = in(call, 1)->shape;
  if (in(call, 0)->ndim == 3) {
    CN_TRY(EXPECT(call, 1, x[0], x[2], -1));
    SET(call, 0, x[0], x[1], y[2]);
    return CN_OK;
  }
  CN_TRY(EXPECT(call, 0, -1, -1));
  CN_TRY(EXPECT(call, 1, x[1], -1));
  SET(call, 0, x[0], y[1]);
  return CN_OK;
}

CnErr cn_shape_linear(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1));
  CN_TRY(EXPECT(call, 1, in(call, 0)->shape[1], -1));
  CN_TRY(EXPECT(call, 2, in(call, 1)->shape[1]));
  SET(call, 0, in(call, 0)->shape[0], in(call, 1)->shape[1]);
  return CN_OK;
}

CnErr cn_shape_lstm_gates(CnCall *call) {
  CN_TRY(EXPECT(call, 1, -1, -1));
  int64_t n = in(call, 1)->shape[0], hidden = in(call, 1)->shape[1];
  CN_TRY(EXPECT(call, 0, n, 4 * hidden));
  SET(call, 0, n, hidden);
  SET(call, 1, n, hidden);
  return CN_OK;
}

CnErr cn_shape_slide(const CnCall *call, int64_t *out, int64_t size, int64_t kernel, int64_t stride, int64_t pad,
                     int64_t dilation) {
  const char *name = call->op->name;
  const int64_t limit = 1 << 20;
  if (kernel < 1 || kernel > limit)
    return cn_fail(CN_EUSAGE, "%s: kernel must be at least 1, got %lld", name, (long long)kernel);
  if (stride < 1 || stride > limit)
    return cn_fail(CN_EUSAGE, "%s: stride must be at least 1, got %lld", name, (long long)stride);
  if (pad < 0 || pad > limit)
    return cn_fail(CN_EUSAGE, "%s: padding must not be negative, got %lld", name, (long long)pad);
  if (dilation < 1 || dilation > limit)
    return cn_fail(CN_EUSAGE, "%s: dilation must be at least 1, got %lld", name, (long long)dilation);
  int64_t span = dilation * (kernel - 1) + 1, room = size + 2 * pad - span;
  if (room < 0)
    return cn_fail(CN_EUSAGE, "%s: the window spans %lld pixels, the padded image has %lld", name, (long long)span,
                   (long long)(size + 2 * pad));
  *out = room / stride + 1;
  return CN_OK;
}

CnErr cn_shape_conv2d(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1, -1, -1));
  const int64_t *x = in(call, 0)->shape, *w = in(call, 1)->shape;
  const CnAttr *a = call->attr;
  int64_t groups = a[6].i, height = 0, width = 0;
  if (groups < 1 || x[3] % groups)
    return cn_fail(CN_EUSAGE, "%s: groups must divide the %lld channels of x, got %lld", call->op->name,
                   (long long)x[3], (long long)groups);
  CN_TRY(EXPECT(call, 1, -1, -1, x[3] / groups, -1));
  if (w[3] % groups)
    return cn_fail(CN_EUSAGE, "%s: groups must divide the %lld output channels, got %lld", call->op->name,
                   (long long)w[3], (long long)groups);
  if (call->nin > 2) CN_TRY(EXPECT(call, 2, w[3]));
  CN_TRY(cn_shape_slide(call, &height, x[1], w[0], a[0].i, a[2].i, a[4].i));
  CN_TRY(cn_shape_slide(call, &width, x[2], w[1], a[1].i, a[3].i, a[5].i));
  SET(call, 0, x[0], height, width, w[3]);
  return CN_OK;
}

CnErr cn_shape_pool(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1, -1, -1));
  const int64_t *x = in(call, 0)->shape;
  const CnAttr *a = call->attr;
  int64_t height = 0, width = 0;
  if (x[1] * x[2] == 0) return cn_fail(CN_EUSAGE, "%s: the image is empty", call->op->name);
  if (a[4].i > a[0].i / 2 || a[5].i > a[1].i / 2) /* else a window could hold padding alone */
    return cn_fail(CN_EUSAGE, "%s: padding must be at most half the kernel, got %lld,%lld for %lld,%lld",
                   call->op->name,
                   (long long)a[4].i, (long long)a[5].i, (long long)a[0].i, (long long)a[1].i);
  CN_TRY(cn_shape_slide(call, &height, x[1], a[0].i, a[2].i, a[4].i, 1));
  CN_TRY(cn_shape_slide(call, &width, x[2], a[1].i, a[3].i, a[5].i, 1));
  SET(call, 0, x[0], height, width, x[3]);
  return CN_OK;
}

CnErr cn_shape_avg_pool2d(CnCall *call) { return cn_shape_pool(call); }

CnErr cn_shape_argmax(CnCall *call, int output) {
  if (call->attr[0].i * call->attr[1].i > 255)
    return cn_fail(CN_EUSAGE, "%s: a window of at most 255 pixels, got %lld,%lld", call->op->name,
                   (long long)call->attr[0].i, (long long)call->attr[1].i);
  call->out_spec[output] = call->out_spec[0];
  call->out_spec[output].dtype = CN_U8;
  return CN_OK;
}

CnErr cn_shape_max_pool2d(CnCall *call) {
  CN_TRY(cn_shape_pool(call));
  return cn_shape_argmax(call, 1);
}

CnErr cn_shape_global_avg_pool2d(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1, -1, -1));
  if (in(call, 0)->shape[1] * in(call, 0)->shape[2] == 0)
    return cn_fail(CN_EUSAGE, "global_avg_pool2d: the image is empty");
  SET(call, 0, in(call, 0)->shape[0], in(call, 0)->shape[3]);
  return CN_OK;
}

CnErr cn_shape_batch_norm(CnCall *call) {
  const CnSpec *x = in(call, 0);
  if (x->ndim < 2) return cn_fail(CN_EUSAGE, "batch_norm: x needs at least 2 dimensions, got %d", x->ndim);
  int64_t channels = x->shape[x->ndim - 1];
  for (int i = 1; i < 5; i++) CN_TRY(EXPECT(call, i, channels));
  if (in(call, 3)->ndim != in(call, 4)->ndim)
    return cn_fail(CN_EUSAGE, "batch_norm: running_mean and running_var go together");
  if (!call->attr[0].i && in(call, 3)->ndim == -1)
    return cn_fail(CN_EUSAGE, "batch_norm: without running statistics it can only run in training");
  if (call->attr[0].i && channels > 0 && cn_tensor_count(call->in[0]) / channels < 2)
    return cn_fail(CN_EUSAGE, "batch_norm: training needs more than one value for each channel");
  call->out_spec[0] = *x;
  SET(call, 1, channels);
  SET(call, 2, channels);
  return CN_OK;
}

CnErr cn_shape_subsample2d(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1, -1, -1));
  const int64_t *x = in(call, 0)->shape, limit = 1 << 20;
  int64_t stride = call->attr[0].i;
  if (stride < 1 || stride > limit)
    return cn_fail(CN_EUSAGE, "subsample2d: stride must be at least 1, got %lld", (long long)stride);
  for (int i = 1; i <= 2; i++)
    if (call->attr[i].i < -limit || call->attr[i].i > limit)
      return cn_fail(CN_EUSAGE, "subsample2d: an offset of %lld pixels", (long long)call->attr[i].i);
  SET(call, 0, x[0], (x[1] + stride - 1) / stride, (x[2] + stride - 1) / stride, x[3]);
  return CN_OK;
}

CnErr cn_shape_cross_entropy(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1));
  CN_TRY(EXPECT(call, 1, in(call, 0)->shape[0]));
  double smoothing = call->attr[0].f;
  if (!(smoothing >= 0 && smoothing < 1))
    return cn_fail(CN_EUSAGE, "cross_entropy: smoothing must be in [0, 1), got %g", smoothing);
  if (in(call, 0)->shape[0] < 1 || in(call, 0)->shape[1] < (smoothing > 0 ? 2 : 1))
    return cn_fail(CN_EUSAGE, "cross_entropy: x is empty");
  cn_shape_set(call, 0, 0, NULL);
  return CN_OK;
}

CnErr cn_shape_accuracy(CnCall *call) {
  CN_TRY(EXPECT(call, 0, -1, -1));
  CN_TRY(EXPECT(call, 1, in(call, 0)->shape[0]));
  int64_t k = call->attr[0].i;
  if (k < 1 || k > in(call, 0)->shape[1] || in(call, 0)->shape[0] < 1)
    return cn_fail(CN_EUSAGE, "accuracy: k must be from 1 to the %lld classes of a batch that is not empty, got %lld",
                   (long long)in(call, 0)->shape[1], (long long)k);
  cn_shape_set(call, 0, 0, NULL);
  return CN_OK;
}
