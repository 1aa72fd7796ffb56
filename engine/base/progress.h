/* progress.h - a count of what this process has done, so that others can tell whether it moves.
**
** Whatever takes its time and is not stuck (operations, images decoded, bytes written) notes it. The value means
** nothing; that it changes does. Notes may be lost when threads meet, never all of them. */
#ifndef CN_PROGRESS_H
#define CN_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

extern _Atomic uint64_t cn_progress; /* progress.c */

static inline void cn_progress_note(void) {
  uint64_t n = atomic_load_explicit(&cn_progress, memory_order_relaxed);
  atomic_store_explicit(&cn_progress, n + 1, memory_order_relaxed);
}

#endif
