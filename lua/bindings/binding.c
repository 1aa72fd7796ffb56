/* binding.c - what every binding file shares: boxes, errors, named options. */
#include "bindings/binding.h"

#include <string.h>

#include "base/memory.h"

#define CNL_ERROR "cnas.Error"

/* Errors. */

static int error_tostring(lua_State *L) {
  lua_getfield(L, 1, "message");
  return 1;
}

static int error_concat(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_concat(L, 2);
  return 1;
}

/* err:match(…), err:find(…): string methods on the message. */
static int error_method(lua_State *L) {
  if (lua_istable(L, 1)) {
    lua_getfield(L, 1, "message");
    lua_replace(L, 1);
  }
  int n = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, n, LUA_MULTRET);
  return lua_gettop(L);
}

static int error_index(lua_State *L) {
  lua_getglobal(L, "string");
  if (!lua_istable(L, -1)) return 0;
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  if (!lua_isfunction(L, -1)) return 0;
  lua_pushcclosure(L, error_method, 1);
  return 1;
}

int cnL_raise(lua_State *L, CnErr code, const char *message) {
  lua_createtable(L, 0, 2);
  lua_pushstring(L, cn_error_name(code));
  lua_setfield(L, -2, "code");
  luaL_where(L, 1);
  lua_pushstring(L, message);
  lua_concat(L, 2);
  lua_setfield(L, -2, "message");
  if (luaL_newmetatable(L, CNL_ERROR)) {
    static const luaL_Reg meta[] = { { "__tostring", error_tostring }, { "__concat", error_concat },
                                     { "__index", error_index }, { NULL, NULL } };
    luaL_setfuncs(L, meta, 0);
  }
  lua_setmetatable(L, -2);
  return lua_error(L);
}

int cnL_result(lua_State *L, CnErr e, int n) {
  switch (e) {
    case CN_OK: return n;
    case CN_EUSAGE: case CN_EMEMORY: case CN_ENOKERNEL: return luaL_error(L, "%s", cn_error_message());
    default: return cnL_raise(L, e, cn_error_message());
  }
}

/* Boxes. */

void cnL_type(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *meta, lua_CFunction free) {
  luaL_newmetatable(L, name);
  if (meta) luaL_setfuncs(L, meta, 0);
  if (free) {
    lua_pushcfunction(L, free);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__gc");
    lua_setfield(L, -2, "__close");
  }
  lua_newtable(L);
  if (methods) luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void *cnL_box(lua_State *L, const char *name, int uservalues) {
  void **box = lua_newuserdatauv(L, sizeof *box, uservalues);
  *box = NULL;
  luaL_setmetatable(L, name);
  return box;
}

void *cnL_test(lua_State *L, int arg, const char *name) {
  void **box = luaL_testudata(L, arg, name);
  return box ? *box : NULL;
}

void *cnL_check(lua_State *L, int arg, const char *name) {
  void **box = luaL_checkudata(L, arg, name);
  if (!*box) luaL_argerror(L, arg, lua_pushfstring(L, "this %s was closed", name));
  return *box;
}

/* Lua sees eight bytes where a tensor holds megabytes. So the collector is called for them: when the tensors handed to
** Lua since it last ran hold more than `allowed`, and, for those whose graph holds more than they do, when all tensors
** together hold half as much again as it left, and 64 MB. A collection that frees less than half of what was handed over
** came while a graph was being made, which holds it all: the next one may wait twice as long. */
#define ALLOWANCE ((int64_t)64 << 20)

static struct {
  int64_t handed, allowed; /* bytes, since the last collection */
  int64_t most;            /* bytes of all tensors */
} press = { 0, ALLOWANCE, ALLOWANCE };

static void press_collector(lua_State *L) {
  int64_t before = cn_memory_stats().bytes_live;
  if (press.handed < press.allowed && before < press.most) return;
  lua_gc(L, LUA_GCCOLLECT);
  int64_t live = cn_memory_stats().bytes_live;
  bool worth = 2 * (before - live) >= press.handed;
  press.allowed = worth ? ALLOWANCE + live / 8 : 2 * press.allowed;
  press.handed = 0;
  press.most = live + live / 2 + ALLOWANCE;
}

CnTensor *cnL_handed(CnTensor *t) {
  if (t) press.handed += (int64_t)cn_tensor_bytes(t);
  return t;
}

CnTensor **cnL_newtensor(lua_State *L) {
  press_collector(L);
  return cnL_box(L, CNL_TENSOR, 0);
}

CnTensor *cnL_checktensor(lua_State *L, int arg) { return cnL_check(L, arg, CNL_TENSOR); }

CnTensor *cnL_opttensor(lua_State *L, int arg) { return lua_isnoneornil(L, arg) ? NULL : cnL_checktensor(L, arg); }

CnModule **cnL_newmodule(lua_State *L) { return cnL_box(L, CNL_MODULE, 1); }

CnModule *cnL_checkmodule(lua_State *L, int arg) { return cnL_check(L, arg, CNL_MODULE); }

CnRng *cnL_checkrng(lua_State *L, int arg) { return luaL_checkudata(L, arg, CNL_RNG); }

/* Arguments. */

CnDtype cnL_optdtype(lua_State *L, int arg, CnDtype otherwise) {
  CnDtype dtype = otherwise;
  if (!lua_isnoneornil(L, arg) && cn_dtype_parse(&dtype, luaL_checkstring(L, arg)) != CN_OK)
    luaL_argerror(L, arg, cn_error_message());
  return dtype;
}

CnDevice cnL_optdevice(lua_State *L, int arg) {
  CnDevice device = CN_DEVICE_CPU;
  if (!lua_isnoneornil(L, arg)) cnL_result(L, cn_device_parse(&device, luaL_checkstring(L, arg)), 0);
  return device;
}

int cnL_checkshape(lua_State *L, int arg, int64_t shape[CN_MAX_DIMS]) {
  bool table = lua_istable(L, arg);
  int n = 0;
  for (;; n++) {
    int type = table ? lua_rawgeti(L, arg, n + 1) : lua_type(L, arg + n);
    if (table && type == LUA_TNIL) {
      lua_pop(L, 1);
      break;
    }
    if (!table && type != LUA_TNUMBER) break;
    if (n == CN_MAX_DIMS) luaL_argerror(L, arg, lua_pushfstring(L, "at most %d dimensions", CN_MAX_DIMS));
    int whole = 0;
    shape[n] = lua_tointegerx(L, table ? -1 : arg + n, &whole);
    if (!whole) luaL_argerror(L, table ? arg : arg + n, "a size must be a whole number");
    if (table) lua_pop(L, 1);
  }
  return n;
}

/* Named options. */

/* Edits (insert, delete, replace) that turn one word into the other; words longer than 31 count as far apart. */
static int distance(const char *a, size_t n, const char *b, size_t m) {
  int row[33];
  if (n > 31 || m > 31) return 99;
  for (size_t j = 0; j <= m; j++) row[j] = (int)j;
  for (size_t i = 1; i <= n; i++) {
    int diagonal = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= m; j++) {
      int replace = diagonal + (a[i - 1] != b[j - 1]), other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      diagonal = row[j];
      row[j] = replace < other ? replace : other;
    }
  }
  return row[m];
}

