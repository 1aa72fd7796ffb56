/* data.c - cnas.datasets: datasets and loaders as userdata; lua/cnas/data.lua makes cnas.data of it.
**
** Positions are 1-based here, labels 0-based as classes are everywhere. */
#include "bindings/download.h"

#include <string.h>

#include "base/threads.h"
#include "bindings/photo.h"
#include "data/cifar.h"
#include "data/listing.h"
#include "data/loader.h"
#include "data/shapes.h"

/* ---- Datasets ---- */

static CnDataset **new_dataset(lua_State *L) { return cnL_box(L, CNL_DATASET, 0); }

static CnDataset *check_dataset(lua_State *L, int arg) { return cnL_check(L, arg, CNL_DATASET); }

static int dataset_free(lua_State *L) {
  CnDataset **box = luaL_checkudata(L, 1, CNL_DATASET);
  cn_dataset_unref(*box);
  *box = NULL;
  return 0;
}

static int dataset_length(lua_State *L) {
  lua_pushinteger(L, check_dataset(L, 1)->count);
  return 1;
}

static int dataset_tostring(lua_State *L) {
  CnDataset **box = luaL_checkudata(L, 1, CNL_DATASET);
  if (!*box) {
    lua_pushliteral(L, "dataset (closed)");
    return 1;
  }
  const CnImages *m = (*box)->images;
  lua_pushfstring(L, "dataset %s: %I images %dx%dx%d in %d classes", m->name, (lua_Integer)(*box)->count, m->height,
                  m->width, m->channels, m->classes);
  return 1;
}

/* The 1-based position at `arg` as one from 0. */
static int64_t check_position(lua_State *L, int arg, const CnDataset *d) {
  lua_Integer i = luaL_checkinteger(L, arg);
  if (i < 1 || i > d->count)
    luaL_argerror(L, arg, lua_pushfstring(L, "image %I of %I", i, (lua_Integer)d->count));
  return i - 1;
}

/* Image k of a listing, whole. */
static CnErr read_whole(CnTensor **out, CnPhoto *photo, CnBuffer *file, const CnListing *listing, int64_t k) {
  char path[4096];
  size_t size;
  CnPictureInfo info;
  cn_listing_path(path, sizeof path, listing, k);
  CN_TRY(cn_listing_read(file, &size, listing, k));
  CN_TRY(cn_photo_open(photo, &info, file->data, size, path));
  CN_TRY(cn_tensor_new(out, CN_U8, CN_DEVICE_CPU, 3, (int64_t[]){ info.height, info.width, 3 })); /* the box's */
  return cn_photo_whole(cn_tensor_data(*out), photo);
}

/* d:image(i): the bytes (H,W,C); of a file, in the picture's own size */
static int dataset_image(lua_State *L) {
  CnDataset *d = check_dataset(L, 1);
  const CnImages *m = d->images;
  int64_t i = check_position(L, 2, d);
  CnTensor **box = cnL_newtensor(L);
  if (m->listing) {
    CnPhoto *photo;
    CnBuffer file = { 0 };
    cnL_result(L, cn_photo_new(&photo), 1);
    CnErr e = read_whole(box, photo, &file, m->listing, cn_dataset_position(d, i));
    cn_photo_free(photo);
    cn_buffer_free(&file);
    return cnL_result(L, e, 1);
  }
  int64_t shape[] = { m->height, m->width, m->channels };
  cnL_result(L, cn_tensor_new(box, CN_U8, CN_DEVICE_CPU, 3, shape), 1);
  memcpy(cn_tensor_data(*box), cn_dataset_image(d, i), (size_t)cn_images_bytes(m));
  return 1;
}

/* d:path(i): where its file is; nil for images in memory */
static int dataset_path(lua_State *L) {
  CnDataset *d = check_dataset(L, 1);
  int64_t i = check_position(L, 2, d);
  char path[4096];
  if (!d->images->listing) {
    lua_pushnil(L);
    return 1;
  }
  cn_listing_path(path, sizeof path, d->images->listing, cn_dataset_position(d, i));
  lua_pushstring(L, path);
  return 1;
}

