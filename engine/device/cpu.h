/* cpu.h - the CPU as a device, and which instruction set its kernels use. */
#ifndef CN_CPU_H
#define CN_CPU_H

#include "device/device.h"

/* "portable", "avx2", "avx512", or avx512 with other products of bf16: "avx512_bf16" (by pairs), "avx512_amx" (in
** tiles). The widest that this processor runs, unless CNAS_ISA or cn_cpu_use chose another. */
const char *cn_cpu_isa(void);

/* Chooses an instruction set by name; CN_EUSAGE when it is unknown or this processor lacks it. */
CnErr cn_cpu_use(const char *isa);

const CnDeviceModule *cn_cpu_module(void);

/* For kernels: how matrix products on bf16 images are taken: like those of f32, by pairs of rounded numbers
** (kernels/cpu/gemm_pairs.c), or by tiles of such pairs (gemm_tiles.c). */
typedef enum CnProducts { CN_PRODUCTS_PLAIN, CN_PRODUCTS_PAIRS, CN_PRODUCTS_TILES } CnProducts;
extern CnProducts cn_cpu_products;

#endif
