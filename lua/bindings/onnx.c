/* onnx.c - cnas.onnx_model: ONNX files to tables and back. What nodes mean is lua/cnas/onnx.lua's business.
**
** A model is { ir_version =, opset =, producer =, producer_version =, graph = "name", metadata = { key = "text" },
** inputs = { { name =, type = "f32", shape = { "N", 3, 32, 32 } } }, outputs = { … }, constants = {
** { name =, tensor = } }, nodes = { { op = "Conv", name =, inputs = { "x", "w" }, outputs = { "y" }, attributes = {
** pads = { 1, 1, 1, 1 }, group = 1, epsilon = 1e-5, auto_pad = "VALID" } } } }. Attributes are integers, floats, lists
** of integers, texts. Keys are written in the order of their bytes. */
#include <stdlib.h>
#include <string.h>

#include "bindings/io.h"

#ifdef CN_WITH_ONNX

#include "io/onnx.h"

#define ONNX "cnas.Onnx"

static int onnx_free(lua_State *L) {
  CnOnnx **box = luaL_checkudata(L, 1, ONNX);
  cn_onnx_close(*box);
  *box = NULL;
  return 0;
}

/* ---- tables to a model ---- */

/* Pushes field `key` of the table at `at`, a table. */
static int table_field(lua_State *L, int at, const char *key) {
  if (lua_getfield(L, at, key) != LUA_TTABLE)
    luaL_error(L, "onnx_model.save: '%s' must be a table, got %s", key, luaL_typename(L, -1));
  return lua_gettop(L);
}

/* Pushes entry i of the table at `at`, a table; false (nothing pushed) behind its end. */
static bool table_entry(lua_State *L, int at, const char *what, lua_Integer i) {
  int type = lua_rawgeti(L, at, i);
  if (type == LUA_TTABLE) return true;
  if (type != LUA_TNIL) luaL_error(L, "onnx_model.save: entry %I of '%s' must be a table", i, what);
  lua_pop(L, 1);
  return false;
}

/* The text at the top of the stack, which a table holds. */
static char *top_text(lua_State *L, const char *what) {
  size_t size;
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "onnx_model.save: %s must be text, got %s", what, luaL_typename(L, -1));
  const char *s = lua_tolstring(L, -1, &size);
  if (strlen(s) != size) luaL_error(L, "onnx_model.save: %s has a 0 byte", what);
  return (char *)s;
}

/* Field `key` of the table at `at`, which keeps the text alive. */
static const char *text_field(lua_State *L, int at, const char *key) {
  lua_getfield(L, at, key);
  const char *s = top_text(L, key);
  lua_pop(L, 1);
  return s;
}

/* The texts in the list `key` of the table at `at`, in a pushed userdata. */
static char **text_list(lua_State *L, int at, const char *key, int *count) {
  int list = table_field(L, at, key);
  *count = (int)lua_rawlen(L, list);
  char **texts = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *texts, 0);
  for (int i = 0; i < *count; i++) {
    lua_rawgeti(L, list, i + 1);
    texts[i] = top_text(L, key);
    lua_pop(L, 1);
  }
  return texts;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The keys of the table at `at`, sorted, in a pushed userdata. */
static char **sorted_keys(lua_State *L, int at, const char *what, int *count) {
  *count = 0;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) ++*count;
  char **keys = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *keys, 0);
  *count = 0;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    keys[(*count)++] = top_text(L, what);
    lua_pop(L, 1);
  }
  qsort(keys, (size_t)*count, sizeof *keys, by_text);
  return keys;
}

/* The list of integers on top of the stack; leaves a userdata with them in its place. */
static const int64_t *integers(lua_State *L, const char *what, int *count) {
  int list = lua_gettop(L);
  *count = (int)lua_rawlen(L, list);
  int64_t *ints = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *ints, 0);
  for (int i = 0; i < *count; i++) {
    int whole;
    lua_rawgeti(L, list, i + 1);
    ints[i] = lua_tointegerx(L, -1, &whole);
    if (!whole) luaL_error(L, "onnx_model.save: %s must be a list of integers", what);
    lua_pop(L, 1);
  }
  return ints;
}

/* The attribute on top of the stack; what it borrows stays on the stack. */
static CnOnnxAttribute to_attribute(lua_State *L, const char *name) {
  CnOnnxAttribute a = { .name = name };
  switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
      a.kind = lua_isinteger(L, -1) ? CN_ONNX_INT : CN_ONNX_FLOAT;
      if (a.kind == CN_ONNX_INT) a.i = lua_tointeger(L, -1);
      else a.f = (float)lua_tonumber(L, -1);
      break;
    case LUA_TSTRING: {
      size_t size;
      a.kind = CN_ONNX_STRING;
      a.s = lua_tolstring(L, -1, &size);
      a.count = (int)size;
      break;
    }
    case LUA_TTABLE:
      a.kind = CN_ONNX_INTS;
      a.ints = integers(L, name, &a.count);
      break;
    default: luaL_error(L, "onnx_model.save: attribute %s must be a number, a list of integers or text", name);
  }
  return a;
}

