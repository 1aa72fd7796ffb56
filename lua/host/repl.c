/* repl.c - the interactive loop: an expression is tried first, then a statement; an unfinished chunk asks for more
** lines. What is printed, commands (:help, ?name) and completion are Lua: the module "cnas.repl".
**
** Ctrl-C at the prompt forgets the unfinished lines; while code runs it interrupts the code and keeps the session. In a
** pipe there is no greeting and no prompt. The loop can be entered from a running recipe, and again from there. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "lua/bindings/binding.h"
#include "lua/host/host.h"
#include "lua/host/line.h"

typedef struct Loop {
  bool terminal, edited;
  bool color;
  int environment; /* stack index of the chunks' globals */
  int module;      /* stack index of "cnas.repl", nil where the library has none */
} Loop;

static Line next_line(lua_State *L, const Loop *loop, const char *prompt, const char *before) {
#ifdef CNAS_EDIT
  if (loop->edited) return host_edit_line(L, prompt, before);
#else
  (void)before;
#endif
  return host_read_line(L, prompt, loop->terminal);
}

/* ---- reading a chunk ---- */

/* Is the message on top "... near <eof>", that is: would more lines help? */
static bool unfinished(lua_State *L, int status) {
  static const char mark[] = "<eof>";
  size_t length, tail = sizeof mark - 1;
  const char *message = lua_tolstring(L, -1, &length);
  return status == LUA_ERRSYNTAX && length >= tail && strcmp(message + length - tail, mark) == 0;
}

/* Compiles the text on top: its function, or the error, is pushed. More lines may make either of the two of it. */
static int compile(lua_State *L, int environment) {
  size_t length;
  const char *expression = lua_pushfstring(L, "return %s", lua_tolstring(L, -1, &length));
  int status = luaL_loadbufferx(L, expression, length + 7, "=" TYPED_CHUNK, "t");
  lua_remove(L, -2);
  if (status != LUA_OK && !unfinished(L, status)) {
    lua_pop(L, 1);
    status = luaL_loadbufferx(L, lua_tostring(L, -1), length, "=" TYPED_CHUNK, "t");
  }
  if (status == LUA_OK) {
    lua_pushvalue(L, environment);
    if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
  }
  return status;
}

/* `?name` and `:word` are for the module; no Lua begins so. */
static bool is_command(const Loop *loop, const char *line) {
  return loop->module != 0 && (line[0] == '?' || (line[0] == ':' && line[1] != ':'));
}

/* Reads a command or a chunk. LINE_READ: its text and, above, its function are on the stack, or nil for a command, or
** an error and *status says so. Else nothing is. */
static Line read_chunk(lua_State *L, const Loop *loop, int *status) {
  Line line = next_line(L, loop, "> ", "");
  *status = LUA_OK;
  if (line != LINE_READ) return line;
  if (is_command(loop, lua_tostring(L, -1))) {
    lua_pushnil(L);
    return LINE_READ;
  }
  for (;;) { /* the lines so far are on top */
    *status = compile(L, loop->environment);
    if (!unfinished(L, *status)) return LINE_READ;
    lua_pushfstring(L, "%s\n", lua_tostring(L, -2));
    line = next_line(L, loop, "... ", lua_tostring(L, -1));
    if (line == LINE_END) {
      lua_pop(L, 1);
      return LINE_READ; /* the error is what there is to say */
    }
    if (line == LINE_INTERRUPTED) {
      lua_pop(L, 3);
      return line;
    }
    lua_concat(L, 2);
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
}

/* ---- running it ---- */

/* Prints its arguments without the module's help. */
static int print_plainly(lua_State *L) {
  int n = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    puts(luaL_tolstring(L, i, NULL));
    lua_pop(L, 1);
  }
  return 0;
}

static void push_from_module(lua_State *L, const Loop *loop, const char *name, lua_CFunction otherwise) {
  if (loop->module != 0) lua_getfield(L, loop->module, name);
  else lua_pushcfunction(L, otherwise);
}

/* Calls what is on top with `n` arguments below a report of what goes wrong. */
static bool call_reporting(lua_State *L, const Loop *loop, int n, int results) {
  if (host_call(L, n, results) == LUA_OK) return true;
  host_report_typed(L, loop->color);
  return false;
}

/* Runs the function on top, whose text is below it, pops it, and prints what it gives; whether it ended without an
** error. The module is told before and after. */
static bool run_chunk(lua_State *L, const Loop *loop) {
  int base = lua_gettop(L) - 1;
  struct timespec start, end;
  if (loop->module != 0) {
    lua_getfield(L, loop->module, "before");
    lua_pushvalue(L, base);
    call_reporting(L, loop, 1, 0);
  }
  clock_gettime(CLOCK_MONOTONIC, &start);
  bool good = call_reporting(L, loop, 0, LUA_MULTRET);
  clock_gettime(CLOCK_MONOTONIC, &end);
  int n = lua_gettop(L) - base;
  if (good && n > 0) {
    push_from_module(L, loop, "print", print_plainly);
    lua_insert(L, base + 1);
    call_reporting(L, loop, n, 0);
  }
  if (loop->module != 0) {
    lua_getfield(L, loop->module, "ran");
    lua_pushnumber(L, (lua_Number)(end.tv_sec - start.tv_sec) + 1e-9 * (lua_Number)(end.tv_nsec - start.tv_nsec));
    lua_pushvalue(L, base);
    lua_pushboolean(L, good);
    call_reporting(L, loop, 3, 0);
  }
  lua_settop(L, base);
  return good;
}

