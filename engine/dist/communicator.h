/* communicator.h - the processes of a run, and what they say to each other.
**
** A program that mpirun (or Slurm) started is one rank of many; else it is alone, rank 0 of 1, and every call below is
** done at once. Every rank makes the same calls in the same order, from one thread. Sums are added in the order of the
** ranks, so their bits are the same on all of them and do not depend on timing.
**
** A thread of its own does all the talking (see communicator.c), so an exchange that was started goes on while the
** caller computes. */
#ifndef CN_COMMUNICATOR_H
#define CN_COMMUNICATOR_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/tensor.h"

typedef struct CnWorld {
  int rank; /* 0 … size-1 */
  int size;
  double share; /* this process's part of what all work on now: see cn_world_weigh */
} CnWorld;

/* How the world ends without this process's doing: called from another thread, must not return. `message` is NULL when
** another process has said what there is to say; `lost` when a process died, stopped or hangs, else `status` is the
** exit status of the one that failed. */
typedef void (*CnWorldEnd)(const char *message, bool lost, int status);
/* Something to tell the user, from another thread. */
typedef void (*CnWorldWarn)(const char *message);

/* Who is told; before the world is joined. Without, a lost process is waited for. */
void cn_world_listen(CnWorldEnd end, CnWorldWarn warn);

/* The world of this process; joins it on the first call. Lives until the process ends. CN_EUSAGE when the process was
** started as one of many but cannot find the others. */
CnErr cn_world(const CnWorld **out);
bool cn_world_is_joined(void); /* is this process one of many, and has it joined them? */
bool cn_world_launched(void);  /* does the environment say that a launcher started it as one of many? */
bool cn_world_has_mpi(void);   /* can this build join others? */

/* This process's part, 0 … 1, of the batch that all work on; the parts sum to 1. Gradients are weighted by it. */
void cn_world_weigh(double share);

CnErr cn_world_barrier(void);
/* `bytes` at `data` of rank `root` to all others. */
CnErr cn_world_broadcast(void *data, size_t bytes, int root);
/* `bytes` at `own` of each rank, to `all` in the order of the ranks: size*bytes, on every rank. */
CnErr cn_world_gather(const void *own, void *all, size_t bytes);
/* Every rank's `data` becomes the sum over the ranks. f32 or f64. */
CnErr cn_world_sum(void *data, int64_t count, CnDtype dtype);

/* An exchange under way. Its memory and the data belong to the caller and stay where they are until it is done. */
typedef struct CnExchange {
  enum { CN_BARRIER, CN_BROADCAST, CN_GATHER, CN_SUM, CN_LEAVE } kind;
  void *data;
  const void *own; /* gather */
  size_t bytes;
  int64_t count;
  CnDtype dtype;
  int root;
  CnErr error;
  char message[512]; /* of the error */
  uint64_t number;   /* 1, 2, … in this process */
  atomic_bool done;
  struct CnExchange *next; /* in the queue */
} CnExchange;

CnErr cn_world_start_sum(CnExchange *x, void *data, int64_t count, CnDtype dtype);
CnErr cn_world_start_gather(CnExchange *x, const void *own, void *all, size_t bytes);
bool cn_exchange_done(const CnExchange *x);
CnErr cn_exchange_wait(CnExchange *x);

/* For a program that is about to end with an error: whether this process is the one that tells the user. Waits until
** the processes agree, a moment. Alone: true. */
bool cn_world_may_report(int status);

#endif
