/* memory.h - the one allocator of the engine: aligned, counted, cached, and able to fail on purpose.
**
** Freed blocks are kept and handed out again: small ones by size class (eight classes to an octave, so at most 12.5 %
** is lost), large ones split and joined in an arena. After its first steps a training loop asks the system for nothing,
** and what is held stays within an eighth and 64 MiB of the most that was ever in use. Safe to call from any thread. */
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
  int64_t bytes_cached; /* held from the system and not in use */
  int64_t blocks_live;
  int64_t allocations;        /* calls that returned a block, ever */
  int64_t system_allocations; /* those that took memory from the system */
} CnMemoryStats;

CnMemoryStats cn_memory_stats(void);
void cn_memory_reset_peak(void);
void cn_memory_trim(void); /* gives what is not in use back to the system: small blocks, whole granules of large ones */

/* Test hook: lets `after` allocations pass, fails the next one, then all pass again. Negative: off. */
void cn_memory_fail_after(int64_t after);
/* True when an allocator outside this file (Lua's) should fail now by the same count. */
bool cn_memory_should_fail(void);

#endif
