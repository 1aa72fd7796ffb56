/* file.c - cnas.file: whole files, folders, logs and locks, with the guarantees of engine/io/file.h. */
#include "bindings/io.h"
#include "io/file.h"

#include "base/memory.h"

#define LOG "cnas.Log"
#define LOCK "cnas.Lock"
#define NAMES "cnas.Names"

/* read(path [, limit]) -> string. The limit, in bytes, is 1 GiB when not given. */
static int file_read(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  lua_Integer limit = luaL_optinteger(L, 2, (lua_Integer)1 << 30);
  luaL_argcheck(L, limit >= 0, 2, "a size in bytes expected");
  char **data = cnL_newblock(L);
  size_t size = 0;
  cnL_result(L, cn_file_read(data, &size, path, (size_t)limit), 0);
  lua_pushlstring(L, *data, size);
  cn_free(*data);
  *data = NULL;
  return 1;
}

/* write(path, text): replaces or creates the file, wholly or not at all */
static int file_write(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  size_t size;
  const char *text = luaL_checklstring(L, 2, &size);
  return cnL_result(L, cn_file_write(path, text, size), 0);
}

/* truncate(path, bytes) */
static int file_truncate(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  return cnL_result(L, cn_file_truncate(path, luaL_checkinteger(L, 2)), 0);
}

/* exists(path) -> false, "file", "folder" or "other" */
static int file_exists(lua_State *L) {
  static const char *const names[] = {
    [CN_PATH_FILE] = "file", [CN_PATH_FOLDER] = "folder", [CN_PATH_OTHER] = "other"
  };
  CnPathKind kind = CN_PATH_NONE;
  cnL_result(L, cn_path_kind(&kind, NULL, cnL_checktext(L, 1)), 0);
  if (kind == CN_PATH_NONE) lua_pushboolean(L, 0);
  else lua_pushstring(L, names[kind]);
  return 1;
}

/* size(path) -> bytes of a file */
static int file_size(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  CnPathKind kind = CN_PATH_NONE;
  int64_t size = 0;
  cnL_result(L, cn_path_kind(&kind, &size, path), 0);
  if (kind != CN_PATH_FILE)
    cnL_result(L, cn_fail(CN_EDATA, "%s: %s", path, kind == CN_PATH_NONE ? "no such file" : "not a regular file"), 0);
  lua_pushinteger(L, size);
  return 1;
}

static int file_copy(lua_State *L) {
  const char *from = cnL_checktext(L, 1);
  return cnL_result(L, cn_file_copy(from, cnL_checktext(L, 2)), 0);
}

static int file_rename(lua_State *L) {
  const char *from = cnL_checktext(L, 1);
  return cnL_result(L, cn_file_rename(from, cnL_checktext(L, 2)), 0);
}

/* remove(path) -> whether there was such a file or empty folder */
static int file_remove(lua_State *L) {
  bool was_there = false;
  cnL_result(L, cn_path_remove(&was_there, cnL_checktext(L, 1)), 0);
  lua_pushboolean(L, was_there);
  return 1;
}

static int file_remove_tree(lua_State *L) { return cnL_result(L, cn_folder_remove(cnL_checktext(L, 1)), 0); }

static int file_mkdir(lua_State *L) { return cnL_result(L, cn_folder_make(cnL_checktext(L, 1)), 0); }

/* temporary() -> the path of a new empty folder */
static int file_temporary(lua_State *L) {
  char **path = cnL_newblock(L);
  cnL_result(L, cn_folder_temporary(path), 0);
  lua_pushstring(L, *path);
  return 1;
}

/* sweep(folder) -> how many left-over temporary files were removed */
static int file_sweep(lua_State *L) {
  int count = 0;
  cnL_result(L, cn_folder_sweep(&count, cnL_checktext(L, 1)), 0);
  lua_pushinteger(L, count);
  return 1;
}

/* free_space(folder) -> bytes */
static int file_free_space(lua_State *L) {
  int64_t bytes = 0;
  cnL_result(L, cn_folder_free_space(&bytes, cnL_checktext(L, 1)), 0);
  lua_pushinteger(L, bytes);
  return 1;
}

static int names_free(lua_State *L) {
  cn_names_free(luaL_checkudata(L, 1, NAMES));
  return 0;
}

