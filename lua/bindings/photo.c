/* photo.c - see photo.h; and what looks at single photographs: cnas.image.transform, which makes of one what a loader
** makes of it, cnas.image.inspect and cnas.datasets.survey, which say what they are. */
#include "bindings/photo.h"

#include <string.h>

#include "base/memory.h"
#include "bindings/io.h"
#include "data/survey.h"

/* Field `name` of the table at `arg`: `count` numbers, if it is there. */
static void get_numbers(lua_State *L, int arg, const char *who, const char *name, double *out, int count) {
  if (lua_getfield(L, arg, name) != LUA_TNIL) {
    if (!lua_istable(L, -1) || luaL_len(L, -1) != count)
      luaL_error(L, "%s: option '%s' must be a table of %d numbers", who, name, count);
    for (int i = 0; i < count; i++) {
      int number;
      lua_geti(L, -1, i + 1);
      out[i] = lua_tonumberx(L, -1, &number);
      if (!number) luaL_error(L, "%s: option '%s': number %d is a %s", who, name, i + 1, luaL_typename(L, -1));
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

static int get_int(lua_State *L, int arg, const char *who, const char *name, int otherwise) {
  lua_Integer value = cnL_optfield_integer(L, arg, who, name, otherwise);
  return value < 0 || value > 1 << 20 ? -1 : (int)value;
}

CnPhotoSettings cnL_checkphoto(lua_State *L, int arg, const char *who) {
  cnL_checkoptions(L, arg, who, "size resize scale ratio flip jitter cutout exact");
  bool evaluates = lua_getfield(L, arg, "resize") != LUA_TNIL;
  lua_pop(L, 1);
  CnPhotoSettings s = evaluates ? cn_photo_evaluation : cn_photo_training;
  s.size = get_int(L, arg, who, "size", s.size);
  s.resize = get_int(L, arg, who, "resize", s.resize);
  s.cutout = get_int(L, arg, who, "cutout", s.cutout);
  s.flip = cnL_optfield_boolean(L, arg, who, "flip", s.flip);
  s.exact = cnL_optfield_boolean(L, arg, who, "exact", s.exact);
  get_numbers(L, arg, who, "scale", s.scale, 2);
  get_numbers(L, arg, who, "ratio", s.ratio, 2);
  get_numbers(L, arg, who, "jitter", s.jitter, CN_JITTERS);
  return s;
}

/* One change, { "hue", 0.1 }, on top of the stack, to draw. */
static void add_change(lua_State *L, const char *who, CnPhotoDraw *draw) {
  static const char *const names[CN_JITTERS] = { "brightness", "contrast", "saturation", "hue" };
  if (draw->changes == CN_JITTERS) luaL_error(L, "%s: at most %d changes", who, CN_JITTERS);
  if (!lua_istable(L, -1)) luaL_error(L, "%s: a change must be a table like { \"hue\", 0.1 }", who);
  lua_geti(L, -1, 1);
  lua_geti(L, -2, 2);
  const char *name = lua_tostring(L, -2);
  int j = 0;
  while (j < CN_JITTERS && (!name || strcmp(names[j], name))) j++;
  if (j == CN_JITTERS || !lua_isnumber(L, -1))
    luaL_error(L, "%s: a change must be brightness, contrast, saturation or hue, and a number", who);
  draw->factor[draw->changes] = lua_tonumber(L, -1);
  draw->change[draw->changes++] = (CnJitter)j;
  lua_pop(L, 2);
}

/* What the table at `arg` says of the draws: { part = { x, y, width, height }, changes = { { "hue", 0.1 }, … } }. */
static CnPhotoDraw check_draw(lua_State *L, int arg, const char *who, CnPhotoSettings *s, const CnPictureInfo *info) {
  CnPhotoDraw draw = { 0 };
  double part[4] = { 0 };
  get_numbers(L, arg, who, "part", part, 4);
  s->random = part[2] != 0;
  if (s->random) {
    draw.part = (CnBox){ (int)part[0], (int)part[1], (int)part[2], (int)part[3] };
    if (part[0] < 0 || part[1] < 0 || part[2] < 1 || part[3] < 1 || part[0] + part[2] > info->width ||
        part[1] + part[3] > info->height)
      luaL_error(L, "%s: the part is not in the picture of %dx%d", who, info->width, info->height);
  }
  if (lua_getfield(L, arg, "changes") != LUA_TNIL)
    for (lua_Integer i = 1, n = luaL_len(L, -1); i <= n; i++) {
      lua_geti(L, -1, i);
      add_change(L, who, &draw);
      lua_pop(L, 1);
    }
  lua_pop(L, 1);
  return draw;
}

typedef struct Box { /* frees itself, whatever Lua raises */
  CnPhoto *photo;
} Box;

static int box_free(lua_State *L) {
  Box *box = lua_touserdata(L, 1);
  cn_photo_free(box->photo);
  box->photo = NULL;
  return 0;
}

static CnPhoto *new_photo(lua_State *L) {
  Box *box = lua_newuserdatauv(L, sizeof *box, 0);
  box->photo = NULL;
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, box_free);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__gc");
  lua_setfield(L, -2, "__close");
  lua_setmetatable(L, -2);
  lua_toclose(L, lua_gettop(L));
  cnL_result(L, cn_photo_new(&box->photo), 0);
  return box->photo;
}

/* image.transform(bytes, { size = 224, resize = 256, part =, changes =, exact = }) -> u8 (size,size,3): the file's
** picture as evaluation makes it; from a part of it and with colours changed as training would */
static int transform(lua_State *L) {
  static const char who[] = "image.transform";
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    lua_newtable(L);
  }
  cnL_checkoptions(L, 2, who, "size resize part changes exact");
  CnPhotoSettings s = cn_photo_evaluation;
  s.size = get_int(L, 2, who, "size", s.size);
  s.resize = get_int(L, 2, who, "resize", s.resize);
  s.exact = cnL_optfield_boolean(L, 2, who, "exact", 0);
  CnPhoto *photo = new_photo(L);
  CnPictureInfo info;
  cnL_result(L, cn_photo_open(photo, &info, bytes, length, who), 0);
  CnPhotoDraw draw = check_draw(L, 2, who, &s, &info);
  cnL_result(L, cn_photo_check(&s), 0);
  const uint8_t *pixels;
  CnTensor **out = cnL_newtensor(L);
  cnL_result(L, cn_photo_pixels(&pixels, photo, &s, &draw), 0);
  cnL_result(L, cn_tensor_new(out, CN_U8, CN_DEVICE_CPU, 3, (int64_t[]){ s.size, s.size, 3 }), 0);
  memcpy(cn_tensor_data(*out), pixels, 3 * (size_t)s.size * (size_t)s.size);
  return 1;
}

static void push_description(lua_State *L, const CnPictureInfo *info, int orientation, int64_t warnings) {
  static const char *const formats[] = { "other", "jpeg", "png" }, *const colours[] = { "grey", "rgb", "cmyk",
                                                                                        "palette" };
  const struct { const char *name; lua_Integer value; } numbers[] = {
    { "width", info->width }, { "height", info->height }, { "bits", info->bits }, { "orientation", orientation },
    { "warnings", warnings },
  };
  lua_createtable(L, 0, 10);
  lua_pushstring(L, formats[info->format]);
  lua_setfield(L, -2, "format");
  lua_pushstring(L, colours[info->colour]);
  lua_setfield(L, -2, "colour");
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    lua_pushinteger(L, numbers[i].value);
    lua_setfield(L, -2, numbers[i].name);
  }
  lua_pushboolean(L, info->alpha);
  lua_setfield(L, -2, "alpha");
  lua_pushboolean(L, info->progressive);
  lua_setfield(L, -2, "progressive");
}

