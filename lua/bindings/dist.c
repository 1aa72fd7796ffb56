/* dist.c - the processes of a run, as userdata: cnas.dist.world(). There is one world; it lives as long as the
** process. cnas.dist.mpi says whether this build can join others. */
#include <string.h>

#include "dist/communicator.h"
#include "lua/bindings/binding.h"

#define CNL_WORLD "cnas.World"

typedef const CnWorld *WorldBox;

/* dist.world(): joins the other processes on the first call. */
static int world(lua_State *L) {
  WorldBox *box = cnL_box(L, CNL_WORLD, 0);
  return cnL_result(L, cn_world(box), 1);
}

static int barrier(lua_State *L) {
  cnL_check(L, 1, CNL_WORLD);
  return cnL_result(L, cn_world_barrier(), 0);
}

/* The contents of `t` to every rank from one, or their sum: by way of a dense copy on the CPU. */
static CnErr exchange(CnTensor *t, int root, bool sum) {
  CnTensor *dense;
  CN_TRY(cn_tensor_new(&dense, t->dtype, CN_DEVICE_CPU, t->ndim, t->shape));
  void *data = cn_tensor_data(dense);
  size_t bytes = cn_tensor_bytes(t);
  CnErr e = cn_tensor_read(t, data, bytes);
  if (e == CN_OK) e = sum ? cn_world_sum(data, cn_tensor_count(t), t->dtype) : cn_world_broadcast(data, bytes, root);
  if (e == CN_OK) e = cn_tensor_copy(t, dense);
  cn_tensor_unref(dense);
  return e;
}

/* world:allreduce(tensor) -> the tensor, now the sum over all processes; added in the order of the ranks. */
static int allreduce(lua_State *L) {
  cnL_check(L, 1, CNL_WORLD);
  CnTensor *t = cnL_checktensor(L, 2);
  lua_settop(L, 2);
  return cnL_result(L, exchange(t, 0, true), 1);
}

/* A string may have another length on each rank: the length goes first. */
static int broadcast_string(lua_State *L, int root) {
  const CnWorld *w = cnL_check(L, 1, CNL_WORLD);
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  int64_t bytes = (int64_t)length;
  cnL_result(L, cn_world_broadcast(&bytes, sizeof bytes, root), 0);
  char *buffer = lua_newuserdatauv(L, (size_t)bytes + 1, 0);
  if (w->rank == root) memcpy(buffer, text, length);
  cnL_result(L, cn_world_broadcast(buffer, (size_t)bytes, root), 0);
  lua_pushlstring(L, buffer, (size_t)bytes);
  return 1;
}

/* world:broadcast(tensor or string [, root = 0]) -> root's: the tensor itself, overwritten, or a string. */
static int broadcast(lua_State *L) {
  cnL_check(L, 1, CNL_WORLD);
  int root = (int)luaL_optinteger(L, 3, 0);
  if (lua_type(L, 2) == LUA_TSTRING) return broadcast_string(L, root);
  CnTensor *t = cnL_checktensor(L, 2);
  lua_settop(L, 2);
  return cnL_result(L, exchange(t, root, false), 1);
}

/* world.rank, world.size, and the methods (upvalue 1). */
static int index_world(lua_State *L) {
  const CnWorld *w = cnL_check(L, 1, CNL_WORLD);
  const char *key = luaL_checkstring(L, 2);
  if (strcmp(key, "rank") == 0)
    lua_pushinteger(L, w->rank);
  else if (strcmp(key, "size") == 0)
    lua_pushinteger(L, w->size);
  else
    lua_getfield(L, lua_upvalueindex(1), key);
  return 1;
}

static int tostring_world(lua_State *L) {
  const CnWorld *w = cnL_check(L, 1, CNL_WORLD);
  lua_pushfstring(L, "cnas.World: rank %d of %d", w->rank, w->size);
  return 1;
}

/* __gc and __close: the world outlives its boxes. */
static int release(lua_State *L) {
  WorldBox *box = luaL_checkudata(L, 1, CNL_WORLD);
  *box = NULL;
  return 0;
}

static const luaL_Reg methods[] = {
  { "barrier", barrier },
  { "allreduce", allreduce },
  { "broadcast", broadcast },
  { NULL, NULL },
};

static const luaL_Reg meta[] = { { "__tostring", tostring_world }, { NULL, NULL } };

void cnL_open_dist(lua_State *L) {
  cnL_type(L, CNL_WORLD, NULL, meta, release);
  luaL_getmetatable(L, CNL_WORLD);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, index_world, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, world);
  lua_setfield(L, -2, "world");
  lua_pushboolean(L, cn_world_has_mpi());
  lua_setfield(L, -2, "mpi");
  lua_setfield(L, -2, "dist");
}
