/* host.h - what the files of the program share: main.c starts everything, the others each do one thing for it. */
#ifndef CN_HOST_H
#define CN_HOST_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>

/* What the program's exit status says; --help and README list them. */
enum {
  EXIT_FINE = 0,
  EXIT_ERROR = 1,       /* an error in the recipe */
  EXIT_USAGE = 2,       /* a wrong command line */
  EXIT_BAD_DATA = 3,    /* a file's content is wrong, or it cannot be read or written */
  EXIT_NOT_FINITE = 4,  /* a loss or gradient is NaN or infinite */
  EXIT_INTERRUPTED = 5, /* SIGINT or SIGTERM */
  EXIT_BUSY = 6,        /* the run folder is in use */
  EXIT_LOST = 7         /* another process of the run died, stopped or hangs */
};

#define TYPED_CHUNK "input" /* what a line of the loop is called in messages */

/* allocator.c: Lua's memory, from the C library, failing on purpose by the engine's count (base/memory.h). */
lua_State *host_newstate(void);

/* report.c */
int host_traceback(lua_State *L); /* message handler: keeps the traceback, passes the error on as it came */
/* Prints the error on top of the stack and its traceback to stderr, pops it, and returns its exit status. */
int host_report(lua_State *L);
/* The same for a line typed at the loop: only what the user called is traced, and only if there is something to see. */
int host_report_typed(lua_State *L, bool color);
/* Calls the function below `narg` arguments under host_traceback. */
int host_call(lua_State *L, int narg, int nresults);
/* A line for stderr, with "cnas: " in front. */
void host_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ranks.c: joins the other processes when a launcher started this one as one of many; an exit status. */
int host_ranks_join(void);
const char *host_rank_prefix(void); /* "rank 3: " among many, else "" */

/* signals.c: SIGINT and SIGTERM, for this Lua state, which lives on the calling thread. */
void host_signals_install(lua_State *L);
/* How long a program may go without looking before it is interrupted: 2 seconds at first. Returns what held before. */
double host_signals_grace(double seconds);
/* While a guest's text runs (a file descriptor, -1: none), whatever comes from it, and its end, interrupts the text. */
void host_signals_guest(int fd);
/* Code that runs longer is interrupted; 0: no limit. */
void host_signals_limit(double seconds);
/* Replaces coroutine.resume and .wrap by ones that tell signals.c which coroutine is running. */
void host_signals_coroutines(lua_State *L);

/* threads.c: makes waiting threads spin only shortly, by starting the program again unless the environment says how. */
void host_threads_spin_shortly(char **argv);

/* globals.c: from now on an undefined global is an error that names the nearest known name. */
void host_strict_globals(lua_State *L);

/* paths.c: where the Lua library is; sets package.path and the registry's "cnas.home". */
void host_paths(lua_State *L);
/* Puts the folder of a recipe behind the library in package.path. */
void host_paths_add_folder_of(lua_State *L, const char *file);

/* near.c: the nearest of names that are told one by one. Copied: what is told may be gone when it is wanted. */
#define NEAR_LONGEST 64
typedef struct Nearest {
  const char *wanted;
  int edits; /* of `name`; one more than allowed at the start */
  char name[NEAR_LONGEST + 1]; /* "": none is near */
} Nearest;
Nearest host_nearest(const char *wanted);
void host_consider(Nearest *nearest, const char *name);

/* commands.c: the words that the program knows besides recipes. */
bool host_is_command(const char *word);
void host_list_commands(FILE *out);
const char *host_push_command(lua_State *L, const char *word); /* pushes the path of the command's file */
/* What a recipe that is not there was most likely meant to be: a command, or a recipe of the library. */
Nearest host_nearest_recipe(lua_State *L, const char *file);

/* repl.c: reads, runs and prints until the end of the input; returns the exit status. `color`: auto, always, never. */
int host_repl(lua_State *L, const char *color);
/* typed(text, environment [, color]) -> "more" when the text is unfinished, else whether it ran without an error: what
** the loop does with a text that was typed, in the session that cnas.repl.begin began. */
int host_typed(lua_State *L);
/* Adds interact(…), the loop for recipes, to the module on top of the stack. */
void host_open_repl(lua_State *L);

/* console.c, socket.c: the module "cnas.console", for what steers a run (lua/cnas/steer.lua). */
int host_open_console(lua_State *L);
void host_open_socket(lua_State *L); /* adds its part to the module on top of the stack */

#endif
