/* ahead.h - memory that will be wanted soon.
**
** A block goes through its images in strips. While it computes with one, it names what the end of this strip writes and
** what the next one reads; the loops of the products and convolutions ask for it line by line, into the level-2 cache, so
** that it is on its way while there is only arithmetic to do. Asked for in a burst it would be waited for. */
#ifndef CN_AHEAD_H
#define CN_AHEAD_H

#include "kernels/cpu/kernel.h"

#define AHEAD_PARTS (3 * CN_MAX_INPUTS)
#define AHEAD_LINE 64 /* bytes */

typedef struct Ahead {
  int count, now; /* parts; the first that may have anything left */
  struct {
    const char *at, *end;
  } part[AHEAD_PARTS];
} Ahead;

static inline void ahead_add(Ahead *a, const void *from, int64_t bytes) {
  if (a->count == AHEAD_PARTS || bytes <= 0) return;
  a->part[a->count].at = from;
  a->part[a->count++].end = (const char *)from + bytes;
}

/* Where the next `lines` lines begin; NULL: nothing is left, or there is no `a`. What lies behind a part is asked for
** too, up to that number. */
static inline const char *ahead_take(Ahead *a, int64_t lines) {
  for (; a != NULL && a->now < a->count; a->now++)
    if (a->part[a->now].at < a->part[a->now].end) {
      const char *at = a->part[a->now].at;
      a->part[a->now].at += lines * AHEAD_LINE;
      return at;
    }
  return NULL;
}

/* Asks for a line; the next one. */
static inline __attribute__((always_inline)) const char *ahead_ask(const char *line) {
  __builtin_prefetch(line, 0, 2);
  return line + AHEAD_LINE;
}

#endif
