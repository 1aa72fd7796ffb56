/* ops.c - the rows of ops.def as Lua functions and tensor methods.
**
** cnas.<row>(inputs…, attributes…): tensors first; then attributes by position, or one table of names. A number stands
** for a scalar tensor where a row takes two broadcast inputs. Rows in place are called <row>_ and return their first
** input. cnas.ops() lists all rows. */
#include <string.h>

#include "bindings/binding.h"
#include "tensor/autograd.h"
#include "tensor/op.h"

static bool is_tensor(lua_State *L, int arg) { return luaL_testudata(L, arg, CNL_TENSOR) != NULL; }

/* A table of named attributes: one with a string key, or empty unless the row begins with a list. Else a list value. */
static bool is_options(lua_State *L, int arg, const CnOpInfo *info) {
  if (!lua_istable(L, arg)) return false;
  lua_pushnil(L);
  if (!lua_next(L, arg)) return info->attrs == 0 || info->attr[0].kind != CN_INTS;
  bool named = lua_type(L, -2) == LUA_TSTRING;
  lua_pop(L, 2);
  return named;
}

static int wrong(lua_State *L, const CnOp *op, const CnAttrInfo *attr, const char *expected) {
  return luaL_error(L, "%s: %s must be %s, got %s", op->name, attr->name, expected, luaL_tolstring(L, -1, NULL));
}

static int64_t whole(lua_State *L, int at, const CnOp *op, const CnAttrInfo *attr, const char *expected) {
  int is_whole = 0;
  int64_t value = lua_type(L, at) == LUA_TNUMBER ? lua_tointegerx(L, at, &is_whole) : 0;
  if (!is_whole) {
    lua_pushvalue(L, at);
    wrong(L, op, attr, expected);
  }
  return value;
}

/* Dimensions count from 1 in Lua, from 0 in the engine; negative ones count from the end in both. */
static int64_t dimension(lua_State *L, int at, const CnOp *op, const CnAttrInfo *attr) {
  int64_t d = whole(L, at, op, attr, "a dimension, counted from 1");
  if (d == 0) luaL_error(L, "%s: %s counts from 1, got 0", op->name, attr->name);
  return d > 0 ? d - 1 : d;
}

static int64_t dimension_bit(lua_State *L, int at, const CnOp *op, const CnAttrInfo *attr, const CnTensor *x) {
  int64_t d = dimension(L, at, op, attr);
  if (d < 0) d += x->ndim;
  if (d < 0 || d >= x->ndim) luaL_error(L, "%s: a dimension is beyond the %d of x", op->name, x->ndim);
  return (int64_t)1 << d;
}

/* The attribute on top of the stack into its slots. */
static void read_attr(lua_State *L, const CnOp *op, const CnAttrInfo *attr, CnAttr *slot, const CnTensor *x) {
  int top = lua_gettop(L);
  switch (attr->kind) {
    case CN_INT: slot->i = whole(L, top, op, attr, "a whole number"); break;
    case CN_FLOAT:
      if (lua_type(L, top) != LUA_TNUMBER) wrong(L, op, attr, "a number");
      slot->f = lua_tonumber(L, top);
      break;
    case CN_BOOL:
      if (!lua_isboolean(L, top)) wrong(L, op, attr, "true or false");
      slot->i = lua_toboolean(L, top);
      break;
    case CN_DTYPE: {
      CnDtype dtype = CN_F32;
      if (lua_type(L, top) != LUA_TSTRING) wrong(L, op, attr, "a type: f32, f64, i64, u8 or bf16");
      cnL_result(L, cn_dtype_parse(&dtype, lua_tostring(L, top)), 0);
      slot->i = dtype;
      break;
    }
    case CN_PAIR:
      if (lua_istable(L, top)) {
        for (int i = 0; i < 2; i++) {
          lua_rawgeti(L, top, i + 1);
          slot[i].i = whole(L, top + 1, op, attr, "a whole number or {height, width}");
          lua_pop(L, 1);
        }
      } else {
        slot[0].i = slot[1].i = whole(L, top, op, attr, "a whole number or {height, width}");
      }
      break;
    case CN_DIM: slot->i = dimension(L, top, op, attr); break;
    case CN_DIMS:
      slot->i = 0;
      if (!lua_istable(L, top)) {
        slot->i = dimension_bit(L, top, op, attr, x);
        break;
      }
      for (int i = 1; lua_rawgeti(L, top, i) != LUA_TNIL; i++) {
        slot->i |= dimension_bit(L, top + 1, op, attr, x);
        lua_pop(L, 1);
      }
      break;
    case CN_INTS:
      if (!lua_istable(L, top)) wrong(L, op, attr, "a list of whole numbers");
      slot->i = 0;
      while (lua_rawgeti(L, top, slot->i + 1) != LUA_TNIL) {
        if (slot->i == CN_MAX_DIMS) luaL_error(L, "%s: %s has at most %d entries", op->name, attr->name, CN_MAX_DIMS);
        slot[1 + slot->i].i = whole(L, top + 1, op, attr, "a list of whole numbers");
        slot->i++;
        lua_pop(L, 1);
      }
      break;
    case CN_RNG_SLOTS: {
      CnRng *rng = luaL_testudata(L, top, CNL_RNG);
      if (!rng) wrong(L, op, attr, "a random stream: cnas.rng(seed, name)");
      bool images = op->id == CN_OP_drop_path;
      cn_attr_rng(slot, rng, images ? (x->ndim ? x->shape[0] : 1) : cn_tensor_count(x));
      break;
    }
  }
  lua_settop(L, top);
}

