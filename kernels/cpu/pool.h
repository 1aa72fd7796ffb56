/* pool.h - pooling with a window of any size, for the rows max_pool2d, avg_pool2d and pool_block.
**
** A window is cut at the image's border, so padding is never read: it cannot win a maximum and is not counted in a
** mean. Of equal values the first in row-major order wins, NaN wins over every number and the last NaN over the others.
** A maximum has a byte that says which tap of its window won, the first tap being the one at the window's corner
** whether it is inside the image or not. */
#ifndef CN_POOL_H
#define CN_POOL_H

#include "kernels/cpu/block.h"

/* A half-open range of taps, or of windows. */
typedef struct Range {
  int64_t begin, end;
} Range;

/* Neighbouring pixels of a row that see the same taps; places and counts are of elements in a row. Forward, output
** pixels at `to` see `taps` input pixels from `from` on, the first as tap number `first` of the kernel's row. Backward,
** input pixels at `to` are seen by `taps` windows from `from` on, by the first as tap number `first`. */
typedef struct Run {
  int64_t to, from, count, taps, first;
} Run;

typedef struct Pool {
  int64_t n, h, w, c, oh, ow, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  bool max;                       /* a maximum; else a mean */
  int64_t blocks, pieces;         /* blocks of rows of an image; pieces of all work, each with its sums */
  Range *down, *around;           /* by output row: taps inside the image; by input row: windows that hold it */
  Run *forth, *back;              /* of an output row; of an input row */
  int64_t forth_count, back_count;
  void *block;                    /* the four, one block of memory */
} Pool;

/* From the call's input 0, output 0 and first six attributes. cn_free(out->block) when done. */
CnErr FN(pool_new)(Pool *out, const CnCall *call, bool max);

/* z (n,oh,ow,c) from what the reader makes of x (n,h,w,c), with its argmax when it is a maximum. Each piece adds the
** sums of z and of its squares to sums (pieces, 2 * c); sums NULL: not wanted. */
CnErr FN(pool_forward)(const Pool *v, const Reader *reader, const STORED *x, STORED *z, uint8_t *argmax, double *sums);

/* gx (n,h,w,c), or added to it (`add`), NULL: not wanted; and each piece's sums for scale and shift as above. Where
** g->by_z is NULL the gradient of z is g->g as it is. */
CnErr FN(pool_backward)(const Pool *v, const Incoming *g, const uint8_t *argmax, const Reader *reader, const STORED *x,
                        STORED *gx, bool add, double *sums);

#endif
