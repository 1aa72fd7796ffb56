/* block_pointwise.h - the product under pointwise_block, pointwise_blocks and reduce_block: pixels of several images,
** joined along their channels, times one matrix or several.
**
** A block goes over the pixels of its result in strips. Of each strip the sources' pixels are read side by side into
** scratch memory that the cache holds: nowhere else are they joined. reduce_block reads its pixels from two grids, one
** matrix for each, into one result; the others read the same pixels for all their matrices and have a result for each. */
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

/* One of the results: columns first … first+channels-1 of a strip's. Its outputs in the call begin at `output`. */
typedef struct Result {
  int64_t first, channels;
  int output, weight; /* index of its weights among the inputs, when each result has its own */
} Result;

typedef struct Pointwise Pointwise;
struct Pointwise {
  CnCall *call;
  int slots;   /* inputs 0 … slots-1 are the weights, where given; scale, shift and sources follow */
  int weights; /* as many are given */
  int grids;   /* 1, or one for each of the weights */
  int sources, results;
  Result result[CN_MAX_OUTPUTS / 3];
  Source source[CN_MAX_INPUTS];
  int64_t h, w, oh, ow, pixels; /* sizes of the sources and of z; pixels of z in all images */
  int64_t inputs, outputs;      /* channels of all sources, and of what is made of one grid */
  /* Reads what pixels first … first+count-1 of z have of a source on a grid into `to`. */
  void (*read)(const Pointwise *b, const Source *s, int grid, int64_t first, int64_t count, REAL *to, int64_t pitch);
  /* Writes the gradient `g` of what `read` gave; sums of the factors' gradients as for write_gradient. */
  void (*write)(const Pointwise *b, const Source *s, int grid, int64_t first, int64_t count, const REAL *g,
                int64_t pitch, double *sums);
};

/* All but `read` and `write`. `split`: the weights share one grid and have a result each; in backward results that no
** gradient reached are left out, and their weights have none. */
Pointwise FN(pointwise_of)(CnCall *call, int slots, bool split);

CnErr FN(pointwise_run)(const Pointwise *b);
CnErr FN(pointwise_run_back)(const Pointwise *b);

#endif
