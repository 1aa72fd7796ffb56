/* conv2d.c - row conv2d: reads the call's geometry and chooses among depthwise, pointwise and general. */
#include "kernels/cpu/conv2d.h"

Conv FN(conv_of)(const CnCall *call, const CnTensor *gy) {
  const CnAttr *attr = call->attr;
  const int64_t *x = call->in_spec[0].shape, *weight = call->in_spec[1].shape;
  const int64_t *y = gy != NULL ? gy->shape : call->out[0]->shape;
  return (Conv){
    .n = x[0], .h = x[1], .w = x[2], .c = x[3], .oh = y[1], .ow = y[2], .o = y[3], .kh = weight[0], .kw = weight[1],
    .stride_h = attr[0].i, .stride_w = attr[1].i, .pad_h = attr[2].i, .pad_w = attr[3].i,
    .dilation_h = attr[4].i, .dilation_w = attr[5].i, .groups = attr[6].i, .relu = attr[7].i != 0,
    .x = DATA(REAL, call->in[0]), .weight = DATA(REAL, call->in[1]),
  };
}

static bool is_depthwise(const Conv *v) { return v->groups == v->c && v->groups == v->o && v->groups > 1; }

static bool is_pointwise(const Conv *v) {
  return v->kh == 1 && v->kw == 1 && v->groups == 1 && v->stride_h == 1 && v->stride_w == 1 && v->pad_h == 0 &&
         v->pad_w == 0;
}

CnErr FN(conv_forward)(const Conv *v) {
  if (is_depthwise(v)) return FN(conv_depthwise_forward)(v);
  if (is_pointwise(v)) return FN(conv_pointwise_forward)(v);
  return FN(conv_general_forward)(v);
}

CnErr FN(conv_backward)(const Conv *v) {
  if (v->gx == NULL && v->gweight == NULL) return CN_OK;
  if (is_depthwise(v)) return FN(conv_depthwise_backward)(v);
  if (is_pointwise(v)) return FN(conv_pointwise_backward)(v);
  return FN(conv_general_backward)(v);
}

bool FN(conv_takes_incoming)(const Conv *v) { return v->gx == NULL && !is_depthwise(v) && !is_pointwise(v); }

CnErr FN(conv2d_forward)(CnCall *call) {
  Conv v = FN(conv_of)(call, NULL);
  v.bias = call->nin > 2 && call->in[2] != NULL ? DATA(REAL, call->in[2]) : NULL;
  v.y = DATA(REAL, call->out[0]);
  return FN(conv_forward)(&v);
}

CnErr FN(conv2d_backward)(CnCall *call) {
  Conv v = FN(conv_of)(call, call->gout[0]);
  v.gy = DATA(REAL, call->gout[0]);
  v.gx = call->gin[0] != NULL ? DATA(REAL, call->gin[0]) : NULL;
  v.gweight = call->gin[1] != NULL ? DATA(REAL, call->gin[1]) : NULL;
  if (call->nin > 2 && call->gin[2] != NULL)
    CN_TRY(FN(column_sums)(v.n * v.oh * v.ow, v.o, v.gy, DATA(REAL, call->gin[2])));
  return FN(conv_backward)(&v);
}
