/* custom.c - cnas.op { name, forward, backward }: operations written in Lua, with their own gradient.
**
** forward(ctx, x…) returns one or more tensors; ctx is a fresh table to leave things in. backward(ctx, gy…) returns a
** gradient, or nil, for each x. Both run without recording. The node keeps a Lua thread whose stack holds backward and
** ctx, and the registry keeps the thread: it goes when the node goes. */
#include "base/memory.h"
#include "bindings/binding.h"
#include "tensor/autograd.h"
#include "tensor/op.h"

typedef struct Recorded {
  lua_State *main;   /* for releasing */
  lua_State *thread; /* stack: backward, ctx */
  int ref;           /* of the thread in the registry */
} Recorded;

static void recorded_release(void *data) {
  Recorded *r = data;
  luaL_unref(r->main, LUA_REGISTRYINDEX, r->ref);
  cn_free(r);
}

/* In a protected call: backward, ctx, gy… are on the stack; the gradients' boxes stay on it. */
static int pushed_call(lua_State *L) {
  CnTensor *const *gout = lua_touserdata(L, 3);
  int nout = (int)lua_tointeger(L, 4);
  lua_settop(L, 2);
  luaL_checkstack(L, nout + 4, "too many gradients");
  for (int i = 0; i < nout; i++) {
    if (!gout[i]) {
      lua_pushnil(L);
      continue;
    }
    CnTensor **box = cnL_newtensor(L);
    cnL_result(L, cn_tensor_detach(box, gout[i]), 0);
  }
  lua_call(L, 1 + nout, LUA_MULTRET);
  return lua_gettop(L);
}

static CnErr recorded_backward(void *data, CnTensor *const *gout, int nout, CnTensor **gin, int nin) {
  lua_State *L = ((Recorded *)data)->thread;
  int base = lua_gettop(L); /* 2 */
  if (!lua_checkstack(L, 8)) return cn_fail(CN_EMEMORY, "out of memory: Lua's stack");
  lua_pushcfunction(L, pushed_call);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_pushlightuserdata(L, (void *)gout);
  lua_pushinteger(L, nout);
  CnErr e = CN_OK;
  if (lua_pcall(L, 4, LUA_MULTRET, 0) != LUA_OK) {
    const char *message = lua_tostring(L, -1);
    if (!message && luaL_getmetafield(L, -1, "__tostring") != LUA_TNIL) {
      lua_pop(L, 1);
      lua_getfield(L, -1, "message");
      message = lua_tostring(L, -1);
    }
    e = cn_fail(CN_EUSAGE, "%s", message ? message : "error in the backward of a custom operation");
  }
  int count = lua_gettop(L) - base;
  if (e == CN_OK && count > nin)
    e = cn_fail(CN_EUSAGE, "backward of a custom operation: %d gradients for %d inputs", count, nin);
  for (int i = 0; i < nin && i < count && e == CN_OK; i++) {
    CnTensor *g = cnL_test(L, base + 1 + i, CNL_TENSOR);
    if (g) gin[i] = cn_tensor_ref(g);
    else if (!lua_isnil(L, base + 1 + i))
      e = cn_fail(CN_EUSAGE, "backward of a custom operation: gradient %d must be a tensor or nil, got %s", i + 1,
                  luaL_typename(L, base + 1 + i));
  }
  lua_settop(L, base);
  return e;
}

/* Runs forward(ctx, x…) without recording: pushes its results. */
static int run_forward(lua_State *L, int nin, int ctx) {
  int top = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, ctx);
  for (int i = 1; i <= nin; i++) lua_pushvalue(L, i);
  bool before = cn_grad_enable(false);
  int status = lua_pcall(L, 1 + nin, LUA_MULTRET, 0);
  cn_grad_enable(before);
  if (status != LUA_OK) lua_error(L);
  return lua_gettop(L) - top;
}

/* The callable: upvalues forward, backward, name. Arguments that are no tensors reach forward, but get no gradient. */
static int call(lua_State *L) {
  int nin = lua_gettop(L);
  const char *name = lua_tostring(L, lua_upvalueindex(3));
  CnTensor *in[CN_MAX_INPUTS] = { NULL }, *out[CN_MAX_OUTPUTS] = { NULL };
  if (nin > CN_MAX_INPUTS) return luaL_error(L, "%s: at most %d inputs", name, CN_MAX_INPUTS);
  for (int i = 0; i < nin; i++) in[i] = cnL_test(L, i + 1, CNL_TENSOR);
  lua_newtable(L);
  int ctx = lua_gettop(L);
  int nout = run_forward(L, nin, ctx), first = ctx + 1;
  if (nout < 1 || nout > CN_MAX_OUTPUTS)
    return luaL_error(L, "%s: forward must return 1 to %d tensors, got %d", name, CN_MAX_OUTPUTS, nout);
  CnTensor **box[CN_MAX_OUTPUTS];
  for (int i = 0; i < nout; i++) { /* an alias: forward may have returned an input itself */
    CnTensor *result = cnL_test(L, first + i, CNL_TENSOR);
    if (!result) return luaL_error(L, "%s: forward must return tensors, got %s", name, luaL_typename(L, first + i));
    box[i] = cnL_newtensor(L);
    cnL_result(L, cn_tensor_detach(box[i], result), 0);
    out[i] = *box[i];
  }
  lua_State *thread = lua_newthread(L);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushvalue(L, ctx);
  lua_xmove(L, thread, 2);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  Recorded *data = cn_alloc(sizeof *data);
  if (!data) {
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    return cnL_result(L, CN_EMEMORY, 0);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  *data = (Recorded){ lua_tothread(L, -1), thread, ref };
  lua_pop(L, 1);
  CnCustom custom = { data, recorded_backward, recorded_release };
  return cnL_result(L, cn_custom_record(out, nout, in, nin, custom), nout);
}

/* op { name = , forward = , backward = } -> function */
static int op(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  cnL_checkoptions(L, 1, "op", "name forward backward");
  const char *name = cnL_optfield_string(L, 1, "op", "name", "custom operation");
  if (lua_getfield(L, 1, "forward") != LUA_TFUNCTION) return luaL_error(L, "op: option 'forward' must be a function");
  if (lua_getfield(L, 1, "backward") != LUA_TFUNCTION) return luaL_error(L, "op: option 'backward' must be a function");
  lua_pushstring(L, name);
  lua_pushcclosure(L, call, 3);
  return 1;
}

void cnL_open_custom(lua_State *L) {
  lua_pushcfunction(L, op);
  lua_setfield(L, -2, "op");
}
