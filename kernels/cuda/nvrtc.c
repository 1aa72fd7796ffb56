/* nvrtc.c - compiles a user's CUDA C by NVRTC.
**
** NVRTC is a library of the CUDA toolkit that needs neither driver nor GPU. It is looked for when the first kernel is
** compiled: the file that CNAS_NVRTC names; beside the module; in CUDA_PATH and CUDA_HOME; where the system's loader
** looks; in /usr/local/cuda. In each place the version of the CUDA runtime that the module has inside comes first, then
** the newest.
**
** The text is compiled as it stands, so that lines in messages are the user's. In front of it stands a header with the
** names of fixed-width integers, and a template whose instance for the kernel's type says in its mangled name what the
** parameters are: so the compiler itself tells them, of templates and of extern "C" functions too. */
#include <ctype.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/compiler.h"
#include "kernels/cuda/host.h"

#define NEWEST 15 /* major versions to look for, after the runtime's own */
#define OLDEST 12
#define LOG_SHOWN 700 /* characters of the compiler's messages in an error: a program keeps 1000 of all */

static const char prelude_name[] = "cnas_prelude.h";
static const char prelude[] =
  "#pragma once\n"
  "#ifdef __CUDACC_RTC__ /* the same as cuda/std/cstdint has */\n"
  "typedef signed char int8_t;\ntypedef signed short int16_t;\ntypedef signed int int32_t;\n"
  "typedef signed long long int64_t;\ntypedef unsigned char uint8_t;\ntypedef unsigned short uint16_t;\n"
  "typedef unsigned int uint32_t;\ntypedef unsigned long long uint64_t;\n"
  "#endif\n"
  "template <class Kernel> __global__ void cnas_parameters() {}\n";

typedef struct Nvrtc_ *Text; /* nvrtcProgram */

/* The functions of NVRTC, as nvrtc.h has them; results are 0 or an error. */
static struct {
  const char *(*error)(int result);
  int (*architectures)(int *count);
  int (*architecture)(int *list);
  int (*create)(Text *out, const char *source, const char *name, int headers, const char *const *header,
                const char *const *header_name);
  int (*destroy)(Text *text);
  int (*add_name)(Text text, const char *name);
  int (*compile)(Text text, int options, const char *const *option);
  int (*log_size)(Text text, size_t *size);
  int (*log)(Text text, char *out);
  int (*lowered_name)(Text text, const char *name, const char **out);
  int (*cubin_size)(Text text, size_t *size);
  int (*cubin)(Text text, char *out);
  int (*ptx_size)(Text text, size_t *size);
  int (*ptx)(Text text, char *out);
} nvrtc;

#define WRONG_TEXT 6 /* NVRTC_ERROR_COMPILATION */

static const struct {
  const char *name;
  void *function; /* in `nvrtc` */
} symbols[] = {
  { "nvrtcGetErrorString", &nvrtc.error },
  { "nvrtcGetNumSupportedArchs", &nvrtc.architectures },
  { "nvrtcGetSupportedArchs", &nvrtc.architecture },
  { "nvrtcCreateProgram", &nvrtc.create },
  { "nvrtcDestroyProgram", &nvrtc.destroy },
  { "nvrtcAddNameExpression", &nvrtc.add_name },
  { "nvrtcCompileProgram", &nvrtc.compile },
  { "nvrtcGetProgramLogSize", &nvrtc.log_size },
  { "nvrtcGetProgramLog", &nvrtc.log },
  { "nvrtcGetLoweredName", &nvrtc.lowered_name },
  { "nvrtcGetCUBINSize", &nvrtc.cubin_size },
  { "nvrtcGetCUBIN", &nvrtc.cubin },
  { "nvrtcGetPTXSize", &nvrtc.ptx_size },
  { "nvrtcGetPTX", &nvrtc.ptx },
};

static char why[300];               /* there is no NVRTC; "": there is */
static char headers[2][PATH_MAX + 48]; /* "--include-path=…": the toolkit's and CCCL's; "" where they are not */

/* ---- finding it ---- */

static void *open_in(const char *folder, const char *below) {
  char path[PATH_MAX + 64];
  const int own = CUDART_VERSION / 1000;
  for (int major = NEWEST + 1; major >= OLDEST; major--) {
    snprintf(path, sizeof path, "%s%slibnvrtc.so.%d", folder, below, major > NEWEST ? own : major);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) return library;
  }
  return NULL;
}

/* The folder of a library that has `address`, with the last '/'; "" when unknown. */
static const char *folder_of(const void *address, char *path, size_t size) {
  Dl_info info;
  path[0] = '\0';
  if (dladdr(address, &info) && info.dli_fname != NULL) snprintf(path, size, "%s", info.dli_fname);
  char *slash = strrchr(path, '/');
  if (slash != NULL) slash[1] = '\0';
  else path[0] = '\0';
  return path;
}

