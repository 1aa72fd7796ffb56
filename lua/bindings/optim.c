/* optim.c - cnas.optim.sgd and adam: optimizers over lists of tensors, or groups of them. */
#include <math.h>
#include <string.h>

#include "bindings/binding.h"
#include "optim/optimizer.h"

static const char *const who_of[] = { [CN_SGD] = "optim.sgd", [CN_ADAM] = "optim.adam" };
static const char *const keys_of[] = { [CN_SGD] = "lr momentum nesterov weight_decay",
                                       [CN_ADAM] = "lr beta1 beta2 eps weight_decay" };
static const char *const group_keys_of[] = { [CN_SGD] = "params lr momentum nesterov weight_decay",
                                             [CN_ADAM] = "params lr beta1 beta2 eps weight_decay" };

static CnOptimizer *check(lua_State *L) {
  return cnL_check(L, 1, CNL_OPTIMIZER);
}

/* ---- making one ---- */

/* The hyper-parameters in the table at `arg`, with `g` for what it leaves out. */
static CnGroup read_group(lua_State *L, int arg, CnOptimizerKind kind, CnGroup g) {
  const char *who = who_of[kind];
  g.lr = cnL_optfield_number(L, arg, who, "lr", g.lr);
  g.weight_decay = cnL_optfield_number(L, arg, who, "weight_decay", g.weight_decay);
  if (kind == CN_SGD) {
    g.momentum = cnL_optfield_number(L, arg, who, "momentum", g.momentum);
    g.nesterov = cnL_optfield_boolean(L, arg, who, "nesterov", g.nesterov);
  } else {
    g.beta1 = cnL_optfield_number(L, arg, who, "beta1", g.beta1);
    g.beta2 = cnL_optfield_number(L, arg, who, "beta2", g.beta2);
    g.eps = cnL_optfield_number(L, arg, who, "eps", g.eps);
  }
  return g;
}

/* Adds the list at `arg` as a group. Names come from its field `names`; without it they are "param.N", counted over the
** whole optimizer. */
static void add_list(lua_State *L, CnOptimizer *o, CnOptimizerKind kind, int arg, CnGroup group, int *total) {
  int index;
  cnL_result(L, cn_optimizer_add_group(o, group, &index), 0);
  bool named = lua_getfield(L, arg, "names") == LUA_TTABLE;
  int names = lua_gettop(L);
  for (int i = 1; lua_rawgeti(L, arg, i) != LUA_TNIL; i++) {
    CnTensor *t = cnL_test(L, -1, CNL_TENSOR);
    if (t == NULL) luaL_error(L, "%s: parameter %d must be a tensor, got %s", who_of[kind], i, luaL_typename(L, -1));
    ++*total;
    if (named) lua_rawgeti(L, names, i);
    else lua_pushfstring(L, "param.%d", *total);
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "%s: parameter %d has no name in 'names'", who_of[kind], i);
    cnL_result(L, cn_optimizer_add(o, index, lua_tostring(L, -1), t), 0);
    lua_pop(L, 2);
  }
  lua_settop(L, names - 1);
}

/* Entries { params = list, lr = …, … }. */
static void add_groups(lua_State *L, CnOptimizer *o, CnOptimizerKind kind, CnGroup common, int *total) {
  for (int i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    int entry = lua_gettop(L);
    cnL_checkoptions(L, entry, who_of[kind], group_keys_of[kind]);
    CnGroup group = read_group(L, entry, kind, common);
    if (lua_getfield(L, entry, "params") != LUA_TTABLE)
      luaL_error(L, "%s: group %d: option 'params' must be a list of tensors", who_of[kind], i);
    add_list(L, o, kind, lua_gettop(L), group, total);
    lua_settop(L, entry - 1);
  }
}

/* cnas.optim.sgd(parameters, options) or (groups, options) */
static int make(lua_State *L, CnOptimizerKind kind) {
  const char *who = who_of[kind];
  int total = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  cnL_checkoptions(L, 2, who, keys_of[kind]);
  CnGroup common = read_group(L, 2, kind, cn_group_defaults(kind, kind == CN_ADAM ? 1e-3 : -1));
  CnOptimizer **box = cnL_box(L, CNL_OPTIMIZER, 0);
  cnL_result(L, cn_optimizer_new(box, kind), 0);
  bool groups = lua_rawgeti(L, 1, 1) == LUA_TTABLE;
  lua_pop(L, 1);
  if (!groups && common.lr < 0) return luaL_error(L, "%s: option 'lr' is missing", who);
  if (groups) add_groups(L, *box, kind, common, &total);
  else add_list(L, *box, kind, 1, common, &total);
  if (total == 0) return luaL_error(L, "%s: there are no parameters", who);
  lua_settop(L, 3);
  return 1;
}

static int optim_sgd(lua_State *L) {
  return make(L, CN_SGD);
}

static int optim_adam(lua_State *L) {
  return make(L, CN_ADAM);
}

