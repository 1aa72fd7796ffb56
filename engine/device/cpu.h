/* cpu.h - the CPU as a device, and which instruction set its kernels use. */
#ifndef CN_CPU_H
#define CN_CPU_H

#include "device/device.h"

/* "portable", "avx2", "avx512" or "avx512_bf16" (avx512 with products of bf16 by pairs): the widest that this processor
** runs, unless CNAS_ISA or cn_cpu_use chose another. */
const char *cn_cpu_isa(void);

/* Chooses an instruction set by name; CN_EUSAGE when it is unknown or this processor lacks it. */
CnErr cn_cpu_use(const char *isa);

const CnDeviceModule *cn_cpu_module(void);

/* For kernels: whether matrix products on bf16 images are taken by pairs (kernels/cpu/gemm_pairs.c). */
extern bool cn_cpu_pairs;

#endif
