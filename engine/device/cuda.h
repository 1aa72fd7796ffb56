/* cuda.h - finds the GPU module, libcnas_cuda.so, at run time: nothing of CUDA is needed to build or start without it. */
#ifndef CN_CUDA_H
#define CN_CUDA_H

#include "device/device.h"

/* The module, loaded on first use; CN_ENOKERNEL with the reason (no module, no driver, driver too old) when it cannot
** be had. The answer stays the same for the life of the process. */
CnErr cn_cuda_module(const CnDeviceModule **out);

#endif