/* image.inspect(bytes [, name]) -> what the file is: { format =, colour =, width =, height =, bits =, alpha =,
** progressive =, orientation =, warnings = }, everything decoded; raises when it cannot be */
static int inspect(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length), *name = luaL_optstring(L, 2, "image.inspect");
  CnPhoto *photo = new_photo(L);
  CnPictureInfo info;
  int64_t warnings;
  cnL_result(L, cn_photo_open(photo, &info, bytes, length, name), 0);
  cnL_result(L, cn_photo_try(&warnings, photo), 0);
  push_description(L, &info, cn_picture_orientation(bytes, length), warnings);
  return 1;
}

/* Frees what a survey of `count` files left, from the userdatum at 1. */
static int surveys_free(lua_State *L) {
  CnSurvey *survey = lua_touserdata(L, 1);
  for (size_t i = 0; i < lua_rawlen(L, 1) / sizeof *survey; i++) {
    cn_free(survey[i].bad);
    survey[i].bad = NULL;
  }
  return 0;
}

/* datasets.survey(dataset, first, count) -> for each file a table as image.inspect gives, or { bad = why, format = } */
static int survey_files(lua_State *L) {
  CnDataset *d = cnL_check(L, 1, CNL_DATASET);
  lua_Integer first = luaL_checkinteger(L, 2), count = luaL_checkinteger(L, 3);
  luaL_argcheck(L, first >= 1 && first <= d->count + 1, 2, "no such image");
  luaL_argcheck(L, count >= 0 && count <= d->count + 1 - first, 3, "more images than there are");
  CnSurvey *survey = lua_newuserdatauv(L, (size_t)count * sizeof *survey, 0);
  memset(survey, 0, (size_t)count * sizeof *survey);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, surveys_free);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  CnErr e = cn_survey(survey, d, first - 1, count);
  if (e != CN_OK) memset(survey, 0, (size_t)count * sizeof *survey);
  cnL_result(L, e, 0);
  lua_createtable(L, (int)count, 0);
  for (lua_Integer i = 0; i < count; i++) {
    push_description(L, &survey[i].info, survey[i].orientation, survey[i].warnings);
    if (survey[i].bad) {
      lua_pushstring(L, survey[i].bad);
      lua_setfield(L, -2, "bad");
    }
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

void cnL_open_photo(lua_State *L) {
  static const luaL_Reg functions[] = { { "transform", transform }, { "inspect", inspect }, { NULL, NULL } };
  lua_getfield(L, -1, "image");
  luaL_setfuncs(L, functions, 0);
  lua_pushboolean(L, cn_picture_reads_jpeg());
  lua_setfield(L, -2, "reads_jpeg");
  lua_pop(L, 1);
  lua_getfield(L, -1, "datasets");
  lua_pushcfunction(L, survey_files);
  lua_setfield(L, -2, "survey");
  lua_pop(L, 1);
}
