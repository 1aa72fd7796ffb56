/* nn.c - modules in Lua: cnas.nn.conv2d { … } and its like make them, calling one runs it.
**
** A box holds one reference. A module that draws random numbers while it runs (dropout) keeps its stream alive itself,
** by a reference in the registry, because it may outlive every box: as a child, or as an operation of a network. */
#include "base/memory.h"
#include "bindings/modules.h"
#include "nas/network.h"
#include "nn/layers.h"
#include "tensor/autograd.h"

/* ---- options ---- */

static const char default_stream; /* its address is the key in the registry */

static CnRng *interpreter_stream(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &default_stream) == LUA_TNIL) {
    lua_pop(L, 1);
    CnRng *made = lua_newuserdatauv(L, sizeof *made, 0);
    *made = cn_rng_named(0, "weights");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &default_stream);
  }
  CnRng *rng = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return rng;
}

CnRng *cnL_push_stream(lua_State *L, int arg, const char *who, const char *field) {
  lua_getfield(L, arg, field);
  CnRng *rng = luaL_testudata(L, -1, CNL_RNG);
  if (rng == NULL && !lua_isnil(L, -1))
    luaL_error(L, "%s: option '%s' must be a random stream (cnas.rng), got %s", who, field, luaL_typename(L, -1));
  return rng;
}

CnRng *cnL_optfield_rng(lua_State *L, int arg, const char *who, const char *field) {
  int type = lua_getfield(L, arg, field);
  bool zeros = type == LUA_TBOOLEAN && !lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (zeros) return NULL;
  if (type == LUA_TNIL) return interpreter_stream(L);
  CnRng *rng = cnL_push_stream(L, arg, who, field);
  lua_pop(L, 1); /* the table holds it */
  return rng;
}

typedef struct Kept {
  lua_State *main;
  int ref;
} Kept;

static void kept_release(void *data) {
  Kept *k = data;
  luaL_unref(k->main, LUA_REGISTRYINDEX, k->ref);
  cn_free(k);
}

void cnL_keep(lua_State *L, CnModule *m) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  Kept *k = cn_alloc(sizeof *k);
  if (k == NULL) {
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    cnL_result(L, CN_EMEMORY, 0);
  }
  *k = (Kept){ main, ref };
  cnL_result(L, cn_module_keep(m, k, kept_release), 0);
}

