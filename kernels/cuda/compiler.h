/* compiler.h - the compiler of users' kernels: NVRTC, found at run time. */
#ifndef CN_CUDA_COMPILER_H
#define CN_CUDA_COMPILER_H

#include "device/program.h"

/* What became of a text; everything is malloc's. */
typedef struct CnCompiled {
  char *code;      /* what cudaLibraryLoadData takes: a cubin, or PTX where NVRTC is older than the GPU */
  char *symbol;    /* the kernel's name in it */
  char *signature; /* mangled name of `cnas_parameters<type of a pointer to the kernel>` */
  char *log;
} CnCompiled;

/* For GPUs of an architecture, 90 for compute capability 9.0. */
CnErr cn_cuda_compile(CnCompiled *out, const CnProgramText *text, int architecture);
void cn_cuda_compiled_free(CnCompiled *compiled);

/* The parameters from a signature, and the source, which says their names. `text`, malloc's, is what they point into. */
CnErr cn_cuda_signature(CnProgram *program, char **text, const char *signature, const char *source);

#endif
