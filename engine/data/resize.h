/* resize.h - bilinear resizing of RGB bytes as PIL does it, antialiased, of the part that is wanted alone.
**
** An output pixel is a mean of the input pixels within one output pixel's distance, weighted by a triangle; first along
** the rows, rounded to bytes, then down the columns. Weights have 22 bits, so that every byte is PIL's. Rows are given
** one after the other as a decoder makes them and shortened at once: only the shortened ones are kept. */
#ifndef CN_RESIZE_H
#define CN_RESIZE_H

#include "base/buffer.h"
#include "kernels/cpu/image.h"

typedef struct CnAxis { /* one direction */
  int size;             /* pixels that there are: 0 … size-1; none beyond them is used */
  double from, to;      /* the stretch of them that becomes the result */
  int result;           /* pixels of the whole result */
  int first, count;     /* those of it that are wanted */
} CnAxis;

typedef struct CnResize { /* all zeros at first; used for one image after the other, by one thread */
  CnTaps across, down;
  int left, right, top, bottom; /* input pixels that are needed: columns left … right-1, rows top … bottom-1 */
  CnBuffer weights_across, weights_down, rows, scratch;
} CnResize;

/* Prepares for an image; `left` … `bottom` then say what of it must come. */
CnErr cn_resize_begin(CnResize *resize, const CnAxis *x, const CnAxis *y);
/* `count` rows, `stride` bytes apart, from row top + y on, of columns left … right-1; in order, all of them.
** CN_IMAGE_SLACK bytes behind the last must be readable. */
void cn_resize_rows(CnResize *resize, const uint8_t *rows, ptrdiff_t stride, int y, int count);
/* The result: y.count rows of x.count pixels without gaps, and CN_IMAGE_SLACK bytes of room behind them. */
void cn_resize_end(CnResize *resize, uint8_t *out);
void cn_resize_free(CnResize *resize);

#endif