/* Named attributes from the table at `arg`. */
static void read_named(lua_State *L, const CnOp *op, const CnOpInfo *info, int arg, CnAttr *attr, bool *given,
                       const CnTensor *x) {
  char known[256] = "";
  for (int i = 0; i < info->attrs; i++) strcat(strcat(known, i ? " " : ""), info->attr[i].name);
  cnL_checkoptions(L, arg, op->name, known);
  for (int i = 0; i < info->attrs; i++) {
    if (lua_getfield(L, arg, info->attr[i].name) != LUA_TNIL) {
      read_attr(L, op, &info->attr[i], attr + info->attr[i].slot, x);
      given[i] = true;
    }
    lua_pop(L, 1);
  }
}

/* Attributes by position from `arg` on; a list may also be written out: x:reshape(2, 3). */
static void read_positional(lua_State *L, const CnOp *op, const CnOpInfo *info, int arg, CnAttr *attr, bool *given,
                            const CnTensor *x) {
  int top = lua_gettop(L);
  for (int i = 0; i < info->attrs && arg <= top; i++, arg++) {
    if (lua_isnil(L, arg)) continue;
    if (info->attr[i].kind == CN_INTS && !lua_istable(L, arg)) {
      lua_newtable(L);
      for (int n = 1; arg <= top; n++, arg++) {
        lua_pushvalue(L, arg);
        lua_rawseti(L, -2, n);
      }
    } else {
      lua_pushvalue(L, arg);
    }
    read_attr(L, op, &info->attr[i], attr + info->attr[i].slot, x);
    lua_pop(L, 1);
    given[i] = true;
  }
  if (arg <= top) luaL_error(L, "%s: too many arguments", op->name);
}

/* Numbers among the inputs of a broadcast row become scalar tensors like the first tensor; boxed, so nothing leaks. */
static CnTensor *number_input(lua_State *L, const CnOp *op, int arg, const CnTensor *like) {
  if (!cn_dtype_is_float(like->dtype)) { /* a number must be one of the type's: x:lt(0.5) would compare with 0 */
    int whole = 0;
    lua_Integer value = lua_tointegerx(L, arg, &whole);
    if (!whole || (like->dtype == CN_U8 && (value < 0 || value > 255)))
      luaL_error(L, "%s: %s does not fit %s: convert the tensor with :to()", op->name, lua_tostring(L, arg),
                 cn_dtype_name(like->dtype));
  }
  CnTensor **box = cnL_newtensor(L);
  cnL_result(L, cn_tensor_scalar(box, like->dtype, cn_tensor_device(like), lua_tonumber(L, arg)), 0);
  lua_replace(L, arg);
  return *box;
}

static bool broadcasts(const CnOp *op) {
  return op->kind != CN_VIEW && op->id != CN_OP_contiguous &&
         (op->types == CN_ANY_STRIDED || op->types == CN_FLOATS_STRIDED);
}

/* The tensors of an input of any number, from argument `arg` on or in a list there, after the *nin others. */
static int read_rest(lua_State *L, const CnOp *op, int arg, CnTensor **in, int *nin) {
  bool list = lua_istable(L, arg);
  int n = 0;
  for (;; n++) {
    if (list) lua_rawgeti(L, arg, n + 1);
    else if (arg + n <= lua_gettop(L)) lua_pushvalue(L, arg + n);
    else lua_pushnil(L);
    bool more = is_tensor(L, -1);
    if (more && *nin == CN_MAX_INPUTS) luaL_error(L, "%s: at most %d tensors", op->name, CN_MAX_INPUTS);
    if (more) in[(*nin)++] = cnL_checktensor(L, -1);
    lua_pop(L, 1); /* the argument or the list keeps it alive */
    if (!more) break;
  }
  return list ? arg + 1 : arg + n;
}

