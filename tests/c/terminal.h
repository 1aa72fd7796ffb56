/* terminal.h - a program on a terminal of its own, typed at by a test: what it writes is kept, without what moves the
** cursor or colours, and waited for. */
#ifndef CN_TEST_TERMINAL_H
#define CN_TEST_TERMINAL_H

/* clang-format off: cmocka wants these first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_PATIENCE 60.0 /* seconds: a busy machine, sanitizers */

typedef struct Terminal {
  pid_t pid;
  int fd;
  char text[65536]; /* what was written since the last success of terminal_wait, printable */
  size_t used;
  int escape; /* within an escape sequence: 1 behind ESC, 2 behind ESC [ */
} Terminal;

static inline double terminal_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Starts a program; environment as NAME=VALUE, NULL at the end of both. */
static inline void terminal_open(Terminal *t, char *const argv[], char *const environment[]) {
  struct winsize size = { .ws_row = 30, .ws_col = 100 };
  memset(t, 0, sizeof *t);
  fflush(stdout);
  t->pid = forkpty(&t->fd, NULL, NULL, &size);
  assert_true(t->pid >= 0);
  if (t->pid > 0) return;
  for (int i = 0; environment[i] != NULL; i++) putenv(environment[i]);
  execv(argv[0], argv);
  _exit(127);
}

static inline void terminal_keep(Terminal *t, char c) {
  if (t->escape == 1) t->escape = c == '[' || c == '(' ? 2 : 0;
  else if (t->escape == 2) t->escape = c >= '@' && c <= '~' ? 0 : 2;
  else if (c == 27) t->escape = 1;
  else if (c == '\b' && t->used > 0) t->used--; /* libedit steps back to write over */
  else if ((c == '\n' || c == '\t' || (unsigned char)c >= 32) && t->used < sizeof t->text - 1) t->text[t->used++] = c;
  t->text[t->used] = '\0';
}

/* Takes what comes within some seconds; false at the end of the program's output. */
static inline bool terminal_read(Terminal *t, double seconds) {
  struct pollfd input = { t->fd, POLLIN, 0 };
  char bytes[4096];
  if (poll(&input, 1, (int)(seconds * 1000)) <= 0) return true;
  ssize_t n = read(t->fd, bytes, sizeof bytes);
  for (ssize_t i = 0; i < n; i++) terminal_keep(t, bytes[i]);
  return n > 0 || errno == EINTR;
}

/* Waits until the text comes, and forgets all up to its end. Fails with what came instead. Returns the seconds. */
static inline double terminal_wait(Terminal *t, const char *text) {
  double start = terminal_clock();
  bool going = true;
  for (;;) {
    char *found = strstr(t->text, text);
    if (found != NULL) {
      size_t end = (size_t)(found - t->text) + strlen(text);
      memmove(t->text, t->text + end, t->used - end + 1);
      t->used -= end;
      return terminal_clock() - start;
    }
    if (!going || terminal_clock() - start > TERMINAL_PATIENCE) {
      kill(t->pid, SIGKILL);
      waitpid(t->pid, NULL, 0);
      fail_msg("expected '%s', came:\n%s", text, t->text);
    }
    going = terminal_read(t, 0.05);
  }
}

/* Takes what comes within some seconds; whether the text is in it. */
static inline bool terminal_shows(Terminal *t, const char *text, double seconds) {
  for (double end = terminal_clock() + seconds; terminal_clock() < end;)
    if (!terminal_read(t, 0.05)) break;
  return strstr(t->text, text) != NULL;
}

static inline void terminal_type(Terminal *t, const char *text) {
  for (size_t left = strlen(text); left > 0;) {
    ssize_t n = write(t->fd, text, left);
    if (n < 0 && errno != EINTR) fail_msg("the terminal takes no more: %s", strerror(errno));
    if (n > 0) {
      text += n;
      left -= (size_t)n;
    }
  }
}

/* The exit status of the program, which must end soon; 128 + a signal that ended it. */
static inline int terminal_close(Terminal *t) {
  int status = 0;
  double start = terminal_clock();
  while (waitpid(t->pid, &status, WNOHANG) == 0) {
    (void)terminal_read(t, 0.02);
    if (terminal_clock() - start > TERMINAL_PATIENCE) {
      kill(t->pid, SIGKILL);
      waitpid(t->pid, &status, 0);
      fail_msg("the program did not end; it wrote:\n%s", t->text);
    }
  }
  close(t->fd);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
