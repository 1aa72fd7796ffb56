/* transport.h - what communicator.c asks of a library of messages. mpi.c answers for memory of the CPU.
**
** Only the communication thread calls these, one after the other; each returns when its exchange is over, and while it
** waits it calls cn_transport_rest. `sum` may be given memory of the device that the transport is for, so a library
** that sums between GPUs fits in here as it is; it would join by an identity that goes round over the first transport.
*/
#ifndef CN_TRANSPORT_H
#define CN_TRANSPORT_H

#include "dist/communicator.h"

typedef struct CnTransport {
  const char *name;
  CnErr (*join)(int *rank, int *size);
  CnErr (*barrier)(void);
  CnErr (*broadcast)(void *data, size_t bytes, int root);
  CnErr (*gather)(const void *own, void *all, size_t bytes);
  CnErr (*sum)(void *data, int64_t count, CnDtype dtype); /* in the order of the ranks, the same bits everywhere */
  void (*leave)(void);       /* all ranks leave */
  void (*abandon)(int status); /* this one does; ends the others where the library can */
} CnTransport;

extern const CnTransport cn_mpi_transport;

/* Gives the processor away for a moment: a short one while the main thread waits for the exchange, a longer one while
** it computes. Counts the turns in *turns, 0 at first. */
void cn_transport_rest(int *turns);

#endif
