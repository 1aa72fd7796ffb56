/* cpu.h - the CPU as a device, and which instruction set its kernels use. */
#ifndef CN_CPU_H
#define CN_CPU_H

#include "device/device.h"

/* "portable", "avx2" or "avx512": the widest that this processor runs, unless CNAS_ISA or cn_cpu_use chose another. */
const char *cn_cpu_isa(void);

/* Chooses an instruction set by name; CN_EUSAGE when it is unknown or this processor lacks it. */
CnErr cn_cpu_use(const char *isa);

const CnDeviceModule *cn_cpu_module(void);

#endif
