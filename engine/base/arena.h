/* arena.h - large blocks out of regions of reserved addresses: best fit, split when taken, joined with their free
** neighbours when given.
**
** A training step asks for hundreds of blocks, each random path for another mix of sizes; joined neighbours serve any
** mix, so that once a region has grown to what a step needs, nothing is asked of the system any more. Which block is
** taken depends on the order of the calls alone. Not safe to call from several threads: the owner has a lock. */
#ifndef CN_ARENA_H
#define CN_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CN_GRANULE ((size_t)2 << 20) /* bytes; what is asked of the system and given back: a huge page */

typedef struct CnArena {
  struct Region *regions;
  struct Block *free; /* by size, then address */
  int64_t held;       /* bytes of granules that the system may have backed with memory */
  int64_t used;       /* bytes of the blocks taken, with their headers */
} CnArena;

/* A block of at least `bytes`, aligned to CN_ALIGNMENT, or NULL when the system refuses. */
void *cn_arena_take(CnArena *arena, size_t bytes);
void cn_arena_give(CnArena *arena, void *bytes);

bool cn_arena_owns(const CnArena *arena, const void *bytes);
size_t cn_arena_size(const void *bytes); /* of a taken block, without its header; as much as was asked for, or more */

/* Gives whole granules that are free back to the system, from the largest free block on, until `bytes` are gone. */
void cn_arena_release(CnArena *arena, int64_t bytes);
/* Gives all of them back, and the regions that are wholly free. */
void cn_arena_trim(CnArena *arena);

#endif
