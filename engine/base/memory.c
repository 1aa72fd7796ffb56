/* memory.c - small blocks by size class, one list of free ones for each; large ones from an arena; one lock.
**
** A small block is [header][bytes], asked of the C library, the header one cache line long so that the bytes keep its
** alignment. Requests are rounded up to a class: eight classes to an octave from 64 bytes on. The sizes of small blocks
** recur, so that lists serve them; those of large ones vary with path and batch: see arena.h.
** Under the address sanitizer each block is the C library's own, of the very size asked for, and goes back when it is
** freed, so that it sees what is read or written outside. */
#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"

#define LARGE ((size_t)256 << 10) /* bytes; from here on the arena serves */
#define LARGEST ((size_t)1 << 46)
#define CLASSES (8 * 14)
#define SPARE (64 << 20) /* bytes; see limit_cache */

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

typedef struct Header {
  union {
    struct Header *next; /* of a free block */
    size_t bytes;        /* of one in use */
  };
  char line[CN_ALIGNMENT - sizeof(size_t)];
} Header;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Header *free_blocks[CLASSES];
static CnArena arena;
static CnMemoryStats stats; /* of small blocks only: bytes_cached */
static int64_t most_live;   /* the highest bytes_live ever */
static int64_t fail_after = -1;

/* The class of a size, which is rounded up to that of the class: 64·2^(k/8), k%8 in linear steps of an eighth. */
static int class_of(size_t *bytes) {
  size_t units = (*bytes + 63) / 64; /* of 64 bytes */
  if (units < 8) {
    units = units ? units : 1;
    *bytes = units * 64;
    return (int)units; /* 1 … 7 */
  }
  int octave = 63 - __builtin_clzll(units) - 3; /* units in [8,16)·2^octave */
  size_t step = (size_t)1 << octave;
  size_t eighths = (units + step - 1) >> octave; /* 8 … 16 */
  if (eighths == 16) {
    eighths = 8;
    octave++;
  }
  *bytes = (eighths << octave) * 64;
  return 8 * (octave + 1) + (int)(eighths - 8);
}

/* True when the allocation that is to come must fail. The lock is held. */
static bool count_down(void) {
  bool now = fail_after == 0;
  if (fail_after >= 0) fail_after--;
  return now;
}

bool cn_memory_should_fail(void) {
  pthread_mutex_lock(&lock);
  bool now = count_down();
  pthread_mutex_unlock(&lock);
  return now;
}

void cn_memory_fail_after(int64_t after) {
  pthread_mutex_lock(&lock);
  fail_after = after < 0 ? -1 : after;
  pthread_mutex_unlock(&lock);
}

/* Everything below is called with the lock held, but for the functions of the header. */

static void release_small(void) {
  for (int i = 0; i < CLASSES; i++) {
    while (free_blocks[i]) {
      Header *block = free_blocks[i];
      free_blocks[i] = block->next;
      free(block);
    }
  }
  stats.bytes_cached = 0;
}

/* What is held, in use or not, stays within an eighth (and SPARE) of the most that was ever in use. */
static void limit_cache(void) {
  int64_t free_bytes = stats.bytes_cached + arena.held - arena.used;
  int64_t excess = stats.bytes_live + free_bytes - (most_live + most_live / 8 + SPARE);
  if (excess > 0) cn_arena_release(&arena, excess);
}

static void *small_from_system(size_t bytes) {
  void *block = NULL;
  return posix_memalign(&block, CN_ALIGNMENT, sizeof(Header) + bytes) == 0 ? block : NULL;
}

/* A small block; *bytes becomes what it has. *asked: the system had to be asked. */
static void *take_small(size_t *bytes, bool *asked) {
  int index = SANITIZED ? 0 : class_of(bytes);
  Header *block = free_blocks[index];
  *asked = block == NULL;
  if (block) {
    free_blocks[index] = block->next;
    stats.bytes_cached -= (int64_t)*bytes;
  } else if (!(block = small_from_system(*bytes))) {
    return NULL;
  }
  block->bytes = *bytes;
  return block + 1;
}

static void *take(size_t *bytes, bool *asked) {
  if (SANITIZED || *bytes < LARGE) return take_small(bytes, asked);
  int64_t held = arena.held;
  void *block = cn_arena_take(&arena, *bytes);
  *asked = arena.held > held;
  if (block) *bytes = cn_arena_size(block);
  return block;
}

static void trim(void) {
  release_small();
  cn_arena_trim(&arena);
}

void *cn_alloc(size_t bytes) {
  bool asked = false;
  size_t size = bytes;
  pthread_mutex_lock(&lock);
  bool fail = count_down() || bytes > LARGEST;
  void *block = fail ? NULL : take(&size, &asked);
  if (!fail && !block) {
    trim();
    block = take(&size, &asked);
  }
  int64_t live = stats.bytes_live;
  if (block) {
    stats.allocations++;
    stats.system_allocations += asked;
    stats.blocks_live++;
    stats.bytes_live += (int64_t)size;
    if (stats.bytes_live > stats.bytes_peak) stats.bytes_peak = stats.bytes_live;
    if (stats.bytes_live > most_live) most_live = stats.bytes_live;
    if (asked) limit_cache();
  }
  pthread_mutex_unlock(&lock);
  if (!block)
    cn_fail(CN_EMEMORY, "out of memory: %zu bytes asked for, %.1f MB in use%s", bytes, (double)live / 1e6,
            fail ? "" : "; the system has no more");
  return block;
}

void *cn_alloc_zeroed(size_t bytes) {
  void *block = cn_alloc(bytes);
  if (block) memset(block, 0, bytes);
  return block;
}

char *cn_strdup(const char *text) {
  size_t bytes = strlen(text) + 1;
  char *copy = cn_alloc(bytes);
  if (copy) memcpy(copy, text, bytes);
  return copy;
}

static size_t give_small(Header *block) { /* returns its bytes */
  size_t bytes = block->bytes, rounded = bytes;
  if (SANITIZED) {
    free(block);
    return bytes;
  }
  int index = class_of(&rounded);
  block->next = free_blocks[index];
  free_blocks[index] = block;
  stats.bytes_cached += (int64_t)bytes;
  return bytes;
}

void cn_free(void *block) {
  if (!block) return;
  size_t bytes;
  pthread_mutex_lock(&lock);
  if (cn_arena_owns(&arena, block)) {
    bytes = cn_arena_size(block);
    cn_arena_give(&arena, block);
  } else {
    bytes = give_small((Header *)block - 1);
  }
  stats.blocks_live--;
  stats.bytes_live -= (int64_t)bytes;
  pthread_mutex_unlock(&lock);
}

void cn_memory_trim(void) {
  pthread_mutex_lock(&lock);
  trim();
  pthread_mutex_unlock(&lock);
}

CnMemoryStats cn_memory_stats(void) {
  pthread_mutex_lock(&lock);
  CnMemoryStats copy = stats;
  copy.bytes_cached += arena.held - arena.used;
  pthread_mutex_unlock(&lock);
  return copy;
}

void cn_memory_reset_peak(void) {
  pthread_mutex_lock(&lock);
  stats.bytes_peak = stats.bytes_live;
  pthread_mutex_unlock(&lock);
}
