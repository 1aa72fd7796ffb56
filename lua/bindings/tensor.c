/* tensor.c - tensors as userdata: making them, reading them, arithmetic signs, and what is not a row of ops.def. */
#include <string.h>

#include "base/memory.h"
#include "base/threads.h"
#include "bindings/binding.h"
#include "device/cpu.h"
#include "tensor/autograd.h"
#include "tensor/bf16.h"
#include "tensor/op.h"
#include "tensor/print.h"

static int tensor_free(lua_State *L) {
  CnTensor **box = luaL_checkudata(L, 1, CNL_TENSOR);
  cn_tensor_unref(*box);
  *box = NULL;
  return 0;
}

/* Constructors. Options: dtype, device. */

typedef struct Place {
  CnDtype dtype;
  CnDevice device;
} Place;

static Place check_place(lua_State *L, int arg, const char *who, CnDtype otherwise) {
  Place place = { otherwise, CN_DEVICE_CPU };
  cnL_checkoptions(L, arg, who, "dtype device");
  if (!lua_istable(L, arg)) return place;
  const char *dtype = cnL_optfield_string(L, arg, who, "dtype", NULL);
  const char *device = cnL_optfield_string(L, arg, who, "device", NULL);
  if (dtype) cnL_result(L, cn_dtype_parse(&place.dtype, dtype), 0);
  if (device) cnL_result(L, cn_device_parse(&place.device, device), 0);
  return place;
}

/* A table of options, not a list of sizes. */
static bool has_named_fields(lua_State *L, int arg) {
  lua_pushnil(L);
  if (!lua_next(L, arg)) return false;
  bool named = lua_type(L, -2) == LUA_TSTRING;
  lua_pop(L, 2);
  return named;
}

/* Sizes at `arg` as a table or as integers; returns the argument after them. */
static int check_sizes(lua_State *L, int arg, int64_t shape[CN_MAX_DIMS], int *ndim) {
  bool table = lua_istable(L, arg) && !has_named_fields(L, arg);
  if (table) {
    *ndim = cnL_checkshape(L, arg, shape);
    return arg + 1;
  }
  *ndim = lua_istable(L, arg) ? 0 : cnL_checkshape(L, arg, shape);
  return arg + *ndim;
}

static int new_filled(lua_State *L, int ndim, const int64_t *shape, Place place, double value, bool fill) {
  CnTensor **box = cnL_newtensor(L);
  CnErr e = cn_tensor_new(box, place.dtype, place.device, ndim, shape);
  if (e == CN_OK && fill) e = cn_apply1(NULL, CN_OP_fill, *box, (CnAttr[]){ { .f = value } });
  cnL_handed(*box);
  return cnL_result(L, e, 1);
}

static int sized(lua_State *L, const char *who, double value, bool fill) {
  int64_t shape[CN_MAX_DIMS];
  int ndim = 0, next = check_sizes(L, 1, shape, &ndim);
  return new_filled(L, ndim, shape, check_place(L, next, who, CN_F32), value, fill);
}

/* zeros(sizes…, { dtype, device }), ones, empty */
static int zeros(lua_State *L) { return sized(L, "zeros", 0, true); }
static int ones(lua_State *L) { return sized(L, "ones", 1, true); }
static int empty(lua_State *L) { return sized(L, "empty", 0, false); }

/* full({sizes}, value, { dtype, device }) */
static int full(lua_State *L) {
  int64_t shape[CN_MAX_DIMS];
  luaL_checktype(L, 1, LUA_TTABLE);
  int ndim = cnL_checkshape(L, 1, shape);
  double value = luaL_checknumber(L, 2);
  return new_filled(L, ndim, shape, check_place(L, 3, "full", CN_F32), value, true);
}

/* arange(n, { dtype }): 0 … n-1, i64 by default */
static int arange(lua_State *L) {
  int64_t n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 0 && n <= (int64_t)1 << 32, 1, "must be from 0 to 2^32");
  Place place = check_place(L, 2, "arange", CN_I64);
  CnTensor **whole = cnL_newtensor(L);
  cnL_result(L, cn_tensor_new(whole, CN_I64, CN_DEVICE_CPU, 1, &n), 0);
  int64_t *value = cn_tensor_data(*whole);
  for (int64_t i = 0; i < n; i++) value[i] = i;
  CnTensor **box = cnL_newtensor(L);
  return cnL_result(L, cn_tensor_to(box, *whole, place.dtype, place.device), 1);
}

