/* program.c - users' kernels: compiled, loaded and launched.
**
** What was compiled is kept, by its whole text, until the program ends: asking again costs a comparison. Code is loaded
** for no GPU in particular; the runtime brings it onto each that launches it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/census.h"
#include "kernels/cuda/compiler.h"
#include "kernels/cuda/host.h"
#include "kernels/cuda/module.h"

#define SHARED_AT_ONCE (48 << 10) /* dynamic shared memory that need not be asked for, in bytes */

typedef struct Loaded {
  CnProgram program; /* first: what the engine knows it by */
  char *key, *types, *log; /* malloc's */
  cudaKernel_t kernel;
  struct Loaded *next;
} Loaded;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Loaded *all;

/* Everything that the code depends on, in one text. */
static char *key_of(const CnProgramText *text, int architecture) {
  size_t size = strlen(text->source) + strlen(text->kernel) + strlen(text->file) + 64;
  if (text->folder != NULL) size += strlen(text->folder);
  for (int i = 0; i < text->options; i++) size += strlen(text->option[i]) + 1;
  char *key = malloc(size);
  if (key == NULL) return NULL;
  int at = snprintf(key, size, "%d\n%d\n%s\n%s\n%s\n", architecture, text->options, text->kernel, text->file,
                    text->folder != NULL ? text->folder : "");
  for (int i = 0; i < text->options; i++) at += snprintf(key + at, size - (size_t)at, "%s\n", text->option[i]);
  snprintf(key + at, size - (size_t)at, "%s", text->source);
  return key;
}

static CnErr architecture_of(int *out, int index) {
  int major = 0, minor = 0;
  cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index);
  *out = 10 * major + minor;
  return error == cudaSuccess ? CN_OK : cn_cuda_fail(CN_ENOKERNEL, "cuda:%d: %s", index, cudaGetErrorString(error));
}

#if CUDART_VERSION >= 12080
static CnErr load(Loaded *made, const CnCompiled *compiled) {
  cudaLibrary_t library = NULL;
  cudaError_t error = cudaLibraryLoadData(&library, compiled->code, NULL, NULL, 0, NULL, NULL, 0);
  if (error == cudaSuccess) {
    error = cudaLibraryGetKernel(&made->kernel, library, compiled->symbol);
    if (error != cudaSuccess) cudaLibraryUnload(library);
  }
  if (error == cudaSuccess) return CN_OK;
  cudaGetLastError();
  return cn_cuda_fail(CN_ENOKERNEL, "kernel '%s': cuda: loading it: %s", made->program.kernel,
                      cudaGetErrorString(error));
}
#else
static CnErr load(Loaded *made, const CnCompiled *compiled) {
  (void)compiled;
  return cn_cuda_fail(CN_ENOKERNEL, "kernel '%s': this module was built with a CUDA toolkit before 12.8, which cannot "
                      "load users' kernels", made->program.kernel);
}
#endif

static void give_up(Loaded *made) {
  free(made->key);
  free(made->types);
  free(made->log);
  free((char *)made->program.kernel);
  free((char *)made->program.file);
  free(made);
}

static CnErr compile(Loaded *made, const CnProgramText *text, int architecture) {
  CnCompiled compiled;
  made->program.kernel = strdup(text->kernel);
  made->program.file = strdup(text->file);
  if (made->program.kernel == NULL || made->program.file == NULL)
    return cn_cuda_fail(CN_EMEMORY, "kernel: out of memory");
  CN_TRY(cn_cuda_compile(&compiled, text, architecture));
  CnErr e = cn_cuda_signature(&made->program, &made->types, compiled.signature, text->source);
  if (e == CN_OK) e = load(made, &compiled);
  made->log = compiled.log;
  compiled.log = NULL;
  cn_cuda_compiled_free(&compiled);
  made->program.log = made->log;
  made->program.architecture = architecture;
  return e;
}

