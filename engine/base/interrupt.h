/* interrupt.h - the user's wish to stop: set by a signal handler, read by whoever can stop in good order.
**
** A run asks cn_interrupt_requested between two batches, saves and leaves. Whether the wish was seen is kept, so that
** the host can tell a program that is busy saving from one that never looks. */
#ifndef CN_INTERRUPT_H
#define CN_INTERRUPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Notes a signal; safe in a signal handler. Returns how many have come since the last clear, this one included; one
** that follows another within 0.3 s is the same wish and not counted. */
int cn_interrupt_note(int signal);

/* The first signal since the last clear, or 0; marks it as seen. Calls are timed: see `patience`. */
int cn_interrupt_requested(void);

/* What stands now; marks nothing. */
typedef struct CnInterrupt {
  int signal;     /* 0: none */
  int count;      /* signals since the last clear */
  bool seen;      /* somebody asked cn_interrupt_requested since */
  double seconds; /* since the first signal */
  double patience; /* the longest time between two looks so far, in seconds: a step of a large network takes long */
} CnInterrupt;
CnInterrupt cn_interrupt_state(void);

/* The wish was answered. What passed since the last look is not part of anybody's patience. */
void cn_interrupt_clear(void);

/* The wish will not wait for the operation that runs, which may take minutes: kernels with much to do look here between
** two parts, leave the rest undone, and the operation fails with CN_EINTERRUPTED (see tensor/watch.h). Set by a signal
** handler; whoever raises the error takes it back. */
extern atomic_bool cn_interrupt_at_once;

/* "SIGINT", "SIGTERM", "SIGUSR1", or "signal". */
const char *cn_interrupt_name(int signal);

#endif
