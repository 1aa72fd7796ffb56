/* nas.c - spaces, supernets, networks and their cost in Lua. Genotypes have a file of their own.
**
** An operation of a recipe is a Lua function from settings to a module. The candidate holds it by a reference in the
** registry; it is called protected, in the Lua thread that asked for the network. */
#include <string.h>

#include "base/memory.h"
#include "bindings/modules.h"
#include "nas/network.h"

/* ---- operations written in Lua ---- */

typedef struct LuaOperation {
  lua_State *main;
  int ref; /* of the function */
} LuaOperation;

/* The Lua thread in which a network is being built. */
static _Thread_local lua_State *building;

static void operation_release(void *data) {
  LuaOperation *o = data;
  luaL_unref(o->main, LUA_REGISTRYINDEX, o->ref);
  cn_free(o);
}

/* Pushes a stream that draws what `rng` would; false (zeros) for NULL. */
static CnRng *push_rng(lua_State *L, const CnRng *rng) {
  if (rng == NULL) {
    lua_pushboolean(L, 0);
    return NULL;
  }
  CnRng *stream = lua_newuserdatauv(L, sizeof *stream, 0);
  *stream = *rng;
  luaL_setmetatable(L, CNL_RNG);
  return stream;
}

/* Protected: (operation, settings) -> the module's box. The stream stays on the stack until it has been read back. */
static int call_operation(lua_State *L) {
  const LuaOperation *o = lua_touserdata(L, 1);
  const CnOpSettings *s = lua_touserdata(L, 2);
  CnRng *stream = push_rng(L, s->rng); /* at 3 */
  lua_rawgeti(L, LUA_REGISTRYINDEX, o->ref);
  lua_createtable(L, 0, 6);
  lua_pushvalue(L, 3);
  lua_setfield(L, -2, "rng");
  lua_pushinteger(L, s->channels);
  lua_setfield(L, -2, "channels");
  lua_pushinteger(L, s->stride);
  lua_setfield(L, -2, "stride");
  lua_pushboolean(L, s->affine);
  lua_setfield(L, -2, "affine");
  lua_pushboolean(L, s->track);
  lua_setfield(L, -2, "track");
  lua_pushboolean(L, s->supernet);
  lua_setfield(L, -2, "supernet");
  lua_call(L, 1, 1);
  if (stream != NULL) *s->rng = *stream;
  if (cnL_test(L, -1, CNL_MODULE) == NULL)
    return luaL_error(L, "must return a module, got %s", luaL_typename(L, -1));
  return 1;
}

static CnErr build_operation(void *data, CnModule **out, const CnOpSettings *settings) {
  LuaOperation *o = data;
  lua_State *L = building != NULL ? building : o->main;
  if (!lua_checkstack(L, 8)) return cn_fail(CN_EMEMORY, "out of memory: Lua's stack");
  lua_pushcfunction(L, call_operation);
  lua_pushlightuserdata(L, o);
  lua_pushlightuserdata(L, (void *)settings);
  int top = lua_gettop(L) - 3;
  if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
    if (lua_istable(L, -1)) lua_getfield(L, -1, "message");
    const char *message = lua_tostring(L, -1);
    CnErr e = cn_fail(CN_EUSAGE, "%s", message != NULL ? message : "error without a message");
    lua_settop(L, top);
    return e;
  }
  *out = cn_module_ref(cnL_test(L, -1, CNL_MODULE));
  lua_pop(L, 1);
  return CN_OK;
}

