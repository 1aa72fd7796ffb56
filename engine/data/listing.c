/* listing.c - see listing.h. Names lie one behind the other in one block, each with a 0; an image knows where its own
** begins, and its class the folder in front of it. */
#include "data/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/progress.h"

#define FILE_LIMIT ((size_t)256 << 20) /* bytes of a picture's file */
#define DEPTH_LIMIT 16                 /* folders in a class folder */
#define PATH_ROOM 4096
#define SIDE 224

/* A list that grows. */
typedef struct Block {
  char *data;
  size_t size, room;
} Block;

typedef struct Bad {
  int64_t image;
  char *message;
} Bad;

struct CnListing {
  char *root, *name;
  Block names;          /* paths of the images from their class folder on */
  int64_t *place;       /* of each image's path in names */
  int64_t *labels;      /* borrowed from the CnImages */
  char **folder;        /* by class; sorted */
  int classes;
  int64_t max_bad;
  pthread_mutex_t mutex; /* for what follows */
  Bad *bad;
  int64_t bad_count, bad_room;
};

/* Room for `more` bytes behind those in use. */
static CnErr block_grow(Block *b, size_t more) {
  if (b->room - b->size >= more) return CN_OK;
  size_t room = 2 * b->room + more + 256;
  char *data = cn_alloc(room);
  if (!data) return CN_EMEMORY;
  if (b->size) memcpy(data, b->data, b->size);
  cn_free(b->data);
  b->data = data;
  b->room = room;
  return CN_OK;
}

static CnErr block_add(Block *b, const void *data, size_t size) {
  CN_TRY(block_grow(b, size));
  memcpy(b->data + b->size, data, size);
  b->size += size;
  return CN_OK;
}

/* ---- Reading folders ---- */

typedef enum Kind { KIND_FILE, KIND_FOLDER, KIND_NEITHER } Kind;

/* Asks about the file only where the folder does not say what it is: a link, or a file system that never says. */
static Kind kind_of(const struct dirent *entry, const char *path) {
  struct stat status;
  if (entry->d_type == DT_REG) return KIND_FILE;
  if (entry->d_type == DT_DIR) return KIND_FOLDER;
  if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) return KIND_NEITHER;
  if (stat(path, &status) != 0) return KIND_FILE; /* a broken link is an image that cannot be read */
  return S_ISREG(status.st_mode) ? KIND_FILE : S_ISDIR(status.st_mode) ? KIND_FOLDER : KIND_NEITHER;
}

/* Calls visit(to, name, kind) for every visible entry of the folder at `path`, which is used to build paths in. */
static CnErr walk(char path[PATH_ROOM], CnErr (*visit)(void *to, const char *name, Kind kind), void *to) {
  DIR *folder = opendir(path);
  if (!folder)
    return cn_fail(errno == ENOENT || errno == ENOTDIR ? CN_EDATA : CN_EIO, "%s: cannot open this folder (%s)", path,
                   strerror(errno));
  size_t length = strlen(path);
  CnErr e = CN_OK;
  for (struct dirent *entry; e == CN_OK && (errno = 0, entry = readdir(folder));) {
    if (entry->d_name[0] == '.') continue;
    if (length + strlen(entry->d_name) + 2 > PATH_ROOM) {
      e = cn_fail(CN_EDATA, "%s/%s: this path is too long", path, entry->d_name);
      break;
    }
    cn_progress_note();
    snprintf(path + length, PATH_ROOM - length, "/%s", entry->d_name);
    Kind kind = kind_of(entry, path);
    if (kind == KIND_FOLDER) e = visit(to, entry->d_name, kind); /* which walks on from the path */
    path[length] = 0;
    if (kind == KIND_FILE) e = visit(to, entry->d_name, kind);
  }
  if (e == CN_OK && errno) e = cn_fail(CN_EIO, "%s: cannot read this folder (%s)", path, strerror(errno));
  closedir(folder);
  return e;
}

