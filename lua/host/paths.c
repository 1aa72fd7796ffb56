/* paths.c - where the Lua library is: $CNAS_HOME, else beside an installed program, else the tree it was built from.
**
** A home has lua/cnas/init.lua and recipes/ in it. */
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lua/host/host.h"

static bool is_home(const char *folder) {
  char file[PATH_MAX + 32];
  snprintf(file, sizeof file, "%s/lua/cnas/init.lua", folder);
  return access(file, R_OK) == 0;
}

/* Pushes <prefix>/share/cnas for the program <prefix>/bin/cnas. */
static const char *push_installed_home(lua_State *L) {
  char program[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 0) return lua_pushliteral(L, CNAS_DATA_DIR);
  program[length] = '\0';
  for (int up = 0; up < 2; up++) {
    char *slash = strrchr(program, '/');
    if (slash != NULL) *slash = '\0';
  }
  return lua_pushfstring(L, "%s/share/cnas", program);
}

static const char *push_home(lua_State *L) {
  const char *given = getenv("CNAS_HOME");
  if (given != NULL && given[0] != '\0') return lua_pushstring(L, given);
  const char *installed = push_installed_home(L);
  if (is_home(installed) || !is_home(CNAS_SOURCE_DIR)) return installed;
  lua_pop(L, 1);
  return lua_pushliteral(L, CNAS_SOURCE_DIR);
}

static void set_package_path(lua_State *L) { /* from the string on top, which it pops */
  lua_getglobal(L, LUA_LOADLIBNAME);
  lua_insert(L, -2);
  lua_setfield(L, -2, "path");
  lua_pop(L, 1);
}

static const char *push_package_path(lua_State *L) {
  lua_getglobal(L, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "path");
  lua_remove(L, -2);
  return lua_tostring(L, -1);
}

void host_paths(lua_State *L) {
  const char *home = push_home(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "cnas.home");
  const char *path = push_package_path(L);
  lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua;%s", home, home, path ? path : "");
  set_package_path(L);
  lua_pop(L, 2);
}

void host_paths_add_folder_of(lua_State *L, const char *file) {
  const char *slash = strrchr(file, '/');
  if (slash == NULL) return; /* the working folder is in package.path already */
  lua_getfield(L, LUA_REGISTRYINDEX, "cnas.home");
  const char *library = lua_pushfstring(L, "%s/lua/?/init.lua;", lua_tostring(L, -1));
  const char *path = push_package_path(L);
  const char *end = path ? strstr(path, library) : NULL;
  size_t ahead = end ? (size_t)(end - path) + strlen(library) : 0;
  lua_pushlstring(L, path ? path : "", ahead);
  lua_pushlstring(L, file, (size_t)(slash - file));
  lua_pushfstring(L, "%s%s/?.lua;%s", lua_tostring(L, -2), lua_tostring(L, -1), path ? path + ahead : "");
  set_package_path(L);
  lua_pop(L, 5);
}
