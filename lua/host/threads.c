/* threads.c - how the kernels' threads wait for each other.
**
** The OpenMP library reads this from the environment before main begins, and by default spins: a thread that the system
** has put aside then costs the others their processor too, and on a machine that does something else as well a step
** takes ten times as long. Sleeping costs microseconds. So unless the user chose, start again with that default. */
#include <stdlib.h>
#include <unistd.h>

#include "lua/host/host.h"

#define MARK "CNAS_STARTED_AGAIN"

void host_threads_wait_asleep(char **argv) {
  if (getenv(MARK)) { /* the library has read it: what this program starts is not to inherit it */
    unsetenv(MARK);
    unsetenv("OMP_WAIT_POLICY");
    return;
  }
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  if (setenv("OMP_WAIT_POLICY", "passive", 1) != 0 || setenv(MARK, "1", 1) != 0) return;
  execv("/proc/self/exe", argv); /* comes back only when it fails: then go on spinning */
  unsetenv(MARK);
  unsetenv("OMP_WAIT_POLICY");
}
