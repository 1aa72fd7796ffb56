/* arena.c - see arena.h.
**
** A region is a range of addresses, reserved but not readable, as large as the machine's memory: it costs nothing until
** it is used. It is opened granule by granule from its beginning:
**   [Region, one byte for each granule][Block][bytes][Block][bytes] … | closed
** Blocks fill the open part without a gap, and no two neighbours are both free. The free ones are nodes of a treap, a
** search tree that is balanced in expectation by pseudo-random priorities; these come from a block's place in its
** region, so that a run is the same every time. A block's length is an odd number of cache lines more than that of a
** tensor whose size is a multiple of 4096: tensors that are read side by side begin in different sets of the caches. */
#include "base/arena.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

#define GAP ((size_t)16 * CN_ALIGNMENT) /* bytes behind each block; with the header 17 cache lines */
#define REMAINDER ((size_t)4096)        /* bytes; a block is not split to leave less */

typedef struct Region {
  struct Region *next;
  size_t bytes; /* reserved */
  size_t open;  /* readable, from the beginning; granules */
  struct Block *last;
  uint8_t backed[]; /* for each granule: 1 when the system may hold memory for it */
} Region;

typedef struct Block { /* one cache line, before the bytes */
  Region *region;
  size_t length;      /* bytes, with this header */
  struct Block *left; /* the neighbour at the lower address; NULL for the first */
  bool free;
  struct Block *less, *more; /* free: children in the treap */
} Block;

_Static_assert(sizeof(Block) <= CN_ALIGNMENT, "the bytes after a block's header stay aligned");

static size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

static char *bytes_of(Block *b) { return (char *)b + CN_ALIGNMENT; }
static Block *block_of(const void *bytes) { return (Block *)((uintptr_t)bytes - CN_ALIGNMENT); }
static Block *right_of(Block *b) { return b == b->region->last ? NULL : (Block *)((char *)b + b->length); }
static size_t offset_of(const Block *b) { return (size_t)((const char *)b - (const char *)b->region); }

/* The free blocks: a treap. `before` orders it; a node's priority is not below its children's. */

static bool before(const Block *a, const Block *b) {
  return a->length != b->length ? a->length < b->length : (uintptr_t)a < (uintptr_t)b;
}

