/* module.h - the door between the engine and libcnas_cuda.so: one function, no other symbol on either side.
**
** The module is linked with nothing of the engine, so it starts in any program that has the engine inside; what it
** needs of it comes in through CnCudaHost. */
#ifndef CN_CUDA_MODULE_H
#define CN_CUDA_MODULE_H

#include "device/cuda.h"

#define CN_CUDA_MODULE_VERSION 8 /* of this header, and so of ops.def and CnCall as far as the module reads them */

typedef struct CnCudaHost {
  int version; /* the caller's CN_CUDA_MODULE_VERSION */
  int ops;     /* rows of its ops.def */
  CnErr (*fail)(CnErr code, const char *format, ...) __attribute__((format(printf, 2, 3))); /* cn_fail */
  struct CnTensor *(*ref)(struct CnTensor *t);                                              /* cn_tensor_ref */
  void (*unref)(struct CnTensor *t);                                                        /* cn_tensor_unref */
} CnCudaHost;

/* The module's only symbol. NULL when there is nothing to run on, with one line of reason in `why`. */
typedef const CnGpu *CnCudaModule(const CnCudaHost *host, char *why, size_t size);
#define CN_CUDA_MODULE_SYMBOL "cn_device_module_cuda"

/* Within the module: column.c, program.c, contiguous.cu, images.cu, optimizer.cu, upload.c. */
extern const CnKernelRow cn_cuda_column[];
extern const CnGpuPrograms cn_cuda_programs;
CnErr cn_cuda_copy_strided(const struct CnTensor *to, const struct CnTensor *from);
CnErr cn_cuda_send(void *to, CnDevice gpu, const void *pinned, size_t bytes);
CnErr cn_cuda_mark(void **mark, CnDevice gpu);
CnErr cn_cuda_passed(bool *passed, void *mark, bool waits);
void cn_cuda_free_mark(void *mark);
CnErr cn_cuda_images(const CnGpuImages *from, struct CnTensor *x, struct CnTensor *y);
CnErr cn_cuda_norm(const struct CnCall *call, struct CnTensor *norm, const struct CnTensor *loss,
                   struct CnTensor *const *gradient, int count, bool reports);
CnErr cn_cuda_move(const struct CnCall *call, const CnMoved *moved, int count, const struct CnTensor *norm,
                   double clip);

#endif
