/* apply.c - cnas.nn.apply(f): a layer without weights that is a Lua function from a tensor to one of the same shape.
**
** The function stands on the stack of a Lua thread of the layer's own, on which it is called: the layer may be run from
** any coroutine, or from within another such layer. */
#include <string.h>

#include "bindings/modules.h"
#include "nn/weights.h"

typedef struct Applied {
  lua_State *thread; /* its stack: the function; kept alive by cnL_keep */
} Applied;

/* Protected: (function, input as a light userdata) -> the result's box. */
static int call_function(lua_State *L) {
  CnTensor *x = lua_touserdata(L, 2);
  lua_settop(L, 1);
  *cnL_newtensor(L) = cn_tensor_ref(x);
  lua_call(L, 1, 1);
  CnTensor *y = cnL_test(L, -1, CNL_TENSOR);
  if (y == NULL) return luaL_error(L, "the function must return a tensor, got %s", luaL_typename(L, -1));
  if (!cn_tensor_same_shape(x, y)) return luaL_error(L, "the function must return a tensor of its input's shape");
  return 1;
}

/* The engine's error for the Lua error on top. */
static CnErr failure(lua_State *L) {
  CnErr code = CN_EUSAGE;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "code");
    const char *name = lua_tostring(L, -1);
    for (CnErr c = CN_EUSAGE; name != NULL && c <= CN_ENOKERNEL; c++)
      if (strcmp(name, cn_error_name(c)) == 0) code = c;
    lua_pop(L, 1);
    lua_getfield(L, -1, "message");
  }
  const char *message = lua_tostring(L, -1);
  return cn_fail(code, "nn.apply: %s", message != NULL ? message : "an error without a message");
}

static CnErr apply_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  lua_State *L = ((const Applied *)self->data)->thread;
  int top = lua_gettop(L);
  (void)nx;
  if (!lua_checkstack(L, 8)) return cn_fail(CN_EMEMORY, "out of memory: Lua's stack");
  lua_pushcfunction(L, call_function);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, x[0]);
  CnErr e = CN_OK;
  if (lua_pcall(L, 2, 1, 0) != LUA_OK) e = failure(L);
  else *out = cn_tensor_ref(cnL_test(L, -1, CNL_TENSOR));
  lua_settop(L, top);
  return e;
}

static const CnModuleKind kind = { "apply", apply_forward, cn_module_free_data, NULL, NULL, NULL };

/* nn.apply(f) -> module */
static int apply(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  CnModule **box = cnL_newmodule(L);
  Applied data = { lua_newthread(L) };
  lua_pushvalue(L, 1);
  lua_xmove(L, data.thread, 1);
  cnL_result(L, cn_module_new_copy(box, &kind, &data, sizeof data), 0);
  cnL_keep(L, *box); /* the thread, which it pops */
  return 1;
}

void cnL_open_apply(lua_State *L) {
  lua_getfield(L, -1, "nn");
  lua_pushcfunction(L, apply);
  lua_setfield(L, -2, "apply");
  lua_pop(L, 1);
}
