/* cifar.c - see cifar.h. A file is read whole, checked record by record, and turned from planes to (H,W,C). */
#include "data/cifar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/threads.h"

#define SIDE 32
#define PLANE (SIDE * SIDE)
#define PIXELS (3 * PLANE)

static const char *const names10[] = { "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                                       "truck" };

static const char *const names100[] = {
  "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
  "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
  "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
  "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
  "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
  "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
  "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
  "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
  "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
  "woman", "worm" };

_Static_assert(sizeof names10 / sizeof *names10 == 10 && sizeof names100 / sizeof *names100 == 100, "class names");

/* What differs between the two. */
typedef struct Edition {
  const char *name;
  int classes;
  int label_bytes; /* the last one counts */
  int train_files;
  int64_t most;    /* records in a training file */
  const char *folder, *archive, *url, *md5;
  const char *const *class_names;
  float mean[3], std[3];
  int wanted_count;
  CnWanted wanted[7]; /* training files, then the test file, then what may be missing */
} Edition;

static const Edition editions[] = {
  { .name = "cifar10", .classes = 10, .label_bytes = 1, .train_files = 5, .most = 10000,
    .folder = "cifar-10-batches-bin", .archive = "cifar-10-binary.tar.gz",
    .url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", .md5 = "c32a1d4ab5d03f1284b67883e8d87530",
    .class_names = names10,
    .mean = { 0.49139968f, 0.48215827f, 0.44653124f }, .std = { 0.24703233f, 0.24348505f, 0.26158768f },
    .wanted_count = 7,
    .wanted = { { "data_batch_1.bin", 30730000, true }, { "data_batch_2.bin", 30730000, true },
                { "data_batch_3.bin", 30730000, true }, { "data_batch_4.bin", 30730000, true },
                { "data_batch_5.bin", 30730000, true }, { "test_batch.bin", 30730000, true },
                { "batches.meta.txt", 4096, false } } },
  { .name = "cifar100", .classes = 100, .label_bytes = 2, .train_files = 1, .most = 50000,
    .folder = "cifar-100-binary", .archive = "cifar-100-binary.tar.gz",
    .url = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", .md5 = "03b5dce01913d631647c71ecec9e9cb8",
    .class_names = names100,
    .mean = { 0.5071f, 0.4867f, 0.4408f }, .std = { 0.2675f, 0.2565f, 0.2761f },
    .wanted_count = 4,
    .wanted = { { "train.bin", 153700000, true }, { "test.bin", 30740000, true },
                { "fine_label_names.txt", 4096, false }, { "coarse_label_names.txt", 4096, false } } } };

static const Edition *edition(int classes) { return &editions[classes == 100]; }

/* "root/folder/name" without the parts that are empty. Owned by the caller; NULL when memory is short. */
static char *path_join(const char *root, const char *folder, const char *name) {
  size_t room = strlen(root) + strlen(folder) + strlen(name) + 3;
  char *path = cn_alloc(room);
  if (path) snprintf(path, room, "%s%s%s%s%s", root, *folder ? "/" : "", folder, *name ? "/" : "", name);
  return path;
}

static bool exists(const char *path) {
  struct stat status;
  return stat(path, &status) == 0;
}

/* Whether a folder holds any of the files, so that it is the one meant. */
static CnErr holds_data(bool *out, const Edition *e, const char *root, const char *folder) {
  *out = false;
  for (int i = 0; i < e->wanted_count && !*out; i++) {
    if (!e->wanted[i].required) continue;
    char *path = path_join(root, folder, e->wanted[i].name);
    if (!path) return CN_EMEMORY;
    *out = exists(path);
    cn_free(path);
  }
  return CN_OK;
}

/* Where the files are: root/folder or root itself; root/folder when nowhere. */
static CnErr find_folder(char **out, bool *found, const Edition *e, const char *root) {
  const char *folder = e->folder;
  CN_TRY(holds_data(found, e, root, folder));
  if (!*found) {
    CN_TRY(holds_data(found, e, root, ""));
    if (*found) folder = "";
  }
  *out = path_join(root, folder, "");
  return *out ? CN_OK : CN_EMEMORY;
}

/* Makes a folder and those above it. */
static CnErr make_folders(const char *path) {
  char *copy = cn_strdup(path);
  if (!copy) return CN_EMEMORY;
  for (char *cut = strchr(copy + 1, '/'); cut; cut = strchr(cut + 1, '/')) {
    *cut = 0;
    mkdir(copy, 0755);
    *cut = '/';
  }
  CnErr e = CN_OK;
  if (mkdir(copy, 0755) != 0 && errno != EEXIST)
    e = cn_fail(CN_EIO, "%s: cannot make this folder (%s)", path, strerror(errno));
  cn_free(copy);
  return e;
}

static CnErr download_archive(const Edition *e, const char *root, const char *archive, const CnCifarSource *source) {
  const char *url = source->url ? source->url : e->url;
  if (!source->download)
    return cn_fail(CN_EDATA, "%s: no data in %s: expected %s/%s or %s there. Use --download (Lua: download = true) to "
                   "get it from %s, or put that archive there yourself", e->name, root, e->folder, e->wanted[0].name,
                   e->archive, url);
  CN_TRY(make_folders(root));
  CnDownload download = { .url = url, .path = archive, .md5 = source->md5 ? source->md5 : e->md5,
                          .max_bytes = (int64_t)512 << 20, .progress = source->progress,
                          .progress_data = source->progress_data };
  return cn_download(&download);
}

CnErr cn_cifar_obtain(int classes, const char *root, const CnCifarSource *source) {
  const Edition *e = edition(classes);
  char *folder;
  bool found;
  CN_TRY(find_folder(&folder, &found, e, root));
  cn_free(folder);
  if (found) return CN_OK;
  char *archive = path_join(root, "", e->archive);
  if (!archive) return CN_EMEMORY;
  CnErr error = exists(archive) ? cn_md5_check(archive, source->md5 ? source->md5 : e->md5)
                                : download_archive(e, root, archive, source);
  if (error == CN_OK) error = cn_unpack(archive, root, e->folder, e->wanted, e->wanted_count);
  cn_free(archive);
  return error;
}

/* A file of records, open. */
typedef struct Records {
  char *path;
  FILE *file;
  int64_t count;
} Records;

static CnErr check_size(Records *r, int64_t record, int64_t most) {
  struct stat status;
  if (fstat(fileno(r->file), &status) != 0)
    return cn_fail(CN_EIO, "%s: cannot read its size (%s)", r->path, strerror(errno));
  if (!S_ISREG(status.st_mode)) return cn_fail(CN_EDATA, "%s: expected a file, this is something else", r->path);
  long long size = status.st_size, rest = size % record, limit = most * record;
  if (size == 0 || rest)
    return cn_fail(CN_EDATA, "%s: expected whole records of %lld bytes, got %lld bytes: the last record, at offset "
                   "%lld, has %lld; the file is cut short or not this one, remove it and unpack or download it again",
                   r->path, (long long)record, size, size - rest, rest);
  if (size > limit)
    return cn_fail(CN_EDATA, "%s: expected at most %lld records (%lld bytes), got %lld bytes: nothing may follow "
                   "offset %lld; remove it and unpack or download it again", r->path, (long long)most, limit, size,
                   limit);
  r->count = size / record;
  return CN_OK;
}

static CnErr open_records(Records *r, const Edition *e, const char *folder, const char *name, int64_t most) {
  r->path = path_join(folder, "", name);
  if (!r->path) return CN_EMEMORY;
  r->file = fopen(r->path, "rb");
  if (!r->file)
    return cn_fail(errno == ENOENT ? CN_EDATA : CN_EIO, "%s: cannot open it (%s); %s needs this file: unpack %s again, "
                   "or remove the folder and use --download (Lua: download = true)", r->path, strerror(errno), e->name,
                   e->archive);
  return check_size(r, e->label_bytes + PIXELS, most);
}

static void close_records(Records *r) {
  if (r->file) fclose(r->file);
  cn_free(r->path);
}

static CnErr check_labels(const Records *r, const uint8_t *data, const Edition *e) {
  int64_t record = e->label_bytes + PIXELS;
  for (int64_t k = 0; k < r->count; k++) {
    int64_t offset = k * record + e->label_bytes - 1;
    if (data[offset] >= e->classes)
      return cn_fail(CN_EDATA, "%s: record %lld (offset %lld): expected a label from 0 to %d, got %d; the file is "
                     "damaged, remove it and unpack or download it again", r->path, (long long)k, (long long)offset,
                     e->classes - 1, data[offset]);
  }
  return CN_OK;
}

/* Records to images and labels from position `at` on. */
static void place_records(CnImages *m, int64_t at, const uint8_t *data, int64_t count, int label_bytes) {
  int64_t pieces = (count + 255) / 256;
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < pieces; piece++) {
    int64_t end = (piece + 1) * 256 < count ? (piece + 1) * 256 : count;
    for (int64_t k = piece * 256; k < end; k++) {
      const uint8_t *record = data + k * (label_bytes + PIXELS), *plane = record + label_bytes;
      uint8_t *to = m->pixels + (at + k) * PIXELS;
      m->labels[at + k] = record[label_bytes - 1];
      for (int p = 0; p < PLANE; p++) {
        to[3 * p] = plane[p];
        to[3 * p + 1] = plane[PLANE + p];
        to[3 * p + 2] = plane[2 * PLANE + p];
      }
    }
  }
}

