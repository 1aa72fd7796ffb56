/* threads.c - the number of threads: asked for, or what the process may use. */
#include "base/threads.h"

#include <sched.h>
#include <stdlib.h>

static int wanted; /* 0: not chosen yet */

int cn_threads(void) {
  if (wanted) return wanted;
  const char *text = getenv("CNAS_THREADS");
  int n = text ? atoi(text) : 0;
  if (n < 1) {
    cpu_set_t set;
    n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  }
  cn_threads_set(n);
  return wanted;
}

void cn_threads_set(int n) { wanted = n < 1 ? 1 : n > 256 ? 256 : n; }