static void add_node(lua_State *L, CnOnnx *m) {
  int at = lua_gettop(L);
  CnOnnxNode node = { .op = text_field(L, at, "op"), .name = text_field(L, at, "name") };
  node.input = text_list(L, at, "inputs", &node.inputs);
  node.output = text_list(L, at, "outputs", &node.outputs);
  int table = table_field(L, at, "attributes");
  char **keys = sorted_keys(L, table, "an attribute's name", &node.attributes);
  CnOnnxAttribute *attributes = lua_newuserdatauv(L, ((size_t)node.attributes + 1) * sizeof *attributes, 0);
  luaL_checkstack(L, 2 * node.attributes + 4, "too many attributes");
  for (int i = 0; i < node.attributes; i++) {
    lua_getfield(L, table, keys[i]);
    attributes[i] = to_attribute(L, keys[i]);
  }
  cnL_result(L, cn_onnx_add_node(m, &node, attributes), 0);
  lua_settop(L, at - 1);
}

static void add_constant(lua_State *L, CnOnnx *m) {
  int at = lua_gettop(L);
  const char *name = text_field(L, at, "name");
  lua_getfield(L, at, "tensor");
  CnTensor *t = cnL_test(L, -1, CNL_TENSOR);
  if (t == NULL) luaL_error(L, "onnx_model.save: constant %s must be a tensor, got %s", name, luaL_typename(L, -1));
  cnL_result(L, cn_onnx_add_constant(m, name, t), 0);
  lua_settop(L, at - 1);
}

static void add_value(lua_State *L, CnOnnx *m, bool output) {
  int at = lua_gettop(L);
  CnOnnxValue v = { .name = text_field(L, at, "name") };
  cnL_result(L, cn_dtype_parse(&v.dtype, text_field(L, at, "type")), 0);
  int shape = table_field(L, at, "shape");
  v.ndim = (int)lua_rawlen(L, shape);
  if (v.ndim > CN_MAX_DIMS) luaL_error(L, "onnx_model.save: %s has more than %d dimensions", v.name, CN_MAX_DIMS);
  for (int i = 0; i < v.ndim; i++) {
    v.shape[i] = -1;
    if (lua_rawgeti(L, shape, i + 1) == LUA_TNUMBER) v.shape[i] = lua_tointeger(L, -1);
    else v.symbol[i] = top_text(L, "a size");
    lua_pop(L, 1);
  }
  cnL_result(L, cn_onnx_add_value(m, output, &v), 0);
  lua_settop(L, at - 1);
}

/* save(path, model): ir_version, opset and producer are ours, whatever the table says. */
static int save(lua_State *L) {
  enum { PATH = 1, MODEL, BOX };
  const char *path = cnL_checktext(L, PATH);
  lua_settop(L, MODEL);
  luaL_checktype(L, MODEL, LUA_TTABLE);
  CnOnnx **box = cnL_box(L, ONNX, 0);
  cnL_result(L, cn_onnx_new(box, text_field(L, MODEL, "graph"), CNAS_VERSION), 0);
  int list = table_field(L, MODEL, "nodes");
  for (int i = 1; table_entry(L, list, "nodes", i); i++) add_node(L, *box);
  list = table_field(L, MODEL, "constants");
  for (int i = 1; table_entry(L, list, "constants", i); i++) add_constant(L, *box);
  list = table_field(L, MODEL, "inputs");
  for (int i = 1; table_entry(L, list, "inputs", i); i++) add_value(L, *box, false);
  list = table_field(L, MODEL, "outputs");
  for (int i = 1; table_entry(L, list, "outputs", i); i++) add_value(L, *box, true);
  int table = table_field(L, MODEL, "metadata"), count;
  char **keys = sorted_keys(L, table, "a key of the metadata", &count);
  for (int i = 0; i < count; i++) {
    CnErr e = cn_onnx_add_metadata(*box, keys[i], text_field(L, table, keys[i]));
    cnL_result(L, e, 0);
  }
  cnL_result(L, cn_onnx_save(*box, path), 0);
  lua_pushvalue(L, BOX);
  lua_replace(L, 1);
  lua_settop(L, 1);
  return onnx_free(L);
}

/* ---- a model to tables ---- */

static void set_text(lua_State *L, const char *key, const char *text) {
  lua_pushstring(L, text != NULL ? text : "");
  lua_setfield(L, -2, key);
}

