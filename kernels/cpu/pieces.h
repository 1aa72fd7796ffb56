/* pieces.h - work on a range of indices, cut into pieces of a fixed length and shared among the threads.
**
** The cut depends on the range and on `grain` alone, so a piece sees the same indices whatever the number of threads;
** a range of few pieces runs in the caller, without a parallel region. */
#ifndef CN_PIECES_H
#define CN_PIECES_H

#include "kernel.h"

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

/* Elements of a shape, and of a part of its dimensions. */
static inline int64_t count_between(const CnSpec *spec, int first, int last) {
  int64_t n = 1;
  for (int d = first; d < last; d++) n *= spec->shape[d];
  return n;
}
static inline int64_t count_of(const CnSpec *spec) { return count_between(spec, 0, spec->ndim); }

#endif
