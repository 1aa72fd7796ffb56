/* cuda.c - finds libcnas_cuda.so at run time: the file that CNAS_CUDA_MODULE names; else beside the program, in lib/cnas
** below it, or in lib/cnas beside its folder.
**
** The answer, good or bad, is kept: looking costs once. */
#include "device/cuda.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/cpu.h"
#include "kernels/cuda/module.h"
#include "tensor/op.h"

static const CnGpu *module;
static char why[400];

static void *open_file(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) snprintf(why, sizeof why, "%s", dlerror());
  return library;
}

static void *open_library(void) {
  const char *named = getenv("CNAS_CUDA_MODULE");
  if (named != NULL && named[0] != '\0') return open_file(named);
  static const char *const places[] = { "/", "/lib/cnas/", "/../lib/cnas/" };
  char program[PATH_MAX], path[PATH_MAX + 64];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 0) length = 0;
  program[length] = '\0';
  char *slash = strrchr(program, '/');
  if (slash != NULL) *slash = '\0';
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    snprintf(path, sizeof path, "%s%slibcnas_cuda.so", program, places[i]);
    if (access(path, R_OK) == 0) return open_file(path);
  }
  snprintf(why, sizeof why, "this build has no GPU module (configure with CNAS_CUDA=ON)");
  return NULL;
}

static void load(void) {
  const CnCudaHost host = { CN_CUDA_MODULE_VERSION, CN_OPS, cn_fail, cn_tensor_ref, cn_tensor_unref };
  union { void *object; CnCudaModule *function; } symbol; /* ISO C has no cast between the two */
  void *library = open_library();
  if (library == NULL) return;
  symbol.object = dlsym(library, CN_CUDA_MODULE_SYMBOL);
  if (symbol.object == NULL)
    snprintf(why, sizeof why, "libcnas_cuda.so lacks " CN_CUDA_MODULE_SYMBOL);
  else
    module = symbol.function(&host, why, sizeof why);
  if (module == NULL) dlclose(library);
}

int cn_gpu_lacks(const char **rows, int most) {
  const CnGpu *gpu = NULL;
  if (cn_gpu(&gpu) != CN_OK) return 0;
  int lacking = 0;
  for (int id = 0; id < CN_OPS; id++) {
    const CnKernelRow *here = &cn_cpu_module()->kernels[id], *there = &gpu->device.kernels[id];
    bool forward = there->forward[CN_F32] || !here->forward[CN_F32];
    bool backward = there->backward[CN_F32] || !here->backward[CN_F32];
    if (forward && backward) continue;
    if (lacking < most) rows[lacking] = cn_op((CnOpId)id)->name;
    lacking++;
  }
  return lacking;
}

CnErr cn_gpu(const CnGpu **out) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  *out = module;
  return module != NULL ? CN_OK : cn_fail(CN_ENOKERNEL, "no device \"cuda\": %s", why);
}
