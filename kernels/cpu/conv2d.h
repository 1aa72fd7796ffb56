/* conv2d.h - the geometry of one 2-d convolution and the three ways to compute it.
**
** Images are (N,H,W,C) and (N,OH,OW,O), weights (KH,KW,C/groups,O). Output pixel (i,j) reads, for tap (p,q), the input
** pixel (i*stride_h - pad_h + p*dilation_h, j*stride_w - pad_w + q*dilation_w) where that is inside the image.
**
** With `relu` it is the convolution of max(x, 0), which is in memory nowhere: each way takes it as it copies a part of x
** into its scratch memory, and masks the gradient by x where it has just stored it. */
#ifndef CN_CONV2D_H
#define CN_CONV2D_H

#include "kernels/cpu/block.h"
#include "kernels/cpu/gemm.h"

typedef struct Conv {
  int64_t n, h, w, c, oh, ow, o, kh, kw;
  int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
  bool relu;
  const REAL *x, *weight, *bias; /* bias: NULL when there is none */
  REAL *y;
  const REAL *gy;     /* backward only, as the four below */
  const Incoming *incoming; /* not NULL: gy is NULL and made of this strip by strip; see conv_takes_incoming */
  REAL *gx, *gweight; /* NULL: not wanted */
} Conv;

/* The geometry, x and weight of a call whose inputs and attributes begin as conv2d's; gy (NULL in forward) is of the
** output's shape. */
Conv FN(conv_of)(const CnCall *call, const CnTensor *gy);

/* The way that suits the geometry. */
CnErr FN(conv_forward)(const Conv *v);
CnErr FN(conv_backward)(const Conv *v);

/* Whether backward can do without gy in memory. */
bool FN(conv_takes_incoming)(const Conv *v);

/* groups == C == O. */
CnErr FN(conv_depthwise_forward)(const Conv *v);
CnErr FN(conv_depthwise_backward)(const Conv *v);
/* 1x1, stride 1, no padding, one group: a matrix product over all pixels. */
CnErr FN(conv_pointwise_forward)(const Conv *v);
CnErr FN(conv_pointwise_backward)(const Conv *v);
/* Everything. */
CnErr FN(conv_general_forward)(const Conv *v);
CnErr FN(conv_general_backward)(const Conv *v);

/* What row relu does: max(x, 0), NaN stays NaN; its gradient is 0 at 0. */
CN_INLINE void rectify(REAL *restrict to, const REAL *restrict x, int64_t count) {
  for (int64_t k = 0; k < count; k++) to[k] = x[k] < 0 ? 0 : x[k];
}

CN_INLINE void mask_gradient(REAL *restrict gx, const REAL *restrict x, int64_t count) {
  for (int64_t k = 0; k < count; k++) gx[k] = x[k] <= 0 ? 0 : gx[k];
}

/* Blocks of rows that an image is cut into so that `images` of them give at least 32 pieces, 4 rows each or more. */
CN_INLINE int64_t row_blocks(int64_t images, int64_t rows) {
  return CN_MAX(1, CN_MIN(CN_CEIL_DIV(32, CN_MAX(images, 1)), rows / 4));
}

#endif
