/* census.h - the book of kernels: which there are, how often each was launched, and for how long it ran. C and C++. */
#ifndef CN_CUDA_CENSUS_H
#define CN_CUDA_CENSUS_H

#include <cuda_runtime_api.h>

#include "device/program.h"

typedef struct CnCounted CnCounted; /* a kernel's entry, for as long as the module is open */

/* A kernel that exists, before anything launched it. */
void cn_census_add(const void *kernel);
/* In front of a launch and behind it, on the calling thread's stream. `row` is who launches, a name that stays, or NULL.
** The entry is NULL where the book is full. */
CnCounted *cn_census_launching(const void *kernel, const char *row, unsigned threads, size_t shared);
void cn_census_launched(CnCounted *counted, cudaError_t error);

/* As in CnGpuPrograms. A user's kernel is known by `program`. */
void cn_census_program(const void *kernel, const CnProgram *program);
CnErr cn_census_facts(CnKernelFacts *out, int index, const void *kernel);
bool cn_census_read(CnKernelFacts *out, int index, int number);
CnErr cn_census_timing(bool on);

#endif
