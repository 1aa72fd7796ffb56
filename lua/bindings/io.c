/* io.c - cnas.safetensors and cnas.events; and the opener of everything about files. */
#include "bindings/io.h"

#include <string.h>

#include "base/memory.h"
#include "io/events.h"
#include "io/safetensors.h"

#define BLOCK "cnas.Block"
#define SAFETENSORS "cnas.Safetensors"
#define EVENTS "cnas.Events"

char **cnL_newblock(lua_State *L) { return cnL_box(L, BLOCK, 0); }

static int block_free(lua_State *L) {
  char **box = luaL_checkudata(L, 1, BLOCK);
  cn_free(*box);
  *box = NULL;
  return 0;
}

const char *cnL_checktext(lua_State *L, int arg) {
  size_t size;
  const char *text = luaL_checklstring(L, arg, &size);
  luaL_argcheck(L, strlen(text) == size, arg, "a text without 0 bytes expected");
  return text;
}

/* ---- safetensors ---- */

/* The text at the top of the stack, which the caller keeps alive. */
static const char *top_text(lua_State *L, const char *what) {
  size_t size;
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "safetensors.save: %s must be a string, got %s", what, luaL_typename(L, -1));
  const char *text = lua_tolstring(L, -1, &size);
  if (strlen(text) != size) luaL_error(L, "safetensors.save: %s '%s' has a 0 byte", what, text);
  return text;
}

static CnTensor *top_tensor(lua_State *L, const char *name) {
  CnTensor *t = cnL_test(L, -1, CNL_TENSOR);
  if (!t) luaL_error(L, "safetensors.save: '%s' must be a tensor, got %s", name, luaL_typename(L, -1));
  return t;
}

static size_t pair_count(lua_State *L, int arg) {
  size_t n = 0;
  for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) n++;
  return n;
}

/* {name = tensor, …} or {{name=, tensor=}, …}, as module:state() returns. The array is a pushed userdata; names and
** tensors stay in the table. */
static CnNamedTensor *check_tensors(lua_State *L, int arg, int *count) {
  luaL_checktype(L, arg, LUA_TTABLE);
  size_t n = lua_rawlen(L, arg);
  bool list = n > 0;
  if (!list) n = pair_count(L, arg);
  CnNamedTensor *items = lua_newuserdatauv(L, (n + 1) * sizeof *items, 0);
  *count = 0;
  for (size_t i = 1; list && i <= n; i++) {
    lua_rawgeti(L, arg, (lua_Integer)i);
    if (!lua_istable(L, -1)) luaL_error(L, "safetensors.save: entry %d must be {name=, tensor=}", (int)i);
    lua_getfield(L, -1, "name");
    const char *name = top_text(L, "a tensor's name");
    lua_getfield(L, -2, "tensor");
    items[(*count)++] = (CnNamedTensor){ name, top_tensor(L, name) };
    lua_pop(L, 3);
  }
  for (lua_pushnil(L); !list && lua_next(L, arg); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    const char *name = top_text(L, "a tensor's name");
    lua_pop(L, 1);
    items[(*count)++] = (CnNamedTensor){ name, top_tensor(L, name) };
  }
  return items;
}

static CnMetadata *opt_metadata(lua_State *L, int arg, int *count) {
  *count = 0;
  if (lua_isnoneornil(L, arg)) return NULL;
  luaL_checktype(L, arg, LUA_TTABLE);
  CnMetadata *items = lua_newuserdatauv(L, (pair_count(L, arg) + 1) * sizeof *items, 0);
  for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
    const char *value = top_text(L, "a metadata value");
    lua_pushvalue(L, -2);
    const char *key = top_text(L, "a metadata key");
    lua_pop(L, 1);
    items[(*count)++] = (CnMetadata){ key, value };
  }
  return items;
}

/* save(path, tensors [, metadata]) */
static int safetensors_save(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  lua_settop(L, 3);
  int count, metadata_count;
  CnNamedTensor *tensors = check_tensors(L, 2, &count);
  CnMetadata *metadata = opt_metadata(L, 3, &metadata_count);
  return cnL_result(L, cn_safetensors_save(path, tensors, count, metadata, metadata_count), 0);
}

static int safetensors_free(lua_State *L) {
  CnSafetensors **box = luaL_checkudata(L, 1, SAFETENSORS);
  cn_safetensors_close(*box);
  *box = NULL;
  return 0;
}

