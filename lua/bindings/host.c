/* host.c - what a recipe learns from the program that runs it: version, home folder, and the user's wish to stop. */
#include "base/interrupt.h"
#include "lua/bindings/binding.h"

/* interrupted() -> nil, "SIGINT" or "SIGTERM". Asking tells the host that the recipe will stop by itself. */
static int interrupted(lua_State *L) {
  int signal = cn_interrupt_requested();
  if (signal == 0) return 0;
  lua_pushstring(L, cn_interrupt_name(signal));
  return 1;
}

/* clear_interrupt(): the wish was answered (the user chose to go on). */
static int clear_interrupt(lua_State *L) {
  (void)L;
  cn_interrupt_clear();
  return 0;
}

static const luaL_Reg functions[] = {
  { "interrupted", interrupted },
  { "clear_interrupt", clear_interrupt },
  { NULL, NULL },
};

void cnL_open_host(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  lua_pushliteral(L, CNAS_VERSION);
  lua_setfield(L, -2, "version");
  lua_getfield(L, LUA_REGISTRYINDEX, "cnas.home"); /* set by the program; nil in another host */
  lua_setfield(L, -2, "home");
}
