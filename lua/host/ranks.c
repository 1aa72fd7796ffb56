/* ranks.c - the program as one of many processes: joins them before anything else is done, and ends when they do.
**
** An error is told once, with the rank that it happened on; then all processes end with its exit status. A process that
** is lost is named by another one. What ends this process while it waits for the others comes from another thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dist/communicator.h"
#include "lua/host/host.h"

static char before[32]; /* "rank 3: ", or nothing */

const char *host_rank_prefix(void) { return before; }

/* From the watching thread, while main computes, waits, or holds a lock of its own: what needs none. */
static void end(const char *message, bool lost, int status) {
  char line[640];
  if (ftrylockfile(stdout) == 0) fflush(stdout);
  if (message != NULL) {
    snprintf(line, sizeof line, "cnas: %s\n", message);
    ssize_t unused = write(STDERR_FILENO, line, strlen(line));
    (void)unused;
  }
  _exit(lost ? EXIT_LOST : status);
}

static void warn(const char *message) {
  char line[640];
  snprintf(line, sizeof line, "warning: %s\n", message);
  ssize_t unused = write(STDERR_FILENO, line, strlen(line));
  (void)unused;
}

int host_ranks_join(void) {
  const CnWorld *world;
  if (!cn_world_launched()) return EXIT_FINE;
  cn_world_listen(end, warn);
  if (cn_world(&world) != CN_OK) {
    host_complain("%s", cn_error_message());
    return EXIT_USAGE;
  }
  if (world->size > 1) snprintf(before, sizeof before, "rank %d: ", world->rank);
  return EXIT_FINE;
}
