/* cuda.h - the GPU's module, and what it provides beyond what every device does. */
#ifndef CN_DEVICE_CUDA_H
#define CN_DEVICE_CUDA_H

#include "data/draw.h"
#include "device/device.h"
#include "device/program.h"

/* Memory of the CPU that a GPU copies from while both go on: for cn_device_alloc, and so for tensors (tensor/pinned.h). */
#define CN_DEVICE_PINNED ((CnDevice){ CN_CPU, 1 })

struct CnCall;
struct CnTensor;

/* A parameter to be moved: the inputs of its optimizer's row (sgd_step, adam_step), contiguous; NULL where there is
** none. `step` is Adam's. */
typedef struct CnMoved {
  struct CnTensor *in[4];
  int64_t step;
} CnMoved;

/* A pass over labelled images that live on a GPU, and where in it a batch begins. */
typedef struct CnGpuImages {
  struct CnTensor *pixels, *labels; /* u8 (M,H,W,C), i64 (M) */
  struct CnTensor *values;          /* f32 (C,256): of each byte after normalisation */
  struct CnTensor *order;           /* i64: the image at each position of the pass, in 0 … M-1 */
  CnAugment augment;
  CnRng draws;   /* seed and stream of the augmentation */
  int64_t pass;  /* see cn_augment_draw */
  int64_t first; /* position */
} CnGpuImages;

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
  CnErr (*alloc_pinned)(void **out, size_t bytes);
  void (*free_pinned)(void *block);
  /* Asks for such a copy; and for a mark behind all that the calling thread has asked for (*mark, made if it is NULL),
  ** which tells whether that is done, or waits until it is. */
  CnErr (*send)(void *to, CnDevice gpu, const void *pinned, size_t bytes);
  CnErr (*mark)(void **mark, CnDevice gpu);
  CnErr (*passed)(bool *passed, void *mark, bool waits);
  void (*free_mark)(void *mark); /* NULL is allowed */
  /* The images at the x->shape[0] positions from `first` on, augmented, as f32 (N,H,W,C), and their labels, i64 (N). */
  CnErr (*images)(const CnGpuImages *from, struct CnTensor *x, struct CnTensor *y);
  /* Steps of an optimizer, whose row is call->op, on call->device, without waiting for anything.
  **
  ** `norm`, an f64 scalar, becomes the 2-norm of all `gradient`s (contiguous; NULL where there is none); NaN where the
  ** loss (a scalar; may be NULL) is not finite. If it `reports`, what is not finite is the error of whoever waits next. */
  CnErr (*norm)(const struct CnCall *call, struct CnTensor *norm, const struct CnTensor *loss,
                struct CnTensor *const *gradient, int count, bool reports);
  /* Moves parameters of call->dtype by call->attr, their gradients scaled by clip / (norm + 1e-6) when that is below 1
  ** (`clip` 0: never). Where the norm is not finite nothing moves. Also, without a norm, accumulate: in[0] += in[1]. */
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
