/* image.c - cnas.image: PNG files and strings to and from u8 tensors (H,W,C), C = 1, 3 or 4. */
#include "base/memory.h"
#include "bindings/io.h"
#include "io/png.h"

/* load(path) -> tensor */
static int image_load(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  CnTensor **image = cnL_newtensor(L);
  return cnL_result(L, cn_png_load(image, path), 1);
}

/* decode(bytes) -> tensor */
static int image_decode(lua_State *L) {
  size_t size;
  const char *data = luaL_checklstring(L, 1, &size);
  CnTensor **image = cnL_newtensor(L);
  return cnL_result(L, cn_png_decode(image, data, size, "image.decode"), 1);
}

/* save(path, tensor) */
static int image_save(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  return cnL_result(L, cn_png_save(path, cnL_checktensor(L, 2)), 0);
}

/* encode(tensor) -> bytes of a PNG file */
static int image_encode(lua_State *L) {
  CnTensor *image = cnL_checktensor(L, 1);
  char **data = cnL_newblock(L);
  size_t size = 0;
  cnL_result(L, cn_png_encode(data, &size, image), 0);
  lua_pushlstring(L, *data, size);
  cn_free(*data);
  *data = NULL;
  return 1;
}

void cnL_open_image(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "load", image_load },     { "save", image_save }, { "decode", image_decode },
    { "encode", image_encode }, { NULL, NULL },
  };
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "image");
}
