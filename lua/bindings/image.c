/* image.c - cnas.image: PNG files and strings to and from u8 tensors (H,W,C), C = 1, 3 or 4; JPEG to (H,W,3). */
#include "base/memory.h"
#include "bindings/io.h"
#include "data/photo.h"
#include "io/file.h"
#include "io/png.h"

#define FILE_LIMIT ((size_t)1 << 30)

static CnErr decode_jpeg(CnTensor **out, CnPhoto *photo, const void *data, size_t size, const char *name) {
  CnPictureInfo info;
  CN_TRY(cn_photo_open(photo, &info, data, size, name));
  CN_TRY(cn_tensor_new(out, CN_U8, CN_DEVICE_CPU, 3, (int64_t[]){ info.height, info.width, 3 }));
  CnErr e = cn_photo_whole(cn_tensor_data(*out), photo);
  if (e != CN_OK) cn_tensor_unref(*out), *out = NULL;
  return e;
}

/* Any file of the two formats; what is neither is said not to be a PNG. */
static CnErr decode(CnTensor **out, const void *data, size_t size, const char *name) {
  if (cn_picture_format(data, size) != CN_PICTURE_JPEG) return cn_png_decode(out, data, size, name);
  CnPhoto *photo;
  CN_TRY(cn_photo_new(&photo));
  CnErr e = decode_jpeg(out, photo, data, size, name);
  cn_photo_free(photo);
  return e;
}

/* load(path) -> tensor */
static int image_load(lua_State *L) {
  const char *path = cnL_checktext(L, 1);
  CnTensor **image = cnL_newtensor(L);
  char *data;
  size_t size;
  cnL_result(L, cn_file_read(&data, &size, path, FILE_LIMIT), 1);
  CnErr e = decode(image, data, size, path);
  cn_free(data);
  return cnL_result(L, e, 1);
}

/* decode(bytes) -> tensor */
static int image_decode(lua_State *L) {
  size_t size;
  const char *data = luaL_checklstring(L, 1, &size);
  CnTensor **image = cnL_newtensor(L);
  return cnL_result(L, decode(image, data, size, "image.decode"), 1);
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