/* rand(sizes…, { rng, dtype, device }) and randn: drawn on the CPU's order of elements */
static int random_tensor(lua_State *L, const char *who, CnOpId id) {
  int64_t shape[CN_MAX_DIMS];
  int ndim = 0, next = check_sizes(L, 1, shape, &ndim);
  cnL_checkoptions(L, next, who, "rng dtype device");
  if (!lua_istable(L, next))
    return luaL_error(L, "%s: give the stream to draw from: { rng = cnas.rng(seed, name) }", who);
  lua_getfield(L, next, "rng");
  CnRng *rng = luaL_testudata(L, -1, CNL_RNG);
  if (!rng) return luaL_error(L, "%s: option 'rng' must be a random stream: cnas.rng(seed, name)", who);
  const char *dtype = cnL_optfield_string(L, next, who, "dtype", "f32");
  const char *device = cnL_optfield_string(L, next, who, "device", "cpu");
  Place place = { CN_F32, CN_DEVICE_CPU };
  cnL_result(L, cn_dtype_parse(&place.dtype, dtype), 0);
  cnL_result(L, cn_device_parse(&place.device, device), 0);
  CnTensor **box = cnL_newtensor(L);
  cnL_result(L, cn_tensor_new(box, place.dtype, place.device, ndim, shape), 0);
  cnL_handed(*box);
  CnAttr attr[CN_MAX_ATTRS];
  memcpy(attr, cn_op_info(id)->defaults, sizeof attr);
  cn_attr_rng(attr + 2, rng, cn_tensor_count(*box));
  return cnL_result(L, cn_apply1(NULL, id, *box, attr), 1);
}

static int rand_uniform(lua_State *L) { return random_tensor(L, "rand", CN_OP_fill_uniform); }
static int rand_normal(lua_State *L) { return random_tensor(L, "randn", CN_OP_fill_normal); }

/* Nested tables. */

static void store(CnTensor *t, int64_t i, double number, int64_t integer) {
  void *data = cn_tensor_data(t);
  switch (t->dtype) {
    case CN_F32: ((float *)data)[i] = (float)number; break;
    case CN_F64: ((double *)data)[i] = number; break;
    case CN_BF16: ((CnBf16 *)data)[i] = cn_bf16_of_double(number); break;
    case CN_I64: ((int64_t *)data)[i] = integer; break;
    default: ((uint8_t *)data)[i] = (uint8_t)integer; break;
  }
}

static int64_t fill_from(lua_State *L, CnTensor *t, int dim, int64_t at) {
  if (dim == t->ndim) {
    int whole = 0;
    lua_Integer integer = lua_tointegerx(L, -1, &whole);
    if (lua_type(L, -1) != LUA_TNUMBER) luaL_error(L, "tensor: expected a number, got %s", luaL_typename(L, -1));
    if (!cn_dtype_is_float(t->dtype) && (!whole || (t->dtype == CN_U8 && (integer < 0 || integer > 255))))
      luaL_error(L, "tensor: %s does not fit %s", lua_tostring(L, -1), cn_dtype_name(t->dtype));
    store(t, at, lua_tonumber(L, -1), integer);
    return at + 1;
  }
  if (!lua_istable(L, -1)) luaL_error(L, "tensor: expected a table at depth %d, got %s", dim + 1, luaL_typename(L, -1));
  if ((int64_t)lua_rawlen(L, -1) != t->shape[dim])
    luaL_error(L, "tensor: rows differ in length: %d and %d", (int)t->shape[dim], (int)lua_rawlen(L, -1));
  luaL_checkstack(L, 2, "tensor: nested too deep");
  for (int64_t i = 1; i <= t->shape[dim]; i++) {
    lua_rawgeti(L, -1, i);
    at = fill_from(L, t, dim + 1, at);
    lua_pop(L, 1);
  }
  return at;
}

