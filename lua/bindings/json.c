/* json.c - cnas.json: Lua values to JSON text and back, with the same bytes for the same value.
**
** Keys are written in the order of their bytes, numbers in the shortest form that reads back exactly. A table with the
** keys 1 … n is an array, with strings an object, an empty one an object unless json.array marked it; arrays that were
** read are marked. null is json.null. What JSON cannot hold is refused with the path to it. */
#include "bindings/io.h"
#include "io/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TREE "cnas.JsonTree"
#define ARRAY "cnas.JsonArray"
#define NIL "cnas.JsonNull"

static bool has_meta(lua_State *L, int at, const char *name) {
  if (!lua_getmetatable(L, at)) return false;
  luaL_getmetatable(L, name);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* ---- encoding ---- */

/* The text so far, in a userdata at stack index `at` that is replaced by a larger one as needed. */
typedef struct Out {
  lua_State *L;
  int at;
  bool indent;
  char *data;
  size_t size, room;
} Out;

/* Where a value stands: the key or index in the value above. */
typedef struct Level {
  const struct Level *up;
  const char *key; /* or NULL: */
  lua_Integer index;
  int depth;
} Level;

static size_t path_text(const Level *level, char *text, size_t room) {
  if (!level->up) return (size_t)snprintf(text, room, "value");
  size_t n = path_text(level->up, text, room);
  if (n >= room) return n;
  return n + (size_t)(level->key ? snprintf(text + n, room - n, ".%s", level->key)
                                 : snprintf(text + n, room - n, "[%lld]", (long long)level->index));
}

static void refuse(lua_State *L, const Level *level, const char *what) {
  char path[256];
  path_text(level, path, sizeof path);
  luaL_error(L, "json.encode: %s: %s", path, what);
}

static void put(Out *o, const char *text, size_t size) {
  if (size > o->room - o->size) {
    size_t room = 2 * o->room + size;
    char *grown = lua_newuserdatauv(o->L, room, 0);
    memcpy(grown, o->data, o->size);
    lua_replace(o->L, o->at);
    o->data = grown;
    o->room = room;
  }
  memcpy(o->data + o->size, text, size);
  o->size += size;
}

static void put_text(Out *o, const char *text) { put(o, text, strlen(text)); }

static void put_line(Out *o, int depth) {
  if (!o->indent) return;
  put_text(o, "\n");
  for (int i = 0; i < depth; i++) put_text(o, "  ");
}

static void put_string(Out *o, const Level *level, const char *text, size_t size) {
  static const char escapes[] = { ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
                                  ['\t'] = 't' };
  put_text(o, "\"");
  for (const char *end = text + size; text < end;) {
    unsigned char c = (unsigned char)*text;
    size_t length = cn_utf8_length(text, end);
    if (length == 0) refuse(o->L, level, "a string that is not UTF-8");
    if (c == 0) refuse(o->L, level, "a string with a 0 byte");
    char escape[8];
    if (c < sizeof escapes && escapes[c]) put(o, escape, (size_t)snprintf(escape, sizeof escape, "\\%c", escapes[c]));
    else if (c < 0x20) put(o, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    else put(o, text, length);
    text += length;
  }
  put_text(o, "\"");
}

static void put_number(Out *o, const Level *level, int at) {
  char text[40];
  if (lua_isinteger(o->L, at)) {
    lua_Integer i = lua_tointeger(o->L, at);
    if (i > (lua_Integer)1 << 53 || i < -((lua_Integer)1 << 53))
      refuse(o->L, level, "an integer beyond 2^53, which JSON's readers round (write it as a string)");
    snprintf(text, sizeof text, "%lld", (long long)i);
  } else {
    double value = lua_tonumber(o->L, at);
    if (isnan(value)) refuse(o->L, level, "NaN, which JSON cannot hold");
    if (isinf(value)) refuse(o->L, level, "infinity, which JSON cannot hold");
    for (int digits = 1; digits <= 17; digits++) {
      snprintf(text, sizeof text, "%.*g", digits, value);
      if (strtod(text, NULL) == value) break;
    }
    if (value == floor(value) && fabs(value) <= 0x1p53) snprintf(text, sizeof text, "%.0f", value);
  }
  put_text(o, text);
}

static void put_value(Out *o, const Level *level, int at);

static bool is_plain(lua_State *L, int at) { return lua_type(L, at) != LUA_TTABLE || has_meta(L, at, NIL); }

/* Arrays without arrays or objects inside stay on one line. */
static void put_array(Out *o, const Level *level, int at, lua_Integer n) {
  lua_State *L = o->L;
  bool plain = true;
  for (lua_Integer i = 1; i <= n && plain; i++) {
    lua_rawgeti(L, at, i);
    plain = is_plain(L, -1);
    lua_pop(L, 1);
  }
  put_text(o, "[");
  for (lua_Integer i = 1; i <= n; i++) {
    if (i > 1) put_text(o, plain && o->indent ? ", " : ",");
    if (!plain) put_line(o, level->depth + 1);
    lua_rawgeti(L, at, i);
    put_value(o, &(Level){ level, NULL, i, level->depth + 1 }, lua_gettop(L));
    lua_pop(L, 1);
  }
  if (!plain) put_line(o, level->depth);
  put_text(o, "]");
}

typedef struct Key {
  const char *text; /* kept alive by the table */
  size_t size;
} Key;

static int by_bytes(const void *a, const void *b) {
  const Key *x = a, *y = b;
  int r = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
  return r ? r : (x->size > y->size) - (x->size < y->size);
}

static void put_object(Out *o, const Level *level, int at, size_t n) {
  lua_State *L = o->L;
  Key *keys = lua_newuserdatauv(L, (n + 1) * sizeof *keys, 0);
  size_t i = 0;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1), i++) keys[i].text = lua_tolstring(L, -2, &keys[i].size);
  qsort(keys, n, sizeof *keys, by_bytes);
  put_text(o, "{");
  for (i = 0; i < n; i++) {
    Level below = { level, keys[i].text, 0, level->depth + 1 };
    if (i > 0) put_text(o, ",");
    put_line(o, below.depth);
    put_string(o, &below, keys[i].text, keys[i].size);
    put_text(o, o->indent ? ": " : ":");
    lua_pushlstring(L, keys[i].text, keys[i].size);
    lua_rawget(L, at);
    put_value(o, &below, lua_gettop(L));
    lua_pop(L, 1);
  }
  if (n > 0) put_line(o, level->depth);
  put_text(o, "}");
  lua_pop(L, 1);
}

