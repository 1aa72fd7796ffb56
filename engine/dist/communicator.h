/* communicator.h - the processes of a run, and what they say to each other.
**
** A program that mpirun (or Slurm) started is one rank of many; else it is alone, rank 0 of 1, and every call below is
** done at once. Every rank makes the same calls in the same order, from one thread. Sums are added in the order of the
** ranks, so their bits do not depend on timing. A rank that ends with an error status ends the others. */
#ifndef CN_COMMUNICATOR_H
#define CN_COMMUNICATOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/tensor.h"

typedef struct CnWorld {
  int rank; /* 0 … size-1 */
  int size;
} CnWorld;

/* The world of this process; joins it on the first call. Lives until the process ends. CN_EUSAGE when the process was
** started as one of many but this build has no MPI. */
CnErr cn_world(const CnWorld **out);

bool cn_world_has_mpi(void); /* can this build join others? */

CnErr cn_world_barrier(void);
/* `bytes` at `data` of rank `root` to all others. */
CnErr cn_world_broadcast(void *data, size_t bytes, int root);
/* Every rank's `data` becomes the sum over the ranks. f32 or f64. */
CnErr cn_world_sum(void *data, int64_t count, CnDtype dtype);

#endif
