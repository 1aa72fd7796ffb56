/* cuda.h - where device.c gets the GPU's module from. */
#ifndef CN_DEVICE_CUDA_H
#define CN_DEVICE_CUDA_H

#include "device/device.h"

/* The GPU's module, looked for on the first call. CN_ENOKERNEL with the reason when it cannot be had. */
CnErr cn_cuda_module(const CnDeviceModule **out);

#endif