static void put_table(Out *o, const Level *level, int at) {
  lua_State *L = o->L;
  if (level->depth >= CN_JSON_DEPTH) refuse(L, level, "nested too deeply (a table that contains itself?)");
  size_t texts = 0, indices = 0;
  lua_Integer last = 0;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      texts++;
    } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) > 0) {
      indices++;
      if (lua_tointeger(L, -2) > last) last = lua_tointeger(L, -2);
    } else {
      refuse(L, level, "a key that is neither a string nor a positive integer");
    }
  }
  bool array = has_meta(L, at, ARRAY);
  if (texts && (indices || array)) refuse(L, level, "an array with string keys");
  if ((lua_Integer)indices != last) refuse(L, level, "an array with holes");
  if (indices || array) put_array(o, level, at, last);
  else put_object(o, level, at, texts);
}

static void put_value(Out *o, const Level *level, int at) {
  lua_State *L = o->L;
  size_t size;
  luaL_checkstack(L, 12, "json.encode");
  switch (lua_type(L, at)) {
    case LUA_TBOOLEAN: put_text(o, lua_toboolean(L, at) ? "true" : "false"); return;
    case LUA_TNUMBER: put_number(o, level, at); return;
    case LUA_TSTRING: {
      const char *text = lua_tolstring(L, at, &size);
      put_string(o, level, text, size);
      return;
    }
    case LUA_TTABLE:
      if (has_meta(L, at, NIL)) put_text(o, "null");
      else put_table(o, level, at);
      return;
    default: refuse(L, level, lua_pushfstring(L, "a %s, which JSON cannot hold", luaL_typename(L, at)));
  }
}

