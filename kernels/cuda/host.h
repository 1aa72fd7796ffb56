/* host.h - what the files of the GPU's module share on the CPU's side: the engine's errors, the GPU in use, memory, and
** faults, that is what a kernel finds wrong after the call that launched it has returned. C11 and C++17. */
#ifndef CN_CUDA_HOST_H
#define CN_CUDA_HOST_H

#include <cuda_runtime_api.h>

#include "device/cuda.h"
#include "tensor/op.h"

/* cn_fail of the program that opened the module. */
extern CnErr (*cn_cuda_fail)(CnErr code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Its cn_tensor_ref and cn_tensor_unref. */
extern CnTensor *(*cn_cuda_ref)(CnTensor *t);
extern void (*cn_cuda_unref)(CnTensor *t);

/* Makes a GPU the calling thread's. */
CnErr cn_cuda_use(int index);
/* A negative *index becomes the GPU that the calling thread uses; then that is made its own. */
CnErr cn_cuda_use_any(int *index);

/* Memory of a GPU, in the order of the calling thread's stream: what is freed may still be read by what was launched
** before. */
CnErr cn_cuda_alloc(void **out, int index, size_t bytes);
void cn_cuda_free(int index, void *block);

/* Since the module was opened, on any GPU; launches also of a row of ops.def. */
void cn_cuda_work(CnGpuWork *out);
int64_t cn_cuda_launches(int op);
/* Waits until the calling thread's stream of the GPU in use has done all that it was asked. */
cudaError_t cn_cuda_wait(void);
/* The same up to an event. */
cudaError_t cn_cuda_wait_for(void *event);
/* Counts a copy from or to the CPU. */
void cn_cuda_copied(void);
/* What became of a launch for `call`: counts it, or makes its error the call's. */
CnErr cn_cuda_launched(const CnCall *call, cudaError_t error);
/* Counts the launch of a kernel that a user wrote. */
void cn_cuda_launched_own(void);

/* Where a kernel reports what is wrong: see report_fault in kernel.cuh. */
typedef struct CnFaults {
  unsigned long long *first; /* of all GPUs and launches; in memory of the CPU */
  unsigned long long launch; /* number << CN_FAULT_POSITION_BITS */
} CnFaults;

#define CN_FAULT_POSITION_BITS 40

/* For one launch whose kernel reports positions of `what` ("index") that are outside 0 … limit-1. */
CnErr cn_cuda_faults(CnFaults *out, const CnCall *call, const char *what, int64_t limit);
/* For the launches of one optimizer's step, which report what is not finite: at 0 the loss, at i the gradient of the
** i-th parameter, at `last` the norm of all. */
CnErr cn_cuda_faults_of_step(CnFaults *out, const CnCall *call, int64_t last);
/* The error of the first that was reported, if any; the GPU has been waited for. */
CnErr cn_cuda_faults_found(void);

#endif
