/* mpi.c - messages by MPI. Errors come back as values; a rank that exits with an error status aborts the others, which
** would else wait for it for ever. */
#include <mpi.h>
#include <stdlib.h>

#include "dist/transport.h"

#define MOST (1 << 30) /* bytes in one call: MPI counts in int */

static CnErr result(int code, const char *what) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (code == MPI_SUCCESS) return CN_OK;
  MPI_Error_string(code, text, &length);
  return cn_fail(CN_EIO, "%s between processes failed: %.*s", what, length, text);
}

static void leave(int status, void *unused) {
  (void)unused;
  if (status != 0) MPI_Abort(MPI_COMM_WORLD, status);
  MPI_Finalize();
}

CnErr cn_mpi_join(CnWorld *world) {
  int provided;
  CN_TRY(result(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "joining"));
  on_exit(leave, NULL);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  CN_TRY(result(MPI_Comm_rank(MPI_COMM_WORLD, &world->rank), "joining"));
  return result(MPI_Comm_size(MPI_COMM_WORLD, &world->size), "joining");
}

CnErr cn_mpi_barrier(void) { return result(MPI_Barrier(MPI_COMM_WORLD), "a barrier"); }

CnErr cn_mpi_broadcast(void *data, size_t bytes, int root) {
  for (size_t at = 0; at < bytes; at += MOST) {
    int length = (int)(bytes - at < MOST ? bytes - at : MOST);
    CN_TRY(result(MPI_Bcast((char *)data + at, length, MPI_BYTE, root, MPI_COMM_WORLD), "a broadcast"));
  }
  return CN_OK;
}

CnErr cn_mpi_send(const void *data, size_t bytes, int to) {
  return result(MPI_Send(data, (int)bytes, MPI_BYTE, to, 0, MPI_COMM_WORLD), "sending");
}

CnErr cn_mpi_receive(void *data, size_t bytes, int from) {
  return result(MPI_Recv(data, (int)bytes, MPI_BYTE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "receiving");
}