/* encode(value [, {indent=true}]) -> text */
static int json_encode(lua_State *L) {
  luaL_checkany(L, 1);
  cnL_checkoptions(L, 2, "json.encode", "indent");
  bool indent = cnL_optfield_boolean(L, 2, "json.encode", "indent", 0);
  lua_settop(L, 1);
  Out o = { .L = L, .at = 2, .indent = indent, .room = 1024 };
  o.data = lua_newuserdatauv(L, o.room, 0);
  put_value(&o, &(Level){ 0 }, 1);
  lua_pushlstring(L, o.data, o.size);
  return 1;
}

/* ---- decoding ---- */

static int tree_free(lua_State *L) {
  cJSON **box = luaL_checkudata(L, 1, TREE);
  cJSON_Delete(*box);
  *box = NULL;
  return 0;
}

static void push_number(lua_State *L, double value) {
  bool whole = value == floor(value) && fabs(value) <= 0x1p53 && !(value == 0 && signbit(value));
  if (whole) lua_pushinteger(L, (lua_Integer)value);
  else lua_pushnumber(L, value);
}

static void push_tree(lua_State *L, const cJSON *tree) {
  const cJSON *item;
  luaL_checkstack(L, 6, "json.decode");
  if (cJSON_IsObject(tree)) {
    lua_newtable(L);
    cJSON_ArrayForEach(item, tree) {
      push_tree(L, item);
      lua_setfield(L, -2, item->string);
    }
  } else if (cJSON_IsArray(tree)) {
    lua_Integer i = 0;
    lua_newtable(L);
    luaL_setmetatable(L, ARRAY);
    cJSON_ArrayForEach(item, tree) {
      push_tree(L, item);
      lua_rawseti(L, -2, ++i);
    }
  } else if (cJSON_IsString(tree)) {
    lua_pushstring(L, tree->valuestring);
  } else if (cJSON_IsNumber(tree)) {
    push_number(L, tree->valuedouble);
  } else if (cJSON_IsBool(tree)) {
    lua_pushboolean(L, cJSON_IsTrue(tree));
  } else {
    luaL_getmetatable(L, NIL);
    lua_getfield(L, -1, "null");
    lua_remove(L, -2);
  }
}

/* decode(text [, name of its source for messages]) -> value */
static int json_decode(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size), *what = luaL_optstring(L, 2, "json.decode");
  cJSON **tree = cnL_box(L, TREE, 0);
  cnL_result(L, cn_json_parse(tree, text, size, what, CN_JSON_ANY_NUMBER), 0);
  push_tree(L, *tree);
  cJSON_Delete(*tree);
  *tree = NULL;
  return 1;
}

/* array([table]) -> the table, marked to be written as an array even when empty */
static int json_array(lua_State *L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) lua_newtable(L);
  luaL_checktype(L, -1, LUA_TTABLE);
  luaL_setmetatable(L, ARRAY);
  return 1;
}

static int null_tostring(lua_State *L) {
  lua_pushliteral(L, "null");
  return 1;
}

void cnL_open_json(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "encode", json_encode }, { "decode", json_decode }, { "array", json_array }, { NULL, NULL },
  };
  cnL_type(L, TREE, NULL, NULL, tree_free);
  luaL_newmetatable(L, ARRAY);
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  lua_newtable(L); /* null: one table that is equal only to itself */
  luaL_newmetatable(L, NIL);
  lua_pushcfunction(L, null_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "null");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "null");
  lua_setfield(L, -2, "json");
}
