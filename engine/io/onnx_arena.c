/* onnx_arena.c - see onnx_arena.h. A large piece gets a chunk of its own, behind the one that is being filled. */
#include "io/onnx_arena.h"

#include <stdint.h>
#include <string.h>

#include "base/memory.h"

#define CHUNK ((size_t)1 << 16)
#define HEAD ((size_t)CN_ALIGNMENT)
#define ALIGN ((size_t)16)

struct CnOnnxChunk {
  struct CnOnnxChunk *next;
};

static struct CnOnnxChunk *new_chunk(CnOnnxArena *a, size_t bytes) {
  if (bytes > SIZE_MAX - HEAD || bytes + HEAD > a->allowed) {
    a->refused = true;
    return NULL;
  }
  struct CnOnnxChunk *chunk = cn_alloc(bytes + HEAD);
  if (chunk != NULL) a->allowed -= bytes + HEAD;
  else a->failed = true;
  return chunk;
}

/* A piece in a chunk of its own. */
static void *take_alone(CnOnnxArena *a, size_t bytes) {
  struct CnOnnxChunk *chunk = new_chunk(a, bytes);
  if (chunk == NULL) return NULL;
  struct CnOnnxChunk **behind = a->chunks != NULL ? &a->chunks->next : &a->chunks;
  if (a->chunks == NULL) a->used = a->size = 0;
  chunk->next = *behind;
  *behind = chunk;
  return memset((char *)chunk + HEAD, 0, bytes);
}

void *cn_onnx_take(CnOnnxArena *a, size_t bytes) {
  if (bytes > CHUNK / 4) return take_alone(a, bytes);
  bytes = (bytes + ALIGN) / ALIGN * ALIGN; /* never 0: every piece has an address of its own */
  if (a->chunks == NULL || bytes > a->size - a->used) {
    struct CnOnnxChunk *chunk = new_chunk(a, CHUNK);
    if (chunk == NULL) return NULL;
    chunk->next = a->chunks;
    a->chunks = chunk;
    a->used = 0;
    a->size = CHUNK;
  }
  char *piece = (char *)a->chunks + HEAD + a->used;
  a->used += bytes;
  return memset(piece, 0, bytes);
}

void cn_onnx_let_go(CnOnnxArena *a) {
  while (a->chunks != NULL) {
    struct CnOnnxChunk *next = a->chunks->next;
    cn_free(a->chunks);
    a->chunks = next;
  }
}
