/* cuda_runtime.h - what nvcc would know: the runtime, and the language of kernels. */
#ifndef SIMT_CUDA_RUNTIME_H
#define SIMT_CUDA_RUNTIME_H

#include "cuda_runtime_api.h"
#include "simt.h"

#endif