/* Collects tensors from the arguments; returns the first argument that is not one. */
static int read_inputs(lua_State *L, const CnOp *op, const CnOpInfo *info, CnTensor **in, int *nin) {
  int arg = 1, named = info->inputs;
  bool variadic = named && info->input[named - 1].variadic;
  if (variadic) named--;
  const CnTensor *like = NULL;
  for (int i = 1; i <= info->inputs && !like; i++)
    if (is_tensor(L, i) && info->input[i - 1].dtype == CN_CALLS) like = cnL_checktensor(L, i);
  for (int i = 0; i < named; i++) {
    const CnInputInfo *input = &info->input[i];
    if (is_tensor(L, arg)) {
      in[i] = cnL_checktensor(L, arg++);
    } else if (lua_type(L, arg) == LUA_TNUMBER && like && broadcasts(op)) {
      in[i] = number_input(L, op, arg++, like);
    } else if (input->optional) {
      in[i] = NULL;
      if (lua_isnil(L, arg)) arg++;
    } else {
      luaL_error(L, "%s: %s must be a tensor, got %s", op->name, input->name, luaL_typename(L, arg));
    }
  }
  *nin = named;
  return variadic ? read_rest(L, op, arg, in, nin) : arg;
}

static int apply(lua_State *L) {
  const CnOp *op = cn_op((CnOpId)lua_tointeger(L, lua_upvalueindex(1)));
  const CnOpInfo *info = cn_op_info(op->id);
  CnTensor *in[CN_MAX_INPUTS] = { NULL }, *out[CN_MAX_OUTPUTS] = { NULL };
  CnAttr attr[CN_MAX_ATTRS];
  bool given[8] = { false };
  int nin = 0, arg = read_inputs(L, op, info, in, &nin);
  memcpy(attr, info->defaults, sizeof attr);
  if (lua_gettop(L) == arg && is_options(L, arg, info)) read_named(L, op, info, arg, attr, given, in[0]);
  else read_positional(L, op, info, arg, attr, given, in[0]);
  for (int i = 0; i < info->attrs; i++)
    if (info->attr[i].required && !given[i]) luaL_error(L, "%s: %s is missing", op->name, info->attr[i].name);
  if (op->kind == CN_INPLACE) {
    lua_pushvalue(L, 1);
    return cnL_result(L, cn_apply(NULL, op->id, in, nin, attr), 1);
  }
  CnTensor **box[CN_MAX_OUTPUTS] = { NULL };
  for (int i = 0; i < info->visible; i++) box[i] = cnL_newtensor(L);
  CnErr e = cn_apply(out, op->id, in, nin, attr);
  int made = 0;
  for (; e == CN_OK && made < info->visible && out[made]; made++)
    *box[made] = op->kind == CN_VIEW ? out[made] : cnL_handed(out[made]);
  lua_pop(L, e == CN_OK ? info->visible - made : 0); /* optional outputs come last */
  return cnL_result(L, e, made);
}

/* cnas.ops() -> list of { name, kind, inputs, attrs, outputs, types, doc } */
static int list(lua_State *L) {
  static const char *const kinds[] = { [CN_KERNEL] = "kernel", [CN_FORWARD] = "forward", [CN_INPLACE] = "inplace",
                                       [CN_VIEW] = "view", [CN_COMPOSED] = "composed" };
  static const char *const types[] = { [CN_FLOATS] = "floats", [CN_ALL_FLOATS] = "floats and bf16", [CN_ANY] = "any",
                                       [CN_FLOATS_STRIDED] = "floats", [CN_ANY_STRIDED] = "any" };
  lua_createtable(L, CN_OPS, 0);
  for (int id = 0; id < CN_OPS; id++) {
    const CnOp *op = cn_op((CnOpId)id);
    const struct {
      const char *key, *value;
    } fields[] = { { "name", op->name },       { "kind", kinds[op->kind] },   { "inputs", op->inputs },
                   { "attrs", op->attrs },     { "outputs", op->outputs },    { "types", types[op->types] },
                   { "doc", op->doc } };
    lua_createtable(L, 0, 7);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
      lua_pushstring(L, fields[i].value);
      lua_setfield(L, -2, fields[i].key);
    }
    lua_rawseti(L, -2, id + 1);
  }
  return 1;
}

void cnL_open_ops(lua_State *L) {
  luaL_getmetatable(L, CNL_TENSOR);
  lua_getfield(L, -1, "methods");
  for (int id = 0; id < CN_OPS; id++) {
    const CnOp *op = cn_op((CnOpId)id);
    lua_pushfstring(L, op->kind == CN_INPLACE ? "%s_" : "%s", op->name);
    lua_pushinteger(L, id);
    lua_pushcclosure(L, apply, 1);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_settable(L, -5); /* the method */
    lua_settable(L, -5); /* the function, in the module */
  }
  lua_pop(L, 2);
  lua_pushcfunction(L, list);
  lua_setfield(L, -2, "ops");
}
