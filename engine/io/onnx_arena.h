/* onnx_arena.h - the memory of one model: pieces that are let go together, within a limit. */
#ifndef CN_ONNX_ARENA_H
#define CN_ONNX_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct CnOnnxArena {
  struct CnOnnxChunk *chunks; /* the newest first; pieces come from it */
  size_t used, size;          /* bytes of the newest */
  size_t allowed;             /* bytes that may still be taken from the engine's allocator */
  bool refused;               /* more than that was asked for */
  bool failed;                /* cn_alloc failed */
} CnOnnxArena;

/* `bytes` aligned for anything, zeroed; NULL: refused, or cn_alloc failed. */
void *cn_onnx_take(CnOnnxArena *a, size_t bytes);
void cn_onnx_let_go(CnOnnxArena *a);

#endif