/* What is gathered of a class: paths of its files from the class folder on. */
typedef struct Gather {
  CnListing *listing;
  Block place; /* int64_t: where their paths begin in names */
  char *path;  /* of the folder that is walked, PATH_ROOM bytes */
  size_t root; /* length of the class folder's path, with the slash */
  int depth;
} Gather;

static CnErr gather(void *to, const char *name, Kind kind) {
  Gather *g = to;
  if (kind == KIND_FOLDER) {
    if (g->depth >= DEPTH_LIMIT)
      return cn_fail(CN_EDATA, "%s: more than %d folders in one another", g->path, DEPTH_LIMIT);
    g->depth++;
    CnErr e = walk(g->path, gather, g);
    g->depth--;
    return e;
  }
  Block *names = &g->listing->names;
  int64_t place = (int64_t)names->size;
  CN_TRY(block_add(&g->place, &place, sizeof place));
  if (strlen(g->path) >= g->root) { /* in a folder of the class folder */
    CN_TRY(block_add(names, g->path + g->root, strlen(g->path) - g->root));
    CN_TRY(block_add(names, "/", 1));
  }
  return block_add(names, name, strlen(name) + 1);
}

static int by_name(const void *a, const void *b, void *names) {
  return strcmp((const char *)names + *(const int64_t *)a, (const char *)names + *(const int64_t *)b);
}

/* The files of class c behind those of the classes before it. */
static CnErr gather_class(Gather *g, Block *labels, int c, bool may_be_empty) {
  CnListing *l = g->listing;
  char path[PATH_ROOM];
  int length = snprintf(path, sizeof path, "%s/%s", l->root, l->folder[c]);
  if (length >= PATH_ROOM - 1) return cn_fail(CN_EDATA, "%s/%s: this path is too long", l->root, l->folder[c]);
  size_t before = g->place.size;
  g->path = path;
  g->root = (size_t)length + 1;
  CN_TRY(walk(path, gather, g));
  size_t count = (g->place.size - before) / sizeof(int64_t);
  if (count == 0 && !may_be_empty)
    return cn_fail(CN_EDATA, "%s: this class folder is empty: put its images there, or remove it", path);
  qsort_r(g->place.data + before, count, sizeof(int64_t), by_name, l->names.data);
  CN_TRY(block_grow(labels, count * sizeof(int64_t)));
  int64_t *label = (int64_t *)(labels->data + labels->size);
  for (size_t i = 0; i < count; i++) label[i] = c;
  labels->size += count * sizeof(int64_t);
  return CN_OK;
}

/* ---- Classes ---- */

