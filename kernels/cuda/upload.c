/* upload.c - copies to a GPU that go on beside everything else: out of pinned memory, with a mark behind them that tells
** when the memory may be written again. */
#include "kernels/cuda/module.h"
#include "kernels/cuda/host.h"

static CnErr failed(const char *what, cudaError_t error) {
  cudaGetLastError();
  return cn_cuda_fail(CN_ENOKERNEL, "cuda: %s: %s", what, cudaGetErrorString(error));
}

CnErr cn_cuda_send(void *to, CnDevice gpu, const void *pinned, size_t bytes) {
  CN_TRY(cn_cuda_use(gpu.index));
  if (bytes == 0) return CN_OK;
  cudaError_t error = cudaMemcpyAsync(to, pinned, bytes, cudaMemcpyHostToDevice, cudaStreamPerThread);
  if (error != cudaSuccess) return failed("sending a batch", error);
  cn_cuda_copied();
  return CN_OK;
}

CnErr cn_cuda_mark(void **mark, CnDevice gpu) {
  CN_TRY(cn_cuda_use(gpu.index));
  cudaEvent_t event = *mark;
  cudaError_t error = cudaSuccess;
  if (event == NULL) error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  if (error != cudaSuccess) return failed("making an event", error);
  *mark = event;
  error = cudaEventRecord(event, cudaStreamPerThread);
  return error == cudaSuccess ? CN_OK : failed("recording an event", error);
}

CnErr cn_cuda_passed(bool *passed, void *mark, bool waits) {
  cudaError_t error = waits ? cn_cuda_wait_for(mark) : cudaEventQuery((cudaEvent_t)mark);
  *passed = error == cudaSuccess;
  return *passed || error == cudaErrorNotReady ? CN_OK : failed("waiting for a copy", error);
}

void cn_cuda_free_mark(void *mark) {
  if (mark != NULL) cudaEventDestroy((cudaEvent_t)mark);
}