static void *open_library(void) {
  static const char *const variables[] = { "CUDA_PATH", "CUDA_HOME" };
  static const char *const below[] = { "/lib64/", "/lib/" };
  const char *named = getenv("CNAS_NVRTC");
  char folder[PATH_MAX];
  void *library = NULL;
  if (named != NULL && named[0] != '\0') {
    library = dlopen(named, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) snprintf(why, sizeof why, "CNAS_NVRTC: %s", dlerror());
    return library;
  }
  if (folder_of(&nvrtc, folder, sizeof folder)[0] != '\0') library = open_in(folder, "");
  for (int i = 0; i < 2; i++) {
    const char *toolkit = getenv(variables[i]);
    for (int k = 0; k < 2 && library == NULL && toolkit != NULL && toolkit[0] != '\0'; k++)
      library = open_in(toolkit, below[k]);
  }
  if (library == NULL) library = open_in("", "");
  if (library == NULL) library = open_in("/usr/local/cuda", "/lib64/");
  if (library == NULL)
    snprintf(why, sizeof why, "libnvrtc.so.%d of the CUDA toolkit is not on this machine: install it (package "
             "cuda-nvrtc), or name it by CNAS_NVRTC or its toolkit by CUDA_PATH", CUDART_VERSION / 1000);
  return library;
}

/* Headers lie beside the library's folder: <toolkit>/lib64, or <toolkit>/targets/<machine>/lib. */
static void find_headers(void) {
  static const char *const below[2][2] = { { "../include", "cuda_fp16.h" }, { "../include/cccl", "cuda/std/cstdint" } };
  char folder[PATH_MAX], path[PATH_MAX + 64];
  folder_of((const void *)(uintptr_t)nvrtc.create, folder, sizeof folder);
  for (int i = 0; i < 2 && folder[0] != '\0'; i++) {
    snprintf(path, sizeof path, "%s%s/%s", folder, below[i][0], below[i][1]);
    FILE *there = fopen(path, "r");
    if (there == NULL) continue;
    fclose(there);
    snprintf(headers[i], sizeof headers[i], "--include-path=%s%s", folder, below[i][0]);
  }
}

static void look_for_it(void) {
  void *library = open_library();
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols && library != NULL; i++) {
    void *symbol = dlsym(library, symbols[i].name);
    memcpy(symbols[i].function, &symbol, sizeof symbol); /* ISO C has no cast from objects to functions */
    if (symbol != NULL) continue;
    snprintf(why, sizeof why, "the NVRTC found here is too old: it lacks %s", symbols[i].name);
    dlclose(library);
    library = NULL;
  }
  if (library != NULL) find_headers();
}

/* ---- compiling ---- */

static CnErr no_memory(void) { return cn_cuda_fail(CN_EMEMORY, "kernel: out of memory"); }

/* The architecture to compile for: the GPU's as machine code, or, where NVRTC is older than the GPU, the newest below
** as PTX, which the driver compiles. */
static CnErr choose_architecture(char *option, size_t size, bool *ptx, const CnProgramText *text, int architecture) {
  int count = 0, chosen = 0;
  int *list = nvrtc.architectures(&count) == 0 && count > 0 ? malloc((size_t)count * sizeof *list) : NULL;
  if (list == NULL) return no_memory();
  if (nvrtc.architecture(list) != 0) count = 0;
  for (int i = 0; i < count; i++)
    if (list[i] <= architecture && list[i] > chosen) chosen = list[i];
  int oldest = count > 0 ? list[0] : 0;
  free(list);
  if (chosen == 0)
    return cn_cuda_fail(CN_ENOKERNEL, "kernel '%s': the NVRTC found here compiles for compute capability %d.%d and "
                        "later; the GPU has %d.%d", text->kernel, oldest / 10, oldest % 10, architecture / 10,
                        architecture % 10);
  *ptx = chosen != architecture;
  snprintf(option, size, "--gpu-architecture=%s_%d", *ptx ? "compute" : "sm", chosen);
  return CN_OK;
}

/* What the compiler said about the text. A name that is no kernel of it comes as errors about lines that NVRTC adds. */
static CnErr explain(int result, const CnProgramText *text, char *log) {
  size_t length = strlen(log);
  bool cut = length > LOG_SHOWN;
  if (cut) {
    length = LOG_SHOWN;
    while (length > LOG_SHOWN / 2 && log[length] != '\n') length--;
    log[length] = '\0';
  }
  while (length > 0 && isspace((unsigned char)log[length - 1])) log[--length] = '\0';
  if (result == WRONG_TEXT && !strncmp(log, "__nv_name_map", 13))
    return cn_cuda_fail(CN_EUSAGE, "kernel '%s': %s has no __global__ function of this name, or several; of a template "
                        "name an instance: \"k<float>\"", text->kernel, text->file);
  return cn_cuda_fail(CN_EUSAGE, "kernel '%s' does not compile: %s\n%s%s", text->kernel,
                      result == WRONG_TEXT ? text->file : nvrtc.error(result), log, cut ? "\n…" : "");
}