/* Adds the function on top of the stack under `name`; pops it. */
static void define(lua_State *L, CnSpace *s, const char *name) {
  CnCandidate c = { .build = build_operation, .release = operation_release };
  if (!lua_isfunction(L, -1))
    luaL_error(L, "space: operation '%s' must be a function that returns a module, got %s", name, luaL_typename(L, -1));
  if (strlen(name) >= CN_OP_NAME) luaL_error(L, "space: '%s' is too long for an operation's name", name);
  strcpy(c.name, name);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  LuaOperation *o = cn_alloc(sizeof *o);
  if (o == NULL) {
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    cnL_result(L, CN_EMEMORY, 0);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  *o = (LuaOperation){ lua_tothread(L, -1), ref };
  lua_pop(L, 1);
  c.data = o;
  cnL_result(L, cn_space_define(s, c), 0);
}

/* ---- spaces ---- */

CnSpace *cnL_checkspace(lua_State *L, int arg) {
  return cnL_check(L, arg, CNL_SPACE);
}

/* The list part of the table at `arg`: names of built-in operations, or { name =, build = }. */
static void add_list(lua_State *L, CnSpace *s, int arg) {
  for (int i = 1; lua_rawgeti(L, arg, i) != LUA_TNIL; i++) {
    if (lua_type(L, -1) == LUA_TSTRING) {
      cnL_result(L, cn_space_add(s, lua_tostring(L, -1)), 0);
    } else {
      if (!lua_istable(L, -1))
        luaL_error(L, "space: entry %d must be a name or { name = …, build = function }, got %s", i,
                   luaL_typename(L, -1));
      int entry = lua_gettop(L);
      cnL_checkoptions(L, entry, "space", "name build");
      const char *name = cnL_optfield_string(L, entry, "space", "name", NULL);
      if (name == NULL) luaL_error(L, "space: entry %d has no name", i);
      lua_getfield(L, entry, "build");
      define(L, s, name);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Its named part, sorted by name: the numbering must not depend on a table's order. */
static void add_named(lua_State *L, CnSpace *s, int arg) {
  lua_newtable(L);
  int names = lua_gettop(L), n = 0;
  for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TNUMBER) continue;
    if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "space: an operation's name must be a string");
    lua_pushvalue(L, -2);
    lua_rawseti(L, names, ++n);
  }
  for (int i = 2; i <= n; i++) { /* a few names: by insertion */
    for (int k = i; k > 1; k--) {
      lua_rawgeti(L, names, k - 1);
      lua_rawgeti(L, names, k);
      bool sorted = strcmp(lua_tostring(L, -2), lua_tostring(L, -1)) <= 0;
      if (!sorted) {
        lua_rawseti(L, names, k - 1);
        lua_rawseti(L, names, k);
      } else {
        lua_pop(L, 2);
        break;
      }
    }
  }
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, names, i);
    const char *name = lua_tostring(L, -1); /* the table at `arg` holds it */
    lua_gettable(L, arg);
    define(L, s, name);
  }
  lua_settop(L, names - 1);
}

/* cnas.space { "sep_conv_3x3", …, my_op = function (o) … end } */
static int space_new(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE); /* 1 is the table cnas.space */
  lua_settop(L, 2);
  CnSpace **box = cnL_box(L, CNL_SPACE, 0);
  cnL_result(L, cn_space_new(box), 0);
  add_list(L, *box, 2);
  add_named(L, *box, 2);
  if ((*box)->count == 0) return luaL_error(L, "space: there is no operation in it");
  lua_settop(L, 3);
  return 1;
}

static int space_darts(lua_State *L) {
  CnSpace **box = cnL_box(L, CNL_SPACE, 0);
  return cnL_result(L, cn_space_darts(box), 1);
}

