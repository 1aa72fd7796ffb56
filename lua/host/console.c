/* console.c - the module "cnas.console": what steering a run needs of the program beside the loop itself (repl.c) and
** the socket (socket.c): asking at the terminal, running a typed text, catching what it prints. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>
#include <zlib.h>

#include "base/interrupt.h"
#include "lua/bindings/binding.h"
#include "lua/host/host.h"
#include "lua/host/line.h"

/* ---- the terminal ---- */

/* here() -> whether a person sits there: input, output and errors are terminals, and this process is in the foreground
** (one in the background that reads is stopped by the system). */
static int here(lua_State *L) {
  bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && isatty(STDERR_FILENO);
  lua_pushboolean(L, terminal && tcgetpgrp(STDIN_FILENO) == getpgrp());
  return 1;
}

static int push_line(lua_State *L, Line line) {
  if (line == LINE_READ) return 1;
  lua_pushnil(L);
  lua_pushstring(L, line == LINE_END ? "end" : "interrupted");
  return 2;
}

/* ask(prompt) -> a line from the terminal or the pipe, or nil and "end" or "interrupted". */
static int ask(lua_State *L) {
  return push_line(L, host_read_line(L, luaL_checkstring(L, 1), isatty(STDIN_FILENO)));
}

/* forget_typed(): what was typed before it was asked for is no answer. */
static int forget_typed(lua_State *L) {
  (void)L;
  tcflush(STDIN_FILENO, TCIFLUSH);
  return 0;
}

/* line(prompt, before) -> the same with the editor, where there is one; `before` are the lines of the chunk so far. */
static int line(lua_State *L) {
  const char *prompt = luaL_checkstring(L, 1), *before = luaL_optstring(L, 2, "");
#ifdef CNAS_EDIT
  if (host_edit_open(L)) return push_line(L, host_edit_line(L, prompt, before));
#else
  (void)before;
#endif
  return push_line(L, host_read_line(L, prompt, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)));
}

/* limit(seconds): code that runs longer from now on is interrupted; 0: no limit. */
static int limit(lua_State *L) {
  host_signals_limit(luaL_checknumber(L, 1));
  return 0;
}

/* ---- catching output ---- */

#define CAUGHT (1 << 20) /* bytes that are kept of what a text prints */

/* What comes out of a pipe until it is told to stop: a process that was started meanwhile may keep the pipe open for
** ever. What goes beyond CAUGHT is read and counted, so that nobody waits. */
typedef struct Catch {
  int pipe[2];
  int stop;      /* an eventfd */
  int before[2]; /* the standard output and error as they were */
  pthread_t reader;
  size_t used, lost;
  char bytes[CAUGHT];
} Catch;

/* Takes what is there now; false at the end. */
static bool take(Catch *c) {
  char spare[4096];
  bool room = c->used < CAUGHT;
  ssize_t n = read(c->pipe[0], room ? c->bytes + c->used : spare, room ? CAUGHT - c->used : sizeof spare);
  if (n < 0) return errno == EINTR;
  if (room) c->used += (size_t)n;
  else c->lost += (size_t)n;
  return n > 0;
}

static void *read_until_told(void *argument) {
  Catch *c = argument;
  struct pollfd either[2] = { { c->pipe[0], POLLIN, 0 }, { c->stop, POLLIN, 0 } };
  while (either[1].revents == 0) {
    if (poll(either, 2, -1) < 0) continue;
    if (either[0].revents != 0) take(c);
  }
  while (take(c)) continue; /* the pipe does not wait: until it is empty */
  return NULL;
}

static void flush_both(void) {
  fflush(stdout);
  fflush(stderr);
}

static void close_one(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void close_catch(Catch *c) {
  for (int i = 0; i < 2; i++) {
    close_one(&c->pipe[i]);
    close_one(&c->before[i]);
  }
  close_one(&c->stop);
}

/* From now on what is written to the standard output and error goes to the reader. */
static bool begin_catch(Catch *c) {
  sigset_t all, before;
  c->pipe[0] = c->pipe[1] = -1;
  c->before[0] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  c->before[1] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  c->stop = eventfd(0, EFD_CLOEXEC);
  c->used = c->lost = 0;
  bool good = c->before[0] >= 0 && c->before[1] >= 0 && c->stop >= 0 && pipe2(c->pipe, O_CLOEXEC) == 0 &&
              fcntl(c->pipe[0], F_SETFL, O_NONBLOCK) == 0;
  sigfillset(&all); /* signals are for the main thread */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  good = good && pthread_create(&c->reader, NULL, read_until_told, c) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!good) {
    close_catch(c);
    return false;
  }
  flush_both();
  dup2(c->pipe[1], STDOUT_FILENO);
  dup2(c->pipe[1], STDERR_FILENO);
  return true;
}

static void end_catch(Catch *c) {
  uint64_t one = 1;
  flush_both();
  dup2(c->before[0], STDOUT_FILENO);
  dup2(c->before[1], STDERR_FILENO);
  while (write(c->stop, &one, sizeof one) < 0 && errno == EINTR) continue;
  pthread_join(c->reader, NULL);
  close_catch(c);
}

/* caught(f, …) -> what f(…) printed, whether it returned, and what it returned or raised first. */
static int caught(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  Catch *c = lua_newuserdatauv(L, sizeof *c, 0);
  lua_insert(L, 1);
  if (!begin_catch(c)) return luaL_error(L, "cannot catch what is printed: %s", strerror(errno));
  int status = lua_pcall(L, lua_gettop(L) - 2, 1, 0);
  end_catch(c);
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  luaL_addlstring(&text, c->bytes, c->used);
  if (c->lost > 0) {
    lua_pushfstring(L, "\n(%I bytes more)\n", (lua_Integer)c->lost);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
  lua_insert(L, -2);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, -2);
  return 3;
}

/* ---- the rest ---- */

/* checksum(tensor) -> CRC-32 of its values: equal for equal ones, mostly different for others. */
static int checksum(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  size_t bytes = cn_tensor_bytes(t);
  void *copy = lua_newuserdatauv(L, bytes + 1, 0);
  cnL_result(L, cn_tensor_read(t, copy, bytes), 0);
  lua_pushinteger(L, (lua_Integer)crc32_z(crc32_z(0, NULL, 0), copy, bytes));
  return 1;
}

int host_open_console(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "forget_typed", forget_typed },
    { "here", here },         { "ask", ask },       { "line", line },         { "typed", host_typed },
    { "limit", limit },  { "caught", caught }, { "checksum", checksum }, { NULL, NULL },
  };
  luaL_newlib(L, functions);
  host_open_socket(L);
  return 1;
}