/* What the module has to say about a text that is going to be run, on a terminal. */
static void advise(lua_State *L, const Loop *loop) {
  if (loop->module == 0 || !loop->terminal) return;
  lua_getfield(L, loop->module, "advise");
  lua_pushvalue(L, -3);
  call_reporting(L, loop, 1, 0);
}

/* Runs the command whose text is on top, which stays; whether it ended without an error. *leave: it was to leave. */
static bool run_command(lua_State *L, const Loop *loop, bool *leave) {
  *leave = false;
  lua_getfield(L, loop->module, "command");
  lua_pushvalue(L, -2);
  if (!call_reporting(L, loop, 1, 1)) return false;
  *leave = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "leave") == 0;
  lua_pop(L, 1);
  return true;
}

static bool wants_color(const Loop *loop, const char *wish) {
  const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
  if (strcmp(wish, "auto") != 0) return strcmp(wish, "always") == 0;
  return loop->terminal && (no == NULL || no[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

/* Pushes the module, told what it needs to know; sets the global `cnas`. */
static void prepare(lua_State *L, Loop *loop) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cnas");
  if (host_call(L, 1, 1) == LUA_OK) {
    lua_pushglobaltable(L);
    lua_insert(L, -2);
    lua_pushliteral(L, "cnas");
    lua_insert(L, -2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  } else {
    host_report(L);
  }
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cnas.repl");
  if (lua_pcall(L, 1, 1, 0) != LUA_OK || !lua_istable(L, -1)) return; /* another library's user does without */
  loop->module = lua_gettop(L);
  lua_getfield(L, -1, "begin");
  lua_pushvalue(L, loop->environment);
  lua_pushboolean(L, loop->color);
  call_reporting(L, loop, 2, 0);
}

/* Reads, runs and prints until the end; returns the signal that ended it, or 0. */
static int run_loop(lua_State *L, int environment, const char *color) {
  Loop loop = { .terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO), .environment = environment };
  int top = lua_gettop(L), signal = 0;
  luaL_checkstack(L, 40, "interactive loop");
  loop.color = wants_color(&loop, color);
  prepare(L, &loop);
#ifdef CNAS_EDIT
  loop.edited = host_edit_open(L);
#endif
  int base = lua_gettop(L);
  for (bool leave = false; !leave;) {
    int status;
    Line line = read_chunk(L, &loop, &status);
    if (line == LINE_READ && status != LUA_OK) host_report_typed(L, loop.color);
    else if (line == LINE_READ && lua_isnil(L, -1)) {
      lua_pop(L, 1);
      run_command(L, &loop, &leave);
    } else if (line == LINE_READ) {
      advise(L, &loop);
      run_chunk(L, &loop);
    }
    lua_settop(L, base);
    signal = cn_interrupt_state().signal;
    cn_interrupt_clear();
    if (line == LINE_INTERRUPTED && loop.terminal) puts("^C");
    leave |= line == LINE_END || signal == SIGTERM;
    if (line == LINE_END && loop.terminal) putchar('\n');
  }
  lua_settop(L, top);
  return signal == SIGTERM ? signal : 0;
}

int host_typed(lua_State *L) {
  Loop loop = { .environment = 2 };
  bool good = false, leave;
  luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  loop.color = lua_toboolean(L, 3);
  lua_settop(L, 2);
  luaL_checkstack(L, 40, "interactive loop");
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cnas.repl");
  lua_call(L, 1, 1);
  loop.module = lua_gettop(L);
  lua_pushvalue(L, 1);
  if (is_command(&loop, lua_tostring(L, -1))) {
    good = run_command(L, &loop, &leave);
  } else {
    int status = compile(L, loop.environment);
    if (unfinished(L, status)) {
      lua_pushliteral(L, "more");
      return 1;
    }
    if (status == LUA_OK) good = run_chunk(L, &loop);
    else host_report_typed(L, loop.color);
  }
  lua_pushboolean(L, good);
  return 1;
}

int host_repl(lua_State *L, const char *color) {
  host_signals_grace(0);
  if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
    printf("cnas %s, %s. An expression prints its value; :help for more; Ctrl-D leaves.\n", CNAS_VERSION, LUA_RELEASE);
  lua_pushglobaltable(L);
  int signal = run_loop(L, lua_gettop(L), color);
  lua_pop(L, 1);
#ifdef CNAS_EDIT
  host_edit_close();
#endif
  return signal ? EXIT_INTERRUPTED : EXIT_FINE;
}

/* interact([environment]): the loop within a running program, until Ctrl-D. Names are looked up in the table, then in
** the globals, and set in the table. Raises "interrupted" on SIGTERM. */
static int interact(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_pushglobaltable(L);
  } else {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (!lua_getmetatable(L, 1)) {
      lua_createtable(L, 0, 1);
      lua_pushglobaltable(L);
      lua_setfield(L, -2, "__index");
      lua_setmetatable(L, 1);
    }
    lua_settop(L, 1);
  }
  double before = host_signals_grace(0);
  int signal = run_loop(L, 1, "auto");
  host_signals_grace(before);
  if (signal) return cnL_raise(L, CN_EINTERRUPTED, "interrupted by SIGTERM");
  return 0;
}

void host_open_repl(lua_State *L) {
  lua_pushcfunction(L, interact);
  lua_setfield(L, -2, "interact");
}