static CnErr add_class(void *to, const char *name, Kind kind) {
  if (kind != KIND_FOLDER) return CN_OK;
  char *copy = cn_strdup(name);
  if (!copy) return CN_EMEMORY;
  CnErr e = block_add(to, &copy, sizeof copy);
  if (e != CN_OK) cn_free(copy);
  return e;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The root's own folders as classes, in order. */
static CnErr list_classes(CnListing *l) {
  Block folders = { 0 };
  char path[PATH_ROOM];
  if (snprintf(path, sizeof path, "%s", l->root) >= PATH_ROOM)
    return cn_fail(CN_EDATA, "%s: this path is too long", l->root);
  CnErr e = walk(path, add_class, &folders);
  l->folder = (char **)folders.data; /* freed with the listing, also after a failure */
  l->classes = (int)(folders.size / sizeof *l->folder);
  if (e == CN_OK && l->classes == 0)
    return cn_fail(CN_EDATA, "%s: expected a folder for each class there, found none", l->root);
  if (e == CN_OK) qsort(l->folder, (size_t)l->classes, sizeof *l->folder, by_text);
  return e;
}

/* Classes of another dataset, of which this root may have some but no others. */
static CnErr take_classes(CnListing *own, const CnDataset *other, bool has[]) {
  const CnImages *m = other->images;
  for (int c = 0; c < own->classes; c++) {
    const char **found = bsearch(&own->folder[c], m->class_names, (size_t)m->classes, sizeof(char *), by_text);
    if (!found)
      return cn_fail(CN_EDATA, "%s/%s: this class is not one of the %d of the training set; rename the folder or "
                     "remove it", own->root, own->folder[c], m->classes);
    has[found - (const char **)m->class_names] = true;
  }
  char **folder = cn_alloc_zeroed((size_t)m->classes * sizeof *folder);
  if (!folder) return CN_EMEMORY;
  for (int c = 0; c < own->classes; c++) cn_free(own->folder[c]);
  cn_free(own->folder);
  own->folder = folder;
  own->classes = m->classes;
  for (int c = 0; c < m->classes; c++)
    if (!(folder[c] = cn_strdup(m->class_names[c]))) return CN_EMEMORY;
  return CN_OK;
}

/* ---- The dataset ---- */

static CnErr gather_all(CnListing *l, Block *labels, const bool *has, bool may_be_empty) {
  Gather g = { .listing = l };
  CnErr e = CN_OK;
  for (int c = 0; c < l->classes && e == CN_OK; c++)
    if (!has || has[c]) e = gather_class(&g, labels, c, may_be_empty || has);
  l->place = (int64_t *)g.place.data;
  return e;
}

static CnErr make_images(CnImages **out, CnListing *l, int64_t *labels, int64_t count) {
  static const float mean[3] = { 0.485f, 0.456f, 0.406f }, deviation[3] = { 0.229f, 0.224f, 0.225f };
  CnImages *m = cn_alloc_zeroed(sizeof *m);
  if (!m) return CN_EMEMORY;
  *m = (CnImages){ .refs = 1, .name = l->name, .count = count, .height = SIDE, .width = SIDE, .channels = 3,
                   .classes = l->classes, .class_names = (const char *const *)l->folder, .labels = labels,
                   .listing = l };
  memcpy(m->mean, mean, sizeof mean);
  memcpy(m->std, deviation, sizeof deviation);
  m->std[3] = 1;
  l->labels = labels;
  *out = m;
  return CN_OK;
}

static CnErr load(CnImages **out, CnListing *l, const CnListingConfig *config) {
  if (!(l->root = cn_strdup(config->root)) || !(l->name = cn_strdup(config->name))) return CN_EMEMORY;
  size_t length = strlen(l->root);
  while (length > 1 && l->root[length - 1] == '/') l->root[--length] = 0;
  CN_TRY(list_classes(l));
  bool *has = NULL;
  CnErr e = CN_OK;
  if (config->classes) {
    has = cn_alloc_zeroed((size_t)config->classes->images->classes * sizeof *has);
    e = has ? take_classes(l, config->classes, has) : CN_EMEMORY;
  }
  Block labels = { 0 };
  if (e == CN_OK) e = gather_all(l, &labels, has, config->may_be_empty);
  cn_free(has);
  if (e == CN_OK && labels.size == 0 && !config->may_be_empty)
    e = cn_fail(CN_EDATA, "%s: there is no image in its class folders", l->root);
  if (e == CN_OK) e = make_images(out, l, (int64_t *)labels.data, (int64_t)(labels.size / sizeof(int64_t)));
  if (e != CN_OK) cn_free(labels.data);
  return e;
}

CnErr cn_listing_load(CnDataset **out, const CnListingConfig *config) {
  if (config->classes && !config->classes->images->listing)
    return cn_fail(CN_EUSAGE, "listing: classes must be those of a dataset of class folders");
  CnListing *l = cn_alloc_zeroed(sizeof *l);
  if (!l) return CN_EMEMORY;
  pthread_mutex_init(&l->mutex, NULL);
  l->max_bad = config->max_bad;
  CnImages *images;
  CnErr e = load(&images, l, config);
  if (e != CN_OK) cn_listing_free(l);
  return e == CN_OK ? cn_dataset_new(out, images) : e;
}

void cn_listing_free(CnListing *l) {
  if (!l) return;
  for (int c = 0; l->folder && c < l->classes; c++) cn_free(l->folder[c]);
  for (int64_t i = 0; i < l->bad_count; i++) cn_free(l->bad[i].message);
  cn_free(l->folder);
  cn_free(l->bad);
  cn_free(l->names.data);
  cn_free(l->place);
  cn_free(l->root);
  cn_free(l->name);
  pthread_mutex_destroy(&l->mutex);
  cn_free(l);
}

/* ---- Images ---- */

void cn_listing_path(char *out, size_t room, const CnListing *l, int64_t k) {
  snprintf(out, room, "%s/%s/%s", l->root, l->folder[l->labels[k]], l->names.data + l->place[k]);
}

/* An open file whole into the buffer. */
static CnErr read_open(CnBuffer *buffer, size_t *size, int fd, const char *path) {
  struct stat status;
  if (fstat(fd, &status) != 0) return cn_fail(CN_EDATA, "%s: cannot read its size (%s)", path, strerror(errno));
  if (!S_ISREG(status.st_mode)) return cn_fail(CN_EDATA, "%s: expected a file, this is something else", path);
  size_t length = (size_t)status.st_size, got = 0;
  if (length > FILE_LIMIT)
    return cn_fail(CN_EDATA, "%s: it has %zu bytes; the limit for a picture is %zu", path, length, FILE_LIMIT);
  CN_TRY(cn_buffer_room(buffer, length));
  while (got < length) {
    ssize_t n = read(fd, (char *)buffer->data + got, length - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return cn_fail(CN_EDATA, "%s: reading stopped at %zu of %zu (%s)", path, got, length, strerror(errno));
    if (n == 0) break; /* it became shorter: the decoder will say so */
    got += (size_t)n;
  }
  *size = got;
  return CN_OK;
}

CnErr cn_listing_read(CnBuffer *buffer, size_t *size, const CnListing *l, int64_t k) {
  char path[PATH_ROOM];
  cn_listing_path(path, sizeof path, l, k);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return cn_fail(CN_EDATA, "%s: cannot open it (%s)", path, strerror(errno));
  CnErr e = read_open(buffer, size, fd, path);
  close(fd);
  return e;
}

/* Bad image number i, from 0, is one too many or not. */
static CnErr judge(const CnListing *l, int64_t i) {
  if (i < l->max_bad) return CN_OK;
  return cn_fail(CN_EDATA, "%s (bad image %lld of this dataset; %lld may be skipped: --max-bad. recipes/check_data.lua "
                 "lists them all)", l->bad[i].message, (long long)i + 1, (long long)l->max_bad);
}

static CnErr remember(CnListing *l, int64_t k, const char *message) {
  for (int64_t i = 0; i < l->bad_count; i++)
    if (l->bad[i].image == k) return judge(l, i);
  if (l->bad_count == l->bad_room) {
    int64_t room = 2 * l->bad_room + 16;
    Bad *grown = cn_alloc((size_t)room * sizeof *grown);
    if (!grown) return CN_EMEMORY;
    if (l->bad_count) memcpy(grown, l->bad, (size_t)l->bad_count * sizeof *grown);
    cn_free(l->bad);
    l->bad = grown;
    l->bad_room = room;
  }
  char *copy = cn_strdup(message);
  if (!copy) return CN_EMEMORY;
  l->bad[l->bad_count++] = (Bad){ k, copy };
  return judge(l, l->bad_count - 1);
}

CnErr cn_listing_note_bad(CnListing *l, int64_t k, const char *message) {
  pthread_mutex_lock(&l->mutex);
  CnErr e = remember(l, k, message);
  pthread_mutex_unlock(&l->mutex);
  return e;
}

int64_t cn_listing_bad(CnListing *l) {
  pthread_mutex_lock(&l->mutex);
  int64_t count = l->bad_count;
  pthread_mutex_unlock(&l->mutex);
  return count;
}

const char *cn_listing_bad_message(CnListing *l, int64_t i) {
  pthread_mutex_lock(&l->mutex);
  const char *message = l->bad[i].message;
  pthread_mutex_unlock(&l->mutex);
  return message;
}
