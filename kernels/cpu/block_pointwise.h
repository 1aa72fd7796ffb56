/* block_pointwise.h - the product under pointwise_block and reduce_block: pixels of several images, joined along their
** channels, times one matrix or two.
**
** A block goes over the pixels of its result in strips. Of each strip the sources' pixels are read side by side into
** scratch memory that the cache holds: nowhere else are they joined. The two rows differ in which pixels these are. */
#ifndef CN_BLOCK_POINTWISE_H
#define CN_BLOCK_POINTWISE_H

#include "kernels/cpu/block.h"

/* One of the images; its channels are first … first + read.channels-1 of all. */
typedef struct Source {
  Reader read;
  const STORED *x;
  STORED *gx; /* NULL: not wanted */
  bool add;
  int64_t first;
} Source;

typedef struct Pointwise Pointwise;
struct Pointwise {
  CnCall *call;
  int grids; /* inputs 0 … grids-1 are the weights, whose outputs lie side by side in z; scale and shift follow */
  int sources;
  Source source[CN_MAX_INPUTS];
  int64_t h, w, oh, ow, pixels; /* sizes of the sources and of z; pixels of z in all images */
  int64_t inputs, outputs;      /* channels of all sources, and of one grid's result */
  /* Reads what pixels first … first+count-1 of z have of a source on a grid into `to`. */
  void (*read)(const Pointwise *b, const Source *s, int grid, int64_t first, int64_t count, REAL *to, int64_t pitch);
  /* Writes the gradient `g` of what `read` gave; sums of the factors' gradients as for write_gradient. */
  void (*write)(const Pointwise *b, const Source *s, int grid, int64_t first, int64_t count, const REAL *g,
                int64_t pitch, double *sums);
};

/* All but `read` and `write`. */
Pointwise FN(pointwise_of)(CnCall *call, int grids);

CnErr FN(pointwise_run)(const Pointwise *b);
CnErr FN(pointwise_run_back)(const Pointwise *b);

#endif
