/* trace.c - cnas.trace(f, x [, module]): the rows that a function of one tensor runs, as tables.
**
** The graph comes as { rows = { { row = "conv2d", at = "stem.0", inputs = { 1, 2, false }, outputs = { 3 },
** attributes = { stride = { 1, 1 }, … } }, … }, values = { tensors }, names = { [2] = "stem.0.weight", … },
** input =, output = }: inputs and outputs are indices of values, false where an optional input is not given;
** dimensions count from 1, or from the end when they are negative. Names of values and of places (`at`) are those of
** the module. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "bindings/modules.h"
#include "tensor/trace.h"

#define TRACE "cnas.Trace"

/* ---- paths of modules ---- */

/* Adds m, called the string on top of the stack, and what is in it to the table at `paths`; pops the string. */
static void add_paths(lua_State *L, int paths, CnModule *m) {
  luaL_checkstack(L, 6, "modules too deep in each other");
  int path = lua_gettop(L);
  if (lua_rawgetp(L, paths, m) == LUA_TNIL) {
    lua_pushvalue(L, path);
    lua_rawsetp(L, paths, m);
  }
  lua_pop(L, 1);
  for (int i = 0; i < m->count; i++) {
    if (m->slots[i].child == NULL) continue;
    const char *above = lua_tostring(L, path);
    lua_pushfstring(L, "%s%s%s", above, above[0] != 0 ? "." : "", m->slots[i].name);
    add_paths(L, paths, m->slots[i].child);
  }
  lua_settop(L, path - 1);
}

void cnL_push_paths(lua_State *L, CnModule *m) {
  lua_newtable(L);
  if (m == NULL) return;
  int paths = lua_gettop(L);
  lua_pushliteral(L, "");
  add_paths(L, paths, m);
}

/* ---- a traced row ---- */

static void push_dimensions(lua_State *L, int64_t bits) {
  lua_newtable(L);
  for (int d = 0, n = 0; d < CN_MAX_DIMS; d++) {
    if (!(bits >> d & 1)) continue;
    lua_pushinteger(L, d + 1);
    lua_rawseti(L, -2, ++n);
  }
}

static void push_integers(lua_State *L, const CnAttr *slot, int64_t n) {
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushinteger(L, slot[i].i);
    lua_rawseti(L, -2, i + 1);
  }
}

static void push_attribute(lua_State *L, CnAttrKind kind, const CnAttr *slot) {
  switch (kind) {
    case CN_INT: lua_pushinteger(L, slot->i); break;
    case CN_FLOAT: lua_pushnumber(L, slot->f); break;
    case CN_BOOL: lua_pushboolean(L, slot->i != 0); break;
    case CN_DTYPE: lua_pushstring(L, cn_dtype_name((CnDtype)slot->i)); break;
    case CN_PAIR: push_integers(L, slot, 2); break;
    case CN_DIM: lua_pushinteger(L, slot->i >= 0 ? slot->i + 1 : slot->i); break;
    case CN_DIMS: push_dimensions(L, slot->i); break;
    case CN_INTS: push_integers(L, slot + 1, slot->i); break;
    case CN_RNG_SLOTS: push_integers(L, slot, 3); break;
  }
}

static void push_values(lua_State *L, const int *value, int n) {
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    if (value[i] < 0) lua_pushboolean(L, 0);
    else lua_pushinteger(L, value[i] + 1);
    lua_rawseti(L, -2, i + 1);
  }
}

static void push_row(lua_State *L, const CnTracedRow *row, int paths) {
  const CnOpInfo *info = cn_op_info(row->op->id);
  lua_createtable(L, 0, 5);
  lua_pushstring(L, row->op->name);
  lua_setfield(L, -2, "row");
  if (lua_rawgetp(L, paths, row->owner) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_pushliteral(L, "");
  }
  lua_setfield(L, -2, "at");
  push_values(L, row->in, row->inputs);
  lua_setfield(L, -2, "inputs");
  push_values(L, row->out, row->outputs);
  lua_setfield(L, -2, "outputs");
  lua_createtable(L, 0, info->attrs);
  for (int i = 0; i < info->attrs; i++) {
    push_attribute(L, info->attr[i].kind, row->attr + info->attr[i].slot);
    lua_setfield(L, -2, info->attr[i].name);
  }
  lua_setfield(L, -2, "attributes");
}

/* ---- the whole ---- */

typedef struct Naming {
  lua_State *L; /* the table of names is on top of its stack */
  const CnTrace *trace;
} Naming;

static CnErr name_value(void *context, const char *name, CnTensor *t, bool buffer) {
  const Naming *n = context;
  int value = cn_trace_find(n->trace, t);
  (void)buffer;
  if (value < 0) return CN_OK;
  lua_pushstring(n->L, name);
  lua_rawseti(n->L, -2, value + 1);
  return CN_OK;
}

static void push_value_of(lua_State *L, const CnTrace *t, CnTensor *tensor, const char *field) {
  int value = cn_trace_find(t, tensor);
  if (value >= 0) {
    lua_pushinteger(L, value + 1);
    lua_setfield(L, -2, field);
  }
}

static void push_trace(lua_State *L, const CnTrace *t, CnModule *m, CnTensor *x, CnTensor *y) {
  cnL_push_paths(L, m);
  int paths = lua_gettop(L);
  lua_createtable(L, 0, 5);
  lua_createtable(L, t->rows, 0);
  for (int i = 0; i < t->rows; i++) {
    push_row(L, &t->row[i], paths);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "rows");
  lua_createtable(L, t->values, 0);
  for (int i = 0; i < t->values; i++) {
    CnTensor **box = cnL_newtensor(L);
    *box = cn_tensor_ref(t->value[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "values");
  lua_newtable(L);
  Naming naming = { L, t };
  if (m != NULL) cnL_result(L, cn_module_visit(m, name_value, &naming), 0);
  lua_setfield(L, -2, "names");
  push_value_of(L, t, x, "input");
  push_value_of(L, t, y, "output");
}

static int trace_free(lua_State *L) {
  CnTrace **box = luaL_checkudata(L, 1, TRACE);
  cn_trace_free(*box);
  *box = NULL;
  return 0;
}

/* trace(f, x [, module]) */
static int trace(lua_State *L) {
  enum { F = 1, X, MODULE, BOX, Y };
  lua_settop(L, MODULE);
  luaL_checkany(L, F);
  CnTensor *x = cnL_checktensor(L, X);
  CnModule *m = cnL_test(L, MODULE, CNL_MODULE);
  if (m == NULL && !lua_isnil(L, MODULE)) cnL_checkmodule(L, MODULE);
  CnTrace **box = cnL_box(L, TRACE, 0);
  cnL_result(L, cn_trace_begin(box, x), 0);
  lua_pushvalue(L, F);
  lua_pushvalue(L, X);
  int status = lua_pcall(L, 1, 1, 0);
  cn_trace_end(*box);
  if (status != LUA_OK) return lua_error(L);
  CnTensor *y = cnL_test(L, Y, CNL_TENSOR);
  if (y == NULL) return luaL_error(L, "trace: the function must return a tensor, got %s", luaL_typename(L, Y));
  push_trace(L, *box, m, x, y);
  cn_trace_free(*box);
  *box = NULL;
  return 1;
}

void cnL_open_trace(lua_State *L) {
  cnL_type(L, TRACE, NULL, NULL, trace_free);
  lua_pushcfunction(L, trace);
  lua_setfield(L, -2, "trace");
}
