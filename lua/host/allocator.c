/* allocator.c - Lua's memory. Lua answers a failed allocation with a full collection and a second try; a failure made
** on purpose therefore holds for that second try too, or no test would ever see it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "lua/host/host.h"

static size_t refused; /* size of the request that failed on purpose and will be tried again; 0: none */

static void *allocate(void *unused, void *block, size_t old_size, size_t size) {
  (void)unused;
  if (size == 0) {
    free(block);
    return NULL;
  }
  bool grows = block == NULL || size > old_size; /* Lua relies on shrinking */
  if (grows && refused == size) {
    refused = 0;
    return NULL;
  }
  if (grows && cn_memory_should_fail()) {
    refused = size;
    return NULL;
  }
  return realloc(block, size);
}

static int panic(lua_State *L) {
  host_complain("%s", lua_tostring(L, -1) ? lua_tostring(L, -1) : "error outside a protected call");
  return 0;
}

/* Warnings (an error in a finalizer, warn() in a recipe) go to stderr; a message may come in pieces. */
static void warning(void *unused, const char *text, int more) {
  static bool within;
  (void)unused;
  if (!within && !more && text[0] == '@') return; /* a control message: ours are always on */
  fprintf(stderr, "%s%s%s", within ? "" : "cnas: warning: ", text, more ? "" : "\n");
  within = more != 0;
}

lua_State *host_newstate(void) {
  lua_State *L = lua_newstate(allocate, NULL);
  if (L == NULL) return NULL;
  lua_atpanic(L, panic);
  lua_setwarnf(L, warning, NULL);
  return L;
}