static int unknown_option(lua_State *L, const char *who, const char *key, const char *known) {
  const char *best = NULL;
  size_t best_length = 0;
  int nearest = 99;
  for (const char *p = known + strspn(known, " "); *p; p += strspn(p, " ")) {
    size_t n = strcspn(p, " ");
    int d = distance(key, strlen(key), p, n);
    if (d < nearest) {
      nearest = d;
      best = p;
      best_length = n;
    }
    p += n;
  }
  if (best && nearest <= 3 && nearest < (int)strlen(key)) {
    lua_pushlstring(L, best, best_length);
    return luaL_error(L, "%s: unknown option '%s' (did you mean '%s'?)", who, key, lua_tostring(L, -1));
  }
  return luaL_error(L, "%s: unknown option '%s': expected one of: %s", who, key, known);
}

static bool listed(const char *known, const char *key) {
  size_t length = strlen(key);
  for (const char *p = known + strspn(known, " "); *p; p += strspn(p, " ")) {
    size_t n = strcspn(p, " ");
    if (n == length && !memcmp(p, key, n)) return true;
    p += n;
  }
  return false;
}

void cnL_checkoptions(lua_State *L, int arg, const char *who, const char *known) {
  if (lua_isnoneornil(L, arg)) return;
  if (!lua_istable(L, arg)) luaL_error(L, "%s: expected a table of options, got %s", who, luaL_typename(L, arg));
  for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) continue; /* list part: the caller's business */
    const char *key = lua_tostring(L, -2);
    if (!listed(known, key)) unknown_option(L, who, key, known);
  }
}

/* Pushes the field; LUA_TNIL when there is no table or no field. */
static int push_field(lua_State *L, int arg, const char *field) {
  if (lua_istable(L, arg)) return lua_getfield(L, arg, field);
  lua_pushnil(L);
  return LUA_TNIL;
}

static int wrong_field(lua_State *L, const char *who, const char *field, const char *expected) {
  return luaL_error(L, "%s: option '%s' must be %s, got %s", who, field, expected, luaL_tolstring(L, -1, NULL));
}

lua_Integer cnL_optfield_integer(lua_State *L, int arg, const char *who, const char *field, lua_Integer otherwise) {
  lua_Integer value = otherwise;
  int whole = 1;
  if (push_field(L, arg, field) != LUA_TNIL) {
    value = lua_tointegerx(L, -1, &whole);
    if (!whole || lua_type(L, -1) != LUA_TNUMBER) wrong_field(L, who, field, "a whole number");
  }
  lua_pop(L, 1);
  return value;
}

lua_Integer cnL_field_integer(lua_State *L, int arg, const char *who, const char *field) {
  if (push_field(L, arg, field) == LUA_TNIL) luaL_error(L, "%s: option '%s' is missing", who, field);
  lua_pop(L, 1);
  return cnL_optfield_integer(L, arg, who, field, 0);
}

lua_Number cnL_optfield_number(lua_State *L, int arg, const char *who, const char *field, lua_Number otherwise) {
  lua_Number value = otherwise;
  if (push_field(L, arg, field) != LUA_TNIL) {
    if (lua_type(L, -1) != LUA_TNUMBER) wrong_field(L, who, field, "a number");
    value = lua_tonumber(L, -1);
  }
  lua_pop(L, 1);
  return value;
}

int cnL_optfield_boolean(lua_State *L, int arg, const char *who, const char *field, int otherwise) {
  int value = otherwise;
  if (push_field(L, arg, field) != LUA_TNIL) {
    if (!lua_isboolean(L, -1)) wrong_field(L, who, field, "true or false");
    value = lua_toboolean(L, -1);
  }
  lua_pop(L, 1);
  return value;
}

const char *cnL_optfield_string(lua_State *L, int arg, const char *who, const char *field, const char *otherwise) {
  const char *value = otherwise;
  if (push_field(L, arg, field) != LUA_TNIL) {
    if (lua_type(L, -1) != LUA_TSTRING) wrong_field(L, who, field, "a string");
    value = lua_tostring(L, -1);
  }
  lua_pop(L, 1);
  return value;
}
