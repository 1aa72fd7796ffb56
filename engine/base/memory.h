/* memory.h - the one allocator of the engine: aligned, counted, cached, and able to fail on purpose.
**
** Freed blocks wait in lists by size class (eight classes to an octave, so at most 12.5 % is lost) and are handed out
** again, large ones for smaller requests too: after its first steps a training loop asks the system for nothing. Safe to
** call from any thread. */
#ifndef CN_MEMORY_H
#define CN_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CN_ALIGNMENT 64 /* bytes; a cache line and an AVX-512 vector */

/* `bytes` of uninitialised memory aligned to CN_ALIGNMENT, or NULL with cn_fail(CN_EMEMORY) done. 0 bytes is legal. */
void *cn_alloc(size_t bytes);
void *cn_alloc_zeroed(size_t bytes);
char *cn_strdup(const char *text);
void cn_free(void *block); /* NULL is allowed */

typedef struct CnMemoryStats {
  int64_t bytes_live;   /* handed out and not freed */
  int64_t bytes_peak;   /* highest bytes_live since the start or cn_memory_reset_peak */
  int64_t bytes_cached; /* freed and kept for reuse */
  int64_t blocks_live;
  int64_t allocations;        /* calls that returned a block, ever */
  int64_t system_allocations; /* those that had to ask the system */
} CnMemoryStats;

CnMemoryStats cn_memory_stats(void);
void cn_memory_reset_peak(void);
void cn_memory_trim(void); /* gives every cached block back to the system */

/* Test hook: lets `after` allocations pass, fails the next one, then all pass again. Negative: off. */
void cn_memory_fail_after(int64_t after);
/* True when an allocator outside this file (Lua's) should fail now by the same count. */
bool cn_memory_should_fail(void);

#endif
