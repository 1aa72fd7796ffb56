/* memory.c - memory of GPUs, in the order of the calling thread's stream.
**
** The driver's pool is asked for blocks of a few sizes, which are kept when they are freed: a training loop that has
** made its first steps asks it for nothing more. What a thread frees it may use again at once, because its stream does
** one thing after the other; so each thread keeps its own. Large blocks are not kept, and all are given back when memory
** runs out. CNAS_GPU_CACHE=0 keeps none, for tools that watch every block; tests/simt is such a tool. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/host.h"

#define SMALLEST 512              /* bytes */
#define LARGEST ((size_t)32 << 20) /* that is kept */
#define STEPS 4                   /* sizes for each doubling */
#define SIZES (16 * STEPS + 1)
#define GPUS 16 /* of others nothing is kept */
#define BUCKETS (1 << 14)

/* A block that was handed out or is kept; in device memory there is no room for this. */
typedef struct Block {
  void *memory;
  int size; /* number of its size: see size_for */
  struct Block *next_kept, *next_in_bucket;
} Block;

typedef struct Kept {
  Block *first[GPUS][SIZES];
} Kept;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the buckets */
static Block *bucket[BUCKETS];                           /* blocks that are handed out, by address */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t of_thread; /* a thread's Kept */
static bool keeps;

/* ---- what a thread keeps ---- */

/* Gives back to the driver what is kept of a GPU. */
static void give_back(Kept *kept, int index) {
  for (int size = 0; size < SIZES; size++)
    for (Block *b; (b = kept->first[index][size]) != NULL; free(b)) {
      kept->first[index][size] = b->next_kept;
      cudaFreeAsync(b->memory, cudaStreamPerThread);
    }
}

static void end_thread(void *data) {
  Kept *kept = data;
  for (int i = 0; i < GPUS; i++) {
    bool any = false;
    for (int size = 0; size < SIZES; size++) any |= kept->first[i][size] != NULL;
    if (any && cn_cuda_use(i) == CN_OK) give_back(kept, i);
  }
  free(kept);
}

static void prepare(void) {
  const char *text = getenv("CNAS_GPU_CACHE");
#ifdef SIMT_CUDA_RUNTIME_API_H
  keeps = text != NULL && strcmp(text, "1") == 0;
#else
  keeps = text == NULL || strcmp(text, "0") != 0;
#endif
  keeps = pthread_key_create(&of_thread, end_thread) == 0 && keeps;
}

/* This thread's; NULL when nothing is kept. */
static Kept *kept_here(void) {
  pthread_once(&once, prepare);
  if (!keeps) return NULL;
  Kept *kept = pthread_getspecific(of_thread);
  if (kept != NULL) return kept;
  kept = calloc(1, sizeof *kept);
  if (kept != NULL && pthread_setspecific(of_thread, kept) != 0) {
    free(kept);
    kept = NULL;
  }
  return kept;
}

/* The number of the least size that has `bytes`, and that size; -1 where it is not to be kept. */
static int size_for(size_t *bytes) {
  size_t base = SMALLEST;
  if (*bytes > LARGEST) return -1;
  for (int doubling = 0;; doubling++, base *= 2)
    for (int step = 0; step < STEPS; step++) {
      size_t size = base + base / STEPS * (size_t)step;
      if (size < *bytes) continue;
      *bytes = size;
      return doubling * STEPS + step;
    }
}

/* ---- blocks that are handed out ---- */

static Block **place_of(const void *memory) {
  uint64_t mixed = (uint64_t)((uintptr_t)memory >> 8) * 0x9E3779B97F4A7C15u;
  return &bucket[mixed >> 50]; /* 14 bits */
}

static void note(Block *b) {
  pthread_mutex_lock(&lock);
  Block **place = place_of(b->memory);
  b->next_in_bucket = *place;
  *place = b;
  pthread_mutex_unlock(&lock);
}

/* The note of a block, which is taken away; NULL: there is none. */
static Block *found(const void *memory) {
  pthread_mutex_lock(&lock);
  Block **place = place_of(memory);
  while (*place != NULL && (*place)->memory != memory) place = &(*place)->next_in_bucket;
  Block *b = *place;
  if (b != NULL) *place = b->next_in_bucket;
  pthread_mutex_unlock(&lock);
  return b;
}

/* ---- the two functions ---- */

static CnErr fail(int index, size_t bytes, cudaError_t error) {
  cudaGetLastError();
  if (error != cudaErrorMemoryAllocation)
    return cn_cuda_fail(CN_ENOKERNEL, "cuda: allocating memory: %s", cudaGetErrorString(error));
  size_t free_bytes = 0, total = 0;
  cudaMemGetInfo(&free_bytes, &total);
  return cn_cuda_fail(CN_EMEMORY, "cuda:%d: no memory for %zu bytes (%zu MiB of %zu MiB are free); use a smaller batch",
                      index, bytes, free_bytes >> 20, total >> 20);
}

CnErr cn_cuda_alloc(void **out, int index, size_t bytes) {
  CN_TRY(cn_cuda_use(index));
  Kept *kept = index < GPUS ? kept_here() : NULL;
  Block *b = NULL;
  if (bytes == 0) bytes = 1;
  int size = kept != NULL ? size_for(&bytes) : -1;
  if (size >= 0 && (b = kept->first[index][size]) != NULL) {
    kept->first[index][size] = b->next_kept;
    note(b);
    *out = b->memory;
    return CN_OK;
  }
  if (size >= 0 && (b = malloc(sizeof *b)) == NULL) return cn_cuda_fail(CN_EMEMORY, "cuda: out of memory");
  cudaError_t error = cudaMallocAsync(out, bytes, cudaStreamPerThread);
  if (error == cudaErrorMemoryAllocation && kept != NULL) {
    cudaGetLastError();
    give_back(kept, index);
    error = cudaMallocAsync(out, bytes, cudaStreamPerThread);
  }
  if (error != cudaSuccess) {
    free(b);
    return fail(index, bytes, error);
  }
  if (b == NULL) return CN_OK;
  *b = (Block){ *out, size, NULL, NULL };
  note(b);
  return CN_OK;
}

void cn_cuda_free(int index, void *memory) {
  if (memory == NULL || cn_cuda_use(index) != CN_OK) return;
  Kept *kept = index < GPUS ? kept_here() : NULL;
  Block *b = keeps ? found(memory) : NULL;
  if (b == NULL || kept == NULL) {
    cudaFreeAsync(memory, cudaStreamPerThread);
    free(b);
    return;
  }
  b->next_kept = kept->first[index][b->size];
  kept->first[index][b->size] = b;
}
