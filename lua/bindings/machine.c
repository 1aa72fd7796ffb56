/* machine.c - what this program was built of and runs on: libraries(), devices(), built(). */
#include "device/cuda.h"
#include "io/libraries.h"
#include "lua/bindings/binding.h"
#include "tensor/op.h"

static void set_text(lua_State *L, const char *key, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

#ifndef CNAS_EDIT_VERSION
#define CNAS_EDIT_VERSION ""
#endif

/* libraries() -> { { name, serves, version or nil: left out of this build; outside: no part of it }, … } */
static int libraries(lua_State *L) {
  CnLibrary all[CN_LIBRARIES_MOST + 1 + CN_LIBRARIES_GPU];
  int count = cn_libraries(all);
  all[count++] = (CnLibrary){ "libedit", "line editing at -i", CNAS_EDIT_VERSION, false }; /* the host's */
  count += cn_libraries_gpu(all + count);
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_createtable(L, 0, 3);
    set_text(L, "name", all[i].name);
    set_text(L, "serves", all[i].serves);
    if (all[i].version[0] != '\0') set_text(L, "version", all[i].version);
    if (all[i].outside) {
      lua_pushboolean(L, true);
      lua_setfield(L, -2, "outside");
    }
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* Names of rows that the GPU has no kernels for, into the table on top. */
static void set_lacks(lua_State *L) {
  const char *rows[CN_OPS];
  int lacking = cn_gpu_lacks(rows, CN_OPS);
  lua_createtable(L, lacking, 0);
  for (int i = 0; i < lacking; i++) {
    lua_pushstring(L, rows[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "lacks");
}

/* devices() -> { { name, count, detail or missing: why there is none, lacks: rows without kernels }, … } */
static int devices(lua_State *L) {
  static const char *const names[CN_DEVICE_KINDS] = { "cpu", "cuda" };
  lua_createtable(L, CN_DEVICE_KINDS, 0);
  for (int kind = 0; kind < CN_DEVICE_KINDS; kind++) {
    const CnDeviceModule *module = NULL;
    bool there = cn_device_module(&module, (CnDeviceKind)kind) == CN_OK && module->count > 0;
    lua_createtable(L, 0, 3);
    set_text(L, "name", names[kind]);
    lua_pushinteger(L, there ? module->count : 0);
    lua_setfield(L, -2, "count");
    set_text(L, there ? "detail" : "missing", there ? module->detail : module ? module->detail : cn_error_message());
    if (kind == CN_CUDA && there) set_lacks(L);
    lua_rawseti(L, -2, kind + 1);
  }
  return 1;
}

/* gpu_work() -> { launches =, waits =, copies =, rows = { add = launches, … } }: what GPUs were asked for so far; nil
** without one */
static int gpu_work(lua_State *L) {
  const CnGpu *gpu = NULL;
  CnGpuWork work;
  if (cn_gpu(&gpu) != CN_OK) return 0;
  gpu->work(&work);
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, work.launches);
  lua_setfield(L, -2, "launches");
  lua_pushinteger(L, work.waits);
  lua_setfield(L, -2, "waits");
  lua_pushinteger(L, work.copies);
  lua_setfield(L, -2, "copies");
  lua_newtable(L);
  for (int id = 0; id < CN_OPS; id++) {
    if (gpu->launches(id) == 0) continue;
    lua_pushinteger(L, gpu->launches(id));
    lua_setfield(L, -2, cn_op((CnOpId)id)->name);
  }
  lua_setfield(L, -2, "rows");
  return 1;
}

/* built() -> { lua, compiler, type, flags, sanitizers or nil } */
static int built(lua_State *L) {
  lua_createtable(L, 0, 5);
  set_text(L, "lua", LUA_RELEASE);
  set_text(L, "compiler", CNAS_COMPILER);
  set_text(L, "type", CNAS_BUILD_TYPE);
  set_text(L, "flags", CNAS_BUILD_FLAGS);
  if (CNAS_SANITIZERS[0] != '\0') set_text(L, "sanitizers", CNAS_SANITIZERS);
  return 1;
}

void cnL_open_machine(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "libraries", libraries }, { "devices", devices }, { "gpu_work", gpu_work }, { "built", built }, { NULL, NULL }
  };
  luaL_setfuncs(L, functions, 0);
}