/* list(folder) -> sorted names */
static int file_list(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  CnNames *names = lua_newuserdatauv(L, sizeof *names, 0);
  *names = (CnNames){ 0 };
  luaL_setmetatable(L, NAMES);
  cnL_result(L, cn_folder_list(names, path), 0);
  lua_createtable(L, names->count, 0);
  for (int i = 0; i < names->count; i++) {
    lua_pushstring(L, names->name[i]);
    lua_rawseti(L, -2, i + 1);
  }
  cn_names_free(names);
  return 1;
}

/* ---- logs ---- */

static int log_free(lua_State *L) {
  CnLog **box = luaL_checkudata(L, 1, LOG);
  cn_log_close(*box);
  *box = NULL;
  return 0;
}

/* append(path, text): whole or not at all, and on the disk when it returns */
static int file_append(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  size_t size;
  const char *text = luaL_checklstring(L, 2, &size);
  CnLog *log;
  CnErr e = cn_log_open(&log, path);
  if (e != CN_OK) return cnL_result(L, e, 0);
  e = cn_log_append(log, text, size);
  CnErr closed = cn_log_close(log); /* its message, if both fail */
  return cnL_result(L, e != CN_OK ? e : closed, 0);
}

/* log(path) -> log, for many appends */
static int log_open(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  CnLog **box = cnL_box(L, LOG, 0);
  return cnL_result(L, cn_log_open(box, path), 1);
}

/* log:append(text [, sync = true]): whole or not at all; on the disk when it returns, unless sync is false */
static int log_append(lua_State *L) {
  CnLog *log = cnL_check(L, 1, LOG);
  size_t size;
  const char *text = luaL_checklstring(L, 2, &size);
  bool sync = lua_isnoneornil(L, 3) || lua_toboolean(L, 3);
  CnErr e = cn_log_append(log, text, size);
  if (e == CN_OK && sync) e = cn_log_sync(log);
  return cnL_result(L, e, 0);
}

static int log_sync(lua_State *L) { return cnL_result(L, cn_log_sync(cnL_check(L, 1, LOG)), 0); }

static int log_size(lua_State *L) {
  lua_pushinteger(L, cn_log_size(cnL_check(L, 1, LOG)));
  return 1;
}

/* Unlike __gc and __close it raises when the last records are not on the disk. */
static int log_close(lua_State *L) {
  CnLog **box = luaL_checkudata(L, 1, LOG), *log = *box;
  *box = NULL;
  return cnL_result(L, cn_log_close(log), 0);
}

/* ---- locks ---- */

static int lock_free(lua_State *L) { /* also lock:close() */
  CnLock **box = luaL_checkudata(L, 1, LOCK);
  cn_lock_release(*box);
  *box = NULL;
  return 0;
}

/* lock(folder) -> lock, held until closed; an error of code "busy" when another holds it */
static int lock_take(lua_State *L) {
  const char *folder = cnL_checktext(L, 1);
  CnLock **box = cnL_box(L, LOCK, 0);
  return cnL_result(L, cn_lock_take(box, folder), 1);
}

/* holder(folder) -> text, or nil when nobody holds it */
static int lock_holder(lua_State *L) {
  const char *folder = cnL_checktext(L, 1);
  char **text = cnL_newblock(L);
  cnL_result(L, cn_lock_holder(text, folder), 0);
  lua_pushstring(L, *text); /* nil for NULL */
  return 1;
}

void cnL_open_file(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "read", file_read },       { "write", file_write },             { "append", file_append },
    { "copy", file_copy },       { "truncate", file_truncate },         { "exists", file_exists },
    { "size", file_size },       { "rename", file_rename },             { "remove", file_remove },
    { "mkdir", file_mkdir },     { "remove_tree", file_remove_tree },   { "list", file_list },
    { "sweep", file_sweep },     { "free_space", file_free_space },     { "temporary", file_temporary },
    { "log", log_open },         { "lock", lock_take },                 { "holder", lock_holder },
    { NULL, NULL },
  };
  static const luaL_Reg log_methods[] = {
    { "append", log_append }, { "sync", log_sync }, { "size", log_size }, { "close", log_close }, { NULL, NULL },
  };
  static const luaL_Reg lock_methods[] = { { "close", lock_free }, { NULL, NULL } };
  cnL_type(L, NAMES, NULL, NULL, names_free);
  cnL_type(L, LOG, log_methods, NULL, log_free);
  cnL_type(L, LOCK, lock_methods, NULL, lock_free);
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "file");
}