/* ---- stepping ---- */

/* Computes the gradients of a loss that is finite; of one on a GPU that is not to be waited for, the step will see. */
static CnErr backward(CnOptimizer *o, CnTensor *loss, double *value, bool waits) {
  if (!waits && cn_tensor_device(loss).kind != CN_CPU) return cn_optimizer_backward(o, loss);
  CN_TRY(cn_tensor_item(value, loss));
  if (!isfinite(*value))
    return cn_fail(CN_ENOTFINITE, "step: the loss is %s; no parameter was moved",
                   isnan(*value) ? "nan" : *value > 0 ? "inf" : "-inf");
  return cn_optimizer_backward(o, loss);
}

/* Moves, and leaves loss (nil without one) and norm on the stack, as tensors. */
static CnErr step_late(lua_State *L, CnOptimizer *o, CnTensor *loss, double clip) {
  CnTensor **value = cnL_newtensor(L), **norm = cnL_newtensor(L);
  if (loss != NULL) CN_TRY(cn_tensor_detach(value, loss));
  CN_TRY(cn_optimizer_step_late(o, loss, clip, norm));
  if (loss != NULL) return CN_OK;
  lua_pushnil(L);
  lua_replace(L, -3);
  return CN_OK;
}

/* o:step([loss], [{ clip = 5, wait = true }]) -> loss, norm of the gradients: numbers, or, with wait = false, tensors
** of one element, which on a GPU nobody has waited for. With a loss: computes its gradients, and frees them whatever
** happens. A shared optimizer (o:share) moves by the mean of all processes' gradients. */
static int optimizer_step(lua_State *L) {
  CnOptimizer *o = check(L);
  double value = 0, norm;
  if (lua_istable(L, 2)) {
    lua_pushnil(L);
    lua_insert(L, 2);
  }
  CnTensor *loss = cnL_opttensor(L, 2);
  cnL_checkoptions(L, 3, "step", "clip wait");
  double clip = cnL_optfield_number(L, 3, "step", "clip", 0);
  if (!(clip >= 0)) return luaL_error(L, "step: option 'clip' must be 0 or more, got %f", clip);
  bool waits = cnL_optfield_boolean(L, 3, "step", "wait", true);
  cnL_result(L, loss != NULL ? backward(o, loss, &value, waits) : cn_optimizer_average(o), 0);
  CnErr e = waits ? cn_optimizer_step(o, clip, &norm) : step_late(L, o, loss, clip);
  if (e != CN_OK && loss != NULL) cn_optimizer_zero_grad(o);
  cnL_result(L, e, 0);
  if (!waits) return 2;
  if (loss != NULL) lua_pushnumber(L, value);
  else lua_pushnil(L);
  lua_pushnumber(L, norm);
  return 2;
}

/* o:share() -> o: averages gradients over the processes from now on; see cn_optimizer_share */
static int optimizer_share(lua_State *L) {
  CnErr e = cn_optimizer_share(check(L));
  lua_settop(L, 1);
  return cnL_result(L, e, 1);
}

/* o:grad_norm() -> the 2-norm of all gradients together */
static int optimizer_grad_norm(lua_State *L) {
  double norm;
  cnL_result(L, cn_optimizer_grad_norm(check(L), &norm), 0);
  lua_pushnumber(L, norm);
  return 1;
}

static int optimizer_zero_grad(lua_State *L) {
  cn_optimizer_zero_grad(check(L));
  return 0;
}

/* ---- hyper-parameters ---- */

static void set_number(lua_State *L, const char *field, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, field);
}

/* o:groups() -> list of tables of hyper-parameters, copies */
static int optimizer_groups(lua_State *L) {
  CnOptimizer *o = check(L);
  int n = cn_optimizer_groups(o);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    const CnGroup *g = cn_optimizer_group(o, i);
    lua_newtable(L);
    set_number(L, "lr", g->lr);
    set_number(L, "weight_decay", g->weight_decay);
    if (cn_optimizer_kind(o) == CN_SGD) {
      set_number(L, "momentum", g->momentum);
      lua_pushboolean(L, g->nesterov);
      lua_setfield(L, -2, "nesterov");
    } else {
      set_number(L, "beta1", g->beta1);
      set_number(L, "beta2", g->beta2);
      set_number(L, "eps", g->eps);
    }
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* o:set({ lr = … }) for all groups, o:set(number, { lr = … }) for one; nothing changes unless all of it is right */
static int optimizer_set(lua_State *L) {
  CnOptimizer *o = check(L);
  CnOptimizerKind kind = cn_optimizer_kind(o);
  int first = 0, end = cn_optimizer_groups(o);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_Integer i = luaL_checkinteger(L, 2);
    luaL_argcheck(L, i >= 1 && i <= end, 2, "there is no such group");
    first = (int)i - 1;
    end = (int)i;
    lua_remove(L, 2);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  cnL_checkoptions(L, 2, who_of[kind], keys_of[kind]);
  for (int pass = 0; pass < 2; pass++) {
    for (int i = first; i < end; i++) {
      CnGroup g = read_group(L, 2, kind, *cn_optimizer_group(o, i));
      cnL_result(L, cn_group_check(kind, &g), 0);
      if (pass == 1) *cn_optimizer_group(o, i) = g;
    }
  }
  return 0;
}

/* o.lr: of the first group. Other keys are methods (upvalue 1). */
static int optimizer_index(lua_State *L) {
  CnOptimizer *o = check(L);
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "lr") == 0) {
    lua_pushnumber(L, cn_optimizer_group(o, 0)->lr);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_gettable(L, lua_upvalueindex(1));
  return 1;
}