/* tensor(number or nested table, { dtype, device }) */
static int tensor_new(lua_State *L) {
  int64_t shape[CN_MAX_DIMS];
  int ndim = 0;
  if (lua_type(L, 1) != LUA_TNUMBER) luaL_checktype(L, 1, LUA_TTABLE);
  Place place = check_place(L, 2, "tensor", CN_F32);
  lua_pushvalue(L, 1);
  for (; lua_istable(L, -1); ndim++) {
    if (ndim == CN_MAX_DIMS) return luaL_error(L, "tensor: at most %d dimensions", CN_MAX_DIMS);
    shape[ndim] = (int64_t)lua_rawlen(L, -1);
    lua_rawgeti(L, -1, 1);
  }
  lua_settop(L, 2);
  CnTensor **box = cnL_newtensor(L);
  cnL_result(L, cn_tensor_new(box, place.dtype, CN_DEVICE_CPU, ndim, shape), 0);
  lua_pushvalue(L, 1);
  fill_from(L, *box, 0, 0);
  lua_pop(L, 1);
  if (place.device.kind == CN_CPU) return 1;
  CnTensor **there = cnL_newtensor(L);
  return cnL_result(L, cn_tensor_to(there, *box, place.dtype, place.device), 1);
}

/* Reading. */

static int tensor_shape(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  lua_createtable(L, t->ndim, 0);
  for (int d = 0; d < t->ndim; d++) {
    lua_pushinteger(L, t->shape[d]);
    lua_rawseti(L, -2, d + 1);
  }
  return 1;
}

static int tensor_size(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  lua_Integer d = luaL_checkinteger(L, 2);
  d = d < 0 ? d + t->ndim : d - 1;
  if (d < 0 || d >= t->ndim)
    return luaL_error(L, "size: dimension %I of a tensor with %d", luaL_checkinteger(L, 2), t->ndim);
  lua_pushinteger(L, t->shape[d]);
  return 1;
}

static int tensor_dim(lua_State *L) {
  lua_pushinteger(L, cnL_checktensor(L, 1)->ndim);
  return 1;
}

static int tensor_count(lua_State *L) {
  lua_pushinteger(L, cn_tensor_count(cnL_checktensor(L, 1)));
  return 1;
}

static int tensor_len(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  if (t->ndim == 0) return luaL_error(L, "#: a scalar has no length");
  lua_pushinteger(L, t->shape[0]);
  return 1;
}

static void push_element(lua_State *L, const CnTensor *t, const void *data, int64_t i) {
  switch (t->dtype) {
    case CN_F32: lua_pushnumber(L, ((const float *)data)[i]); break;
    case CN_F64: lua_pushnumber(L, ((const double *)data)[i]); break;
    case CN_BF16: lua_pushnumber(L, (lua_Number)cn_bf16_to_float(((const CnBf16 *)data)[i])); break;
    case CN_I64: lua_pushinteger(L, ((const int64_t *)data)[i]); break;
    default: lua_pushinteger(L, ((const uint8_t *)data)[i]); break;
  }
}

/* :item() -> the one element as a number */
static int tensor_item(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  double value = 0;
  cnL_result(L, cn_tensor_item(&value, t), 0);
  union { int64_t i; uint8_t u; } raw;
  if (cn_dtype_is_float(t->dtype)) lua_pushnumber(L, value);
  else {
    cnL_result(L, cn_tensor_read(t, &raw, cn_tensor_bytes(t)), 0);
    lua_pushinteger(L, t->dtype == CN_I64 ? raw.i : raw.u);
  }
  return 1;
}

static int64_t push_nested(lua_State *L, const CnTensor *t, const void *data, int dim, int64_t at) {
  if (dim == t->ndim) {
    push_element(L, t, data, at);
    return at + 1;
  }
  luaL_checkstack(L, 2, "totable");
  lua_createtable(L, (int)t->shape[dim], 0);
  for (int64_t i = 1; i <= t->shape[dim]; i++) {
    at = push_nested(L, t, data, dim + 1, at);
    lua_rawseti(L, -2, i);
  }
  return at;
}

/* :totable() -> nested tables, or a number for a scalar */
static int tensor_totable(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  void *data = lua_newuserdatauv(L, cn_tensor_bytes(t), 0);
  cnL_result(L, cn_tensor_read(t, data, cn_tensor_bytes(t)), 0);
  push_nested(L, t, data, 0, 0);
  return 1;
}

static int push_text(lua_State *L) {
  lua_pushstring(L, lua_touserdata(L, 1));
  return 1;
}

static int tensor_tostring(lua_State *L) {
  CnTensor *t = *(CnTensor **)luaL_checkudata(L, 1, CNL_TENSOR);
  char *text = NULL;
  if (!t) {
    lua_pushliteral(L, "closed tensor");
    return 1;
  }
  cnL_result(L, cn_tensor_format(&text, t), 0);
  lua_pushcfunction(L, push_text); /* in a protected call: `text` is to be freed when Lua has no memory for it */
  lua_pushlightuserdata(L, text);
  int status = lua_pcall(L, 1, 1, 0);
  cn_free(text);
  return status == LUA_OK ? 1 : lua_error(L);
}

