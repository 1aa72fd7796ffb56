/* main.c - the program cnas: runs a recipe, a line of code or an interactive loop; its exit status says how it went.
**
** Everything runs under one protected call. The engine's module waits in package.preload until it is required. */
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/threads.h"
#include "device/cpu.h"
#include "lua/bindings/binding.h"
#include "lua/host/host.h"

static const char usage[] =
  "usage: cnas [-i] FILE [options of the recipe]\n"
  "       cnas COMMAND [options of the command]\n"
  "       cnas [-i] -e CODE [arguments]\n"
  "       cnas -i\n"
  "\n"
  "Runs a Lua recipe with the module \"cnas\" at hand; `cnas FILE --help` lists the options of a recipe.\n"
  "A FILE that is not here is looked for beside the library: `cnas recipes/curriculum_search.lua` works anywhere.\n"
  "\n"
  "  -e CODE    run CODE; it finds the arguments behind it in `arg` and `...`\n"
  "  -i         read code from the terminal or a pipe and print what it gives (after FILE or CODE, if any);\n"
  "             :help there says more\n"
  "  --color W  of -i: auto (on a terminal), always or never\n"
  "  --version  versions, instruction set and number of threads\n"
  "  --help     this text\n"
  "\n"
  "Commands (`cnas COMMAND --help` says more; a file of the same name is run as ./COMMAND):\n";

static const char usage_end[] =
  "\n"
  "Exit status:\n"
  "  0  done\n"
  "  1  an error in the recipe\n"
  "  2  a wrong command line: an unknown option, a value that does not fit, a recipe that is not there\n"
  "  3  bad data: a file that is missing, wrong or damaged, or cannot be read or written\n"
  "  4  a loss or gradient that is not finite\n"
  "  5  interrupted by Ctrl-C, SIGTERM or SIGUSR1; a run has saved itself and goes on with --resume\n"
  "  6  the run folder is in use by another process\n"
  "  7  another process of the run was lost: it died, was stopped or hangs\n"
  "  8  cnas diff: the runs differ\n"
  "\n"
  "Environment: CNAS_THREADS (threads of the kernels), CNAS_ISA (their instruction set: portable, avx2, avx512,\n"
  "avx512_bf16, avx512_amx), CNAS_HOME (folder with lua/ and recipes/), CNAS_HISTORY (file of what was typed at -i;\n"
  "empty: none), CNAS_PATIENCE (seconds after which a silent process is lost), NO_COLOR.\n";

static void print_usage(FILE *out) {
  fputs(usage, out);
  host_list_commands(out);
  fputs(usage_end, out);
}

typedef struct CommandLine {
  int argc;
  char **argv;
  int first; /* index of FILE, or of the first argument behind CODE; argc when there is none */
  const char *code;
  const char *file;
  const char *color; /* auto, always or never */
  bool interactive, help, version;
  int status; /* of the program */
} CommandLine;

static bool wrong_usage(CommandLine *c, const char *what, const char *argument) {
  host_complain("%s '%s'; see cnas --help", what, argument);
  c->status = EXIT_USAGE;
  return false;
}

static bool parse(CommandLine *c) {
  int i = 1;
  for (; i < c->argc && c->argv[i][0] == '-' && c->argv[i][1] != '\0'; i++) {
    const char *argument = c->argv[i];
    if (strcmp(argument, "--") == 0) {
      i++;
      break;
    } else if (strcmp(argument, "-i") == 0) {
      c->interactive = true;
    } else if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
      c->help = true;
    } else if (strcmp(argument, "--version") == 0 || strcmp(argument, "-v") == 0) {
      c->version = true;
    } else if (strcmp(argument, "--color") == 0 || strncmp(argument, "--color=", 8) == 0) {
      c->color = argument[7] == '=' ? argument + 8 : i + 1 < c->argc ? c->argv[++i] : "";
      if (strcmp(c->color, "auto") != 0 && strcmp(c->color, "always") != 0 && strcmp(c->color, "never") != 0)
        return wrong_usage(c, "--color must be auto, always or never, not", c->color);
    } else if (strcmp(argument, "-e") == 0) {
      if (i + 1 == c->argc) return wrong_usage(c, "no code behind", argument);
      c->code = c->argv[i + 1];
      i += 2;
      break;
    } else {
      return wrong_usage(c, "unknown option", argument);
    }
  }
  c->first = i;
  if (c->code == NULL && i < c->argc) c->file = c->argv[i];
  if (c->code == NULL && c->file == NULL && !c->interactive && !c->help && !c->version) {
    print_usage(stderr);
    c->status = EXIT_USAGE;
    return false;
  }
  return true;
}

static void print_version(void) {
  const CnDeviceModule *cpu;
  printf("cnas %s\n%s\n", CNAS_VERSION, LUA_RELEASE);
  if (cn_device_module(&cpu, CN_CPU) == CN_OK) printf("cpu: %s kernels, ", cpu->detail);
  printf("%d thread%s\n", cn_threads(), cn_threads() == 1 ? "" : "s");
}

