/* cuda.c - opens libcnas_cuda.so beside the program or in ../lib/cnas, and asks it for its module. */
#include "device/cuda.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const CnDeviceModule *module;
static char reason[400] = "cuda: the module libcnas_cuda.so is not beside the program: build with -DCNAS_CUDA=ON";

/* What the module exports: itself, or NULL with the reason in `why`. */
typedef const CnDeviceModule *(*ModuleEntry)(char *why, size_t size);

static void find(void) {
  char folder[1024];
  ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
  if (n <= 0) return;
  folder[n] = 0;
  *strrchr(folder, '/') = 0;
  void *library = NULL;
  static const char *const places[] = { "", "/kernels/cuda", "/../lib/cnas" };
  for (size_t i = 0; !library && i < sizeof places / sizeof places[0]; i++) {
    char path[1200];
    snprintf(path, sizeof path, "%s%s/libcnas_cuda.so", folder, places[i]);
    if (access(path, R_OK)) continue;
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) snprintf(reason, sizeof reason, "cuda: cannot load %s", dlerror());
  }
  if (!library) return;
  ModuleEntry entry;
  *(void **)&entry = dlsym(library, "cn_device_module_cuda");
  if (!entry) {
    snprintf(reason, sizeof reason, "cuda: libcnas_cuda.so is of another version: rebuild it");
    return;
  }
  char why[300] = "no reason given";
  module = entry(why, sizeof why);
  if (!module) snprintf(reason, sizeof reason, "cuda: %s", why);
}

CnErr cn_cuda_module(const CnDeviceModule **out) {
  pthread_once(&once, find);
  *out = module;
  return module ? CN_OK : cn_fail(CN_ENOKERNEL, "%s", reason);
}