/* Reads the files one after the other through `buffer`, which has room for the largest. */
static CnErr read_records(CnImages *m, Records *files, int n, const Edition *e, uint8_t *buffer) {
  int64_t at = 0;
  for (int i = 0; i < n; at += files[i++].count) {
    const Records *r = &files[i];
    long long size = r->count * (e->label_bytes + PIXELS), got = (long long)fread(buffer, 1, (size_t)size, r->file);
    if (got < size)
      return cn_fail(CN_EIO, "%s: reading stopped at offset %lld of %lld (%s)", r->path, got, size,
                     ferror(r->file) ? strerror(errno) : "the file became shorter");
    CN_TRY(check_labels(r, buffer, e));
    place_records(m, at, buffer, r->count, e->label_bytes);
  }
  return CN_OK;
}

/* Files that are open to a dataset. */
static CnErr make_dataset(CnDataset **out, Records *files, int n, const Edition *e) {
  int64_t total = 0, most = 0;
  for (int i = 0; i < n; i++) {
    total += files[i].count;
    if (files[i].count > most) most = files[i].count;
  }
  CnImages *m;
  CN_TRY(cn_images_new(&m, e->name, total, SIDE, SIDE, 3, e->classes));
  m->class_names = e->class_names;
  memcpy(m->mean, e->mean, sizeof e->mean);
  memcpy(m->std, e->std, sizeof e->std);
  uint8_t *buffer = cn_alloc((size_t)(most * (e->label_bytes + PIXELS)));
  CnErr error = buffer ? read_records(m, files, n, e, buffer) : CN_EMEMORY;
  cn_free(buffer);
  if (error == CN_OK) return cn_dataset_new(out, m);
  cn_images_unref(m);
  return error;
}

/* Files number `first` to `first + n - 1` of the wanted list into one dataset. */
static CnErr load(CnDataset **out, const Edition *e, const char *folder, int first, int n, int64_t most) {
  Records files[5] = { 0 };
  CnErr error = CN_OK;
  for (int i = 0; i < n && error == CN_OK; i++)
    error = open_records(&files[i], e, folder, e->wanted[first + i].name, most);
  if (error == CN_OK) error = make_dataset(out, files, n, e);
  for (int i = 0; i < n; i++) close_records(&files[i]);
  return error;
}

CnErr cn_cifar_load(CnDataset **train, CnDataset **test, int classes, const char *root) {
  const Edition *e = edition(classes);
  char *folder = NULL;
  bool found;
  CN_TRY(find_folder(&folder, &found, e, root));
  CnErr error = load(train, e, folder, 0, e->train_files, e->most);
  if (error == CN_OK) {
    error = load(test, e, folder, e->train_files, 1, 10000);
    if (error != CN_OK) cn_dataset_unref(*train), *train = NULL;
  }
  cn_free(folder);
  cn_memory_trim(); /* the read buffer, as large as a file, is not wanted again */
  return error;
}