static int tensor_is_contiguous(lua_State *L) {
  lua_pushboolean(L, cn_tensor_is_contiguous(cnL_checktensor(L, 1)));
  return 1;
}

/* Sharing and moving. */

static int tensor_detach(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  CnTensor **box = cnL_newtensor(L);
  return cnL_result(L, cn_tensor_detach(box, t), 1);
}

static int tensor_clone(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  CnTensor **box = cnL_newtensor(L);
  return cnL_result(L, cn_apply1(box, CN_OP_contiguous, t, NULL), 1);
}

/* :to(type or device, …) */
static int tensor_to(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  CnDtype dtype = t->dtype;
  CnDevice device = cn_tensor_device(t);
  int n = lua_gettop(L);
  if (n < 2) return luaL_error(L, "to: expected a type or a device");
  for (int i = 2; i <= n; i++) {
    const char *word = luaL_checkstring(L, i);
    if (cn_dtype_parse(&dtype, word) == CN_OK) continue;
    cnL_result(L, cn_device_parse(&device, word), 0);
  }
  CnTensor **box = cnL_newtensor(L);
  return cnL_result(L, cn_tensor_to(box, t, dtype, device), 1);
}

/* An in-place write to a tensor of a graph would make its gradient wrong. */
static void check_writable(lua_State *L, const char *who, const CnTensor *t) {
  if (cn_grad_enabled() && cn_tensor_tracked(t))
    luaL_error(L, "%s: cannot write in place to a tensor that takes part in a gradient: use no_grad", who);
}

/* :copy_(other): values of the same shape; types are converted */
static int tensor_copy(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1), *other = cnL_checktensor(L, 2);
  check_writable(L, "copy_", t);
  CnTensor **same = cnL_newtensor(L);
  bool before = cn_grad_enable(false);
  CnErr e = cn_tensor_to(same, other, t->dtype, cn_tensor_device(other));
  if (e == CN_OK) e = cn_tensor_copy(t, *same);
  cn_grad_enable(before);
  lua_settop(L, 1);
  return cnL_result(L, e, 1);
}

/* Gradients. */

/* :backward([gradient], { retain = false }) */
static int tensor_backward(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  bool first_is_options = lua_istable(L, 2);
  CnTensor *gradient = first_is_options ? NULL : cnL_opttensor(L, 2);
  int options = first_is_options ? 2 : 3;
  cnL_checkoptions(L, options, "backward", "retain");
  return cnL_result(L, cn_backward(t, gradient, cnL_optfield_boolean(L, options, "backward", "retain", 0)), 0);
}

static int set_requires_grad(lua_State *L, CnTensor *t, bool on) {
  if (on && !cn_dtype_is_float(t->dtype))
    return luaL_error(L, "requires_grad: only f32, f64 and bf16 tensors have gradients, this one is %s",
                      cn_dtype_name(t->dtype));
  if (t->node) return luaL_error(L, "requires_grad: this tensor was computed: detach it first");
  t->requires_grad = on;
  return 0;
}

/* :requires_grad_([on]) -> the tensor */
static int tensor_requires_grad(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  set_requires_grad(L, t, lua_isnoneornil(L, 2) || lua_toboolean(L, 2));
  lua_settop(L, 1);
  return 1;
}

/* :set_grad(tensor or nil) */
static int tensor_set_grad(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1), *g = cnL_opttensor(L, 2);
  if (g && (!cn_tensor_same_shape(t, g) || g->dtype != t->dtype))
    return luaL_error(L, "set_grad: the gradient must have the tensor's shape and type");
  CnTensor *alias = NULL; /* of the same values: a tensor can so be its own gradient without owning itself */
  if (g) cnL_result(L, cn_tensor_detach(&alias, g), 0);
  cn_tensor_unref(t->grad);
  t->grad = alias;
  return 0;
}

/* no_grad(f, …) -> what f(…) returns, computed without recording */
static int no_grad_finish(lua_State *L, int status, lua_KContext before) {
  cn_grad_enable(before != 0);
  if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
  return lua_gettop(L);
}

static int no_grad(lua_State *L) {
  luaL_checkany(L, 1);
  bool before = cn_grad_enable(false);
  return no_grad_finish(L, lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, before, no_grad_finish), before);
}