/* cnas.space.builtin() -> names of all built-in operations */
static int space_builtin(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; cn_space_builtin(i) != NULL; i++) {
    lua_pushstring(L, cn_space_builtin(i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int space_names(lua_State *L) {
  CnSpace *s = cnL_checkspace(L, 1);
  lua_createtable(L, s->count, 0);
  for (int i = 0; i < s->count; i++) {
    lua_pushstring(L, s->candidate[i].name);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* s:index(name) -> its place from 1, or nil */
static int space_index(lua_State *L) {
  int i = cn_space_find(cnL_checkspace(L, 1), luaL_checkstring(L, 2));
  if (i < 0) lua_pushnil(L);
  else lua_pushinteger(L, i + 1);
  return 1;
}

/* s:build(name, { channels =, stride =, affine =, track =, supernet =, rng = }) -> the module of one operation */
static int space_build(lua_State *L) {
  static const char who[] = "space:build";
  CnSpace *s = cnL_checkspace(L, 1);
  const char *name = luaL_checkstring(L, 2);
  lua_settop(L, 3);
  luaL_checktype(L, 3, LUA_TTABLE);
  cnL_checkoptions(L, 3, who, "channels stride affine track supernet rng");
  CnOpSettings o = { .channels = cnL_field_integer(L, 3, who, "channels") };
  o.stride = cnL_optfield_integer(L, 3, who, "stride", 1);
  o.affine = cnL_optfield_boolean(L, 3, who, "affine", 1);
  o.track = cnL_optfield_boolean(L, 3, who, "track", 1);
  o.supernet = cnL_optfield_boolean(L, 3, who, "supernet", 0);
  o.rng = cnL_optfield_rng(L, 3, who, "rng");
  int index = cn_space_find(s, name);
  if (index < 0) return luaL_error(L, "%s: the space has no operation '%s'", who, name);
  CnModule **box = cnL_newmodule(L);
  lua_State *outer = building;
  building = L;
  CnErr e = cn_space_build(box, s, index, &o);
  building = outer;
  return cnL_result(L, e, 1);
}

static int space_len(lua_State *L) {
  lua_pushinteger(L, cnL_checkspace(L, 1)->count);
  return 1;
}

static int space_tostring(lua_State *L) {
  CnSpace **box = luaL_checkudata(L, 1, CNL_SPACE);
  luaL_Buffer text;
  if (*box == NULL) {
    lua_pushliteral(L, "space (closed)");
    return 1;
  }
  luaL_buffinit(L, &text);
  luaL_addstring(&text, "space:");
  for (int i = 0; i < (*box)->count; i++) {
    luaL_addchar(&text, ' ');
    luaL_addstring(&text, (*box)->candidate[i].name);
  }
  luaL_pushresult(&text);
  return 1;
}

static int space_free(lua_State *L) {
  CnSpace **box = luaL_checkudata(L, 1, CNL_SPACE);
  cn_space_unref(*box);
  *box = NULL;
  return 0;
}

/* ---- networks ---- */

/* The space in a field; NULL when absent. */
static CnSpace *space_field(lua_State *L, const char *who) {
  lua_getfield(L, 1, "space");
  CnSpace *s = lua_isnil(L, -1) ? NULL : cnL_test(L, -1, CNL_SPACE);
  if (s == NULL && !lua_isnil(L, -1))
    luaL_error(L, "%s: option 'space' must be a space (cnas.space), got %s", who, luaL_typename(L, -1));
  lua_pop(L, 1);
  return s;
}

/* What images within the cells are kept in: "f32", or "bf16" at half the memory. */
static CnDtype precision_field(lua_State *L, const char *who) {
  const char *name = cnL_optfield_string(L, 1, who, "precision", "f32");
  if (strcmp(name, "f32") == 0) return CN_F32;
  if (strcmp(name, "bf16") != 0)
    luaL_error(L, "%s: option 'precision' must be \"f32\" or \"bf16\", got \"%s\"", who, name);
  return CN_BF16;
}

/* cnas.supernet { space =, channels = 16, layers = 8, nodes = 4, classes = 10, in_channels = 3, precision = "f32",
** rng = } */
static int supernet_new(lua_State *L) {
  static const char who[] = "supernet";
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  cnL_checkoptions(L, 1, who, "space channels layers nodes classes in_channels precision rng");
  CnSupernetOptions o = { .space = space_field(L, who) };
  if (o.space == NULL) return luaL_error(L, "%s: option 'space' is missing: cnas.space.darts() or another", who);
  o.channels = cnL_optfield_integer(L, 1, who, "channels", 16);
  o.layers = cnL_optfield_integer(L, 1, who, "layers", 8);
  o.nodes = cnL_optfield_integer(L, 1, who, "nodes", 4);
  o.classes = cnL_optfield_integer(L, 1, who, "classes", 10);
  o.in_channels = cnL_optfield_integer(L, 1, who, "in_channels", 3);
  o.precision = precision_field(L, who);
  CnRng *rng = cnL_optfield_rng(L, 1, who, "rng");
  CnModule **box = cnL_newmodule(L);
  lua_State *outer = building;
  building = L;
  CnErr e = cn_supernet_new(box, o, rng);
  building = outer;
  return cnL_result(L, e, 1);
}

#define NETWORK_OPTIONS "space genotype channels layers classes in_channels imagenet auxiliary"

/* Everything about a network but its random streams. The defaults are those of the published evaluations. */
static CnNetworkOptions network_options(lua_State *L, const char *who, CnGenotype *g) {
  CnNetworkOptions o = { .space = space_field(L, who), .genotype = g };
  if (lua_getfield(L, 1, "genotype") == LUA_TNIL) luaL_error(L, "%s: option 'genotype' is missing", who);
  cnL_checkgenotype(L, lua_gettop(L), g);
  lua_pop(L, 1);
  o.imagenet = cnL_optfield_boolean(L, 1, who, "imagenet", 0);
  o.auxiliary = cnL_optfield_boolean(L, 1, who, "auxiliary", 0);
  o.channels = cnL_optfield_integer(L, 1, who, "channels", o.imagenet ? 48 : 36);
  o.layers = cnL_optfield_integer(L, 1, who, "layers", o.imagenet ? 14 : 20);
  o.classes = cnL_optfield_integer(L, 1, who, "classes", o.imagenet ? 1000 : 10);
  o.in_channels = cnL_optfield_integer(L, 1, who, "in_channels", 3);
  return o;
}

static CnModule **build_network(lua_State *L, CnNetworkOptions o, CnRng *rng) {
  CnModule **box = cnL_newmodule(L);
  lua_State *outer = building;
  building = L;
  CnErr e = cn_network_new(box, o, rng);
  building = outer;
  cnL_result(L, e, 0);
  return box;
}

/* cnas.network { genotype = table or published name, space =, channels =, layers =, classes =, in_channels =,
** imagenet =, auxiliary =, precision =, drop_path =, noise = stream for drop-path, rng = } */
static int network_new(lua_State *L) {
  static const char who[] = "network";
  CnGenotype g;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  cnL_checkoptions(L, 1, who, NETWORK_OPTIONS " precision drop_path noise rng");
  CnNetworkOptions o = network_options(L, who, &g);
  o.precision = precision_field(L, who);
  o.drop_path = cnL_optfield_number(L, 1, who, "drop_path", 0);
  o.noise = cnL_push_stream(L, 1, who, "noise");
  if (o.drop_path > 0 && o.noise == NULL)
    return luaL_error(L, "%s: option 'drop_path' needs a stream in option 'noise'", who);
  CnModule **box = build_network(L, o, cnL_optfield_rng(L, 1, who, "rng"));
  if (o.noise != NULL) {
    lua_pushvalue(L, 2);
    cnL_keep(L, *box);
  }
  return 1;
}

/* ---- cost ---- */

static int push_cost(lua_State *L, const CnCost *cost) {
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, cost->parameters);
  lua_setfield(L, -2, "parameters");
  lua_pushinteger(L, cost->conv_macs);
  lua_setfield(L, -2, "conv_macs");
  lua_pushinteger(L, cost->linear_macs);
  lua_setfield(L, -2, "linear_macs");
  return 1;
}

/* net:cost(path, { height = 32, width = 32 }) of a supernet, net:cost { … } of a network,
** m:cost { shape = { 1, 32, 32, 16 } } of any other module -> { parameters =, conv_macs =, linear_macs = } */
static int module_cost(lua_State *L) {
  CnModule *m = cnL_checkmodule(L, 1);
  CnCost cost = { 0 };
  CnGenotype path;
  bool supernet = cn_supernet_is(m), network = cn_network_is(m);
  int arg = supernet ? 3 : 2;
  if (supernet) cnL_checkgenotype(L, 2, &path);
  lua_settop(L, arg);
  if (!supernet && !network) {
    CnSpec x = { .dtype = CN_F32 };
    luaL_checktype(L, 2, LUA_TTABLE);
    cnL_checkoptions(L, 2, "cost", "shape");
    lua_getfield(L, 2, "shape");
    luaL_checktype(L, 3, LUA_TTABLE);
    x.ndim = cnL_checkshape(L, 3, x.shape);
    cnL_result(L, cn_module_cost(m, &cost, &x), 0);
    return push_cost(L, &cost);
  }
  cnL_checkoptions(L, arg, "cost", "height width");
  int64_t height = cnL_optfield_integer(L, arg, "cost", "height", 32);
  int64_t width = cnL_optfield_integer(L, arg, "cost", "width", height);
  cnL_result(L, supernet ? cn_supernet_cost(&cost, m, &path, height, width) : cn_network_cost(&cost, m, height, width),
             0);
  return push_cost(L, &cost);
}

/* cnas.cost.network { as for cnas.network, height =, width = }: without training or random numbers */
static int cost_network(lua_State *L) {
  static const char who[] = "cost.network";
  CnGenotype g;
  CnCost cost = { 0 };
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  cnL_checkoptions(L, 1, who, NETWORK_OPTIONS " height width");
  CnNetworkOptions o = network_options(L, who, &g);
  int64_t height = cnL_optfield_integer(L, 1, who, "height", o.imagenet ? 224 : 32);
  int64_t width = cnL_optfield_integer(L, 1, who, "width", height);
  CnModule **box = build_network(L, o, NULL);
  cnL_result(L, cn_network_cost(&cost, *box, height, width), 0);
  return push_cost(L, &cost);
}

/* net:drop_path([probability]) -> the one that holds now */
static int module_drop_path(lua_State *L) {
  CnModule *m = cnL_checkmodule(L, 1);
  luaL_argcheck(L, cn_network_is(m), 1, "must be a network");
  if (!lua_isnoneornil(L, 2)) cnL_result(L, cn_network_set_drop_path(m, luaL_checknumber(L, 2)), 0);
  lua_pushnumber(L, cn_network_drop_path(m));
  return 1;
}

/* ---- registration ---- */

static void open_space(lua_State *L) {
  static const luaL_Reg methods[] = { { "names", space_names }, { "index", space_index }, { "build", space_build },
                                      { NULL, NULL } };
  static const luaL_Reg meta[] = { { "__len", space_len }, { "__tostring", space_tostring }, { NULL, NULL } };
  static const luaL_Reg functions[] = { { "darts", space_darts }, { "builtin", space_builtin }, { NULL, NULL } };
  cnL_type(L, CNL_SPACE, methods, meta, space_free);
  luaL_newlib(L, functions);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, space_new);
  lua_setfield(L, -2, "__call");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "space");
}

void cnL_open_nas(lua_State *L) {
  static const luaL_Reg functions[] = { { "supernet", supernet_new }, { "network", network_new }, { NULL, NULL } };
  static const luaL_Reg costs[] = { { "network", cost_network }, { NULL, NULL } };
  static const luaL_Reg methods[] = { { "cost", module_cost }, { "drop_path", module_drop_path }, { NULL, NULL } };
  cnL_open_genotype(L);
  open_space(L);
  luaL_setfuncs(L, functions, 0);
  luaL_newlib(L, costs);
  lua_setfield(L, -2, "cost");
  luaL_getmetatable(L, CNL_MODULE); /* modules of nn.c learn two methods more */
  lua_getfield(L, -1, "__index");
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 2);
}