/* `arg` as lua makes it: the recipe at 0, its arguments from 1, the program and its options below 0. */
static void set_arg(lua_State *L, const CommandLine *c) {
  int zero = c->code != NULL ? c->first - 1 : c->first;
  lua_createtable(L, c->argc, zero + 1);
  for (int i = 0; i < c->argc; i++) {
    lua_pushstring(L, c->argv[i]);
    lua_rawseti(L, -2, i - zero);
  }
  lua_setglobal(L, "arg");
}

/* Pushes what stands behind the recipe; returns how many. */
static int push_arguments(lua_State *L, const CommandLine *c) {
  int from = c->code != NULL ? c->first : c->first + 1;
  int n = c->argc > from ? c->argc - from : 0;
  luaL_checkstack(L, n + 3, "too many arguments");
  for (int i = 0; i < n; i++) lua_pushstring(L, c->argv[from + i]);
  return n;
}

/* The path of the recipe, pushed: as given, else below the library's home. NULL when neither can be read. */
static const char *find_recipe(lua_State *L, const char *file) {
  if (strcmp(file, "-") == 0 || access(file, R_OK) == 0) return lua_pushstring(L, file);
  if (file[0] == '/') return NULL;
  lua_getfield(L, LUA_REGISTRYINDEX, "cnas.home");
  const char *path = lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), file);
  lua_remove(L, -2);
  if (access(path, R_OK) == 0) return path;
  lua_pop(L, 1);
  return NULL;
}

static int missing_recipe(lua_State *L, const char *file) {
  Nearest nearest = host_nearest_recipe(L, file);
  bool near = nearest.name[0] != '\0';
  host_complain("cannot read the recipe '%s': there is no such file here or beside the library%s%s%s", file,
                near ? " (did you mean '" : "", nearest.name, near ? "'?)" : "");
  return EXIT_USAGE;
}

static int run_recipe(lua_State *L, const CommandLine *c) {
  int status;
  if (c->code != NULL) {
    status = luaL_loadbuffer(L, c->code, strlen(c->code), "=(command line)");
  } else {
    bool is_command = host_is_command(c->file);
    const char *path = is_command ? host_push_command(L, c->file) : find_recipe(L, c->file);
    if (path == NULL) return missing_recipe(L, c->file);
    if (!is_command) host_paths_add_folder_of(L, path);
    status = luaL_loadfile(L, strcmp(path, "-") == 0 ? NULL : path);
  }
  if (status == LUA_OK) status = host_call(L, push_arguments(L, c), 0);
  return status == LUA_OK ? EXIT_FINE : host_report(L);
}

/* The module "cnas.engine": what the bindings register, and the host's own. */
static int open_engine(lua_State *L) {
  lua_settop(L, 0);
  luaopen_cnas_engine(L);
  cnL_open_dist(L);
  cnL_open_host(L);
  host_open_repl(L);
  return 1;
}

static int protected_main(lua_State *L) {
  CommandLine *c = lua_touserdata(L, 1);
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_engine);
  lua_setfield(L, -2, "cnas.engine");
  lua_pushcfunction(L, host_open_console);
  lua_setfield(L, -2, "cnas.console");
  lua_settop(L, 0);
  host_paths(L);
  host_signals_coroutines(L);
  host_signals_install(L);
  set_arg(L, c);
  if (c->code != NULL || c->file != NULL) {
    if (!c->interactive) host_strict_globals(L);
    c->status = run_recipe(L, c);
  }
  if (c->interactive && c->status != EXIT_USAGE && c->status != EXIT_INTERRUPTED) c->status = host_repl(L, c->color);
  return 0;
}

/* What the environment asks of the kernels, or what is wrong with it. */
static bool choose_kernels(CommandLine *c) {
  const char *isa = getenv("CNAS_ISA"), *threads = getenv("CNAS_THREADS");
  char *end = NULL;
  long count = threads ? strtol(threads, &end, 10) : 1;
  if (isa && *isa && cn_cpu_use(isa) != CN_OK) host_complain("CNAS_ISA: %s", cn_error_message());
  else if (threads && *threads && (*end || count < 1))
    host_complain("CNAS_THREADS: '%s': expected a number of threads, at least 1", threads);
  else return true;
  c->status = EXIT_USAGE;
  return false;
}

int main(int argc, char **argv) {
  CommandLine c = { .argc = argc, .argv = argv, .color = "auto" };
  host_threads_spin_shortly(argv);
  if (!parse(&c) || !choose_kernels(&c)) return c.status;
  if (c.help) print_usage(stdout);
  if (c.version) print_version();
  if (!c.help && !c.version && (c.status = host_ranks_join()) == EXIT_FINE) {
    lua_State *L = host_newstate();
    if (L == NULL) {
      host_complain("not enough memory to start");
      return EXIT_ERROR;
    }
    lua_pushcfunction(L, protected_main);
    lua_pushlightuserdata(L, &c);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) c.status = host_report(L);
    lua_close(L);
  }
  if (fflush(stdout) != 0 && c.status == EXIT_FINE) {
    host_complain("cannot write to the standard output");
    c.status = EXIT_BAD_DATA;
  }
  return c.status;
}