/* A number for both directions, or { height, width }. */
static void pair_field(lua_State *L, const char *who, const char *field, int64_t otherwise, int64_t out[2]) {
  out[0] = out[1] = otherwise;
  if (lua_getfield(L, 1, field) != LUA_TTABLE) {
    lua_pop(L, 1);
    out[0] = out[1] = cnL_optfield_integer(L, 1, who, field, otherwise);
    return;
  }
  for (int i = 0; i < 2; i++) {
    int whole;
    lua_rawgeti(L, -1, i + 1);
    out[i] = lua_tointegerx(L, -1, &whole);
    if (!whole) luaL_error(L, "%s: option '%s' must be a number or {height, width}", who, field);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* The one table of a constructor, at index 1, with its legal keys. */
static void options(lua_State *L, const char *who, const char *known) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  lua_settop(L, 1);
  cnL_checkoptions(L, 1, who, known);
}

/* ---- constructors: options checked, box made, engine called ---- */

static int nn_conv2d(lua_State *L) {
  static const char who[] = "nn.conv2d";
  CnConv2dOptions o = { 0 };
  options(L, who, "inp out kernel stride padding dilation groups bias rng");
  o.inp = cnL_field_integer(L, 1, who, "inp");
  o.out = cnL_field_integer(L, 1, who, "out");
  pair_field(L, who, "kernel", 1, o.kernel);
  pair_field(L, who, "stride", 1, o.stride);
  pair_field(L, who, "padding", 0, o.padding);
  pair_field(L, who, "dilation", 1, o.dilation);
  o.groups = cnL_optfield_integer(L, 1, who, "groups", 1);
  o.bias = cnL_optfield_boolean(L, 1, who, "bias", 0);
  CnRng *rng = cnL_optfield_rng(L, 1, who, "rng");
  return cnL_result(L, cn_conv2d_new(cnL_newmodule(L), o, rng), 1);
}

static int nn_batch_norm(lua_State *L) {
  static const char who[] = "nn.batch_norm";
  CnBatchNormOptions o = { 0 };
  options(L, who, "channels affine track eps momentum");
  o.channels = cnL_field_integer(L, 1, who, "channels");
  o.affine = cnL_optfield_boolean(L, 1, who, "affine", 1);
  o.track = cnL_optfield_boolean(L, 1, who, "track", 1);
  o.eps = cnL_optfield_number(L, 1, who, "eps", 1e-5);
  o.momentum = cnL_optfield_number(L, 1, who, "momentum", 0.1);
  return cnL_result(L, cn_batch_norm_new(cnL_newmodule(L), o), 1);
}

static int nn_linear(lua_State *L) {
  static const char who[] = "nn.linear";
  options(L, who, "inp out bias rng");
  int64_t inp = cnL_field_integer(L, 1, who, "inp"), out = cnL_field_integer(L, 1, who, "out");
  bool bias = cnL_optfield_boolean(L, 1, who, "bias", 1);
  CnRng *rng = cnL_optfield_rng(L, 1, who, "rng");
  return cnL_result(L, cn_linear_new(cnL_newmodule(L), inp, out, bias, rng), 1);
}

static int nn_embedding(lua_State *L) {
  static const char who[] = "nn.embedding";
  options(L, who, "rows width rng");
  int64_t rows = cnL_field_integer(L, 1, who, "rows"), width = cnL_field_integer(L, 1, who, "width");
  CnRng *rng = cnL_optfield_rng(L, 1, who, "rng");
  return cnL_result(L, cn_embedding_new(cnL_newmodule(L), rows, width, rng), 1);
}

static int nn_lstm_cell(lua_State *L) {
  static const char who[] = "nn.lstm_cell";
  options(L, who, "inp hidden rng");
  int64_t inp = cnL_field_integer(L, 1, who, "inp"), hidden = cnL_field_integer(L, 1, who, "hidden");
  CnRng *rng = cnL_optfield_rng(L, 1, who, "rng");
  return cnL_result(L, cn_lstm_cell_new(cnL_newmodule(L), inp, hidden, rng), 1);
}

static int nn_relu(lua_State *L) {
  return cnL_result(L, cn_relu_new(cnL_newmodule(L)), 1);
}

static int nn_identity(lua_State *L) {
  return cnL_result(L, cn_identity_new(cnL_newmodule(L)), 1);
}

static int nn_global_avg_pool(lua_State *L) {
  return cnL_result(L, cn_global_avg_pool_new(cnL_newmodule(L)), 1);
}

static int nn_zero(lua_State *L) {
  options(L, "nn.zero", "stride");
  int64_t stride = cnL_optfield_integer(L, 1, "nn.zero", "stride", 1);
  return cnL_result(L, cn_zero_new(cnL_newmodule(L), stride), 1);
}

static int pool(lua_State *L, const char *who, CnErr (*make)(CnModule **, int64_t, int64_t, int64_t)) {
  options(L, who, "kernel stride padding");
  int64_t kernel = cnL_field_integer(L, 1, who, "kernel");
  int64_t stride = cnL_optfield_integer(L, 1, who, "stride", 1);
  int64_t padding = cnL_optfield_integer(L, 1, who, "padding", 0);
  return cnL_result(L, make(cnL_newmodule(L), kernel, stride, padding), 1);
}

static int nn_max_pool(lua_State *L) {
  return pool(L, "nn.max_pool", cn_max_pool_new);
}

static int nn_avg_pool(lua_State *L) {
  return pool(L, "nn.avg_pool", cn_avg_pool_new);
}

static int nn_dropout(lua_State *L) {
  static const char who[] = "nn.dropout";
  options(L, who, "p rng");
  double p = cnL_optfield_number(L, 1, who, "p", 0.5);
  CnRng *stream = cnL_push_stream(L, 1, who, "rng");
  if (stream == NULL) return luaL_error(L, "%s: option 'rng' is missing: the stream to draw from", who);
  CnModule **box = cnL_newmodule(L);
  cnL_result(L, cn_dropout_new(box, p, stream), 0);
  lua_pushvalue(L, -2);
  cnL_keep(L, *box);
  return 1;
}

static int nn_factorized_reduce(lua_State *L) {
  static const char who[] = "nn.factorized_reduce";
  options(L, who, "inp out affine track rng");
  int64_t inp = cnL_field_integer(L, 1, who, "inp"), out = cnL_field_integer(L, 1, who, "out");
  bool affine = cnL_optfield_boolean(L, 1, who, "affine", 1), track = cnL_optfield_boolean(L, 1, who, "track", 1);
  CnRng *rng = cnL_optfield_rng(L, 1, who, "rng");
  return cnL_result(L, cn_factorized_reduce_new(cnL_newmodule(L), inp, out, affine, track, rng), 1);
}

static int nn_sequential(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  cnL_checkoptions(L, 1, "nn.sequential", "");
  CnModule **box = cnL_newmodule(L);
  cnL_result(L, cn_sequential_new(box, NULL, 0), 0);
  for (int i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    CnModule *child = cnL_test(L, -1, CNL_MODULE);
    if (child == NULL)
      return luaL_error(L, "nn.sequential: entry %d must be a module, got %s", i, luaL_typename(L, -1));
    cnL_result(L, cn_sequential_add(*box, child), 0);
    lua_pop(L, 1);
  }
  lua_settop(L, 2);
  return 1;
}

/* ---- calling ---- */

static int call_lstm(lua_State *L, CnModule *m) {
  CnTensor *x = cnL_checktensor(L, 2), *h = cnL_checktensor(L, 3), *c = cnL_checktensor(L, 4);
  CnTensor **next_h = cnL_newtensor(L), **next_c = cnL_newtensor(L);
  return cnL_result(L, cn_lstm_cell_forward(m, next_h, next_c, x, h, c), 2);
}

/* net(x, architecture) */
static int call_supernet(lua_State *L, CnModule *m) {
  CnGenotype path;
  CnTensor *x = cnL_checktensor(L, 2);
  cnL_checkgenotype(L, 3, &path);
  return cnL_result(L, cn_supernet_forward(m, cnL_newtensor(L), x, &path), 1);
}

/* net(x) gives logits and, in training with an auxiliary head, its logits. */
static int call_network(lua_State *L, CnModule *m) {
  CnTensor *x = cnL_checktensor(L, 2);
  CnTensor **logits = cnL_newtensor(L), **auxiliary = cnL_newtensor(L);
  cnL_result(L, cn_network_forward(m, logits, auxiliary, x), 0);
  return *auxiliary != NULL ? 2 : (lua_pop(L, 1), 1);
}

static int module_call(lua_State *L) {
  CnModule *m = cnL_checkmodule(L, 1);
  if (cn_lstm_cell_is(m)) return call_lstm(L, m);
  if (cn_supernet_is(m)) return call_supernet(L, m);
  if (cn_network_is(m)) return call_network(L, m);
  CnTensor *x = cnL_checktensor(L, 2);
  CnTensor **y = cnL_newtensor(L);
  cnL_result(L, cn_module_forward1(m, y, x), 1);
  cnL_handed(*y);
  return 1;
}

/* ---- parameters and state ---- */

/* A visit holds nothing but the stack, so that a Lua error may leave it by a jump. */
static void push_tensor(lua_State *L, CnTensor *t) {
  CnTensor **box = cnL_newtensor(L);
  *box = cn_tensor_ref(t);
}

/* nn.blocks([on]) -> whether layers ran as blocks before. Off, every layer runs its own row: what blocks are compared
** with. */
static int nn_blocks(lua_State *L) {
  bool before = cn_blocks_enable(true);
  cn_blocks_enable(lua_isnoneornil(L, 1) ? before : lua_toboolean(L, 1));
  lua_pushboolean(L, before);
  return 1;
}

/* Appends to the list and its names, which are at the top of the stack. */
static CnErr list_parameter(void *context, const char *name, CnTensor *t, bool buffer) {
  lua_State *L = context;
  if (buffer) return CN_OK;
  lua_Integer n = (lua_Integer)lua_rawlen(L, -2) + 1;
  push_tensor(L, t);
  lua_rawseti(L, -3, n);
  lua_pushstring(L, name);
  lua_rawseti(L, -2, n);
  return CN_OK;
}

/* m:parameters() -> list of tensors with a list `names` */
static int module_parameters(lua_State *L) {
  CnModule *m = cnL_checkmodule(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  cnL_result(L, cn_module_visit(m, list_parameter, L), 0);
  lua_setfield(L, -2, "names");
  return 1;
}

static CnErr list_state(void *context, const char *name, CnTensor *t, bool buffer) {
  lua_State *L = context;
  lua_createtable(L, 0, 3);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  push_tensor(L, t);
  lua_setfield(L, -2, "tensor");
  lua_pushboolean(L, buffer);
  lua_setfield(L, -2, "buffer");
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  return CN_OK;
}

/* m:state() -> list of { name =, tensor =, buffer = } */
static int module_state(lua_State *L) {
  CnModule *m = cnL_checkmodule(L, 1);
  lua_newtable(L);
  return cnL_result(L, cn_module_visit(m, list_state, L), 1);
}

/* ---- loading: check everything, then convert everything, then copy ---- */

/* Fixed places on the stack while loading. */
enum { MODULE = 1, GIVEN, OPTIONS, WRONG, CONVERTED };

/* Appends a line to one of the lists of the WRONG table: missing, unexpected, misshapen. */
static void note(lua_State *L, const char *list, const char *line) {
  lua_getfield(L, WRONG, list);
  lua_pushstring(L, line);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static CnErr check_entry(void *context, const char *name, CnTensor *t, bool buffer) {
  lua_State *L = context;
  char expected[160], came[160];
  (void)buffer;
  lua_getfield(L, GIVEN, name);
  CnTensor *given = cnL_test(L, -1, CNL_TENSOR);
  if (given == NULL) {
    note(L, "missing", name);
  } else if (!cn_tensor_same_shape(given, t)) {
    lua_pushfstring(L, "%s is %s, must be %s", name, cn_shape_text(given->ndim, given->shape, came),
                    cn_shape_text(t->ndim, t->shape, expected));
    note(L, "misshapen", lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  lua_pushboolean(L, 1);
  lua_setfield(L, CONVERTED, name); /* known; becomes the tensor to copy */
  return CN_OK;
}

static CnErr convert_entry(void *context, const char *name, CnTensor *t, bool buffer) {
  lua_State *L = context;
  (void)buffer;
  lua_getfield(L, GIVEN, name);
  CnTensor *given = cnL_test(L, -1, CNL_TENSOR);
  lua_pop(L, 1);
  if (given == NULL || !cn_tensor_same_shape(given, t)) return CN_OK; /* not strict */
  CnTensor **box = cnL_newtensor(L);
  bool recorded = cn_grad_enable(false);
  CnErr e = cn_tensor_to(box, given, t->dtype, cn_tensor_device(t));
  cn_grad_enable(recorded);
  lua_setfield(L, CONVERTED, name);
  return e;
}

static CnErr copy_entry(void *context, const char *name, CnTensor *t, bool buffer) {
  lua_State *L = context;
  (void)buffer;
  lua_getfield(L, CONVERTED, name);
  CnTensor *from = cnL_test(L, -1, CNL_TENSOR);
  lua_pop(L, 1);
  return from != NULL ? cn_tensor_copy(t, from) : CN_OK;
}

/* Notes the names given that the module does not have. */
static void check_unexpected(lua_State *L) {
  for (lua_pushnil(L); lua_next(L, GIVEN); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "load: expected a table of tensors by name");
    lua_pushvalue(L, -2);
    if (lua_rawget(L, CONVERTED) == LUA_TNIL) note(L, "unexpected", lua_tostring(L, -3));
    lua_pop(L, 1);
  }
}

/* Adds "; 12 missing: a, b, …" to the buffer for a list that is not empty; true when it was not. */
static bool describe_wrong(lua_State *L, luaL_Buffer *text, const char *list) {
  enum { SHOWN = 5 };
  lua_getfield(L, WRONG, list);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  lua_pop(L, 1);
  if (n == 0) return false;
  lua_pushfstring(L, "; %I %s: ", n, list);
  luaL_addvalue(text);
  for (lua_Integer i = 1; i <= n && i <= SHOWN; i++) {
    if (i > 1) luaL_addstring(text, ", ");
    lua_getfield(L, WRONG, list);
    lua_rawgeti(L, -1, i);
    lua_remove(L, -2);
    luaL_addvalue(text);
  }
  if (n > SHOWN) luaL_addstring(text, ", …");
  return true;
}

/* GIVEN as a list of { name =, tensor = }, as state() gives, becomes a table by name. */
static void list_to_names(lua_State *L) {
  if (lua_rawlen(L, GIVEN) == 0) return;
  lua_newtable(L);
  for (int i = 1; lua_rawgeti(L, GIVEN, i) != LUA_TNIL; i++) {
    if (!lua_istable(L, -1)) luaL_error(L, "load: entry %d must be { name = …, tensor = … }", i);
    lua_getfield(L, -1, "name");
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "load: entry %d has no name", i);
    lua_getfield(L, -2, "tensor");
    lua_settable(L, -4);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  lua_replace(L, GIVEN);
}

/* m:load(tensors by name or state list, { strict = true }) -> m. Strict: names and shapes must all fit, else nothing is
** loaded and the error lists what does not. Not strict: what fits is loaded; returns m and the three lists. */
static int module_load(lua_State *L) {
  CnModule *m = cnL_checkmodule(L, MODULE);
  luaL_checktype(L, GIVEN, LUA_TTABLE);
  lua_settop(L, OPTIONS);
  cnL_checkoptions(L, OPTIONS, "load", "strict");
  bool strict = cnL_optfield_boolean(L, OPTIONS, "load", "strict", 1);
  list_to_names(L);
  lua_newtable(L);
  for (const char *const *list = (const char *const[]){ "missing", "unexpected", "misshapen", NULL }; *list; list++) {
    lua_newtable(L);
    lua_setfield(L, WRONG, *list);
  }
  lua_newtable(L);
  cnL_result(L, cn_module_visit(m, check_entry, L), 0);
  check_unexpected(L);
  if (strict) {
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    lua_pushfstring(L, "load: the tensors do not fit this %s", m->kind->name);
    luaL_addvalue(&text);
    bool wrong = describe_wrong(L, &text, "missing");
    wrong |= describe_wrong(L, &text, "unexpected");
    wrong |= describe_wrong(L, &text, "misshapen");
    luaL_pushresult(&text);
    if (wrong) return cnL_raise(L, CN_EDATA, lua_tostring(L, -1));
  }
  cnL_result(L, cn_module_visit(m, convert_entry, L), 0);
  cnL_result(L, cn_module_visit(m, copy_entry, L), 0);
  lua_pushvalue(L, MODULE);
  if (strict) return 1;
  lua_pushvalue(L, WRONG);
  return 2;
}

/* ---- the rest ---- */

/* m:train([on]) -> m */
static int module_train(lua_State *L) {
  cn_module_train(cnL_checkmodule(L, 1), lua_isnone(L, 2) || lua_toboolean(L, 2));
  lua_settop(L, 1);
  return 1;
}

/* m:count() -> elements of all parameters */
static int module_count(lua_State *L) {
  lua_pushinteger(L, cn_module_parameter_count(cnL_checkmodule(L, 1)));
  return 1;
}

/* The first parameter's type and device, for what m:to leaves open. */
static CnErr first_tensor(void *context, const char *name, CnTensor *t, bool buffer) {
  CnTensor **first = context;
  (void)name;
  (void)buffer;
  if (*first == NULL) *first = t;
  return CN_OK;
}

/* m:to("f64"), m:to("cuda"), m:to("f32", "cpu") -> m; the tensors stay the same objects */
static int module_to(lua_State *L) {
  CnModule *m = cnL_checkmodule(L, 1);
  CnTensor *first = NULL;
  cnL_result(L, cn_module_visit(m, first_tensor, &first), 0);
  CnDtype dtype = first != NULL ? first->dtype : CN_F32;
  CnDevice device = first != NULL ? cn_tensor_device(first) : CN_DEVICE_CPU;
  for (int arg = 2; arg <= lua_gettop(L); arg++) {
    const char *text = luaL_checkstring(L, arg);
    if (cn_dtype_parse(&dtype, text) != CN_OK) cnL_result(L, cn_device_parse(&device, text), 0);
  }
  cnL_result(L, cn_module_to(m, dtype, device), 0);
  lua_settop(L, 1);
  return 1;
}

/* One line for each module, indented by depth. */
static void add_tree(lua_State *L, luaL_Buffer *text, const CnModule *m, const char *name, int depth) {
  char settings[200] = "";
  for (int i = 0; i < depth; i++) luaL_addstring(text, "  ");
  if (m->kind->describe != NULL) m->kind->describe(m, settings, sizeof settings);
  lua_pushfstring(L, "%s%s%s%s%s%s", name, name[0] != 0 ? ": " : "", m->kind->name, settings[0] != 0 ? " (" : "",
                  settings, settings[0] != 0 ? ")" : "");
  luaL_addvalue(text);
  for (int i = 0; i < m->count; i++) {
    if (m->slots[i].child == NULL) continue;
    luaL_addchar(text, '\n');
    add_tree(L, text, m->slots[i].child, m->slots[i].name, depth + 1);
  }
}

static int module_tostring(lua_State *L) {
  CnModule **box = luaL_checkudata(L, 1, CNL_MODULE);
  luaL_Buffer text;
  if (*box == NULL) {
    lua_pushliteral(L, "module (closed)");
    return 1;
  }
  luaL_buffinit(L, &text);
  add_tree(L, &text, *box, "", 0);
  luaL_pushresult(&text);
  return 1;
}

/* Two boxes of the same module are equal. */
static int module_eq(lua_State *L) {
  CnModule *a = cnL_test(L, 1, CNL_MODULE), *b = cnL_test(L, 2, CNL_MODULE);
  lua_pushboolean(L, a != NULL && a == b);
  return 1;
}

static int module_free(lua_State *L) {
  CnModule **box = luaL_checkudata(L, 1, CNL_MODULE);
  cn_module_unref(*box);
  *box = NULL;
  return 0;
}

void cnL_open_nn(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "parameters", module_parameters }, { "state", module_state }, { "load", module_load }, { "train", module_train },
    { "count", module_count },           { "to", module_to },       { NULL, NULL },
  };
  static const luaL_Reg meta[] = {
    { "__call", module_call }, { "__tostring", module_tostring }, { "__eq", module_eq }, { NULL, NULL },
  };
  static const luaL_Reg functions[] = {
    { "conv2d", nn_conv2d },
    { "batch_norm", nn_batch_norm },
    { "linear", nn_linear },
    { "embedding", nn_embedding },
    { "lstm_cell", nn_lstm_cell },
    { "relu", nn_relu },
    { "identity", nn_identity },
    { "zero", nn_zero },
    { "max_pool", nn_max_pool },
    { "avg_pool", nn_avg_pool },
    { "global_avg_pool", nn_global_avg_pool },
    { "dropout", nn_dropout },
    { "factorized_reduce", nn_factorized_reduce },
    { "sequential", nn_sequential },
    { "blocks", nn_blocks },
    { NULL, NULL },
  };
  cnL_type(L, CNL_MODULE, methods, meta, module_free);
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "nn");
}
