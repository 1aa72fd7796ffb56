/* random.c - cnas.rng(seed, name): a named stream of random numbers (base/random.h) as userdata. */
#include "bindings/binding.h"

/* cnas.rng(seed, name) */
static int rng_new(lua_State *L) {
  lua_Integer seed = luaL_checkinteger(L, 1);
  const char *name = luaL_optstring(L, 2, "default");
  CnRng *rng = lua_newuserdatauv(L, sizeof *rng, 0);
  *rng = cn_rng_named((uint64_t)seed, name);
  luaL_setmetatable(L, CNL_RNG);
  return 1;
}

/* :uniform([low, high]) in [low, high), [0, 1) by default */
static int rng_uniform(lua_State *L) {
  double low = luaL_optnumber(L, 2, 0), high = luaL_optnumber(L, 3, 1);
  lua_pushnumber(L, low + (high - low) * cn_rng_uniform(cnL_checkrng(L, 1)));
  return 1;
}

/* :integer(n) in 0 … n-1 */
static int rng_integer(lua_State *L) {
  CnRng *rng = cnL_checkrng(L, 1);
  lua_Integer n = luaL_checkinteger(L, 2);
  luaL_argcheck(L, n >= 1, 2, "must be at least 1");
  lua_pushinteger(L, cn_rng_integer(rng, n));
  return 1;
}

/* :normal() with mean 0 and deviation 1 */
static int rng_normal(lua_State *L) {
  lua_pushnumber(L, cn_rng_normal(cnL_checkrng(L, 1)));
  return 1;
}

/* :permutation(n): a list of 1 … n in random order */
static int rng_permutation(lua_State *L) {
  CnRng *rng = cnL_checkrng(L, 1);
  lua_Integer n = luaL_checkinteger(L, 2);
  luaL_argcheck(L, n >= 0 && n <= 1 << 26, 2, "must be from 0 to 2^26");
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) { /* as cn_rng_permutation, in place */
    lua_Integer j = cn_rng_integer(rng, i) + 1;
    lua_rawgeti(L, -1, j);
    lua_rawseti(L, -2, i);
    lua_pushinteger(L, i);
    lua_rawseti(L, -2, j);
  }
  return 1;
}

static int rng_index(lua_State *L) {
  CnRng *rng = cnL_checkrng(L, 1);
  const char *key = luaL_checkstring(L, 2);
  if (key[0] == 'c' && lua_rawequal(L, 2, lua_upvalueindex(2))) {
    lua_pushinteger(L, (lua_Integer)rng->counter);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_gettable(L, lua_upvalueindex(1));
  return 1;
}

/* stream.counter = n: goes on from there, as after resuming */
static int rng_newindex(lua_State *L) {
  CnRng *rng = cnL_checkrng(L, 1);
  if (!lua_rawequal(L, 2, lua_upvalueindex(1)))
    return luaL_error(L, "rng: only 'counter' can be set, not '%s'", luaL_tolstring(L, 2, NULL));
  rng->counter = (uint64_t)luaL_checkinteger(L, 3);
  return 0;
}

static int rng_tostring(lua_State *L) {
  CnRng *rng = cnL_checkrng(L, 1);
  lua_pushfstring(L, "random stream: seed %I, stream %p, counter %I", (lua_Integer)rng->seed,
                  (void *)(uintptr_t)rng->stream, (lua_Integer)rng->counter);
  return 1;
}

void cnL_open_random(lua_State *L) {
  static const luaL_Reg methods[] = { { "uniform", rng_uniform }, { "integer", rng_integer }, { "normal", rng_normal },
                                      { "permutation", rng_permutation }, { NULL, NULL } };
  static const luaL_Reg meta[] = { { "__tostring", rng_tostring }, { NULL, NULL } };
  cnL_type(L, CNL_RNG, methods, meta, NULL);
  luaL_getmetatable(L, CNL_RNG);
  lua_getfield(L, -1, "__index");
  lua_pushliteral(L, "counter");
  lua_pushcclosure(L, rng_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "counter");
  lua_pushcclosure(L, rng_newindex, 1);
  lua_setfield(L, -2, "__newindex");
  lua_pop(L, 1);
  lua_pushcfunction(L, rng_new);
  lua_setfield(L, -2, "rng");
}
