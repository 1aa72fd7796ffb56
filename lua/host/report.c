/* report.c - how an uncaught error reaches the user: what happened, where in the recipe, and an exit status.
**
** Errors of the engine are tables with a code (see binding.h); the message handler must leave them as they are, so it
** puts the traceback aside, in the registry. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dist/communicator.h"
#include "lua/host/host.h"

static const char traceback_key = 0;

void host_complain(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fflush(stdout);
  fputs("cnas: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

/* The exit status for the error on top, and whether its traceback tells the user anything. */
static int status_of(lua_State *L, bool *traced) {
  static const struct { const char *code; int status; bool traced; } table[] = {
    { "usage", EXIT_USAGE, false },           { "data", EXIT_BAD_DATA, true },
    { "io", EXIT_BAD_DATA, true },            { "not-finite", EXIT_NOT_FINITE, true },
    { "interrupted", EXIT_INTERRUPTED, false }, { "busy", EXIT_BUSY, false },
  };
  int status = EXIT_ERROR;
  *traced = true;
  if (!lua_istable(L, -1)) return status;
  lua_pushliteral(L, "code");
  lua_rawget(L, -2);
  const char *code = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (strcmp(code, table[i].code) != 0) continue;
    status = table[i].status;
    *traced = table[i].traced;
  }
  lua_pop(L, 1);
  return status;
}

/* The text of the error at 1, pushed: what its __tostring says, or its field `message`. */
static int text_of(lua_State *L) {
  if (lua_istable(L, 1) && luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL) {
    lua_getfield(L, 1, "message");
    if (lua_isstring(L, -1)) return 1;
    return luaL_error(L, "no text");
  }
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* Keeps the traceback without its last line, which is this program. */
static void keep_traceback(lua_State *L) {
  static const char host_line[] = "\n\t[C]: in ?";
  size_t length, tail = sizeof host_line - 1;
  luaL_traceback(L, L, NULL, 1);
  const char *text = lua_tolstring(L, -1, &length);
  if (length > tail && strcmp(text + length - tail, host_line) == 0) {
    lua_pushlstring(L, text, length - tail);
    lua_remove(L, -2);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
}

int host_traceback(lua_State *L) {
  keep_traceback(L);
  return 1;
}

int host_call(lua_State *L, int narg, int nresults) {
  int base = lua_gettop(L) - narg;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
  lua_pushcfunction(L, host_traceback);
  lua_insert(L, base);
  int status = lua_pcall(L, narg, nresults, base);
  lua_remove(L, base);
  return status;
}

/* Among many processes one tells the user; an error that all have come to together is the first one's. */
static bool is_told_here(lua_State *L, int status) {
  if (lua_istable(L, -1)) {
    lua_pushliteral(L, "quiet");
    lua_rawget(L, -2);
    bool quiet = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (quiet) return false;
  }
  return cn_world_may_report(status);
}

/* Replaces the error on top by its text, and returns its exit status. */
static int error_to_text(lua_State *L, bool *traced) {
  int status = status_of(L, traced);
  lua_pushcfunction(L, text_of);
  lua_pushvalue(L, -2);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pop(L, 1);
    lua_pushfstring(L, "(an error that is a %s without text)", luaL_typename(L, -1));
  }
  lua_replace(L, -2);
  return status;
}

int host_report(lua_State *L) {
  bool traced;
  int status = status_of(L, &traced);
  if (!is_told_here(L, status)) {
    lua_pop(L, 1);
    return status;
  }
  error_to_text(L, &traced);
  host_complain("%s%s", status == EXIT_INTERRUPTED ? "" : host_rank_prefix(), lua_tostring(L, -1));
  if (traced && lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key) == LUA_TSTRING)
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_settop(L, -2 - (traced ? 1 : 0));
  return status;
}

/* The lines of the traceback between the typed chunk and the function that raised. */
static void print_typed_traceback(const char *text) {
  static const char main_chunk[] = ": in main chunk";
  const char *line = strchr(text, '\n'), *end = text + strlen(text);
  for (const char *at = text; (at = strstr(at, "\n\t" TYPED_CHUNK ":")) != NULL; at++) {
    const char *next = strchr(at + 1, '\n');
    size_t length = next != NULL ? (size_t)(next - at) : strlen(at), tail = sizeof main_chunk - 1;
    if (length > tail && memcmp(at + length - tail, main_chunk, tail) == 0) end = at;
  }
  while (line != NULL && line < end && strncmp(line, "\n\t[C]: in function 'error'", 26) == 0)
    line = strchr(line + 1, '\n');
  if (line != NULL && line < end) fprintf(stderr, "%.*s\n", (int)(end - line - 1), line + 1);
}

int host_report_typed(lua_State *L, bool color) {
  bool traced;
  int status = error_to_text(L, &traced);
  fflush(stdout);
  fprintf(stderr, color ? "\033[31m%s\033[0m\n" : "%s\n", lua_tostring(L, -1));
  if (traced && lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key) == LUA_TSTRING)
    print_typed_traceback(lua_tostring(L, -1));
  lua_settop(L, -2 - (traced ? 1 : 0));
  return status;
}
