/* program.h - the kernels of a GPU as things to look at, and kernels that users write in CUDA C.
**
** A user's kernel is compiled when it is first asked for and stays loaded until the program ends: the same text asked
** for again is the same kernel. Whether it stays within its tensors nobody checks. */
#ifndef CN_PROGRAM_H
#define CN_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CN_MAX_PARAMETERS 64

typedef enum CnKernelParameterKind { CN_POINTER, CN_SIGNED, CN_UNSIGNED, CN_REAL } CnKernelParameterKind;

typedef struct CnKernelParameter {
  const char *type;  /* "const float *" */
  const char *shown; /* "const float *x"; the type alone where the name is not known */
  CnKernelParameterKind kind;
  int size;     /* of a number: bytes */
  int dtype;    /* of a pointer: the CnDtype of what it points to; -1 when any tensor may be meant */
  bool written; /* a pointer by which the kernel can write */
} CnKernelParameter;

typedef struct CnProgramText {
  const char *source;         /* CUDA C */
  const char *kernel;         /* the __global__ function: "swish", "swish<float>" */
  const char *file;           /* what the compiler's messages call the source */
  const char *folder;         /* where its #include "…" look first; NULL: nowhere */
  const char *const *option;  /* the compiler's */
  int options;
} CnProgramText;

/* A kernel that a user wrote; never freed. */
typedef struct CnProgram {
  const char *kernel, *file;
  const char *log; /* what the compiler said, warnings; "" */
  int architecture; /* of the GPUs that it runs on: 90 for compute capability 9.0 */
  int parameters;
  CnKernelParameter parameter[CN_MAX_PARAMETERS];
} CnProgram;

typedef struct CnKernelLaunch {
  unsigned grid[3], block[3];
  size_t shared; /* dynamic shared memory of a block, in bytes */
  void **argument; /* to the value of each parameter */
} CnKernelLaunch;

/* What is known of a kernel. Numbers that are not are -1, texts NULL. */
typedef struct CnKernelFacts {
  const char *name;    /* a kernel of the module's: "twice<float>" */
  const char *row;     /* of ops.def, which launched it first */
  const char *file;    /* of a user's kernel */
  int registers;       /* of a thread */
  int64_t shared;      /* of a block, in bytes, without dynamic memory */
  int64_t local;       /* of a thread, in bytes: arrays and spilled registers */
  int block;           /* threads, at its last launch */
  int64_t dynamic;     /* shared memory at its last launch, in bytes */
  double occupancy;    /* warps that run at once, of those that a multiprocessor has room for */
  int64_t launches;    /* since the module was opened */
  int64_t timed;       /* launches that were timed */
  double seconds;      /* from event to event around them, in sum */
} CnKernelFacts;

/* `index` is a GPU's number; negative: the GPU that the calling thread used last, or the first. */
typedef struct CnGpuPrograms {
  /* CN_EUSAGE with the compiler's messages when the text is wrong; CN_ENOKERNEL when there is no compiler. */
  CnErr (*program)(const CnProgram **out, int index, const CnProgramText *text);
  /* On the calling thread's stream of a GPU of the program's architecture. */
  CnErr (*launch)(const CnProgram *program, int index, const CnKernelLaunch *launch);
  CnErr (*facts)(CnKernelFacts *out, int index, const CnProgram *program);
  /* Facts of kernel `number`, from 0, of all that are known; false behind the last. */
  bool (*census)(CnKernelFacts *out, int index, int number);
  /* Whether launches are timed from now on. On forgets earlier sums; off waits for what was timed, and sums it. */
  CnErr (*timing)(bool on);
} CnGpuPrograms;

#endif
