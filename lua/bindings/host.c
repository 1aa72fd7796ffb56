/* host.c - what a recipe learns from the program that runs it: version, home folder, the user's wish to stop, the
** clock, and the terminal. */
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "lua/bindings/binding.h"

/* interrupted() -> nil, "SIGINT", "SIGTERM" or "SIGUSR1". Asking tells the host that the recipe will stop by itself. */
static int interrupted(lua_State *L) {
  int signal = cn_interrupt_requested();
  lua_pushstring(L, signal ? cn_interrupt_name(signal) : NULL); /* NULL pushes nil */
  return 1;
}

/* clear_interrupt(): the wish was answered (the user chose to go on). */
static int clear_interrupt(lua_State *L) {
  (void)L;
  cn_interrupt_clear();
  return 0;
}

/* clock() -> seconds of a clock that only goes forward; differences count. */
static int monotonic(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (lua_Number)t.tv_sec + 1e-9 * (lua_Number)t.tv_nsec);
  return 1;
}

/* terminal() -> columns of the terminal on stderr (80 when it does not say), or nil when there is none. */
static int terminal(lua_State *L) {
  struct winsize size;
  if (!isatty(STDERR_FILENO)) return 0;
  lua_pushinteger(L, ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80);
  return 1;
}

static const luaL_Reg functions[] = {
  { "clock", monotonic },
  { "interrupted", interrupted },
  { "clear_interrupt", clear_interrupt },
  { "terminal", terminal },
  { NULL, NULL },
};

void cnL_open_host(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  lua_pushliteral(L, CNAS_VERSION);
  lua_setfield(L, -2, "version");
  lua_getfield(L, LUA_REGISTRYINDEX, "cnas.home"); /* set by the program; nil in another host */
  lua_setfield(L, -2, "home");
}
