/* registered.c - enters every kernel of the module into the census as the program starts, before any is launched.
**
** What nvcc makes of a file calls __cudaRegisterFunction for each of its kernels when the module is opened; the linker
** (--wrap) sends those calls here. crt/host_runtime.h of the toolkit declares it. */
#include "kernels/cuda/census.h"

#define PARAMETERS \
  void **binary, const char *kernel, char *device_function, const char *name, int limit, void *thread, void *block, \
    void *block_size, void *grid_size, int *warp_size

void __real___cudaRegisterFunction(PARAMETERS);
void __wrap___cudaRegisterFunction(PARAMETERS);

void __wrap___cudaRegisterFunction(PARAMETERS) {
  cn_census_add(kernel);
  __real___cudaRegisterFunction(binary, kernel, device_function, name, limit, thread, block, block_size, grid_size,
                                warp_size);
}
