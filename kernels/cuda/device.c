/* device.c - the GPU as a device: memory, copies and waiting, on each thread's own stream.
**
** Every call works on the calling thread's stream of the GPU, so what one thread asks for happens in its order, and
** nothing waits but copies to and from the CPU and `synchronize`. A tensor handed to another thread is handed over
** after a synchronize. Memory comes (memory.c) from the driver's stream-ordered pool, told to keep what is freed. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/host.h"
#include "kernels/cuda/module.h"

CnErr (*cn_cuda_fail)(CnErr code, const char *format, ...) __attribute__((format(printf, 2, 3)));
CnTensor *(*cn_cuda_ref)(CnTensor *t);
void (*cn_cuda_unref)(CnTensor *t);

/* Returns from the calling function with the CUDA runtime's message when `call` fails. */
#define CUDA_TRY(code, what, call)                                                         \
  do {                                                                                     \
    cudaError_t error_ = (call);                                                           \
    if (error_ != cudaSuccess) {                                                           \
      cudaGetLastError();                                                                  \
      return cn_cuda_fail(code, "cuda: %s: %s", what, cudaGetErrorString(error_));                 \
    }                                                                                      \
  } while (0)

CnErr cn_cuda_use(int index) {
  static _Thread_local int used = -1; /* nothing else in the process shares this CUDA runtime */
  if (used == index) return CN_OK;
  CUDA_TRY(CN_ENOKERNEL, "choosing the GPU", cudaSetDevice(index));
  used = index;
  return CN_OK;
}

CnErr cn_cuda_use_any(int *index) {
  if (*index < 0) CUDA_TRY(CN_ENOKERNEL, "asking for the GPU in use", cudaGetDevice(index));
  return cn_cuda_use(*index);
}

static atomic_llong launches, waits, copies, launches_of[CN_OPS];

static void count(atomic_llong *what) { atomic_fetch_add_explicit(what, 1, memory_order_relaxed); }

void cn_cuda_work(CnGpuWork *out) {
  *out = (CnGpuWork){ atomic_load(&launches), atomic_load(&waits), atomic_load(&copies) };
}

int64_t cn_cuda_launches(int op) { return op >= 0 && op < CN_OPS ? atomic_load(&launches_of[op]) : 0; }

void cn_cuda_copied(void) { count(&copies); }

cudaError_t cn_cuda_wait_for(void *event) {
  count(&waits);
  return cudaEventSynchronize((cudaEvent_t)event);
}

cudaError_t cn_cuda_wait(void) {
  count(&waits);
  return cudaStreamSynchronize(cudaStreamPerThread);
}

void cn_cuda_launched_own(void) { count(&launches); }

CnErr cn_cuda_launched(const CnCall *call, cudaError_t error) {
  if (error == cudaSuccess) {
    count(&launches);
    if (call->op->id < CN_OPS) count(&launches_of[call->op->id]);
    return CN_OK;
  }
  cudaGetLastError();
  return cn_cuda_fail(CN_ENOKERNEL, "%s: cuda: launching a kernel: %s", call->op->name, cudaGetErrorString(error));
}

/* Between two GPUs: the copy runs on the receiver's stream, behind what the sender's stream was asked before. */
static CnErr copy_between(void *to, int to_index, const void *from, int from_index, size_t bytes) {
  cudaEvent_t ready;
  CN_TRY(cn_cuda_use(from_index));
  CUDA_TRY(CN_ENOKERNEL, "making an event", cudaEventCreateWithFlags(&ready, cudaEventDisableTiming));
  cudaError_t error = cudaEventRecord(ready, cudaStreamPerThread);
  CnErr chosen = cn_cuda_use(to_index);
  if (error == cudaSuccess && chosen == CN_OK) error = cudaStreamWaitEvent(cudaStreamPerThread, ready, 0);
  if (error == cudaSuccess && chosen == CN_OK)
    error = cudaMemcpyPeerAsync(to, to_index, from, from_index, bytes, cudaStreamPerThread);
  cudaEventDestroy(ready);
  CUDA_TRY(CN_ENOKERNEL, "copying between GPUs", error);
  return chosen;
}

static CnErr cuda_copy(void *to, CnDevice to_device, const void *from, CnDevice from_device, size_t bytes) {
  bool to_gpu = to_device.kind == CN_CUDA, from_gpu = from_device.kind == CN_CUDA;
  if (bytes == 0) return CN_OK;
  if (to_gpu && from_gpu && to_device.index != from_device.index)
    return copy_between(to, to_device.index, from, from_device.index, bytes);
  CN_TRY(cn_cuda_use(to_gpu ? to_device.index : from_device.index));
  CUDA_TRY(CN_ENOKERNEL, "copying", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cudaStreamPerThread));
  if (to_gpu && from_gpu) return CN_OK;
  cn_cuda_copied();
  CUDA_TRY(CN_ENOKERNEL, "waiting for a copy", cn_cuda_wait());
  return to_gpu ? CN_OK : cn_cuda_faults_found();
}

