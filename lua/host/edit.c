/* edit.c - lines typed on a terminal: libedit edits them, Lua completes them, a file remembers them.
**
** libedit reads through our own function, so that Ctrl-C and a changed window are heard while it waits; its own signal
** handling is off. Keys are those of emacs unless ~/.editrc says otherwise (bind -v: those of vi). */
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/interrupt.h"
#include "lua/host/host.h"
#include "lua/host/line.h"

#define REMEMBERED 2000 /* lines */
#define ASK_ABOVE 200   /* so many candidates are counted, not listed */

static struct {
  EditLine *el;
  History *history;
  lua_State *L;
  const char *prompt, *before;
  bool interrupted;
  char last[256]; /* the line before, which is not remembered twice */
} edit;

static volatile sig_atomic_t woken; /* the window changed, or the process was continued */

static void on_wake(int unused) {
  (void)unused;
  woken = 1;
}

/* ---- what libedit asks ---- */

static char *give_prompt(EditLine *el) {
  (void)el;
  return (char *)edit.prompt;
}

/* One character; 0 at the end of the input, -1 when Ctrl-C ended the line. */
static int get_character(EditLine *el, wchar_t *out) {
  mbstate_t state = { 0 };
  for (;;) {
    char byte;
    if (!host_wait_for_input()) {
      if (cn_interrupt_state().count > 0) {
        edit.interrupted = true;
        return -1;
      }
      if (woken) {
        woken = 0;
        el_resize(el);
        el_set(el, EL_REFRESH);
      }
      continue;
    }
    ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return (int)n;
    size_t used = mbrtowc(out, &byte, 1, &state);
    if (used == (size_t)-2) continue; /* more bytes belong to it */
    if (used != (size_t)-1) return 1;
    memset(&state, 0, sizeof state); /* not a character of this locale: as if not typed */
  }
}

/* ---- completion ---- */

/* In a protected call: (text, position from 1 of the end of what is typed) -> list, first position. */
static int ask(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cnas.repl");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "complete");
  lua_insert(L, 1);
  lua_pop(L, 1);
  lua_call(L, 2, 2);
  return 2;
}

/* Length of what all candidates of the list at the top begin with. */
static size_t common_length(lua_State *L, int count) {
  size_t common = 0;
  for (int i = 1; i <= count; i++) {
    size_t length;
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, i);
    const char *first = lua_tostring(L, -2), *text = lua_tolstring(L, -1, &length);
    if (i == 1) common = length;
    for (size_t k = 0; k < common; k++)
      if (k >= length || text[k] != first[k]) common = k;
    lua_pop(L, 2);
  }
  return common;
}

static int columns_of_terminal(void) {
  struct winsize size;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* The list at the top, in columns below the line. */
static void list_candidates(lua_State *L, int count) {
  int widest = 1, width = columns_of_terminal();
  putchar('\n');
  if (count > ASK_ABOVE) {
    printf("%d names: type a letter more\n", count);
    return;
  }
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    int length = (int)lua_rawlen(L, -1);
    if (length > widest) widest = length;
    lua_pop(L, 1);
  }
  int columns = width / (widest + 2) > 0 ? width / (widest + 2) : 1;
  int rows = (count + columns - 1) / columns;
  for (int row = 0; row < rows; row++) {
    for (int i = row; i < count; i += rows) {
      lua_rawgeti(L, -1, i + 1);
      printf("%-*s", i + rows < count ? widest + 2 : 0, lua_tostring(L, -1));
      lua_pop(L, 1);
    }
    putchar('\n');
  }
}

static unsigned char offer(lua_State *L, EditLine *el, size_t typed_end) {
  size_t first = (size_t)lua_tointeger(L, -1) - 1, typed = typed_end - first;
  lua_pop(L, 1);
  int count = (int)lua_rawlen(L, -1);
  if (count == 0) return CC_REFRESH_BEEP;
  size_t common = common_length(L, count);
  lua_rawgeti(L, -1, 1);
  lua_pushlstring(L, lua_tostring(L, -1) + (typed < common ? typed : common), common > typed ? common - typed : 0);
  bool inserted = lua_rawlen(L, -1) > 0 && el_insertstr(el, lua_tostring(L, -1)) == 0;
  lua_pop(L, 2);
  if (inserted || count == 1) return CC_REFRESH;
  list_candidates(L, count);
  return CC_REDISPLAY;
}

