/* device.h - what a device is: memory, a stream of work, and a column of kernels.
**
** The CPU is always there. The GPU is a module, libcnas_cuda.so, looked for at run time; without it (or without a
** driver) asking for a GPU is an ordinary error and nothing else changes. Operations on a device are asynchronous:
** only cn_device_synchronize, and copies to the CPU, wait. */
#ifndef CN_DEVICE_H
#define CN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum CnDeviceKind { CN_CPU, CN_CUDA, CN_DEVICE_KINDS } CnDeviceKind;

typedef struct CnDevice { /* passed by value */
  int16_t kind;           /* CnDeviceKind */
  int16_t index;          /* which GPU; 0 for the CPU */
} CnDevice;

#define CN_DEVICE_CPU ((CnDevice){ CN_CPU, 0 })

struct CnCall; /* tensor/op.h */
typedef CnErr (*CnKernel)(struct CnCall *call);

#define CN_KERNEL_TYPES 5 /* CN_DTYPES of tensor/tensor.h */

/* One row of a device's column: kernels by type (CnDtype); NULL where there is none. */
typedef struct CnKernelRow {
  CnKernel forward[CN_KERNEL_TYPES], backward[CN_KERNEL_TYPES];
} CnKernelRow;

/* What a device module provides. `kernels` has one row for each row of ops.def, in its order. */
typedef struct CnDeviceModule {
  const char *name;   /* "cpu", "cuda" */
  const char *detail; /* instruction set or driver, for people */
  int count;          /* devices of this kind */
  const CnKernelRow *kernels;
  CnErr (*alloc)(void **out, int index, size_t bytes); /* cached; aligned to CN_ALIGNMENT */
  void (*free)(int index, void *block);
  /* Copies between this device and the CPU, or within it; done when it returns only if `to` or `from` is the CPU. */
  CnErr (*copy)(void *to, CnDevice to_device, const void *from, CnDevice from_device, size_t bytes);
  CnErr (*synchronize)(int index);
} CnDeviceModule;

/* The module of a kind; loads it on first use. Fails (CN_ENOKERNEL) with the reason when it cannot be had. */
CnErr cn_device_module(const CnDeviceModule **out, CnDeviceKind kind);

/* "cpu", "cuda", "cuda:1", "auto" (the first GPU, else the CPU) to a device that exists. */
CnErr cn_device_parse(CnDevice *out, const char *text);
/* The reverse, into `text` of at least 16 bytes; returns `text`. */
const char *cn_device_name(CnDevice device, char *text);

static inline bool cn_device_equal(CnDevice a, CnDevice b) { return a.kind == b.kind && a.index == b.index; }

CnErr cn_device_alloc(void **out, CnDevice device, size_t bytes);
void cn_device_free(CnDevice device, void *block);
CnErr cn_device_copy(void *to, CnDevice to_device, const void *from, CnDevice from_device, size_t bytes);
CnErr cn_device_synchronize(CnDevice device);

#endif
