/* threads.c - how the kernels' threads wait for each other.
**
** The OpenMP library reads this from the environment before main begins, and by default spins for long: a thread that
** the system has put aside then costs the others their processor too, and on a machine that does something else as well
** a step takes ten times as long. Sleeping at once costs a wake-up for every small operation instead. A short spin, some
** ten microseconds, has neither fault. So unless the user chose, start again with that. */
#include <stdlib.h>
#include <unistd.h>

#include "lua/host/host.h"

#define MARK "CNAS_STARTED_AGAIN"
#define SPINS "5000"

void host_threads_spin_shortly(char **argv) {
  if (getenv(MARK)) { /* the library has read it: what this program starts is not to inherit it */
    unsetenv(MARK);
    unsetenv("GOMP_SPINCOUNT");
    return;
  }
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  if (setenv("GOMP_SPINCOUNT", SPINS, 1) != 0 || setenv(MARK, "1", 1) != 0) return;
  execv("/proc/self/exe", argv); /* comes back only when it fails: then go on as it is */
  unsetenv(MARK);
  unsetenv("GOMP_SPINCOUNT");
}
