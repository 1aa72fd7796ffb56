/* pieces.h - work on a range of indices, cut into pieces of a fixed length and shared among the threads.
**
** The cut depends on the range and on `grain` alone, so a piece sees the same indices whatever the number of threads;
** a range of few pieces runs in the caller, without a parallel region. */
#ifndef CN_PIECES_H
#define CN_PIECES_H

#include "kernel.h"
#include "kernels/sizes.h"

#define GRAIN 32768 /* elements in a piece of elementwise work: a few microseconds */
#define ALONE 4     /* pieces that the caller does sooner than it could wake the others */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Work on the indices begin … end-1. */
typedef void PieceWork(void *context, int64_t begin, int64_t end);

static inline int64_t piece_count(int64_t n, int64_t grain) { return (n + grain - 1) / grain; }

static inline void in_pieces(int64_t n, int64_t grain, PieceWork *work, void *context) {
  int64_t pieces = piece_count(n, grain);
  if (pieces <= ALONE) {
    for (int64_t p = 0; p < pieces; p++) work(context, p * grain, CN_MIN(n, (p + 1) * grain));
  } else {
    CN_PARALLEL_FOR
    for (int64_t p = 0; p < pieces; p++) work(context, p * grain, CN_MIN(n, (p + 1) * grain));
  }
}

/* How many rows of `row` elements make a piece of about GRAIN elements; at least one. */
static inline int64_t rows_in_piece(int64_t row) { return CN_MAX(1, GRAIN / CN_MAX(1, row)); }

#endif
