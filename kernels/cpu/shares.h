/* shares.h - pieces of work among threads, each of which goes through neighbouring ones.
**
** A thread begins with a range of its own and takes the pieces in order: what it asked of memory ahead of time, for the
** piece behind, is its own to use. When its range is done it takes pieces from the end of the longest one left, so that
** all end together. Which thread has which piece changes nothing in the results: see base/threads.h.
**
**   Shares shares;
**   shares_of(&shares, pieces);
**   CN_PARALLEL_IF_WORTH(steps)
**   for (int64_t piece; (piece = shares_take(&shares)) >= 0;) { … } */
#ifndef CN_SHARES_H
#define CN_SHARES_H

#include <omp.h>
#include <stdatomic.h>

#include "base/threads.h"

#define SHARES_MOST 256 /* threads */

typedef struct Shares {
  int count;
  _Atomic uint64_t left[SHARES_MOST]; /* of each thread: first piece << 32 | the one behind the last */
} Shares;

/* In front of the loop. */
#define CN_PARALLEL_IF_WORTH(steps) \
  CN_PRAGMA_(omp parallel num_threads(cn_threads()) if ((steps) > CN_WORTH_SHARING))

static inline void shares_of(Shares *s, int64_t pieces) {
  s->count = cn_threads();
  for (int i = 0; i < s->count; i++) {
    uint64_t begin = (uint64_t)(pieces * i / s->count), end = (uint64_t)(pieces * (i + 1) / s->count);
    atomic_init(&s->left[i], begin << 32 | end);
  }
}

static inline uint64_t shares_length(uint64_t range) {
  uint64_t begin = range >> 32, end = range & UINT32_MAX;
  return begin < end ? end - begin : 0;
}

/* The next piece of the calling thread's; -1: all are taken. */
static inline int64_t shares_take(Shares *s) {
  int mine = omp_get_thread_num();
  uint64_t range = atomic_load(&s->left[mine]);
  while (shares_length(range) > 0)
    if (atomic_compare_exchange_weak(&s->left[mine], &range, range + (UINT64_C(1) << 32))) return (int64_t)(range >> 32);
  for (;;) {
    int longest = 0;
    uint64_t most = 0;
    for (int i = 0; i < s->count; i++) {
      uint64_t other = atomic_load(&s->left[i]);
      if (shares_length(other) <= shares_length(most)) continue;
      longest = i;
      most = other;
    }
    if (shares_length(most) == 0) return -1;
    if (atomic_compare_exchange_strong(&s->left[longest], &most, most - 1)) return (int64_t)((most & UINT32_MAX) - 1);
  }
}

#endif
