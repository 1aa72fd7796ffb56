/* dist.c - the processes of a run, as userdata: cnas.dist.world(). There is one world; it lives as long as the
** process. cnas.dist.mpi says whether this build can join others. A sum that goes on while the caller computes is a
** userdata too, what world:start_sum gives. */
#include <string.h>

#include "dist/communicator.h"
#include "lua/bindings/binding.h"

#define CNL_WORLD "cnas.World"
#define CNL_EXCHANGE "cnas.Exchange"

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
static CnErr exchange(CnTensor *t, int rank, int root, bool sum) {
  CnTensor *dense;
  CN_TRY(cn_tensor_new(&dense, t->dtype, CN_DEVICE_CPU, t->ndim, t->shape));
  void *data = cn_tensor_data(dense);
  size_t bytes = cn_tensor_bytes(t);
  CnErr e = cn_tensor_read(t, data, bytes);
  if (e == CN_OK) e = sum ? cn_world_sum(data, cn_tensor_count(t), t->dtype) : cn_world_broadcast(data, bytes, root);
  if (e == CN_OK && (sum || rank != root)) e = cn_tensor_copy(t, dense);
  cn_tensor_unref(dense);
  return e;
}

/* world:allreduce(tensor) -> the tensor, now the sum over all processes; added in the order of the ranks. */
static int allreduce(lua_State *L) {
  const CnWorld *w = cnL_check(L, 1, CNL_WORLD);
  CnTensor *t = cnL_checktensor(L, 2);
  lua_settop(L, 2);
  return cnL_result(L, exchange(t, w->rank, 0, true), 1);
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
  const CnWorld *w = cnL_check(L, 1, CNL_WORLD);
  int root = (int)luaL_optinteger(L, 3, 0);
  if (lua_type(L, 2) == LUA_TSTRING) return broadcast_string(L, root);
  CnTensor *t = cnL_checktensor(L, 2);
  lua_settop(L, 2);
  return cnL_result(L, exchange(t, w->rank, root, false), 1);
}

/* world:gather(string) -> list of all processes' strings in the order of the ranks, on every one. */
static int gather(lua_State *L) {
  const CnWorld *w = cnL_check(L, 1, CNL_WORLD);
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  int64_t own = (int64_t)length, longest = 0, *lengths = lua_newuserdatauv(L, (size_t)w->size * sizeof *lengths, 0);
  cnL_result(L, cn_world_gather(&own, lengths, sizeof own), 0);
  for (int r = 0; r < w->size; r++) longest = lengths[r] > longest ? lengths[r] : longest;
  char *padded = lua_newuserdatauv(L, (size_t)longest + 1, 0);
  char *all = lua_newuserdatauv(L, (size_t)longest * (size_t)w->size + 1, 0);
  memcpy(padded, text, length);
  memset(padded + length, 0, (size_t)longest - length);
  cnL_result(L, cn_world_gather(padded, all, (size_t)longest), 0);
  lua_createtable(L, w->size, 0);
  for (int r = 0; r < w->size; r++) {
    lua_pushlstring(L, all + r * longest, (size_t)lengths[r]);
    lua_rawseti(L, -2, r + 1);
  }
  return 1;
}

/* world:sum(x, y, …) -> the sums over all processes, added in the order of the ranks. */
static int sum(lua_State *L) {
  cnL_check(L, 1, CNL_WORLD);
  int n = lua_gettop(L) - 1;
  double *value = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *value, 0);
  for (int i = 0; i < n; i++) value[i] = luaL_checknumber(L, 2 + i);
  cnL_result(L, cn_world_sum(value, n, CN_F64), 0);
  luaL_checkstack(L, n, "too many numbers");
  for (int i = 0; i < n; i++) lua_pushnumber(L, value[i]);
  return n;
}

/* world:weigh(share): this process's part, 0 … 1, of the batch that all work on; gradients are weighted by it. */
static int weigh(lua_State *L) {
  cnL_check(L, 1, CNL_WORLD);
  double share = luaL_checknumber(L, 2);
  luaL_argcheck(L, share >= 0 && share <= 1, 2, "must be from 0 to 1");
  cn_world_weigh(share);
  return 0;
}

/* ---- a sum under way ---- */

typedef struct Pending {
  CnExchange exchange;
  CnTensor *tensor; /* gets the sum; NULL: it has */
  CnTensor *dense;  /* what is being summed, on the CPU */
} Pending;

/* world:start_sum(tensor) -> exchange, whose :wait() gives the tensor, then the sum; until then it is as it was. */
static int start_sum(lua_State *L) {
  cnL_check(L, 1, CNL_WORLD);
  CnTensor *t = cnL_checktensor(L, 2);
  Pending *p = lua_newuserdatauv(L, sizeof *p, 1);
  memset(p, 0, sizeof *p);
  luaL_setmetatable(L, CNL_EXCHANGE);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  cnL_result(L, cn_tensor_new(&p->dense, t->dtype, CN_DEVICE_CPU, t->ndim, t->shape), 0);
  cnL_result(L, cn_tensor_read(t, cn_tensor_data(p->dense), cn_tensor_bytes(t)), 0);
  cnL_result(L, cn_world_start_sum(&p->exchange, cn_tensor_data(p->dense), cn_tensor_count(t), t->dtype), 0);
  p->tensor = cn_tensor_ref(t);
  return 1;
}

static CnErr finish(Pending *p) {
  if (p->tensor == NULL) return CN_OK;
  CnErr e = cn_exchange_wait(&p->exchange);
  if (e == CN_OK) e = cn_tensor_copy(p->tensor, p->dense);
  cn_tensor_unref(p->tensor);
  p->tensor = NULL;
  return e;
}

/* exchange:wait() -> the tensor. */
static int wait_for(lua_State *L) {
  CnErr e = finish(luaL_checkudata(L, 1, CNL_EXCHANGE));
  lua_getiuservalue(L, 1, 1);
  return cnL_result(L, e, 1);
}

/* exchange:done() -> whether wait would come back at once. */
static int is_done(lua_State *L) {
  Pending *p = luaL_checkudata(L, 1, CNL_EXCHANGE);
  lua_pushboolean(L, p->tensor == NULL || cn_exchange_done(&p->exchange));
  return 1;
}

/* __gc and __close: its memory is in use until it is done. */
static int drop_exchange(lua_State *L) {
  Pending *p = luaL_checkudata(L, 1, CNL_EXCHANGE);
  (void)finish(p);
  cn_tensor_unref(p->dense);
  p->dense = NULL;
  return 0;
}

static int tostring_exchange(lua_State *L) {
  Pending *p = luaL_checkudata(L, 1, CNL_EXCHANGE);
  lua_pushfstring(L, "cnas.Exchange: %s", p->tensor == NULL ? "over" : "under way");
  return 1;
}

/* ---- the world's fields ---- */

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
  { "gather", gather },
  { "sum", sum },
  { "start_sum", start_sum },
  { "weigh", weigh },
  { NULL, NULL },
};

static const luaL_Reg exchange_methods[] = { { "wait", wait_for }, { "done", is_done }, { NULL, NULL } };
static const luaL_Reg exchange_meta[] = { { "__tostring", tostring_exchange }, { NULL, NULL } };

static const luaL_Reg meta[] = { { "__tostring", tostring_world }, { NULL, NULL } };

void cnL_open_dist(lua_State *L) {
  cnL_type(L, CNL_EXCHANGE, exchange_methods, exchange_meta, drop_exchange);
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
