/* heartbeat.h - do the other processes still live, and how does the run end when one does not?
**
** A library of messages waits for ever for a process that is gone. So each process keeps a connection of its own to
** rank 0 and says every second how far it has come; a thread on either side listens. Rank 0 judges:
**   - the connection breaks: that process died;
**   - nothing was heard for CNAS_PATIENCE seconds (45): it is stopped, or its machine is;
**   - others wait for it that long and it notes no progress (base/progress.h) itself: it hangs.
** Then every process ends and one line says why. Time is counted in turns of the thread, so a pause of the whole
** machine is no silence. When a process fails by itself, rank 0 lets one process tell the user and then ends the
** others. */
#ifndef CN_HEARTBEAT_H
#define CN_HEARTBEAT_H

#include <stdbool.h>

#include "dist/communicator.h"
#include "dist/transport.h"

/* Connects the processes; all call it at once, on the communication thread. A process that cannot be reached is not
** watched, which `warn` is told. */
CnErr cn_heartbeat_start(int rank, int size, const CnTransport *transport, CnWorldEnd end, CnWorldWarn warn);

/* The main thread begins to wait for exchange `number`; 0: it goes on. Safe from any thread. */
void cn_heartbeat_waiting(uint64_t number);

/* May this process tell the user that it failed? One of all may, the first that asks. */
bool cn_heartbeat_may_report(int status);

/* This process ends with `status`. True when all do so by themselves and may leave in good order; else the caller is
** the one that failed, and the others are being ended. */
bool cn_heartbeat_leave(int status);

#endif