static CnErr cuda_synchronize(int index) {
  CN_TRY(cn_cuda_use(index));
  CUDA_TRY(CN_ENOKERNEL, "waiting for the GPU", cn_cuda_wait());
  return cn_cuda_faults_found();
}

static CnErr alloc_pinned(void **out, size_t bytes) {
  CUDA_TRY(CN_EMEMORY, "allocating pinned memory", cudaHostAlloc(out, bytes ? bytes : 1, cudaHostAllocPortable));
  return CN_OK;
}

static void free_pinned(void *block) { cudaFreeHost(block); }

/* Pools keep what is freed. A GPU without pools cannot be used by this module. */
static bool prepare_pools(int count, char *why, size_t size) {
  for (int i = 0; i < count; i++) {
    int pools = 0;
    cudaMemPool_t pool;
    uint64_t all = UINT64_MAX;
    cudaError_t error = cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, i);
    if (error == cudaSuccess && !pools) {
      snprintf(why, size, "cuda:%d has no memory pools", i);
      return false;
    }
    if (error == cudaSuccess) error = cudaDeviceGetDefaultMemPool(&pool, i);
    if (error == cudaSuccess) error = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all);
    if (error == cudaSuccess) continue;
    snprintf(why, size, "cuda:%d: %s", i, cudaGetErrorString(error));
    cudaGetLastError();
    return false;
  }
  return true;
}

#ifndef CN_CUDA_OLDEST
#define CN_CUDA_OLDEST 0 /* compute capability, times 10, that the kernels are compiled for at least; 0: any */
#endif

/* Why cudaGetDeviceCount failed, for people. */
static void explain(cudaError_t error, char *why, size_t size) {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    snprintf(why, size, "no NVIDIA driver");
  else if (error == cudaErrorInsufficientDriver)
    snprintf(why, size, "the NVIDIA driver is too old: it supports CUDA %d.%d, this module needs %d.%d", driver / 1000,
             driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  else if (error == cudaErrorNoDevice)
    snprintf(why, size, "no NVIDIA GPU");
  else
    snprintf(why, size, "%s", cudaGetErrorString(error));
}

static char detail[160];
static CnGpu module = {
  .device = { .name = "cuda", .detail = detail, .kernels = cn_cuda_column, .alloc = cn_cuda_alloc, .free = cn_cuda_free,
              .copy = cuda_copy, .synchronize = cuda_synchronize },
  .copy_strided = cn_cuda_copy_strided, .alloc_pinned = alloc_pinned, .free_pinned = free_pinned,
  .send = cn_cuda_send, .mark = cn_cuda_mark, .passed = cn_cuda_passed, .free_mark = cn_cuda_free_mark,
  .images = cn_cuda_images, .norm = cn_cuda_norm, .move = cn_cuda_move, .work = cn_cuda_work,
  .launches = cn_cuda_launches, .programs = &cn_cuda_programs,
};

__attribute__((visibility("default"))) CnCudaModule cn_device_module_cuda;

const CnGpu *cn_device_module_cuda(const CnCudaHost *host, char *why, size_t size) {
  struct cudaDeviceProp properties;
  int driver = 0;
  if (host->version != CN_CUDA_MODULE_VERSION || host->ops != CN_OPS) {
    snprintf(why, size, "libcnas_cuda.so is of another version; build it again");
    return NULL;
  }
  cn_cuda_fail = host->fail;
  cn_cuda_ref = host->ref;
  cn_cuda_unref = host->unref;
  cudaError_t error = cudaGetDeviceCount(&module.device.count);
  if (error == cudaSuccess && module.device.count == 0) error = cudaErrorNoDevice;
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, 0);
  if (error != cudaSuccess) {
    explain(error, why, size);
    cudaGetLastError();
    return NULL;
  }
  if (properties.major * 10 + properties.minor < CN_CUDA_OLDEST) {
    snprintf(why, size, "%.60s has compute capability %d.%d; this module is compiled for %d.%d and later",
             properties.name, properties.major, properties.minor, CN_CUDA_OLDEST / 10, CN_CUDA_OLDEST % 10);
    return NULL;
  }
  if (!prepare_pools(module.device.count, why, size)) return NULL;
  cudaDriverGetVersion(&driver);
  snprintf(detail, sizeof detail, "%.60s, compute capability %d.%d, driver for CUDA %d.%d, runtime %d.%d",
           properties.name, properties.major, properties.minor, driver / 1000, driver % 1000 / 10,
           CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  return &module;
}
