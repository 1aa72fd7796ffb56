/* lines.c - the standard input by lines, from a pipe or from a terminal without an editor.
**
** poll, unlike read, comes back when a signal arrives: Ctrl-C at the prompt is heard at once. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "lua/host/line.h"

/* What was read and not given out yet. One for the process, as the standard input is. */
static struct {
  bool ended;
  size_t used, size;
  char *bytes;
} in;

/* Signals are blocked between the look and the wait, so none is missed. */
bool host_wait_for_input(void) {
  struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
  sigset_t ours, before;
  sigemptyset(&ours);
  sigaddset(&ours, SIGINT);
  sigaddset(&ours, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ours, &before);
  int ready = cn_interrupt_state().count > 0 ? -1 : ppoll(&input, 1, NULL, &before);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return ready >= 0;
}

/* Appends what can be read now. */
static void fill(void) {
  if (in.size - in.used < 4096) {
    char *bytes = realloc(in.bytes, in.size + 65536);
    if (bytes == NULL) {
      in.ended = true;
      return;
    }
    in.bytes = bytes;
    in.size += 65536;
  }
  ssize_t n = read(STDIN_FILENO, in.bytes + in.used, in.size - in.used);
  if (n > 0)
    in.used += (size_t)n;
  else if (n == 0 || errno != EINTR)
    in.ended = true;
}

Line host_read_line(lua_State *L, const char *prompt, bool terminal) {
  if (terminal) fputs(prompt, stdout);
  fflush(stdout);
  for (;;) {
    char *end = in.used ? memchr(in.bytes, '\n', in.used) : NULL;
    if (end == NULL && in.ended && in.used == 0) {
      in.ended = !terminal; /* a terminal goes on behind Ctrl-D, for who asks again */
      return LINE_END;
    }
    if (end != NULL || in.ended) {
      size_t length = end ? (size_t)(end - in.bytes) : in.used;
      lua_pushlstring(L, in.bytes, length);
      in.used -= length + (end != NULL);
      if (end != NULL) memmove(in.bytes, end + 1, in.used);
      return LINE_READ;
    }
    if (!host_wait_for_input()) {
      if (cn_interrupt_state().count > 0) return LINE_INTERRUPTED;
      continue;
    }
    fill();
  }
}
