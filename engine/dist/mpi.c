/* mpi.c - messages by MPI.
**
** Everything is started without waiting and then polled: a call of MPI that waits would spin, on a processor that
** computes at the same time. A sum is two exchanges: rank r gets all ranks' r-th piece and adds them in the order of
** the ranks, then gives the sum to all. So each sum is made once, its bits do not depend on the library's algorithms,
** and the data crosses twice however many ranks there are. Short ones are sent whole and added by everybody. */
#include <mpi.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "dist/transport.h"

#define MOST (1 << 26)  /* elements or bytes in one call: MPI counts in int */
#define SHORT 4096      /* bytes of a sum that is sent whole */
#define RANKS (1 << 16) /* more are refused */

static int rank, size;
static int *pieces, *starts, *lengths, *offsets; /* (size) each: arguments of the calls below */
static char *scratch;
static size_t scratch_size;

static CnErr result(int code, const char *what) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (code == MPI_SUCCESS) return CN_OK;
  MPI_Error_string(code, text, &length);
  return cn_fail(CN_EIO, "%s between the processes failed: %.*s", what, length, text);
}

/* Waits for a request. `code` is what starting it gave. */
static CnErr finish(int code, MPI_Request *request, const char *what) {
  int done = 0, turns = 0;
  CN_TRY(result(code, what));
  for (;;) {
    CN_TRY(result(MPI_Test(request, &done, MPI_STATUS_IGNORE), what));
    if (done) return CN_OK;
    cn_transport_rest(&turns);
  }
}

static CnErr reserve(size_t bytes) {
  if (bytes <= scratch_size) return CN_OK;
  cn_free(scratch);
  scratch_size = 0;
  if ((scratch = cn_alloc(bytes)) == NULL) return CN_EMEMORY;
  scratch_size = bytes;
  return CN_OK;
}

static CnErr join(int *rank_out, int *size_out) {
  int provided;
  CN_TRY(result(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "joining"));
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  CN_TRY(result(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "joining"));
  CN_TRY(result(MPI_Comm_size(MPI_COMM_WORLD, &size), "joining"));
  if (size > RANKS) return cn_fail(CN_EUSAGE, "at most %d processes, got %d", RANKS, size);
  if (!(pieces = cn_alloc(4 * (size_t)size * sizeof *pieces))) return CN_EMEMORY;
  starts = pieces + size;
  lengths = starts + size;
  offsets = lengths + size;
  *rank_out = rank;
  *size_out = size;
  return CN_OK;
}

static CnErr barrier(void) {
  MPI_Request request;
  return finish(MPI_Ibarrier(MPI_COMM_WORLD, &request), &request, "a barrier");
}

static CnErr broadcast(void *data, size_t bytes, int root) {
  for (size_t at = 0; at < bytes; at += MOST) {
    MPI_Request request;
    int length = (int)(bytes - at < MOST ? bytes - at : MOST);
    int code = MPI_Ibcast((char *)data + at, length, MPI_BYTE, root, MPI_COMM_WORLD, &request);
    CN_TRY(finish(code, &request, "a broadcast"));
  }
  return CN_OK;
}

static CnErr gather(const void *own, void *all, size_t bytes) {
  if (bytes > MOST) return cn_fail(CN_EUSAGE, "gather: at most %d bytes from each process, got %zu", MOST, bytes);
  MPI_Request request;
  int code = MPI_Iallgather(own, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD, &request);
  return finish(code, &request, "a gathering");
}

/* to = the sum of `size` pieces that lie one behind the other, the first plus the second plus … */
static void add_pieces(void *to, const void *piece, int64_t count, CnDtype dtype) {
  memcpy(to, piece, (size_t)count * cn_dtype_size(dtype));
  for (int r = 1; r < size; r++)
    if (dtype == CN_F32)
      for (int64_t i = 0; i < count; i++) ((float *)to)[i] += ((const float *)piece)[r * count + i];
    else
      for (int64_t i = 0; i < count; i++) ((double *)to)[i] += ((const double *)piece)[r * count + i];
}

static CnErr sum_short(void *data, int64_t count, CnDtype dtype) {
  size_t bytes = (size_t)count * cn_dtype_size(dtype);
  CN_TRY(reserve(bytes * (size_t)size));
  CN_TRY(gather(data, scratch, bytes));
  add_pieces(data, scratch, count, dtype);
  return CN_OK;
}

/* At most MOST/4 elements. Rank r adds elements starts[r] … starts[r]+pieces[r]-1. */
static CnErr sum_by_pieces(char *data, int64_t count, CnDtype dtype) {
  MPI_Datatype type = dtype == CN_F32 ? MPI_FLOAT : MPI_DOUBLE;
  MPI_Request request;
  for (int r = 0; r < size; r++) {
    starts[r] = (int)(count * r / size);
    pieces[r] = (int)(count * (r + 1) / size) - starts[r];
  }
  int own = pieces[rank], from = starts[rank];
  size_t width = cn_dtype_size(dtype);
  CN_TRY(reserve((size_t)own * (size_t)size * width));
  for (int r = 0; r < size; r++) { /* rank r's piece lands at r*own */
    lengths[r] = own;
    offsets[r] = r * own;
  }
  int code = MPI_Ialltoallv(data, pieces, starts, type, scratch, lengths, offsets, type, MPI_COMM_WORLD, &request);
  CN_TRY(finish(code, &request, "a sum"));
  add_pieces(data + (size_t)from * width, scratch, own, dtype);
  code = MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, pieces, starts, type, MPI_COMM_WORLD, &request);
  return finish(code, &request, "a sum");
}

static CnErr sum(void *data, int64_t count, CnDtype dtype) {
  size_t width = cn_dtype_size(dtype);
  if ((size_t)count * width <= SHORT) return sum_short(data, count, dtype);
  for (int64_t at = 0; at < count; at += MOST / 4)
    CN_TRY(sum_by_pieces((char *)data + (size_t)at * width, count - at < MOST / 4 ? count - at : MOST / 4, dtype));
  return CN_OK;
}

static void leave(void) {
  cn_free(scratch);
  cn_free(pieces);
  MPI_Finalize();
}

static void abandon(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

const CnTransport cn_mpi_transport = { "MPI", join, barrier, broadcast, gather, sum, leave, abandon };
