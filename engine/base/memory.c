/* memory.c - size classes, one list of free blocks for each, one lock.
**
** A block is [header][bytes], the header one cache line long so that the bytes keep its alignment. Requests are rounded
** up to a class: eight classes to an octave from 64 bytes on. */
#include "base/memory.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define CLASSES (8 * 58)
#define LARGEST ((size_t)1 << 46)
#define LARGE ((size_t)256 << 10) /* bytes from which a block of another class may serve */
#define SPARE (64 << 20)          /* bytes; see limit_cache */
#define LEND 12                   /* classes: a block up to 2.8 times as large */

typedef union Header {
  struct {
    union Header *next; /* of a free block */
    int class_index;
  };
  char line[CN_ALIGNMENT];
} Header;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Header *free_blocks[CLASSES];
static CnMemoryStats stats;
static int64_t fail_after = -1;

/* The class of a size, and the size of a class: 64·2^(k/8), k%8 in linear steps of an eighth. */
static int class_of(size_t bytes, size_t *rounded) {
  size_t units = (bytes + 63) / 64; /* of 64 bytes */
  if (units < 8) {
    units = units ? units : 1;
    *rounded = units * 64;
    return (int)units; /* 1 … 7 */
  }
  int octave = 63 - __builtin_clzll(units) - 3; /* units in [8,16)·2^octave */
  size_t step = (size_t)1 << octave;
  size_t eighths = (units + step - 1) >> octave; /* 8 … 16 */
  if (eighths == 16) {
    eighths = 8;
    octave++;
  }
  *rounded = (eighths << octave) * 64;
  return 8 * (octave + 1) + (int)(eighths - 8);
}

static size_t class_bytes(int index) {
  if (index < 8) return (size_t)index * 64;
  return ((size_t)(8 + index % 8) << (index / 8 - 1)) * 64;
}

bool cn_memory_should_fail(void) {
  pthread_mutex_lock(&lock);
  bool now = fail_after == 0;
  if (fail_after >= 0) fail_after--;
  pthread_mutex_unlock(&lock);
  return now;
}

void cn_memory_fail_after(int64_t after) {
  pthread_mutex_lock(&lock);
  fail_after = after < 0 ? -1 : after;
  pthread_mutex_unlock(&lock);
}

/* A free block of class *index, or, for a large one, of a class up to LEND above it: the last batch of a pass is smaller
** than the others, and without this the cache would hold a set of blocks for each size. *index becomes its class. */
static Header *cached_block(int *index) {
  int last = class_bytes(*index) < LARGE ? *index : *index + LEND;
  for (int i = *index; i <= last && i < CLASSES; i++) {
    Header *block = free_blocks[i];
    if (!block) continue;
    free_blocks[i] = block->next;
    *index = i;
    return block;
  }
  return NULL;
}

/* Gives cached blocks back to the system, the largest first, until `bytes` of them are gone. The lock is held. */
static void release_cached(int64_t bytes) {
  for (int i = CLASSES - 1; i > 0 && bytes > 0; i--) {
    while (free_blocks[i] && bytes > 0) {
      Header *block = free_blocks[i];
      free_blocks[i] = block->next;
      free(block);
      stats.bytes_cached -= (int64_t)class_bytes(i);
      bytes -= (int64_t)class_bytes(i);
    }
  }
}

/* Blocks of sizes that are no longer asked for must not pile up: what is held, in use or cached, stays within an eighth
** (and SPARE) of the most that was ever in use. Called before the system is asked for `bytes` more. */
static void limit_cache(int64_t bytes) {
  pthread_mutex_lock(&lock);
  int64_t peak = stats.bytes_live + bytes > stats.bytes_peak ? stats.bytes_live + bytes : stats.bytes_peak;
  release_cached(stats.bytes_live + stats.bytes_cached + bytes - (peak + peak / 8 + SPARE));
  pthread_mutex_unlock(&lock);
}

/* Large blocks come from the system one by one and go back to it whole, rather than leave holes in the C library's
** heap: by default it moves the limit up to 32 MB as it sees large ones freed. */
static void map_large_blocks(void) {
  mallopt(M_MMAP_THRESHOLD, (int)LARGE);
}

/* Asks the system; gives cached blocks back and asks again when it refuses. */
static Header *system_block(size_t bytes) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  void *block = NULL;
  pthread_once(&once, map_large_blocks);
  if (posix_memalign(&block, CN_ALIGNMENT, sizeof(Header) + bytes) == 0) return block;
  cn_memory_trim();
  return posix_memalign(&block, CN_ALIGNMENT, sizeof(Header) + bytes) == 0 ? block : NULL;
}

void *cn_alloc(size_t bytes) {
  size_t rounded = 0;
  if (cn_memory_should_fail() || bytes > LARGEST) {
    cn_fail(CN_EMEMORY, "out of memory: %zu bytes asked for, %.1f MB in use", bytes, (double)stats.bytes_live / 1e6);
    return NULL;
  }
  int index = class_of(bytes, &rounded);
  pthread_mutex_lock(&lock);
  Header *block = cached_block(&index);
  if (block) stats.bytes_cached -= (int64_t)(rounded = class_bytes(index));
  pthread_mutex_unlock(&lock);
  bool fresh = block == NULL;
  if (fresh) limit_cache((int64_t)rounded);
  if (fresh && !(block = system_block(rounded))) {
    cn_fail(CN_EMEMORY, "out of memory: the system refused %zu bytes, %.1f MB in use", rounded,
            (double)stats.bytes_live / 1e6);
    return NULL;
  }
  block->class_index = index;
  pthread_mutex_lock(&lock);
  stats.allocations++;
  stats.system_allocations += fresh;
  stats.blocks_live++;
  stats.bytes_live += (int64_t)rounded;
  if (stats.bytes_live > stats.bytes_peak) stats.bytes_peak = stats.bytes_live;
  pthread_mutex_unlock(&lock);
  return block + 1;
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

void cn_free(void *pointer) {
  if (!pointer) return;
  Header *block = (Header *)pointer - 1;
  int64_t bytes = (int64_t)class_bytes(block->class_index);
  pthread_mutex_lock(&lock);
  block->next = free_blocks[block->class_index];
  free_blocks[block->class_index] = block;
  stats.blocks_live--;
  stats.bytes_live -= bytes;
  stats.bytes_cached += bytes;
  pthread_mutex_unlock(&lock);
}

void cn_memory_trim(void) {
  pthread_mutex_lock(&lock);
  release_cached(INT64_MAX);
  pthread_mutex_unlock(&lock);
}

CnMemoryStats cn_memory_stats(void) {
  pthread_mutex_lock(&lock);
  CnMemoryStats copy = stats;
  pthread_mutex_unlock(&lock);
  return copy;
}

void cn_memory_reset_peak(void) {
  pthread_mutex_lock(&lock);
  stats.bytes_peak = stats.bytes_live;
  pthread_mutex_unlock(&lock);
}
