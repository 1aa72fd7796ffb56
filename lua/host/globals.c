/* globals.c - an undefined global is a misspelt name, and says which.
**
** Reading one raises; so does making one inside a function. At the top level of a file globals may be made freely. The
** suggestion is the nearest of the locals around it and the globals. */
#include <string.h>

#include "lua/host/host.h"

static void consider_scope(lua_State *L, lua_Debug *reader, Nearest *nearest) {
  const char *name;
  for (int i = 1; (name = lua_getlocal(L, reader, i)) != NULL; i++) {
    host_consider(nearest, name);
    lua_pop(L, 1);
  }
  lua_getinfo(L, "f", reader);
  for (int i = 1; (name = lua_getupvalue(L, -1, i)) != NULL; i++) {
    host_consider(nearest, name);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* The function that touched the global, and its callers in the same file: a local of the file that a function does not
** use is no upvalue of it. */
static void consider_scopes(lua_State *L, Nearest *nearest) {
  lua_Debug reader, caller;
  if (!lua_getstack(L, 1, &reader) || !lua_getinfo(L, "S", &reader)) return;
  consider_scope(L, &reader, nearest);
  for (int level = 2; lua_getstack(L, level, &caller); level++) {
    lua_getinfo(L, "S", &caller);
    if (strcmp(caller.source, reader.source) == 0) consider_scope(L, &caller, nearest);
  }
}

static void consider_globals(lua_State *L, Nearest *nearest) {
  lua_pushglobaltable(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) host_consider(nearest, lua_tostring(L, -1));
  }
  lua_pop(L, 1);
}

/* Raises "file:line: <what> '<name>' (did you mean 'x'?)" at the function that touched _ENV. */
static int misspelt(lua_State *L, const char *what, const char *advice) {
  Nearest nearest = host_nearest(lua_tostring(L, 2));
  consider_scopes(L, &nearest);
  consider_globals(L, &nearest);
  luaL_where(L, 1);
  lua_pushfstring(L, "%s '%s'", what, nearest.wanted);
  if (nearest.name[0] != '\0')
    lua_pushfstring(L, " (did you mean '%s'?)", nearest.name);
  else
    lua_pushstring(L, advice);
  lua_concat(L, 3);
  return lua_error(L);
}

static int read_global(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  return misspelt(L, "undefined global", "");
}

static int write_global(lua_State *L) {
  lua_Debug writer;
  bool inside = lua_getstack(L, 1, &writer) && lua_getinfo(L, "S", &writer) && strcmp(writer.what, "Lua") == 0;
  if (inside && lua_type(L, 2) == LUA_TSTRING)
    return misspelt(L, "assignment to undefined global", " (write 'local' in front of it, or set it at the top level)");
  lua_rawset(L, 1);
  return 0;
}

void host_strict_globals(lua_State *L) {
  lua_pushglobaltable(L);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, read_global);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, write_global);
  lua_setfield(L, -2, "__newindex");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}