static uint64_t priority(const Block *b) { /* a number is mixed well enough by these steps that no order is left */
  uint64_t n = offset_of(b) / CN_ALIGNMENT * UINT64_C(0x9E3779B97F4A7C15);
  n = (n ^ n >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  return n ^ n >> 27;
}

/* Two treaps, all of one before all of the other, become one. */
static Block *merged(Block *one, Block *other) {
  if (!one || !other) return one ? one : other;
  if (priority(one) >= priority(other)) {
    one->more = merged(one->more, other);
    return one;
  }
  other->less = merged(one, other->less);
  return other;
}

/* One treap becomes two: what is before b, and the rest. */
static void divide(Block *tree, const Block *b, Block **less, Block **rest) {
  if (!tree) {
    *less = *rest = NULL;
  } else if (before(tree, b)) {
    *less = tree;
    divide(tree->more, b, &tree->more, rest);
  } else {
    *rest = tree;
    divide(tree->less, b, less, &tree->less);
  }
}

static void insert(CnArena *arena, Block *b) {
  Block **at = &arena->free;
  while (*at && priority(*at) >= priority(b)) at = before(*at, b) ? &(*at)->more : &(*at)->less;
  divide(*at, b, &b->less, &b->more);
  *at = b;
  b->free = true;
}

static void withdraw(CnArena *arena, Block *b) {
  Block **at = &arena->free;
  while (*at != b) at = before(*at, b) ? &(*at)->more : &(*at)->less;
  *at = merged(b->less, b->more);
  b->free = false;
}

/* The smallest free block of at least `length` bytes; of those the one at the lowest address. */
static Block *best_fit(const CnArena *arena, size_t length) {
  Block *best = NULL;
  for (Block *b = arena->free; b; b = b->length >= length ? b->less : b->more)
    if (b->length >= length) best = b;
  return best;
}

/* Regions. */

static Block *first_of(Region *r) { /* after the region's own header, which has a byte for each granule */
  return (Block *)((char *)r + round_up(sizeof(Region) + r->bytes / CN_GRANULE, CN_ALIGNMENT));
}

/* Counts the granules that [from, from + bytes) of a region touches as backed. */
static void touch(CnArena *arena, Region *r, size_t from, size_t bytes) {
  for (size_t i = from / CN_GRANULE; i * CN_GRANULE < from + bytes; i++) {
    arena->held += r->backed[i] ? 0 : (int64_t)CN_GRANULE;
    r->backed[i] = 1;
  }
}

/* Makes what lies from b to the end of the open part a free block, the region's last. */
static void end_with(CnArena *arena, Region *r, Block *b, Block *left) {
  touch(arena, r, (size_t)((char *)b - (char *)r), sizeof *b);
  *b = (Block){ .region = r, .left = left };
  b->length = r->open - offset_of(b);
  r->last = b;
  insert(arena, b);
}

/* Reserves `bytes` of addresses that begin at a granule. */
static Region *reserve(size_t bytes) {
  char *all = mmap(NULL, bytes + CN_GRANULE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return NULL;
  char *begin = (char *)round_up((uintptr_t)all, CN_GRANULE);
  if (begin > all) munmap(all, (size_t)(begin - all));
  munmap(begin + bytes, (size_t)(all + CN_GRANULE - begin));
  return (Region *)begin;
}

/* A region with a free block of at least `length` bytes: as large as the machine's memory, or half or a quarter of it,
** and so on, where the process may not have so many addresses. */
static bool new_region(CnArena *arena, size_t length) {
  size_t need = round_up(length + length / CN_GRANULE + CN_GRANULE, CN_GRANULE);
  size_t bytes = round_up((size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE), CN_GRANULE);
  Region *r = NULL;
  for (; bytes > need && !(r = reserve(bytes)); bytes = round_up(bytes / 2, CN_GRANULE)) continue;
  if (!r && !(r = reserve(bytes = need))) return false;
#ifdef MADV_HUGEPAGE
  madvise(r, bytes, MADV_HUGEPAGE); /* a wish: where it is granted there are fewer faults while a region grows */
#endif
  size_t open = round_up(sizeof(Region) + bytes / CN_GRANULE + CN_ALIGNMENT + length, CN_GRANULE);
  if (mprotect(r, open, PROT_READ | PROT_WRITE) != 0) {
    munmap(r, bytes);
    return false;
  }
  r->bytes = bytes; /* the rest of the new pages is 0 */
  r->open = open;
  touch(arena, r, 0, (size_t)((char *)first_of(r) - (char *)r));
  end_with(arena, r, first_of(r), NULL);
  r->next = arena->regions;
  arena->regions = r;
  return true;
}

/* Opens so much more of a region that it ends with `length` free bytes; false when it has no room, or the system
** refuses. */
static bool grow(CnArena *arena, Region *r, size_t length) {
  Block *tail = r->last->free ? r->last : (Block *)((char *)r + r->open);
  Block *left = r->last->free ? r->last->left : r->last;
  size_t open = round_up((size_t)((char *)tail - (char *)r) + length, CN_GRANULE);
  if (open > r->bytes || mprotect((char *)r + r->open, open - r->open, PROT_READ | PROT_WRITE) != 0) return false;
  if (r->last->free) withdraw(arena, tail);
  r->open = open;
  end_with(arena, r, tail, left);
  return true;
}

/* Gives whole granules between a free block's header and its end back until `bytes` are gone; returns how many bytes
** were. */
static int64_t release_block(CnArena *arena, const Block *b, int64_t bytes) {
  Region *r = b->region;
  size_t first = round_up(offset_of(b) + sizeof *b, CN_GRANULE) / CN_GRANULE;
  int64_t gone = 0;
  for (size_t i = (offset_of(b) + b->length) / CN_GRANULE; i-- > first && gone < bytes;) {
    if (!r->backed[i] || madvise((char *)r + i * CN_GRANULE, CN_GRANULE, MADV_DONTNEED) != 0) continue;
    r->backed[i] = 0;
    gone += (int64_t)CN_GRANULE;
  }
  arena->held -= gone;
  return gone;
}

static int64_t release_tree(CnArena *arena, const Block *b, int64_t bytes) { /* returns what is left to do */
  if (!b || bytes <= 0) return bytes;
  bytes = release_tree(arena, b->more, bytes);
  bytes -= release_block(arena, b, bytes);
  return release_tree(arena, b->less, bytes);
}

void cn_arena_release(CnArena *arena, int64_t bytes) { release_tree(arena, arena->free, bytes); }

void cn_arena_trim(CnArena *arena) {
  cn_arena_release(arena, INT64_MAX);
  for (Region **at = &arena->regions; *at;) {
    Region *r = *at;
    if (r->last != first_of(r) || !r->last->free) {
      at = &r->next;
      continue;
    }
    withdraw(arena, r->last);
    *at = r->next;
    for (size_t i = 0; i * CN_GRANULE < r->open; i++) arena->held -= r->backed[i] ? (int64_t)CN_GRANULE : 0;
    munmap(r, r->bytes);
  }
}

/* Blocks. */

/* Cuts off what is behind the first `length` bytes of a block, when that is worth it. */
static void split(CnArena *arena, Block *b, size_t length) {
  if (b->length < length + REMAINDER) return;
  Block *rest = (Block *)((char *)b + length), *right = right_of(b);
  touch(arena, b->region, offset_of(b) + length, sizeof *rest);
  *rest = (Block){ .region = b->region, .length = b->length - length, .left = b };
  b->length = length;
  if (right) right->left = rest;
  else b->region->last = rest;
  insert(arena, rest);
}

static void join(Block *b, Block *right) { /* neither of them in the tree */
  Block *beyond = right_of(right);
  b->length += right->length;
  if (beyond) beyond->left = b;
  else b->region->last = b;
}

void *cn_arena_take(CnArena *arena, size_t bytes) {
  size_t length = CN_ALIGNMENT + round_up(bytes, CN_ALIGNMENT) + GAP;
  Block *b = best_fit(arena, length);
  if (!b) {
    Region *r = arena->regions;
    while (r && !grow(arena, r, length)) r = r->next;
    if (!r && !new_region(arena, length)) return NULL;
    b = best_fit(arena, length);
  }
  withdraw(arena, b);
  split(arena, b, length);
  touch(arena, b->region, offset_of(b), b->length);
  arena->used += (int64_t)b->length;
  return bytes_of(b);
}

void cn_arena_give(CnArena *arena, void *bytes) {
  Block *b = block_of(bytes), *left = b->left, *right = right_of(b);
  arena->used -= (int64_t)b->length;
  if (right && right->free) {
    withdraw(arena, right);
    join(b, right);
  }
  if (left && left->free) {
    withdraw(arena, left);
    join(left, b);
    b = left;
  }
  insert(arena, b);
}

bool cn_arena_owns(const CnArena *arena, const void *bytes) {
  const Region *r = arena->regions;
  while (r && (uintptr_t)bytes - (uintptr_t)r >= r->bytes) r = r->next;
  return r != NULL;
}

size_t cn_arena_size(const void *bytes) { return block_of(bytes)->length - CN_ALIGNMENT; }