static char *log_of(Text program) {
  size_t size = 0;
  if (nvrtc.log_size(program, &size) != 0) size = 0;
  char *log = calloc(size + 1, 1);
  if (log != NULL && size > 0 && nvrtc.log(program, log) != 0) log[0] = '\0';
  return log;
}

static CnErr name_of(char **out, Text program, const CnProgramText *text, const char *name) {
  const char *lowered = NULL; /* goes with the program */
  int result = nvrtc.lowered_name(program, name, &lowered);
  if (result != 0 || lowered == NULL)
    return cn_cuda_fail(CN_EUSAGE, "kernel '%s': NVRTC does not know it: %s", text->kernel, nvrtc.error(result));
  *out = strdup(lowered);
  return *out != NULL ? CN_OK : no_memory();
}

static CnErr take_code(char **out, Text program, const CnProgramText *text, bool ptx) {
  size_t size = 0;
  int result = ptx ? nvrtc.ptx_size(program, &size) : nvrtc.cubin_size(program, &size);
  *out = result == 0 && size > 0 ? malloc(size) : NULL;
  if (result == 0 && size > 0 && *out == NULL) return no_memory();
  if (result == 0 && size > 0) result = ptx ? nvrtc.ptx(program, *out) : nvrtc.cubin(program, *out);
  if (result == 0 && size > 0) return CN_OK;
  return cn_cuda_fail(CN_ENOKERNEL, "kernel '%s': NVRTC made no code of it: %s", text->kernel, nvrtc.error(result));
}

/* `probe` is what the parameters are learned by, see the top. */
static CnErr compile(CnCompiled *out, Text program, const CnProgramText *text, const char *probe, int architecture) {
  enum { OURS = 5 };
  char target[40], folder[PATH_MAX + 32];
  bool ptx = false;
  CN_TRY(choose_architecture(target, sizeof target, &ptx, text, architecture));
  const char **option = malloc((size_t)(OURS + text->options) * sizeof *option);
  if (option == NULL) return no_memory();
  int options = 0;
  option[options++] = target;
  option[options++] = "--pre-include=cnas_prelude.h";
  if (text->folder != NULL) {
    snprintf(folder, sizeof folder, "--include-path=%s", text->folder);
    option[options++] = folder;
  }
  for (int i = 0; i < text->options; i++) option[options++] = text->option[i];
  for (int i = 0; i < 2; i++)
    if (headers[i][0] != '\0') option[options++] = headers[i];
  int result = nvrtc.add_name(program, text->kernel);
  if (result == 0) result = nvrtc.add_name(program, probe);
  if (result == 0) result = nvrtc.compile(program, options, option);
  free(option);
  out->log = log_of(program);
  if (out->log == NULL) return no_memory();
  if (result != 0) return explain(result, text, out->log);
  CN_TRY(name_of(&out->symbol, program, text, text->kernel));
  CN_TRY(name_of(&out->signature, program, text, probe));
  return take_code(&out->code, program, text, ptx);
}

CnErr cn_cuda_compile(CnCompiled *out, const CnProgramText *text, int architecture) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  const char *header = prelude, *header_name = prelude_name;
  Text program = NULL;
  *out = (CnCompiled){ NULL, NULL, NULL, NULL };
  pthread_once(&once, look_for_it);
  if (why[0] != '\0') return cn_cuda_fail(CN_ENOKERNEL, "kernel '%s': no compiler: %s", text->kernel, why);
  size_t size = strlen(text->kernel) + 40;
  char *probe = malloc(size);
  if (probe == NULL) return no_memory();
  snprintf(probe, size, "cnas_parameters<decltype(&%s)>", text->kernel);
  int result = nvrtc.create(&program, text->source, text->file, 1, &header, &header_name);
  CnErr e = result == 0 ? compile(out, program, text, probe, architecture)
                        : cn_cuda_fail(CN_EUSAGE, "kernel '%s': NVRTC: %s", text->kernel, nvrtc.error(result));
  if (result == 0) nvrtc.destroy(&program);
  free(probe);
  if (e != CN_OK) cn_cuda_compiled_free(out);
  return e;
}

void cn_cuda_compiled_free(CnCompiled *compiled) {
  free(compiled->code);
  free(compiled->symbol);
  free(compiled->signature);
  free(compiled->log);
  *compiled = (CnCompiled){ NULL, NULL, NULL, NULL };
}