static void set_texts(lua_State *L, const char *key, char *const *texts, int n) {
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushstring(L, texts[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, key);
}

static void push_attribute(lua_State *L, const CnOnnxAttribute *a) {
  switch (a->kind) {
    case CN_ONNX_INT: lua_pushinteger(L, a->i); break;
    case CN_ONNX_FLOAT: lua_pushnumber(L, (lua_Number)a->f); break;
    case CN_ONNX_STRING: lua_pushlstring(L, a->s, (size_t)a->count); break;
    case CN_ONNX_INTS:
      lua_createtable(L, a->count, 0);
      for (int i = 0; i < a->count; i++) {
        lua_pushinteger(L, a->ints[i]);
        lua_rawseti(L, -2, i + 1);
      }
      break;
  }
}

static void push_node(lua_State *L, const CnOnnx *m, int i) {
  CnOnnxNode node = cn_onnx_node(m, i);
  lua_createtable(L, 0, 5);
  set_text(L, "op", node.op);
  set_text(L, "name", node.name);
  set_texts(L, "inputs", node.input, node.inputs);
  set_texts(L, "outputs", node.output, node.outputs);
  lua_createtable(L, 0, node.attributes);
  for (int k = 0; k < node.attributes; k++) {
    CnOnnxAttribute a;
    cnL_result(L, cn_onnx_attribute(&a, m, i, k), 0);
    push_attribute(L, &a);
    lua_setfield(L, -2, a.name);
  }
  lua_setfield(L, -2, "attributes");
}

static void push_value(lua_State *L, const CnOnnx *m, bool output, int i) {
  CnOnnxValue v;
  cnL_result(L, cn_onnx_value(&v, m, output, i), 0);
  lua_createtable(L, 0, 3);
  set_text(L, "name", v.name);
  set_text(L, "type", cn_dtype_name(v.dtype));
  lua_createtable(L, v.ndim, 0);
  for (int d = 0; d < v.ndim; d++) {
    if (v.shape[d] >= 0) lua_pushinteger(L, v.shape[d]);
    else lua_pushstring(L, v.symbol[d] != NULL ? v.symbol[d] : "?");
    lua_rawseti(L, -2, d + 1);
  }
  lua_setfield(L, -2, "shape");
}

static void push_values(lua_State *L, const CnOnnx *m, bool output) {
  int n = cn_onnx_values(m, output);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    push_value(L, m, output, i);
    lua_rawseti(L, -2, i + 1);
  }
}

static void push_constants(lua_State *L, const CnOnnx *m) {
  int n = cn_onnx_constants(m);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_createtable(L, 0, 2);
    set_text(L, "name", cn_onnx_constant_name(m, i));
    CnTensor **box = cnL_newtensor(L);
    cnL_result(L, cn_onnx_constant(box, m, i), 0);
    lua_setfield(L, -2, "tensor");
    lua_rawseti(L, -2, i + 1);
  }
}

static void push_model(lua_State *L, const CnOnnx *m) {
  CnOnnxAbout about = cn_onnx_about(m);
  lua_createtable(L, 0, 10);
  lua_pushinteger(L, about.ir_version);
  lua_setfield(L, -2, "ir_version");
  lua_pushinteger(L, about.opset);
  lua_setfield(L, -2, "opset");
  set_text(L, "producer", about.producer);
  set_text(L, "producer_version", about.producer_version);
  set_text(L, "graph", about.graph);
  int n = cn_onnx_metadata(m);
  lua_createtable(L, 0, n);
  for (int i = 0; i < n; i++) {
    const char *key, *value;
    cn_onnx_metadata_entry(m, i, &key, &value);
    set_text(L, key, value);
  }
  lua_setfield(L, -2, "metadata");
  n = cn_onnx_nodes(m);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    push_node(L, m, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "nodes");
  push_constants(L, m);
  lua_setfield(L, -2, "constants");
  push_values(L, m, false);
  lua_setfield(L, -2, "inputs");
  push_values(L, m, true);
  lua_setfield(L, -2, "outputs");
}

/* load(path) -> model */
static int load(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  CnOnnx **box = cnL_box(L, ONNX, 0);
  cnL_result(L, cn_onnx_open(box, path), 0);
  push_model(L, *box);
  cn_onnx_close(*box);
  *box = NULL;
  return 1;
}

static void open_type(lua_State *L) { cnL_type(L, ONNX, NULL, NULL, onnx_free); }

#else

static int absent(lua_State *L) {
  return cnL_raise(L, CN_EUSAGE, "onnx: this build reads and writes no ONNX files: install libprotobuf-c-dev, "
                   "protobuf-c-compiler and libonnx-dev (vendor/install.sh), then build again with -DCNAS_ONNX=ON");
}

#define load absent
#define save absent

static void open_type(lua_State *L) { (void)L; }

#endif

/* available() -> whether this build has the rest */
static int available(lua_State *L) {
#ifdef CN_WITH_ONNX
  lua_pushboolean(L, 1);
#else
  lua_pushboolean(L, 0);
#endif
  return 1;
}

void cnL_open_onnx(lua_State *L) {
  static const luaL_Reg functions[] = { { "load", load }, { "save", save }, { "available", available }, { NULL, NULL } };
  open_type(L);
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "onnx_model");
}