static CnErr find_or_make(const CnProgram **out, const CnProgramText *text, int architecture) {
  char *key = key_of(text, architecture);
  if (key == NULL) return cn_cuda_fail(CN_EMEMORY, "kernel: out of memory");
  for (const Loaded *l = all; l != NULL; l = l->next) {
    if (strcmp(l->key, key) != 0) continue;
    free(key);
    *out = &l->program;
    return CN_OK;
  }
  Loaded *made = calloc(1, sizeof *made);
  if (made == NULL) {
    free(key);
    return cn_cuda_fail(CN_EMEMORY, "kernel: out of memory");
  }
  made->key = key;
  CnErr e = compile(made, text, architecture);
  if (e != CN_OK) {
    give_up(made);
    return e;
  }
  made->next = all;
  all = made;
  cn_census_program(made->kernel, &made->program);
  *out = &made->program;
  return CN_OK;
}

static CnErr program(const CnProgram **out, int index, const CnProgramText *text) {
  int architecture = 0;
  CN_TRY(cn_cuda_use_any(&index));
  CN_TRY(architecture_of(&architecture, index));
  pthread_mutex_lock(&lock);
  CnErr e = find_or_make(out, text, architecture);
  pthread_mutex_unlock(&lock);
  return e;
}

static CnErr check_device(const CnProgram *p, int index) {
  int architecture = 0;
  CN_TRY(architecture_of(&architecture, index));
  if (architecture == p->architecture) return CN_OK;
  return cn_cuda_fail(CN_EUSAGE, "kernel '%s' is compiled for compute capability %d.%d, cuda:%d has %d.%d: make it "
                      "with device = \"cuda:%d\"", p->kernel, p->architecture / 10, p->architecture % 10, index,
                      architecture / 10, architecture % 10, index);
}

static CnErr launch(const CnProgram *p, int index, const CnKernelLaunch *l) {
  const Loaded *loaded = (const Loaded *)p;
  cudaLaunchConfig_t config;
  cudaError_t error = cudaSuccess;
  CN_TRY(cn_cuda_use_any(&index));
  CN_TRY(check_device(p, index));
  if (l->grid[0] == 0 || l->grid[1] == 0 || l->grid[2] == 0) return CN_OK;
  memset(&config, 0, sizeof config);
  config.gridDim.x = l->grid[0], config.gridDim.y = l->grid[1], config.gridDim.z = l->grid[2];
  config.blockDim.x = l->block[0], config.blockDim.y = l->block[1], config.blockDim.z = l->block[2];
  config.dynamicSmemBytes = l->shared;
  config.stream = cudaStreamPerThread;
#if CUDART_VERSION >= 12080
  if (l->shared > SHARED_AT_ONCE)
    error = cudaKernelSetAttributeForDevice(loaded->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)l->shared,
                                            index);
#endif
  CnCounted *counted = cn_census_launching(loaded->kernel, NULL, l->block[0] * l->block[1] * l->block[2], l->shared);
  if (error == cudaSuccess) error = cudaLaunchKernelExC(&config, (const void *)loaded->kernel, l->argument);
  cn_census_launched(counted, error);
  if (error == cudaSuccess) {
    cn_cuda_launched_own();
    return CN_OK;
  }
  cudaGetLastError();
  return cn_cuda_fail(CN_ENOKERNEL, "kernel '%s': cuda: launching %u x %u x %u blocks of %u x %u x %u threads with %zu "
                      "bytes of shared memory: %s", p->kernel, l->grid[0], l->grid[1], l->grid[2], l->block[0],
                      l->block[1], l->block[2], l->shared, cudaGetErrorString(error));
}

static CnErr facts(CnKernelFacts *out, int index, const CnProgram *p) {
  return cn_census_facts(out, index, ((const Loaded *)p)->kernel);
}

const CnGpuPrograms cn_cuda_programs = {
  .program = program, .launch = launch, .facts = facts, .census = cn_census_read, .timing = cn_census_timing,
};