/* o.lr = rate: for all groups */
static int optimizer_newindex(lua_State *L) {
  CnOptimizer *o = check(L);
  if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "lr") != 0)
    return luaL_error(L, "optimizer: only 'lr' can be assigned, not '%s'; see :set", luaL_tolstring(L, 2, NULL));
  CnGroup probe = cn_group_defaults(cn_optimizer_kind(o), luaL_checknumber(L, 3));
  cnL_result(L, cn_group_check(cn_optimizer_kind(o), &probe), 0);
  for (int i = 0; i < cn_optimizer_groups(o); i++) cn_optimizer_group(o, i)->lr = probe.lr;
  return 0;
}

/* ---- state ---- */

/* A visit holds nothing but the stack, so that a Lua error may leave it by a jump. */
static CnErr list_state(void *context, const char *name, CnTensor *t) {
  lua_State *L = context;
  lua_createtable(L, 0, 2);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  CnTensor **box = cnL_newtensor(L);
  *box = cn_tensor_ref(t);
  lua_setfield(L, -2, "tensor");
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  return CN_OK;
}

/* o:state() -> list of { name =, tensor = }: what has moved so far */
static int optimizer_state(lua_State *L) {
  CnOptimizer *o = check(L);
  lua_newtable(L);
  return cnL_result(L, cn_optimizer_visit(o, list_state, L), 1);
}

static void load_one(lua_State *L, CnOptimizer *o) {
  CnTensor *t = cnL_test(L, -1, CNL_TENSOR);
  if (lua_type(L, -2) != LUA_TSTRING || t == NULL) luaL_error(L, "load: expected tensors by name");
  cnL_result(L, cn_optimizer_load(o, lua_tostring(L, -2), t), 0);
}

/* o:load(tensors by name, or a list as of o:state()); keeps copies */
static int optimizer_load(lua_State *L) {
  CnOptimizer *o = check(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  if (lua_rawlen(L, 2) == 0) {
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) load_one(L, o);
    return 0;
  }
  for (int i = 1; lua_rawgeti(L, 2, i) != LUA_TNIL; i++) {
    if (!lua_istable(L, -1)) luaL_error(L, "load: entry %d must be { name = …, tensor = … }", i);
    lua_getfield(L, -1, "name");
    lua_getfield(L, -2, "tensor");
    load_one(L, o);
    lua_pop(L, 3);
  }
  return 0;
}

/* ---- the type ---- */

static int optimizer_tostring(lua_State *L) {
  CnOptimizer **box = luaL_checkudata(L, 1, CNL_OPTIMIZER);
  if (*box == NULL) lua_pushliteral(L, "optimizer (closed)");
  else
    lua_pushfstring(L, "%s optimizer: %d group%s, lr %f", cn_optimizer_kind(*box) == CN_ADAM ? "adam" : "sgd",
                    cn_optimizer_groups(*box), cn_optimizer_groups(*box) == 1 ? "" : "s",
                    cn_optimizer_group(*box, 0)->lr);
  return 1;
}

static int optimizer_free(lua_State *L) {
  CnOptimizer **box = luaL_checkudata(L, 1, CNL_OPTIMIZER);
  cn_optimizer_free(*box);
  *box = NULL;
  return 0;
}

void cnL_open_optim(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "step", optimizer_step },     { "grad_norm", optimizer_grad_norm }, { "zero_grad", optimizer_zero_grad },
    { "groups", optimizer_groups }, { "set", optimizer_set },             { "state", optimizer_state },
    { "load", optimizer_load },     { "share", optimizer_share },         { NULL, NULL },
  };
  static const luaL_Reg meta[] = { { "__tostring", optimizer_tostring }, { "__newindex", optimizer_newindex },
                                   { NULL, NULL } };
  static const luaL_Reg functions[] = { { "sgd", optim_sgd }, { "adam", optim_adam }, { NULL, NULL } };
  cnL_type(L, CNL_OPTIMIZER, methods, meta, optimizer_free);
  luaL_getmetatable(L, CNL_OPTIMIZER);
  lua_getfield(L, -1, "__index");
  lua_pushcclosure(L, optimizer_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "optim");
}
