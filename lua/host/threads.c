/* threads.c - how the kernels' threads wait for each other.
**
** The OpenMP library reads this from the environment before main begins, and by default spins: a thread that the system
** has put aside then costs the others their processor too, and on a machine that does something else as well a step
** takes ten times as long. Sleeping costs microseconds. So unless the user chose, start again with the other default. */
#include <stdlib.h>
#include <unistd.h>

#include "lua/host/host.h"

void host_threads_wait_asleep(char **argv) {
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  if (setenv("OMP_WAIT_POLICY", "passive", 1) != 0) return;
  execv("/proc/self/exe", argv); /* comes back only when it fails: then go on spinning */
}