static int grad_enabled(lua_State *L) {
  lua_pushboolean(L, cn_grad_enabled());
  return 1;
}

/* Arithmetic signs. */

static int call_row(lua_State *L, const char *name) { /* name(a, b) through the module's function, which checks */
  luaL_getmetatable(L, CNL_TENSOR);
  lua_getfield(L, -1, "methods");
  lua_getfield(L, -1, name);
  lua_replace(L, 3);
  lua_settop(L, 3);
  lua_insert(L, 1);
  lua_call(L, 2, 1);
  return 1;
}

/* factor·x + shift on a float tensor; anything else goes through the broadcast row. */
static int scaled(lua_State *L, int tensor, double factor, double shift) {
  CnTensor *t = cnL_checktensor(L, tensor);
  CnTensor **box = cnL_newtensor(L);
  return cnL_result(L, cn_apply1(box, CN_OP_scale, t, (CnAttr[]){ { .f = factor }, { .f = shift } }), 1);
}

/* The argument that is a float tensor when the other is a number; 0 otherwise. */
static int beside_number(lua_State *L) {
  for (int i = 1; i <= 2; i++) {
    CnTensor **box = luaL_testudata(L, i, CNL_TENSOR);
    if (box && *box && cn_dtype_is_float((*box)->dtype) && lua_type(L, 3 - i) == LUA_TNUMBER) return i;
  }
  return 0;
}

static int tensor_add(lua_State *L) {
  int t = beside_number(L);
  return t ? scaled(L, t, 1, lua_tonumber(L, 3 - t)) : call_row(L, "add");
}

static int tensor_sub(lua_State *L) {
  int t = beside_number(L);
  if (t == 1) return scaled(L, 1, 1, -lua_tonumber(L, 2));
  return t == 2 ? scaled(L, 2, -1, lua_tonumber(L, 1)) : call_row(L, "sub");
}

static int tensor_mul(lua_State *L) {
  int t = beside_number(L);
  return t ? scaled(L, t, lua_tonumber(L, 3 - t), 0) : call_row(L, "mul");
}

static int tensor_div(lua_State *L) { return call_row(L, "div"); }

static int tensor_unm(lua_State *L) { return scaled(L, 1, -1, 0); }

static int tensor_pow(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  double exponent = luaL_checknumber(L, 2);
  CnTensor **box = cnL_newtensor(L);
  return cnL_result(L, cn_apply1(box, CN_OP_pow, t, (CnAttr[]){ { .f = exponent } }), 1);
}

/* Fields and entries: t.dtype, t.grad, t[i], methods. */

static int tensor_index(lua_State *L) {
  CnTensor *t = *(CnTensor **)luaL_checkudata(L, 1, CNL_TENSOR);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    t = cnL_checktensor(L, 1);
    CnTensor **box = cnL_newtensor(L);
  CnAttr entry[] = { { .i = 0 }, { .i = luaL_checkinteger(L, 2) } };
    return cnL_result(L, cn_apply1(box, CN_OP_select, t, entry), 1);
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *key = luaL_checkstring(L, 2);
  t = cnL_checktensor(L, 1);
  if (!strcmp(key, "dtype")) lua_pushstring(L, cn_dtype_name(t->dtype));
  else if (!strcmp(key, "device")) {
    char text[16];
    lua_pushstring(L, cn_device_name(cn_tensor_device(t), text));
  } else if (!strcmp(key, "requires_grad")) lua_pushboolean(L, cn_tensor_tracked(t));
  else if (!strcmp(key, "grad")) {
    if (!t->grad) return 0;
    CnTensor **box = cnL_newtensor(L);
    *box = cn_tensor_ref(t->grad);
  } else return luaL_error(L, "a tensor has no field or method '%s'", key);
  return 1;
}

/* t[i] = number or tensor; t.requires_grad = boolean; t.grad = tensor or nil */
static int tensor_newindex(lua_State *L) {
  CnTensor *t = cnL_checktensor(L, 1);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    check_writable(L, "assignment", t);
    CnTensor **place = cnL_newtensor(L);
    CnErr e = cn_apply1(place, CN_OP_select, t, (CnAttr[]){ { .i = 0 }, { .i = luaL_checkinteger(L, 2) } });
    if (e == CN_OK && lua_type(L, 3) == LUA_TNUMBER)
      e = cn_apply1(NULL, CN_OP_fill, *place, (CnAttr[]){ { .f = lua_tonumber(L, 3) } });
    else if (e == CN_OK) e = cn_tensor_copy(*place, cnL_checktensor(L, 3));
    return cnL_result(L, e, 0);
  }
  const char *key = luaL_checkstring(L, 2);
  if (!strcmp(key, "requires_grad")) return set_requires_grad(L, t, lua_toboolean(L, 3));
  if (!strcmp(key, "grad")) {
    lua_remove(L, 2);
    return tensor_set_grad(L);
  }
  return luaL_error(L, "a tensor has no field '%s' to set", key);
}

