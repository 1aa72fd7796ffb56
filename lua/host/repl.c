/* repl.c - the interactive loop: an expression is tried first, then a statement; an unfinished chunk asks for more
** lines.
**
** Ctrl-C at the prompt forgets the unfinished lines; while code runs it interrupts the code and keeps the session. In a
** pipe there is no greeting and no prompt. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "lua/host/host.h"

/* The input, by lines. poll, unlike read, comes back when a signal arrives. */
typedef struct Input {
  bool terminal;
  bool ended;
  size_t used, size;
  char *bytes;
} Input;

typedef enum Line { LINE_READ, LINE_INTERRUPTED, LINE_END } Line;

/* Waits for input or a signal. Signals are blocked between the look and the wait, so none is missed. */
static bool wait_for_input(void) {
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
static void fill(Input *in) {
  if (in->size - in->used < 4096) {
    char *bytes = realloc(in->bytes, in->size + 65536);
    if (bytes == NULL) {
      in->ended = true;
      return;
    }
    in->bytes = bytes;
    in->size += 65536;
  }
  ssize_t n = read(STDIN_FILENO, in->bytes + in->used, in->size - in->used);
  if (n > 0)
    in->used += (size_t)n;
  else if (n == 0 || errno != EINTR)
    in->ended = true;
}

/* Pushes the next line without its end, when there is one. */
static Line read_line(lua_State *L, Input *in, const char *prompt) {
  if (in->terminal) fputs(prompt, stdout);
  fflush(stdout);
  for (;;) {
    char *end = in->used ? memchr(in->bytes, '\n', in->used) : NULL;
    if (end == NULL && in->ended && in->used == 0) return LINE_END;
    if (end != NULL || in->ended) {
      size_t length = end ? (size_t)(end - in->bytes) : in->used;
      lua_pushlstring(L, in->bytes, length);
      in->used -= length + (end != NULL);
      if (end != NULL) memmove(in->bytes, end + 1, in->used);
      return LINE_READ;
    }
    if (!wait_for_input()) {
      if (cn_interrupt_state().count > 0) return LINE_INTERRUPTED;
      continue;
    }
    fill(in);
  }
}

/* Is the message on top "... near <eof>", that is: would more lines help? */
static bool unfinished(lua_State *L, int status) {
  static const char mark[] = "<eof>";
  size_t length, tail = sizeof mark - 1;
  const char *message = lua_tolstring(L, -1, &length);
  return status == LUA_ERRSYNTAX && length >= tail && strcmp(message + length - tail, mark) == 0;
}

/* Reads one chunk. LINE_READ: its function is on the stack, or an error and *status says so. Else nothing is. */
static Line read_chunk(lua_State *L, Input *in, int *status) {
  Line line = read_line(L, in, "> ");
  if (line != LINE_READ) return line;
  lua_pushfstring(L, "return %s", lua_tostring(L, -1));
  size_t length;
  const char *expression = lua_tolstring(L, -1, &length);
  *status = luaL_loadbuffer(L, expression, length, "=input");
  lua_remove(L, -2);
  if (*status == LUA_OK) {
    lua_remove(L, -2);
    return LINE_READ;
  }
  lua_pop(L, 1);
  for (;;) { /* the lines so far are on top */
    const char *lines = lua_tolstring(L, -1, &length);
    *status = luaL_loadbuffer(L, lines, length, "=input");
    if (!unfinished(L, *status)) break;
    line = read_line(L, in, ">> ");
    if (line == LINE_END) break; /* the error is what there is to say */
    if (line == LINE_INTERRUPTED) {
      lua_pop(L, 2);
      return line;
    }
    lua_remove(L, -2);
    lua_pushliteral(L, "\n");
    lua_insert(L, -2);
    lua_concat(L, 3);
  }
  lua_remove(L, -2);
  return LINE_READ;
}

/* show(...), upvalue 1: cnas.show, or nil where the Lua library cannot be had. Prints each value on its lines. */
static int print_results(lua_State *L) {
  int n = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    if (lua_isnil(L, lua_upvalueindex(1))) {
      luaL_tolstring(L, i, NULL);
    } else {
      lua_pushvalue(L, lua_upvalueindex(1));
      lua_pushvalue(L, i);
      lua_call(L, 1, 1);
    }
    fputs(lua_tostring(L, -1), stdout);
    fputc('\n', stdout);
    lua_pop(L, 1);
  }
  return 0;
}

/* Leaves print_results with its upvalue on the stack, and sets the global `cnas`. */
static void prepare(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cnas");
  if (host_call(L, 1, 1) == LUA_OK)
    lua_setglobal(L, "cnas");
  else
    host_report(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cnas.show");
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  lua_pushcclosure(L, print_results, 1);
}

static void run_chunk(lua_State *L, int printer) {
  int base = lua_gettop(L) - 1;
  int status = host_call(L, 0, LUA_MULTRET);
  if (status == LUA_OK && lua_gettop(L) > base) {
    lua_pushvalue(L, printer);
    lua_insert(L, base + 1);
    status = host_call(L, lua_gettop(L) - base - 1, 0);
  }
  if (status != LUA_OK) host_report(L);
  lua_settop(L, base);
}

int host_repl(lua_State *L) {
  Input in = { .terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) };
  int exit_status = EXIT_FINE, status;
  host_signals_grace(0);
  luaL_checkstack(L, 20, "interactive loop");
  prepare(L);
  int printer = lua_gettop(L);
  if (in.terminal)
    printf("cnas %s, %s. An expression prints its value; Ctrl-D leaves.\n", CNAS_VERSION, LUA_RELEASE);
  for (;;) {
    Line line = read_chunk(L, &in, &status);
    if (line == LINE_READ && status != LUA_OK) {
      host_complain("%s", lua_tostring(L, -1));
      lua_pop(L, 1);
    } else if (line == LINE_READ) {
      run_chunk(L, printer);
    }
    int signal = cn_interrupt_state().signal;
    cn_interrupt_clear();
    if (signal == SIGTERM) exit_status = EXIT_INTERRUPTED;
    if (line == LINE_END || signal == SIGTERM) break;
    if (line == LINE_INTERRUPTED) putchar('\n');
  }
  if (in.terminal) putchar('\n');
  free(in.bytes);
  lua_settop(L, printer - 1);
  return exit_status;
}
