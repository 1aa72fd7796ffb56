/* cpu.c - memory of the CPU, and the choice of its column of kernels at run time. */
#include "device/cpu.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/memory.h"
#include "kernels/cpu/image.h"
#include "tensor/op.h"

extern const CnKernelRow cn_cpu_column_portable[CN_OPS];
extern const CnImageKernels cn_image_kernels_portable;
#ifdef __x86_64__
extern const CnKernelRow cn_cpu_column_avx2[CN_OPS], cn_cpu_column_avx512[CN_OPS];
extern const CnImageKernels cn_image_kernels_avx2, cn_image_kernels_avx512;
#endif

static CnErr cpu_alloc(void **out, int index, size_t bytes) {
  (void)index;
  *out = cn_alloc(bytes);
  return *out ? CN_OK : CN_EMEMORY;
}

static void cpu_free(int index, void *block) {
  (void)index;
  cn_free(block);
}

static CnErr cpu_copy(void *to, CnDevice to_device, const void *from, CnDevice from_device, size_t bytes) {
  (void)to_device;
  (void)from_device;
  if (bytes) memcpy(to, from, bytes);
  return CN_OK;
}

static CnErr cpu_synchronize(int index) {
  (void)index;
  return CN_OK;
}

static CnDeviceModule module = { .name = "cpu", .count = 1, .alloc = cpu_alloc, .free = cpu_free, .copy = cpu_copy,
                                 .synchronize = cpu_synchronize };

/* Instruction sets, widest first. */
static const struct {
  const char *name;
  const CnKernelRow *column;
  CnProducts products;
  const CnImageKernels *image;
} columns[] = {
#ifdef __x86_64__
  { "avx512_amx", cn_cpu_column_avx512, CN_PRODUCTS_TILES, &cn_image_kernels_avx512 },
  { "avx512_bf16", cn_cpu_column_avx512, CN_PRODUCTS_PAIRS, &cn_image_kernels_avx512 },
  { "avx512", cn_cpu_column_avx512, CN_PRODUCTS_PLAIN, &cn_image_kernels_avx512 },
  { "avx2", cn_cpu_column_avx2, CN_PRODUCTS_PLAIN, &cn_image_kernels_avx2 },
#endif
  { "portable", cn_cpu_column_portable, CN_PRODUCTS_PLAIN, &cn_image_kernels_portable },
};
#define COLUMNS ((int)(sizeof columns / sizeof columns[0]))

CnProducts cn_cpu_products;
static const CnImageKernels *image_kernels; /* of the column in use */

/* Whether the processor has tiles and Linux grants this process their registers, for which it wants to be asked. */
static bool may_use_tiles(void) {
#if defined(__linux__) && defined(__x86_64__) && defined(SYS_arch_prctl)
  enum { BF16 = 1 << 22, TILE = 1 << 24, REQUEST = 0x1023, TILE_DATA = 18 }; /* leaf 7, EDX; asm/prctl.h */
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & BF16) && (d & TILE) &&
         syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
  return false;
#endif
}

static bool processor_has(const char *isa) {
#ifdef __x86_64__
  if (!strcmp(isa, "avx512_amx")) return processor_has("avx512_bf16") && may_use_tiles();
  if (!strcmp(isa, "avx512_bf16")) return processor_has("avx512") && __builtin_cpu_supports("avx512bf16");
  if (!strcmp(isa, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
  if (!strcmp(isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return !strcmp(isa, "portable");
}

CnErr cn_cpu_use(const char *isa) {
  for (int i = 0; i < COLUMNS; i++) {
    if (strcmp(isa, columns[i].name)) continue;
    if (!processor_has(isa)) return cn_fail(CN_EUSAGE, "this processor does not run %s instructions", isa);
    module.detail = columns[i].name;
    module.kernels = columns[i].column;
    cn_cpu_products = columns[i].products;
    image_kernels = columns[i].image;
    return CN_OK;
  }
  return cn_fail(CN_EUSAGE, "unknown instruction set '%s': expected portable, avx2, avx512, avx512_bf16 or avx512_amx", isa);
}

const CnDeviceModule *cn_cpu_module(void) {
  if (module.kernels) return &module;
  const char *wish = getenv("CNAS_ISA");
  if (wish && cn_cpu_use(wish) == CN_OK) return &module;
  for (int i = 0; !module.kernels; i++)
    if (processor_has(columns[i].name)) (void)cn_cpu_use(columns[i].name);
  return &module;
}

const char *cn_cpu_isa(void) { return cn_cpu_module()->detail; }

const CnImageKernels *cn_image_kernels(void) {
  if (!image_kernels) (void)cn_cpu_module();
  return image_kernels;
}