/* The process. */

static int live(lua_State *L) {
  lua_pushinteger(L, cn_tensor_live());
  return 1;
}

/* memory() -> bytes_live, bytes_peak, bytes_cached, blocks_live, allocations, system_allocations in a table */
static int memory(lua_State *L) {
  CnMemoryStats s = cn_memory_stats();
  const struct {
    const char *key;
    int64_t value;
  } fields[] = { { "bytes_live", s.bytes_live },     { "bytes_peak", s.bytes_peak },
                 { "bytes_cached", s.bytes_cached }, { "blocks_live", s.blocks_live },
                 { "allocations", s.allocations },   { "system_allocations", s.system_allocations } };
  lua_createtable(L, 0, 6);
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    lua_pushinteger(L, fields[i].value);
    lua_setfield(L, -2, fields[i].key);
  }
  return 1;
}

static int reset_peak(lua_State *L) {
  (void)L;
  cn_memory_reset_peak();
  return 0;
}

/* fail_allocation(n): the n-th allocation from now fails (1: the next); 0 or nil: none */
static int fail_allocation(lua_State *L) {
  cn_memory_fail_after(luaL_optinteger(L, 1, 0) - 1);
  return 0;
}

/* threads([n]) -> how many the kernels use */
static int threads(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) cn_threads_set((int)luaL_checkinteger(L, 1));
  lua_pushinteger(L, cn_threads());
  return 1;
}

/* isa([name]) -> the instruction set of the CPU's kernels: "portable", "avx2", "avx512",
** "avx512_bf16" or "avx512_amx" */
static int isa(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) cnL_result(L, cn_cpu_use(luaL_checkstring(L, 1)), 0);
  lua_pushstring(L, cn_cpu_isa());
  return 1;
}

/* is_tensor(value) */
static int is_tensor(lua_State *L) {
  lua_pushboolean(L, cnL_test(L, 1, CNL_TENSOR) != NULL);
  return 1;
}

static const luaL_Reg methods[] = {
  { "shape", tensor_shape },     { "size", tensor_size },       { "dim", tensor_dim },
  { "count", tensor_count },     { "item", tensor_item },       { "totable", tensor_totable },
  { "detach", tensor_detach },   { "clone", tensor_clone },     { "to", tensor_to },
  { "copy_", tensor_copy },      { "backward", tensor_backward }, { "requires_grad_", tensor_requires_grad },
  { "set_grad", tensor_set_grad }, { "is_contiguous", tensor_is_contiguous }, { "close", tensor_free },
  { NULL, NULL }
};

static const luaL_Reg meta[] = {
  { "__add", tensor_add }, { "__sub", tensor_sub }, { "__mul", tensor_mul }, { "__div", tensor_div },
  { "__unm", tensor_unm }, { "__pow", tensor_pow }, { "__len", tensor_len }, { "__tostring", tensor_tostring },
  { "__newindex", tensor_newindex }, { NULL, NULL }
};

static const luaL_Reg functions[] = {
  { "tensor", tensor_new },   { "zeros", zeros },         { "ones", ones },         { "empty", empty },
  { "full", full },           { "arange", arange },       { "rand", rand_uniform }, { "randn", rand_normal },
  { "no_grad", no_grad },     { "grad_enabled", grad_enabled }, { "live", live },   { "memory", memory },
  { "reset_peak", reset_peak }, { "fail_allocation", fail_allocation }, { "threads", threads },
  { "isa", isa },             { "is_tensor", is_tensor }, { NULL, NULL }
};

void cnL_open_tensor(lua_State *L) {
  cnL_type(L, CNL_TENSOR, methods, meta, tensor_free);
  luaL_getmetatable(L, CNL_TENSOR);
  lua_getfield(L, -1, "__index"); /* the methods; rows add theirs in ops.c */
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "methods");
  lua_pushcclosure(L, tensor_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
