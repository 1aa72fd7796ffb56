/* line.h - lines for the interactive loop: typed with an editor (edit.c, where libedit is built in and the terminal can
** do it), or read as they come (lines.c). */
#ifndef CN_HOST_LINE_H
#define CN_HOST_LINE_H

#include <lua.h>
#include <stdbool.h>

typedef enum Line { LINE_READ, LINE_INTERRUPTED, LINE_END } Line;

/* Waits for input or a signal; false when a signal came. */
bool host_wait_for_input(void);

/* Pushes the next line of the standard input without its end, when there is one. */
Line host_read_line(lua_State *L, const char *prompt, bool terminal);

/* edit.c. Opens the editor with its history; false when there is none for this terminal. */
bool host_edit_open(lua_State *L);
/* The same as host_read_line. `before` are the lines of the chunk so far, for completion, which asks
** complete(text, position) of the module "cnas.repl". */
Line host_edit_line(lua_State *L, const char *prompt, const char *before);
void host_edit_close(void);

/* history.c: the file that sessions share. */
typedef struct Lines {
  char *text;   /* each ends with a 0 byte; free() */
  size_t count;
} Lines;
/* What earlier sessions typed, oldest first; nothing when there is no file. */
Lines host_history_load(void);
/* Adds a line at once, so that it survives whatever happens to this session. Failures are not told. */
void host_history_add(const char *line);

#endif
