/* libraries_gpu.c - what NVIDIA has on this machine: the driver, and libraries that people who report a fault are asked
** for. None is a part of this program. Each is looked for in CUDA_PATH and CUDA_HOME, where the system's loader looks,
** and in /usr/local/cuda; opened, asked for its version, and left open: some do not bear to be closed. */
#include <dlfcn.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/libraries.h"

/* A version as its library counts it: `thousands` to a major version, `hundreds` to a minor one. */
static void write_version(char *text, size_t room, int version, int thousands, int hundreds) {
  snprintf(text, room, "%d.%d.%d", version / thousands, version % thousands / hundreds, version % hundreds);
}

/* Each takes the function that `symbol` names, and leaves `text` as it is when the library does not answer. */
static void ask_driver(void *function, char *text, size_t room) {
  int (*get)(int *) = *(int (**)(int *))function, version = 0;
  if (get(&version) == 0 && version > 0) snprintf(text, room, "for CUDA %d.%d", version / 1000, version % 1000 / 10);
}
static void ask_nvrtc(void *function, char *text, size_t room) {
  int (*get)(int *, int *) = *(int (**)(int *, int *))function, major = 0, minor = 0;
  if (get(&major, &minor) == 0) snprintf(text, room, "%d.%d", major, minor);
}
static void ask_cudnn(void *function, char *text, size_t room) {
  int version = (int)(*(size_t (**)(void))function)();
  write_version(text, room, version, version < 90000 ? 1000 : 10000, 100); /* since 9 there are two more digits */
}
static void ask_nccl(void *function, char *text, size_t room) {
  int (*get)(int *) = *(int (**)(int *))function, version = 0;
  if (get(&version) == 0) write_version(text, room, version, version < 10000 ? 1000 : 10000, 100); /* since 2.9 */
}

static const struct {
  const char *name, *serves;
  const char *files[3]; /* the newest first */
  const char *symbol;
  void (*ask)(void *function, char *text, size_t room);
} known[] = {
  { "NVIDIA driver", "GPUs", { "libcuda.so.1" }, "cuDriverGetVersion", ask_driver },
  { "NVRTC", "kernels of one's own on a GPU", { "libnvrtc.so.13", "libnvrtc.so.12" }, "nvrtcVersion", ask_nvrtc },
  { "cuDNN", "nothing here: cnas has its own kernels", { "libcudnn.so.9", "libcudnn.so.8" }, "cudnnGetVersion",
    ask_cudnn },
  { "NCCL", "nothing here: cnas has MPI", { "libnccl.so.2" }, "ncclGetVersion", ask_nccl },
};

static void *open_below(const char *folder, const char *file) {
  static const char *const below[] = { "lib64", "lib" };
  char path[PATH_MAX];
  void *library = NULL;
  for (int k = 0; k < 2 && library == NULL && folder != NULL && folder[0] != '\0'; k++) {
    snprintf(path, sizeof path, "%s/%s/%s", folder, below[k], file);
    library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
  }
  return library;
}

static void *open_file(const char *file) {
  void *library = open_below(getenv("CUDA_PATH"), file);
  if (library == NULL) library = open_below(getenv("CUDA_HOME"), file);
  if (library == NULL) library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
  return library != NULL ? library : open_below("/usr/local/cuda", file);
}

int cn_libraries_gpu(CnLibrary out[CN_LIBRARIES_GPU]) {
  int count = (int)(sizeof known / sizeof known[0]);
  _Static_assert(sizeof known / sizeof known[0] == CN_LIBRARIES_GPU, "the number that the header says");
  for (int i = 0; i < count; i++) {
    out[i] = (CnLibrary){ .name = known[i].name, .serves = known[i].serves, .outside = true };
    void *library = NULL;
    for (int k = 0; k < 3 && library == NULL && known[i].files[k] != NULL; k++) library = open_file(known[i].files[k]);
    void *function = library ? dlsym(library, known[i].symbol) : NULL;
    if (function != NULL) known[i].ask(&function, out[i].version, sizeof out[i].version);
  }
  return count;
}