/* load(path) -> {name = tensor}, {key = string} */
static int safetensors_load(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  CnSafetensors **box = cnL_box(L, SAFETENSORS, 0);
  cnL_result(L, cn_safetensors_open(box, path), 0);
  int count = cn_safetensors_count(*box), metadata_count = cn_safetensors_metadata_count(*box);
  lua_createtable(L, 0, count);
  for (int i = 0; i < count; i++) {
    CnTensor **tensor = cnL_newtensor(L);
    cnL_result(L, cn_safetensors_read(tensor, *box, i), 0);
    lua_setfield(L, -2, cn_safetensors_name(*box, i));
  }
  lua_createtable(L, 0, metadata_count);
  for (int i = 0; i < metadata_count; i++) {
    CnMetadata item = cn_safetensors_metadata(*box, i);
    lua_pushstring(L, item.value);
    lua_setfield(L, -2, item.key);
  }
  cn_safetensors_close(*box);
  *box = NULL;
  return 2;
}

/* ---- events ---- */

static int events_free(lua_State *L) {
  CnEvents **box = luaL_checkudata(L, 1, EVENTS);
  cn_events_close(*box);
  *box = NULL;
  return 0;
}

/* open(folder [, {resume_step=}]) */
static int events_open(lua_State *L) {
  const char *folder = cnL_checktext(L, 1);
  cnL_checkoptions(L, 2, "events.open", "resume_step");
  lua_Integer step = cnL_optfield_integer(L, 2, "events.open", "resume_step", -1);
  CnEvents **box = cnL_box(L, EVENTS, 0);
  return cnL_result(L, cn_events_open(box, folder, step), 1);
}

/* writer:scalar(tag, value, step) */
static int events_scalar(lua_State *L) {
  CnEvents *ev = cnL_check(L, 1, EVENTS);
  const char *tag = cnL_checktext(L, 2);
  lua_Number value = luaL_checknumber(L, 3);
  return cnL_result(L, cn_events_scalar(ev, tag, value, luaL_checkinteger(L, 4)), 0);
}

/* writer:image(tag, png, step) */
static int events_image(lua_State *L) {
  CnEvents *ev = cnL_check(L, 1, EVENTS);
  const char *tag = cnL_checktext(L, 2);
  size_t size;
  const char *png = luaL_checklstring(L, 3, &size);
  return cnL_result(L, cn_events_image(ev, tag, png, size, luaL_checkinteger(L, 4)), 0);
}

static int events_flush(lua_State *L) { return cnL_result(L, cn_events_flush(cnL_check(L, 1, EVENTS)), 0); }

static int events_path(lua_State *L) {
  lua_pushstring(L, cn_events_path(cnL_check(L, 1, EVENTS)));
  return 1;
}

/* Unlike __gc and __close it raises when the last records could not be written. */
static int events_close(lua_State *L) {
  CnEvents **box = luaL_checkudata(L, 1, EVENTS), *ev = *box;
  *box = NULL;
  return cnL_result(L, cn_events_close(ev), 0);
}

static int events_tostring(lua_State *L) {
  CnEvents **box = luaL_checkudata(L, 1, EVENTS);
  lua_pushfstring(L, EVENTS "(%s)", *box ? cn_events_path(*box) : "closed");
  return 1;
}

void cnL_open_io(lua_State *L) {
  static const luaL_Reg safetensors[] = { { "save", safetensors_save }, { "load", safetensors_load }, { NULL, NULL } };
  static const luaL_Reg events[] = { { "open", events_open }, { NULL, NULL } };
  static const luaL_Reg events_methods[] = {
    { "scalar", events_scalar }, { "image", events_image }, { "flush", events_flush },
    { "path", events_path },     { "close", events_close }, { NULL, NULL },
  };
  static const luaL_Reg events_meta[] = { { "__tostring", events_tostring }, { NULL, NULL } };
  cnL_type(L, BLOCK, NULL, NULL, block_free);
  cnL_type(L, SAFETENSORS, NULL, NULL, safetensors_free);
  cnL_type(L, EVENTS, events_methods, events_meta, events_free);
  luaL_newlib(L, safetensors);
  lua_setfield(L, -2, "safetensors");
  luaL_newlib(L, events);
  lua_setfield(L, -2, "events");
  cnL_open_file(L);
  cnL_open_download(L);
  cnL_open_json(L);
  cnL_open_image(L);
  cnL_open_draw(L);
  cnL_open_pth(L);
  cnL_open_onnx(L);
}