/* d:bad([from]): what was said of the files that could not be decoded so far, from the from-th on */
static int dataset_bad(lua_State *L) {
  CnListing *listing = check_dataset(L, 1)->images->listing;
  lua_Integer from = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, from >= 1, 2, "must be at least 1");
  int64_t count = listing ? cn_listing_bad(listing) : 0;
  lua_newtable(L);
  for (int64_t i = from; i <= count; i++) {
    lua_pushstring(L, cn_listing_bad_message(listing, i - 1));
    lua_rawseti(L, -2, i - from + 1);
  }
  return 1;
}

/* d:label(i): its class, 0 … classes-1 */
static int dataset_label(lua_State *L) {
  CnDataset *d = check_dataset(L, 1);
  lua_pushinteger(L, cn_dataset_label(d, check_position(L, 2, d)));
  return 1;
}

/* d:subset{ i, j, … }: those images in this order, sharing their pixels */
static int dataset_subset(lua_State *L) {
  CnDataset *d = check_dataset(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer n = luaL_len(L, 2);
  CnDataset **box = new_dataset(L);
  int64_t *index = lua_newuserdatauv(L, (size_t)n * sizeof *index, 0);
  for (lua_Integer i = 0; i < n; i++) {
    int whole;
    lua_geti(L, 2, i + 1);
    index[i] = lua_tointegerx(L, -1, &whole) - 1;
    if (!whole || index[i] < 0 || index[i] >= d->count)
      return luaL_error(L, "subset: entry %I must be from 1 to %I, got %s", i + 1, (lua_Integer)d->count,
                        luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
  }
  CnErr e = cn_dataset_subset(box, d, index, n);
  lua_pop(L, 1);
  return cnL_result(L, e, 1);
}

/* d:split(fraction, seed [, use]): two datasets without an image in common, drawn from the seed; of the first `use` of
** the drawn order when that is given */
static int dataset_split(lua_State *L) {
  CnDataset *d = check_dataset(L, 1);
  double fraction = luaL_checknumber(L, 2);
  lua_Integer seed = luaL_checkinteger(L, 3), use = luaL_optinteger(L, 4, -1);
  luaL_argcheck(L, lua_isnoneornil(L, 4) || use >= 0, 4, "must not be negative");
  CnDataset **first = new_dataset(L), **rest = new_dataset(L);
  return cnL_result(L, cn_dataset_split(first, rest, d, use, fraction, (uint64_t)seed), 2);
}

static void push_floats(lua_State *L, const float *values, int n) {
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushnumber(L, (lua_Number)values[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

/* d.classes and the other fields; methods. */
static int dataset_index(lua_State *L) {
  const CnImages *m = check_dataset(L, 1)->images;
  const char *key = luaL_checkstring(L, 2);
  if (!strcmp(key, "classes")) lua_pushinteger(L, m->classes);
  else if (!strcmp(key, "name")) lua_pushstring(L, m->name);
  else if (!strcmp(key, "height")) lua_pushinteger(L, m->height);
  else if (!strcmp(key, "width")) lua_pushinteger(L, m->width);
  else if (!strcmp(key, "channels")) lua_pushinteger(L, m->channels);
  else if (!strcmp(key, "mean")) push_floats(L, m->mean, m->channels);
  else if (!strcmp(key, "std")) push_floats(L, m->std, m->channels);
  else if (!strcmp(key, "class_names")) {
    lua_createtable(L, m->classes, 0);
    for (int c = 0; m->class_names && c < m->classes; c++) {
      lua_pushstring(L, m->class_names[c]);
      lua_rawseti(L, -2, c + 1);
    }
  } else {
    lua_pushvalue(L, 2);
    lua_gettable(L, lua_upvalueindex(1));
  }
  return 1;
}

/* datasets.shapes(seed, set, count) */
static int make_shapes(lua_State *L) {
  lua_Integer seed = luaL_checkinteger(L, 1);
  const char *set = luaL_checkstring(L, 2);
  lua_Integer count = luaL_checkinteger(L, 3);
  CnDataset **box = new_dataset(L);
  return cnL_result(L, cn_shapes_draw(box, (uint64_t)seed, set, count), 1);
}

/* datasets.folder{ root =, name = "folder", classes = a dataset, max_bad = 0, may_be_empty = false }: the pictures of
** class folders */
static int load_folder(lua_State *L) {
  static const char who[] = "folder";
  luaL_checktype(L, 1, LUA_TTABLE);
  cnL_checkoptions(L, 1, who, "root name classes max_bad may_be_empty");
  lua_settop(L, 1);
  CnListingConfig config = { .name = cnL_optfield_string(L, 1, who, "name", "folder"),
                             .root = cnL_optfield_string(L, 1, who, "root", NULL),
                             .max_bad = cnL_optfield_integer(L, 1, who, "max_bad", 0),
                             .may_be_empty = cnL_optfield_boolean(L, 1, who, "may_be_empty", 0) };
  if (!config.root) return luaL_error(L, "%s: option 'root' is missing", who);
  if (config.max_bad < 0) return luaL_error(L, "%s: max_bad must not be negative", who);
  if (lua_getfield(L, 1, "classes") != LUA_TNIL) config.classes = check_dataset(L, 2);
  CnDataset **box = new_dataset(L);
  return cnL_result(L, cn_listing_load(box, &config), 1);
}

/* ---- CIFAR, with a Lua function that hears of a download's progress ---- */

/* datasets.cifar(classes, root, { download =, url =, md5 =, progress = f(bytes, total) }) -> train, test; f returning
** false stops the download */
static int load_cifar(lua_State *L) {
  static const char who[] = "cifar";
  lua_Integer classes = luaL_checkinteger(L, 1);
  const char *root = luaL_checkstring(L, 2);
  luaL_argcheck(L, classes == 10 || classes == 100, 1, "must be 10 or 100");
  cnL_checkoptions(L, 3, who, "download url md5 progress");
  lua_settop(L, 3);
  CnCifarSource source = { .url = cnL_optfield_string(L, 3, who, "url", NULL),
                           .md5 = cnL_optfield_string(L, 3, who, "md5", NULL),
                           .download = cnL_optfield_boolean(L, 3, who, "download", 0) };
  if (lua_isnil(L, 3)) lua_pushnil(L);
  else lua_getfield(L, 3, "progress");
  CnlListener listener;
  source.progress = cnL_progress(L, 4, &listener);
  source.progress_data = &listener;
  cnL_downloaded(L, &listener, cn_cifar_obtain((int)classes, root, &source), 0);
  CnDataset **train = new_dataset(L), **test = new_dataset(L);
  return cnL_result(L, cn_cifar_load(train, test, (int)classes, root), 2);
}

/* ---- Loaders ---- */

static CnLoader *check_loader(lua_State *L, int arg) { return cnL_check(L, arg, CNL_LOADER); }

static int loader_free(lua_State *L) {
  CnLoader **box = luaL_checkudata(L, 1, CNL_LOADER);
  cn_loader_free(*box);
  *box = NULL;
  return 0;
}

/* l:close(), and the end of a `for`: joins the threads; the loader can still tell how long was waited. */
static int loader_close(lua_State *L) {
  CnLoader **box = luaL_checkudata(L, 1, CNL_LOADER);
  if (*box) cn_loader_stop(*box);
  return 0;
}

/* Tells the loader's function, its user value, of every bad file from the `from`-th on, from 0. */
static void tell_of_bad(lua_State *L, CnListing *listing, int64_t from) {
  if (lua_getiuservalue(L, 1, 1) == LUA_TNIL) from = INT64_MAX;
  for (int64_t i = from; i < cn_listing_bad(listing); i++) {
    lua_pushvalue(L, -1);
    lua_pushstring(L, cn_listing_bad_message(listing, i));
    lua_call(L, 1, 0);
  }
  lua_pop(L, 1);
}

/* l() -> x (N,H,W,C) f32, y (N) i64 on the loader's device; nil at the end */
static int loader_next(lua_State *L) {
  CnLoader *l = check_loader(L, 1);
  CnListing *listing = cn_loader_dataset(l)->images->listing;
  int64_t bad = listing ? cn_listing_bad(listing) : 0;
  CnTensor **x = cnL_newtensor(L), **y = cnL_newtensor(L);
  cnL_result(L, cn_loader_next(l, x, y), 2);
  cnL_handed(*x);
  if (listing) tell_of_bad(L, listing, bad);
  if (*x) return 2;
  lua_pushnil(L);
  return 1;
}

static int loader_length(lua_State *L) {
  lua_pushinteger(L, cn_loader_batches(check_loader(L, 1)));
  return 1;
}

/* l:waited(): seconds */
static int loader_waited(lua_State *L) {
  lua_pushnumber(L, cn_loader_waited(check_loader(L, 1)));
  return 1;
}

/* l:share() -> of the batch given last, the images that are this shard's own, and those of all shards */
static int loader_share(lua_State *L) {
  int64_t own, all;
  cn_loader_share(check_loader(L, 1), &own, &all);
  lua_pushinteger(L, own);
  lua_pushinteger(L, all);
  return 2;
}

/* Field `augment` of the table at 1: false, true (crop 4, flip), or { crop =, flip =, cutout = }. */
static CnAugment check_augment(lua_State *L) {
  static const char who[] = "loader: augment";
  CnAugment a = { 0 };
  lua_getfield(L, 1, "augment");
  int at = lua_gettop(L);
  if (lua_istable(L, at)) {
    cnL_checkoptions(L, at, who, "crop flip cutout");
    lua_Integer crop = cnL_optfield_integer(L, at, who, "crop", 0);
    lua_Integer cutout = cnL_optfield_integer(L, at, who, "cutout", 0);
    if (crop < 0 || crop > 4096 || cutout < 0 || cutout > 4096)
      luaL_error(L, "%s: crop and cutout must be from 0 to the image's size", who);
    a = (CnAugment){ (int)crop, cnL_optfield_boolean(L, at, who, "flip", 0), (int)cutout };
  } else if (lua_toboolean(L, at)) {
    if (!lua_isboolean(L, at)) luaL_error(L, "%s must be true, false or a table, got %s", who, luaL_typename(L, at));
    a = (CnAugment){ .crop = 4, .flip = true };
  }
  lua_pop(L, 1);
  return a;
}

/* The same for pictures in files: false evaluates, true trains as published for ImageNet, a table changes that. */
static CnPhotoSettings check_photo(lua_State *L) {
  lua_getfield(L, 1, "augment");
  CnPhotoSettings s = cn_photo_evaluation;
  int at = lua_gettop(L);
  if (lua_istable(L, at)) s = cnL_checkphoto(L, at, "loader: augment");
  else if (lua_isboolean(L, at) && lua_toboolean(L, at)) s = cn_photo_training;
  else if (!lua_isnoneornil(L, at) && !lua_isboolean(L, at))
    luaL_error(L, "loader: augment must be true, false or a table, got %s", luaL_typename(L, at));
  lua_pop(L, 1);
  return s;
}

/* datasets.loader{ dataset =, batch =, seed = 0, stream = "train", pass = 1, start = 1, shuffle = false,
** augment = false, drop_last = false, threads =, shard = 1, shards = 1, device = "cpu", on_bad = f(message) }: what a
** `for` wants, so that the loader is closed when the loop is left. Threads: one, for pictures in files as many as the
** kernels have. */
static int make_loader(lua_State *L) {
  static const char who[] = "loader";
  luaL_checktype(L, 1, LUA_TTABLE);
  cnL_checkoptions(L, 1, who,
                   "dataset batch seed stream pass start shuffle augment drop_last threads shard shards device on_bad");
  lua_settop(L, 1);
  lua_getfield(L, 1, "dataset");
  if (!luaL_testudata(L, 2, CNL_DATASET))
    return luaL_error(L, "%s: option 'dataset' must be a dataset, got %s", who, luaL_typename(L, 2));
  const bool files = check_dataset(L, 2)->images->listing != NULL;
  lua_Integer threads = cnL_optfield_integer(L, 1, who, "threads", files ? cn_threads() : 1);
  lua_Integer shard = cnL_optfield_integer(L, 1, who, "shard", 1);
  lua_Integer shards = cnL_optfield_integer(L, 1, who, "shards", 1);
  if (shards < 1 || shards > 1 << 20) return luaL_error(L, "%s: shards must be from 1 to 2^20, got %I", who, shards);
  if (shard < 1 || shard > shards) return luaL_error(L, "%s: shard must be from 1 to %I, got %I", who, shards, shard);
  CnLoaderConfig config = {
    .dataset = check_dataset(L, 2), .batch = cnL_field_integer(L, 1, who, "batch"),
    .seed = (uint64_t)cnL_optfield_integer(L, 1, who, "seed", 0),
    .stream = cnL_optfield_string(L, 1, who, "stream", "train"),
    .pass = cnL_optfield_integer(L, 1, who, "pass", 1), .start = cnL_optfield_integer(L, 1, who, "start", 1) - 1,
    .shuffle = cnL_optfield_boolean(L, 1, who, "shuffle", 0),
    .drop_last = cnL_optfield_boolean(L, 1, who, "drop_last", 0),
    .threads = threads < 0 || threads > 1024 ? -1 : (int)threads,
    .shard = (int)shard - 1, .shards = (int)shards,
  };
  cnL_result(L, cn_device_parse(&config.device, cnL_optfield_string(L, 1, who, "device", "cpu")), 0);
  if (files) config.photo = check_photo(L);
  else config.augment = check_augment(L);
  CnLoader **box = cnL_box(L, CNL_LOADER, 1);
  if (lua_getfield(L, 1, "on_bad") != LUA_TNIL) luaL_checktype(L, -1, LUA_TFUNCTION);
  lua_setiuservalue(L, -2, 1);
  cnL_result(L, cn_loader_new(box, &config), 1);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, -3);
  return 4;
}

void cnL_open_data(lua_State *L) {
  static const luaL_Reg dataset_methods[] = { { "image", dataset_image }, { "label", dataset_label },
                                              { "subset", dataset_subset }, { "split", dataset_split },
                                              { "path", dataset_path },     { "bad", dataset_bad },
                                              { NULL, NULL } };
  static const luaL_Reg dataset_meta[] = { { "__len", dataset_length }, { "__tostring", dataset_tostring },
                                           { NULL, NULL } };
  static const luaL_Reg loader_methods[] = { { "waited", loader_waited }, { "share", loader_share },
                                             { "close", loader_close }, { NULL, NULL } };
  static const luaL_Reg loader_meta[] = { { "__len", loader_length }, { "__call", loader_next }, { NULL, NULL } };
  static const luaL_Reg functions[] = { { "shapes", make_shapes }, { "cifar", load_cifar }, { "folder", load_folder },
                                        { "loader", make_loader }, { NULL, NULL } };
  cnL_type(L, CNL_DATASET, dataset_methods, dataset_meta, dataset_free);
  luaL_getmetatable(L, CNL_DATASET);
  lua_getfield(L, -1, "__index");
  lua_pushcclosure(L, dataset_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);

  cnL_type(L, CNL_LOADER, loader_methods, loader_meta, loader_free);
  luaL_getmetatable(L, CNL_LOADER);
  lua_pushcfunction(L, loader_close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);

  luaL_newlib(L, functions);
  lua_setfield(L, -2, "datasets");
}
