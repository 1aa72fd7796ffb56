/* interrupt.c - a few atomics. The handler writes the count last, so who sees a count sees the rest. */
#include "base/interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int first_signal, signal_count, was_seen;
static _Atomic int64_t noted_at, last_at; /* of the first and the latest signal; nanoseconds of the monotonic clock */
static _Atomic int64_t looked_at, longest; /* when cn_interrupt_requested was called last, 0: never; the longest gap */

atomic_bool cn_interrupt_at_once;

#define SAME_WISH 300000000 /* ns: a shell, timeout or mpirun may send one wish twice */

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t); /* async-signal-safe by POSIX */
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int cn_interrupt_note(int signal) {
  int64_t now = now_ns(), last = atomic_exchange(&last_at, now);
  int count = atomic_load(&signal_count);
  if (count > 0 && now - last < SAME_WISH) return count;
  if (count == 0) {
    atomic_store(&noted_at, now);
    atomic_store(&was_seen, 0);
    atomic_store(&first_signal, signal);
  }
  return atomic_fetch_add(&signal_count, 1) + 1;
}

int cn_interrupt_requested(void) {
  int64_t now = now_ns(), before = atomic_exchange(&looked_at, now);
  if (before != 0 && now - before > atomic_load(&longest)) atomic_store(&longest, now - before);
  if (atomic_load_explicit(&signal_count, memory_order_acquire) == 0) return 0;
  atomic_store(&was_seen, 1);
  return atomic_load(&first_signal);
}

CnInterrupt cn_interrupt_state(void) {
  CnInterrupt s = { .patience = (double)atomic_load(&longest) * 1e-9 };
  s.count = atomic_load(&signal_count);
  if (s.count == 0) return s;
  s.signal = atomic_load(&first_signal);
  s.seen = atomic_load(&was_seen) != 0;
  s.seconds = (double)(now_ns() - atomic_load(&noted_at)) * 1e-9;
  return s;
}

void cn_interrupt_clear(void) {
  atomic_store(&cn_interrupt_at_once, false);
  atomic_store(&signal_count, 0);
  atomic_store(&was_seen, 0);
  atomic_store(&first_signal, 0);
  atomic_store(&looked_at, 0);
}

const char *cn_interrupt_name(int signal) {
  return signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : signal == SIGUSR1 ? "SIGUSR1" : "signal";
}
