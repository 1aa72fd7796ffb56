/* cuda.h - the GPU's module, and what it provides beyond what every device does. */
#ifndef CN_DEVICE_CUDA_H
#define CN_DEVICE_CUDA_H

#include "device/device.h"

struct CnTensor;

typedef struct CnGpu {
  CnDeviceModule device;
  /* Values of the same shape and type within one GPU, into elements at any strides, apart from those that are read. */
  CnErr (*copy_strided)(const struct CnTensor *to, const struct CnTensor *from);
  /* Memory of the CPU that a GPU copies from while both go on. */
  CnErr (*alloc_pinned)(void **out, size_t bytes);
  void (*free_pinned)(void *block);
  int64_t (*launches)(void); /* of kernels, since the module was opened */
} CnGpu;

/* The GPU's module, looked for on the first call. CN_ENOKERNEL with the reason when it cannot be had. */
CnErr cn_gpu(const CnGpu **out);

/* Names of the rows of ops.def that the CPU has f32 kernels for, and the GPU's module not: how many, the first `most` of
** them in `rows`. "auto" is a GPU only where there are none. */
int cn_gpu_lacks(const char **rows, int most);

#endif
