/* conv_pointwise.c - 1x1 convolution of stride 1: every pixel's channels times one matrix (C,O). */
#include "kernels/cpu/conv2d.h"

CnErr FN(conv_pointwise_forward)(const Conv *v) {
  return FN(gemm)(v->n * v->h * v->w, v->o, v->c, v->x, v->weight, false, v->bias, v->y);
}

CnErr FN(conv_pointwise_backward)(const Conv *v) {
  int64_t pixels = v->n * v->h * v->w;
  if (v->gx != NULL) CN_TRY(FN(gemm)(pixels, v->c, v->o, v->gy, v->weight, true, NULL, v->gx));
  if (v->gweight != NULL) CN_TRY(FN(gemm_outer)(pixels, v->c, v->o, v->x, v->gy, v->gweight));
  return CN_OK;
}
