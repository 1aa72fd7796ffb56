/* depthwise.h - every channel convolved with its own kernel: the loops that row conv2d and the separable block share.
**
** The part of an image that a block of output rows reads lies in a plane, which has the padding as zeros: the loops
** know no borders. In a plane neighbouring channels are vector lanes and a tap is just an offset. The gradient by the
** input of a convolution of stride s is, for each of the s*s phases of an input pixel, a convolution of stride 1 of the
** output's gradient with those taps, turned round, that meet that phase: no zeros are multiplied. All these routines
** run on the calling thread. */
#ifndef CN_DEPTHWISE_H
#define CN_DEPTHWISE_H

#include "kernels/cpu/ahead.h"
#include "kernels/cpu/block.h"

/* A part of an image, (height,width,lanes): its first pixel is pixel (origin_h,origin_w) of the image, what lies
** outside the image is 0. */
typedef struct Plane {
  int64_t h, w;               /* of the image */
  int64_t origin_h, origin_w; /* origin_w is never positive */
  int64_t filled;             /* image rows before this one are there */
  int64_t height, width, lanes; /* lanes: elements in a pixel, at least VLEN and the channels */
  REAL *data;
} Plane;

CN_INLINE int64_t plane_count(const Plane *p) { return p->height * p->width * p->lanes; }

/* Lays out a thread's plane for the next image. Its data is cleared unless it is laid out like that already: then what
** an image does not fill is still 0. Give every thread a plane {0} with data at first. */
CN_INLINE void plane_lay(Plane *p, const Plane *as) {
  bool same = p->origin_h == as->origin_h && p->height == as->height && p->width == as->width;
  REAL *data = p->data;
  *p = *as;
  p->data = data;
  p->filled = p->origin_h;
  if (!same) memset(data, 0, (size_t)plane_count(p) * sizeof(REAL));
}

/* Where the first pixel of image row y goes. */
CN_INLINE REAL *plane_row(const Plane *p, int64_t y) {
  return p->data + ((y - p->origin_h) * p->width - p->origin_w) * p->lanes;
}

/* The rows of `image` (h,w,r->channels) before row `until` that are not there yet, as far as the plane reaches. */
void FN(plane_fill)(Plane *p, const Reader *r, const STORED *image, int64_t until);

/* A convolution: tap (p,q) of the kernel has its weights, one a channel, at weight + p*weight_row + q*weight_step.
** Output (i,j) reads, for tap (p,q), pixel (i*stride_h - pad_h + p*dilation_h, j*stride_w - pad_w + q*dilation_w). */
typedef struct Depthwise {
  int64_t kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  const REAL *weight; /* vectors are read: VLEN elements from the last channel's slot on must be there */
  int64_t weight_row, weight_step;
  Ahead *ahead; /* a line of it for each vector of outputs; NULL: without */
} Depthwise;

/* Rows or columns of a plane that `outputs` of them read. */
CN_INLINE int64_t reach(int64_t outputs, int64_t stride, int64_t kernel, int64_t dilation) {
  return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
}

/* The image row behind the last that output row y reads. */
CN_INLINE int64_t reads_until(const Depthwise *k, int64_t y) {
  return y * k->stride_h - k->pad_h + (k->kh - 1) * k->dilation_h + 1;
}

CN_INLINE int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* The plane of an image (h,w) that outputs of rows `begin` … `end`-1, `ow` columns, read. */
Plane FN(plane_of_input)(const Depthwise *k, int64_t h, int64_t w, int64_t lanes, int64_t begin, int64_t end,
                         int64_t ow);

/* The plane of a gradient (oh,ow) that has rows `first` … `last`-1 of it and all that the gradients of input rows
** `begin` … `end`-1, `w` columns, read. */
Plane FN(plane_of_gradient)(const Depthwise *k, int64_t oh, int64_t ow, int64_t lanes, int64_t first, int64_t last,
                            int64_t begin, int64_t end, int64_t w);

/* Output rows `first` … first+rows-1, columns 0 … width-1, of a plane of the input into `to`: rows to_row and pixels
** to_step elements apart, `channels` of each written. `bias` (channels) may be NULL. */
void FN(depthwise_rows)(const Depthwise *k, const Plane *plane, int64_t channels, const REAL *bias, int64_t first,
                        int64_t rows, int64_t width, REAL *to, int64_t to_row, int64_t to_step);

/* Gradients of input rows `first` … first+rows-1, columns 0 … width-1, of a plane of the output's gradient. */
void FN(depthwise_turned_rows)(const Depthwise *k, const Plane *gradient, int64_t channels, int64_t first, int64_t rows,
                               int64_t width, REAL *to, int64_t to_row, int64_t to_step);

/* Adds to sum (kh,kw,slots,VLEN) the weights' gradient from output rows `first` … first+rows-1, columns 0 … width-1, of
** a plane of the input; the output's gradient at g, laid out by g_row and g_step. At most about 256 outputs at a time
** keep the digits of f32. */
void FN(depthwise_weight_gradient)(const Depthwise *k, const Plane *plane, int64_t channels, int64_t first,
                                   int64_t rows, int64_t width, const REAL *g, int64_t g_row, int64_t g_step,
                                   REAL *sum);

#endif
