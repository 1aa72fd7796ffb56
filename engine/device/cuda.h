/* cuda.h - the GPU's module, and what it provides beyond what every device does. */
#ifndef CN_DEVICE_CUDA_H
#define CN_DEVICE_CUDA_H

#include "device/device.h"
#include "device/program.h"

struct CnCall;
struct CnTensor;

/* A parameter to be moved: the inputs of its optimizer's row (sgd_step, adam_step), contiguous; NULL where there is
** none. `step` is Adam's. */
typedef struct CnMoved {
  struct CnTensor *in[4];
  int64_t step;
} CnMoved;

/* What GPUs were asked for since the module was opened. */
typedef struct CnGpuWork {
  int64_t launches; /* of kernels */
  int64_t waits;    /* of the CPU until a GPU had done what it was asked */
  int64_t copies;   /* to and from the CPU */
} CnGpuWork;

typedef struct CnGpu {
  CnDeviceModule device;
  /* Values of the same shape and type within one GPU, into elements at any strides, apart from those that are read. */
  CnErr (*copy_strided)(const struct CnTensor *to, const struct CnTensor *from);
  /* Memory of the CPU that a GPU copies from while both go on. */
  CnErr (*alloc_pinned)(void **out, size_t bytes);
  void (*free_pinned)(void *block);
  /* Steps of an optimizer, whose row is call->op, on call->device, without waiting for anything.
  **
  ** `norm`, an f64 scalar, becomes the 2-norm of all `gradient`s (contiguous; NULL where there is none); NaN where the
  ** loss (a scalar; may be NULL) is not finite. If it `reports`, what is not finite is the error of whoever waits next. */
  CnErr (*norm)(const struct CnCall *call, struct CnTensor *norm, const struct CnTensor *loss,
                struct CnTensor *const *gradient, int count, bool reports);
  /* Moves parameters of call->dtype by call->attr, their gradients scaled by clip / (norm + 1e-6) when that is below 1
  ** (`clip` 0: never). Where the norm is not finite nothing moves. */
  CnErr (*move)(const struct CnCall *call, const CnMoved *moved, int count, const struct CnTensor *norm, double clip);
  void (*work)(CnGpuWork *out);
  int64_t (*launches)(int op); /* those for a row of ops.def (CnOpId) */
  const CnGpuPrograms *programs;
} CnGpu;

/* The GPU's module, looked for on the first call. CN_ENOKERNEL with the reason when it cannot be had. */
CnErr cn_gpu(const CnGpu **out);

/* Names of the rows of ops.def that the CPU has f32 kernels for, and the GPU's module not: how many, the first `most` of
** them in `rows`. "auto" is a GPU only where there are none. */
int cn_gpu_lacks(const char **rows, int most);

#endif