static unsigned char complete(EditLine *el, int unused) {
  lua_State *L = edit.L;
  const LineInfo *line = el_line(el);
  int top = lua_gettop(L);
  unsigned char result = CC_REFRESH_BEEP;
  (void)unused;
  if (!lua_checkstack(L, 10)) return result;
  lua_pushcfunction(L, ask);
  lua_pushstring(L, edit.before);
  lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
  lua_concat(L, 2);
  size_t end = lua_rawlen(L, -1);
  lua_pushinteger(L, (lua_Integer)end);
  if (lua_pcall(L, 2, 2, 0) == LUA_OK && lua_istable(L, -2) && lua_isinteger(L, -1)) result = offer(L, el, end);
  lua_settop(L, top);
  return result;
}

/* ---- opening ---- */

static void remember(const char *line) {
  HistEvent event;
  history(edit.history, &event, H_ENTER, line);
  snprintf(edit.last, sizeof edit.last, "%s", line);
}

/* The arguments of el_set are read as char pointers, so they end with one. */
static void bind(const char *key, const char *command) {
  el_set(edit.el, EL_BIND, key, command, (char *)NULL);
}

static void bind_keys(void) {
  el_set(edit.el, EL_EDITOR, "emacs");
  el_set(edit.el, EL_ADDFN, "cnas-complete", "completes names, options and paths", complete);
  bind("^I", "cnas-complete");
  bind("^R", "em-inc-search-prev");
  bind("\\e[3~", "ed-delete-next-char");
  bind("\\e[1~", "ed-move-to-beg");
  bind("\\e[4~", "ed-move-to-end");
  bind("\\e[1;5D", "ed-prev-word");
  bind("\\e[1;5C", "em-next-word");
  el_source(edit.el, NULL);      /* ~/.editrc */
  bind("^I", "cnas-complete"); /* again: choosing the keys of vi has unbound it */
}

bool host_edit_open(lua_State *L) {
  const char *term = getenv("TERM");
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return false;
  if (term == NULL || term[0] == '\0' || strcmp(term, "dumb") == 0) return false;
  if (edit.el != NULL) return true;
  setlocale(LC_CTYPE, "");
  if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
  edit.el = el_init("cnas", stdin, stdout, stderr);
  edit.history = history_init();
  if (edit.el == NULL || edit.history == NULL) {
    host_edit_close();
    return false;
  }
  HistEvent event;
  edit.L = L;
  edit.before = edit.prompt = "";
  history(edit.history, &event, H_SETSIZE, REMEMBERED);
  el_set(edit.el, EL_SIGNAL, 0);
  el_set(edit.el, EL_HIST, history, edit.history);
  el_set(edit.el, EL_PROMPT, give_prompt);
  el_set(edit.el, EL_GETCFN, get_character);
  bind_keys();
  Lines lines = host_history_load();
  const char *line = lines.text;
  for (size_t i = 0; i < lines.count; i++, line += strlen(line) + 1) remember(line);
  free(lines.text);
  return true;
}

void host_edit_close(void) {
  if (edit.history != NULL) history_end(edit.history);
  if (edit.el != NULL) el_end(edit.el);
  edit.history = NULL;
  edit.el = NULL;
}

/* ---- reading ---- */

/* Blank lines, those that begin with a space and repetitions are not remembered. */
static void keep(const char *line) {
  if (line[0] == '\0' || line[0] == ' ' || strcmp(line, edit.last) == 0) return;
  remember(line);
  host_history_add(line);
}

Line host_edit_line(lua_State *L, const char *prompt, const char *before) {
  struct sigaction wake = { .sa_handler = on_wake }, winch, cont;
  int count = 0;
  edit.L = L;
  edit.prompt = prompt;
  edit.before = before;
  edit.interrupted = false;
  fflush(stdout);
  sigemptyset(&wake.sa_mask);
  sigaction(SIGWINCH, &wake, &winch);
  sigaction(SIGCONT, &wake, &cont);
  el_set(edit.el, EL_PREP_TERM, 1); /* in front of the prompt: what is typed on seeing it is for the editor */
  const char *text = el_gets(edit.el, &count);
  sigaction(SIGWINCH, &winch, NULL);
  sigaction(SIGCONT, &cont, NULL);
  edit.before = "";
  if (edit.interrupted) return LINE_INTERRUPTED;
  if (text == NULL || count <= 0) return LINE_END;
  size_t length = (size_t)count;
  if (text[length - 1] == '\n') length--;
  lua_pushlstring(L, text, length);
  keep(lua_tostring(L, -1));
  return LINE_READ;
}
