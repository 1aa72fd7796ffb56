/* download.c - cnas.file.download: a file from the network, checked, with a Lua function that hears of its progress. */
#include "bindings/download.h"

#include "bindings/io.h"

static bool on_progress(void *data, int64_t now, int64_t total) {
  CnlListener *listener = data;
  lua_State *L = listener->L;
  if (!lua_checkstack(L, 4)) return true;
  lua_pushvalue(L, listener->function);
  lua_pushinteger(L, now);
  lua_pushinteger(L, total);
  if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
    listener->failed = true;
    return false;
  }
  bool go_on = lua_isnil(L, -1) || lua_toboolean(L, -1);
  lua_pop(L, 1);
  return go_on;
}

CnProgress cnL_progress(lua_State *L, int function, CnlListener *listener) {
  *listener = (CnlListener){ L, function, false };
  return lua_isnil(L, function) ? NULL : on_progress;
}

int cnL_downloaded(lua_State *L, const CnlListener *listener, CnErr e, int n) {
  return listener->failed ? lua_error(L) : cnL_result(L, e, n);
}

/* download { url =, path =, md5 = or sha256 = (first digits), max_bytes =, progress = f(bytes, total) }: the file is
** there when it returns. f returning false stops it; the next call goes on from there. */
static int download(lua_State *L) {
  static const char who[] = "file.download";
  CnlListener listener;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  cnL_checkoptions(L, 1, who, "url path md5 sha256 max_bytes progress");
  CnDownload d = { .url = cnL_optfield_string(L, 1, who, "url", NULL),
                   .path = cnL_optfield_string(L, 1, who, "path", NULL),
                   .md5 = cnL_optfield_string(L, 1, who, "md5", NULL),
                   .sha256 = cnL_optfield_string(L, 1, who, "sha256", NULL),
                   .max_bytes = cnL_field_integer(L, 1, who, "max_bytes") };
  if (!d.url || !d.path) return luaL_error(L, "%s: options 'url' and 'path' are needed", who);
  lua_getfield(L, 1, "progress");
  d.progress = cnL_progress(L, 2, &listener);
  d.progress_data = &listener;
  return cnL_downloaded(L, &listener, cn_download(&d), 0);
}

/* has_sha256(path, digits) -> whether the file's sum begins with them; and why not */
static int has_sha256(lua_State *L) {
  const char *path = cnL_checktext(L, 1), *digits = cnL_checktext(L, 2);
  CnErr e = cn_sha256_check(path, digits);
  if (e != CN_OK && e != CN_EDATA) return cnL_result(L, e, 0);
  lua_pushboolean(L, e == CN_OK);
  if (e == CN_OK) return 1;
  lua_pushstring(L, cn_error_message());
  return 2;
}

void cnL_open_download(lua_State *L) {
  static const luaL_Reg functions[] = { { "download", download }, { "has_sha256", has_sha256 }, { NULL, NULL } };
  lua_getfield(L, -1, "file");
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}
