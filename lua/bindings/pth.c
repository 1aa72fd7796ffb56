/* pth.c - cnas.pth: what PyTorch saved, as Lua tables with tensors in them. */
#include "bindings/io.h"
#include "io/pth.h"

#define PTH "cnas.Pth"

static int pth_free(lua_State *L) {
  CnPth **box = luaL_checkudata(L, 1, PTH);
  cn_pth_close(*box);
  *box = NULL;
  return 0;
}

/* Fixed places on the stack while values are pushed. MADE: tables and tensors by the address of what they stand for, so
** that what is shared in the file is shared here. */
enum { PATH = 1, BOX, MADE };

static void push_value(lua_State *L, CnPth *pth, const CnPickleValue *v);

/* A dict's key: what Lua can have for one. */
static void push_key(lua_State *L, CnPth *pth, const CnPickleValue *v) {
  bool nan = v->kind == CN_PK_FLOAT && v->as.number != v->as.number;
  bool plain = v->kind == CN_PK_TEXT || v->kind == CN_PK_INT || v->kind == CN_PK_FLOAT || v->kind == CN_PK_BOOL;
  if (!plain || nan) {
    lua_pushfstring(L, "%s: a dict has a key that is neither text nor a number", lua_tostring(L, PATH));
    cnL_raise(L, CN_EDATA, lua_tostring(L, -1));
  }
  push_value(L, pth, v);
}

static void push_list(lua_State *L, CnPth *pth, const CnPickleValue *v) {
  const CnPickleList *list = v->as.list;
  bool dict = v->kind == CN_PK_DICT;
  if (lua_rawgetp(L, MADE, list) != LUA_TNIL) return;
  lua_pop(L, 1);
  luaL_checkstack(L, 8, "values nested too deep");
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, MADE, list);
  for (uint32_t i = 0; i < list->count; i += dict ? 2 : 1) {
    if (dict) push_key(L, pth, &list->item[i]);
    push_value(L, pth, &list->item[dict ? i + 1 : i]);
    if (dict) lua_rawset(L, -3);
    else lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_tensor(lua_State *L, CnPth *pth, const CnPickleTensor *t) {
  if (lua_rawgetp(L, MADE, t) != LUA_TNIL) return;
  lua_pop(L, 1);
  CnTensor **box = cnL_newtensor(L);
  cnL_result(L, cn_pth_tensor(box, pth, t), 0);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, MADE, t);
}

static void push_value(lua_State *L, CnPth *pth, const CnPickleValue *v) {
  switch (v->kind) {
    case CN_PK_NONE: lua_pushvalue(L, lua_upvalueindex(1)); break;
    case CN_PK_BOOL: lua_pushboolean(L, v->as.boolean); break;
    case CN_PK_INT: lua_pushinteger(L, v->as.integer); break;
    case CN_PK_FLOAT: lua_pushnumber(L, v->as.number); break;
    case CN_PK_TEXT: lua_pushlstring(L, v->as.text, v->length); break;
    case CN_PK_TENSOR: push_tensor(L, pth, v->as.tensor); break;
    case CN_PK_TUPLE: case CN_PK_LIST: case CN_PK_DICT: push_list(L, pth, v); break;
    default: /* a storage or a name by itself */
      lua_pushfstring(L, "%s: it holds something that is neither a tensor nor a plain value", lua_tostring(L, PATH));
      cnL_raise(L, CN_EDATA, lua_tostring(L, -1));
  }
}

/* load(path) -> what was saved: dicts and lists as tables, None as json.null, tensors with their shapes. Upvalue 1:
** json.null. */
static int pth_load(lua_State *L) {
  cnL_checktext(L, PATH);
  lua_settop(L, PATH);
  CnPth **box = cnL_box(L, PTH, 0);
  cnL_result(L, cn_pth_open(box, lua_tostring(L, PATH)), 0);
  cnL_result(L, cn_pth_load(*box), 0);
  lua_newtable(L);
  push_value(L, *box, cn_pth_value(*box));
  cn_pth_close(*box);
  *box = NULL;
  return 1;
}

void cnL_open_pth(lua_State *L) {
  cnL_type(L, PTH, NULL, NULL, pth_free);
  lua_createtable(L, 0, 1);
  lua_getfield(L, -2, "json");
  lua_getfield(L, -1, "null");
  lua_remove(L, -2);
  lua_pushcclosure(L, pth_load, 1);
  lua_setfield(L, -2, "load");
  lua_setfield(L, -2, "pth");
}
