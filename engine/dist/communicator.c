/* communicator.c - a process alone, and the order of sums among many. */
#include "dist/communicator.h"

#include <stdlib.h>

#include "base/memory.h"
#include "dist/transport.h"

#define CHUNK (1 << 20) /* bytes summed at a time: what rank 0 needs beside the data */

static CnWorld world; /* size 0: not joined yet */

/* How many processes the launcher says there are: Open MPI, MPICH and Intel MPI, Slurm's own plugins. 1: no launcher.
** */
static int launched_size(void) {
  static const char *const names[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *value = getenv(names[i]);
    if (value != NULL && atoi(value) > 0) return atoi(value);
  }
  return 1;
}

#ifdef CN_WITH_MPI
bool cn_world_has_mpi(void) { return true; }
#else
bool cn_world_has_mpi(void) { return false; }
CnErr cn_mpi_join(CnWorld *unused) {
  (void)unused;
  return cn_fail(CN_EUSAGE, "this process is one of %d, but this build has no MPI: configure with CNAS_MPI=ON",
                 launched_size());
}
CnErr cn_mpi_barrier(void) { return CN_OK; }
CnErr cn_mpi_broadcast(void *data, size_t bytes, int root) { return (void)data, (void)bytes, (void)root, CN_OK; }
CnErr cn_mpi_send(const void *data, size_t bytes, int to) { return (void)data, (void)bytes, (void)to, CN_OK; }
CnErr cn_mpi_receive(void *data, size_t bytes, int from) { return (void)data, (void)bytes, (void)from, CN_OK; }
#endif

static CnErr join(void) {
  CnWorld joined = { 0, 1 };
  if (world.size > 0) return CN_OK;
  if (launched_size() > 1) CN_TRY(cn_mpi_join(&joined));
  world = joined;
  return CN_OK;
}

CnErr cn_world(const CnWorld **out) {
  CN_TRY(join());
  *out = &world;
  return CN_OK;
}

CnErr cn_world_barrier(void) {
  CN_TRY(join());
  return world.size == 1 ? CN_OK : cn_mpi_barrier();
}

CnErr cn_world_broadcast(void *data, size_t bytes, int root) {
  CN_TRY(join());
  if (root < 0 || root >= world.size)
    return cn_fail(CN_EUSAGE, "broadcast: root must be in 0 ... %d, got %d", world.size - 1, root);
  return world.size == 1 ? CN_OK : cn_mpi_broadcast(data, bytes, root);
}

static void add(void *to, const void *from, size_t bytes, CnDtype dtype) {
  if (dtype == CN_F32)
    for (size_t i = 0; i < bytes / sizeof(float); i++) ((float *)to)[i] += ((const float *)from)[i];
  else
    for (size_t i = 0; i < bytes / sizeof(double); i++) ((double *)to)[i] += ((const double *)from)[i];
}

/* Rank 0 adds the others' pieces in the order of the ranks. */
static CnErr gather_sum(char *data, size_t bytes, CnDtype dtype, void *piece) {
  for (size_t at = 0; at < bytes; at += CHUNK) {
    size_t length = bytes - at < CHUNK ? bytes - at : CHUNK;
    for (int rank = 1; rank < world.size; rank++) {
      CN_TRY(cn_mpi_receive(piece, length, rank));
      add(data + at, piece, length, dtype);
    }
  }
  return CN_OK;
}

CnErr cn_world_sum(void *data, int64_t count, CnDtype dtype) {
  CN_TRY(join());
  if (!cn_dtype_is_real(dtype))
    return cn_fail(CN_EUSAGE, "allreduce: must be f32 or f64, got %s", cn_dtype_name(dtype));
  if (world.size == 1) return CN_OK;
  size_t bytes = (size_t)count * cn_dtype_size(dtype);
  if (world.rank == 0) {
    void *piece = cn_alloc(CHUNK);
    if (piece == NULL) return CN_EMEMORY;
    CnErr e = gather_sum(data, bytes, dtype, piece);
    cn_free(piece);
    CN_TRY(e);
  } else {
    for (size_t at = 0; at < bytes; at += CHUNK)
      CN_TRY(cn_mpi_send((char *)data + at, bytes - at < CHUNK ? bytes - at : CHUNK, 0));
  }
  return cn_mpi_broadcast(data, bytes, 0);
}
