/* profile.c - cnas.timed_rows(f [, module]) and net:costs(…): time, memory and cost by part of a network. lua/cnas/
** profile.lua makes tables for people of them. */
#include "tensor/profile.h"

#include "bindings/modules.h"
#include "nas/network.h"

#define PROFILE "cnas.Profile"

static int profile_free(lua_State *L) {
  CnProfile **box = luaL_checkudata(L, 1, PROFILE);
  cn_profile_free(*box);
  *box = NULL;
  return 0;
}

static void set_integer(lua_State *L, const char *key, int64_t value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, key);
}

/* The name of a module at an address, from the table of paths; where it has none, the field stays away. */
static void set_path(lua_State *L, int paths, const void *module) {
  if (lua_rawgetp(L, paths, module) == LUA_TNIL) lua_pop(L, 1);
  else lua_setfield(L, -2, "at");
}

static void push_entry(lua_State *L, const CnProfileEntry *e, int paths) {
  lua_createtable(L, 0, 7);
  set_path(L, paths, e->owner);
  lua_pushstring(L, e->op->name);
  lua_setfield(L, -2, "row");
  lua_pushboolean(L, e->backward);
  lua_setfield(L, -2, "backward");
  set_integer(L, "calls", e->calls);
  lua_pushnumber(L, e->seconds);
  lua_setfield(L, -2, "seconds");
  set_integer(L, "bytes_made", e->bytes_made);
  set_integer(L, "bytes_peak", e->bytes_peak);
}

/* timed_rows(f [, module]) -> { { at = "cells.0._ops.1.op", row = "separable_block", backward = false, calls =,
** seconds =, bytes_made =, bytes_peak = }, …, bytes_peak = }: what f() runs. `at` is the innermost module's name in
** `module` ("": itself; nil: none of it). */
static int timed_rows(lua_State *L) {
  enum { F = 1, MODULE, BOX };
  lua_settop(L, MODULE);
  luaL_checkany(L, F);
  CnModule *m = lua_isnil(L, MODULE) ? NULL : cnL_checkmodule(L, MODULE);
  CnProfile **box = cnL_box(L, PROFILE, 0);
  cnL_result(L, cn_profile_begin(box), 0);
  lua_pushvalue(L, F);
  int status = lua_pcall(L, 0, 0, 0);
  cn_profile_end(*box);
  if (status != LUA_OK) return lua_error(L);
  cnL_push_paths(L, m);
  lua_createtable(L, (*box)->count, 1);
  for (int i = 0; i < (*box)->count; i++) {
    push_entry(L, &(*box)->entry[i], BOX + 1);
    lua_rawseti(L, -2, i + 1);
  }
  set_integer(L, "bytes_peak", (*box)->bytes_peak);
  cn_profile_free(*box);
  *box = NULL;
  return 1;
}

/* ---- cost ---- */

typedef struct Report {
  lua_State *L; /* the list is on top of its stack */
  int paths;
} Report;

static void add_cost(void *context, const CnModule *m, const CnCost *added, const CnSpec *out) {
  const Report *r = context;
  lua_State *L = r->L;
  lua_createtable(L, 0, 6);
  set_path(L, r->paths, m);
  lua_pushstring(L, m->kind->name);
  lua_setfield(L, -2, "kind");
  set_integer(L, "parameters", added->parameters);
  set_integer(L, "conv_macs", added->conv_macs);
  set_integer(L, "linear_macs", added->linear_macs);
  lua_createtable(L, out->ndim, 0);
  for (int d = 0; d < out->ndim; d++) {
    lua_pushinteger(L, out->shape[d]);
    lua_rawseti(L, -2, d + 1);
  }
  lua_setfield(L, -2, "shape");
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* net:costs(path, { height = 32, width = 32 }) of a supernet, net:costs { … } of a network -> { { at = "cells.0._ops.1",
** kind = "chain", parameters =, conv_macs =, linear_macs =, shape = { 1, 32, 32, 16 } }, … }: what each module that a
** call runs adds for one image, those within it included, which come before it; and the shape that it gives. An
** operation that runs twice is there twice, each time with its parameters. */
static int module_costs(lua_State *L) {
  CnModule *m = cnL_checkmodule(L, 1);
  CnGenotype path;
  bool supernet = cn_supernet_is(m);
  luaL_argcheck(L, supernet || cn_network_is(m), 1, "must be a network or a supernet");
  int arg = supernet ? 3 : 2;
  if (supernet) cnL_checkgenotype(L, 2, &path);
  lua_settop(L, arg);
  cnL_checkoptions(L, arg, "costs", "height width");
  int64_t height = cnL_optfield_integer(L, arg, "costs", "height", 32);
  int64_t width = cnL_optfield_integer(L, arg, "costs", "width", height);
  cnL_push_paths(L, m);
  Report r = { L, arg + 1 };
  CnCost cost = { .report = add_cost, .context = &r };
  lua_newtable(L);
  return cnL_result(L, supernet ? cn_supernet_cost(&cost, m, &path, height, width)
                                : cn_network_cost(&cost, m, height, width), 1);
}

void cnL_open_profile(lua_State *L) {
  cnL_type(L, PROFILE, NULL, NULL, profile_free);
  lua_pushcfunction(L, timed_rows);
  lua_setfield(L, -2, "timed_rows");
  luaL_getmetatable(L, CNL_MODULE);
  lua_getfield(L, -1, "__index");
  lua_pushcfunction(L, module_costs);
  lua_setfield(L, -2, "costs");
  lua_pop(L, 2);
}
