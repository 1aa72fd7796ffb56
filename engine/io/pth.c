/* pth.c - see pth.h. Both formats come down to a pickle and, for each storage that it names, a range of the file. */
#include "io/pth.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/zip.h"

#define SPARE ((size_t)1 << 20) /* bytes that a pickle may need beyond those of its file */

typedef struct Storage {
  const char *key;
  CnElement element;
  int64_t count;
  uint64_t offset;         /* in the file; 0 until it is known, where no storage can be */
  const CnZipEntry *entry; /* NULL in the older format */
  CnTensor *numbers;       /* 1-d; NULL until loaded */
} Storage;

struct CnPth {
  CnReader *file;
  const char *what; /* the file's path; borrowed from it */
  CnZip zip;        /* with no entries for the older format */
  char *folder;     /* "NAME/data/" in the zip */
  CnPickle *pickle;
  Storage *storage; /* sorted by key */
  int count;
};

void cn_pth_close(CnPth *pth) {
  if (!pth) return;
  for (int i = 0; i < pth->count; i++) cn_tensor_unref(pth->storage[i].numbers);
  cn_free(pth->storage);
  cn_free(pth->folder);
  cn_pickle_free(pth->pickle);
  cn_zip_close(&pth->zip);
  cn_reader_close(pth->file);
  cn_free(pth);
}

/* ---- storages ---- */

static int by_key(const void *a, const void *b) {
  return strcmp((*(CnPickleStorage *const *)a)->key, (*(CnPickleStorage *const *)b)->key);
}

/* Those the pickle names, each once; what is said of one more than once must be the same. `named`: all, sorted. */
static CnErr gather(CnPth *pth, CnPickleStorage **named, size_t count) {
  for (size_t i = 0; i < count; i++) {
    CnPickleStorage *s = named[i];
    Storage *last = pth->count ? &pth->storage[pth->count - 1] : NULL;
    if (last && strcmp(last->key, s->key) == 0) {
      if (last->element != s->element || last->count != s->count)
        return cn_fail(CN_EDATA, "%s: storage %.40s has two types or sizes", pth->what, s->key);
    } else {
      pth->storage[pth->count++] = (Storage){ .key = s->key, .element = s->element, .count = s->count };
    }
    s->index = pth->count - 1;
  }
  return CN_OK;
}

static CnErr gather_storages(CnPth *pth) {
  size_t count = 0;
  for (CnPickleStorage *s = cn_pickle_storages(pth->pickle); s; s = s->next) count++;
  CnPickleStorage **named = cn_alloc(count * sizeof *named);
  pth->storage = cn_alloc_zeroed(count * sizeof *pth->storage);
  CnErr e = named && pth->storage ? CN_OK : CN_EMEMORY;
  if (e == CN_OK) {
    size_t n = 0;
    for (CnPickleStorage *s = cn_pickle_storages(pth->pickle); s; s = s->next) named[n++] = s;
    qsort(named, count, sizeof *named, by_key);
    e = gather(pth, named, count);
  }
  cn_free(named);
  return e;
}

static int storage_by_key(const void *key, const void *s) { return strcmp(key, ((const Storage *)s)->key); }

static Storage *find_storage(CnPth *pth, const char *key) {
  return pth->count ? bsearch(key, pth->storage, (size_t)pth->count, sizeof *pth->storage, storage_by_key) : NULL;
}

/* CN_EDATA unless the storage has `bytes`. */
static CnErr check_bytes(const CnPth *pth, const Storage *s, uint64_t bytes) {
  uint64_t size = cn_element_size(s->element);
  if ((uint64_t)s->count <= UINT64_MAX / size && (uint64_t)s->count * size == bytes) return CN_OK;
  return cn_fail(CN_EDATA, "%s: storage %.40s should have %" PRId64 " elements of %" PRIu64 " bytes, and the file has %"
                 PRIu64 " bytes of it", pth->what, s->key, s->count, size, bytes);
}

/* ---- the zip format ---- */

/* The name in front of "/data.pkl". */
static CnErr find_root(CnPth *pth, const CnZipEntry **pickle) {
  static const char wanted[] = "/data.pkl";
  *pickle = NULL;
  for (int i = 0; i < pth->zip.count; i++) {
    const char *name = pth->zip.entry[i].name, *slash = strchr(name, '/');
    if (!slash || strcmp(slash, wanted) != 0) continue;
    if (*pickle) return cn_fail(CN_EDATA, "%s: it has two models: %s and %s", pth->what, (*pickle)->name, name);
    *pickle = &pth->zip.entry[i];
  }
  if (!*pickle)
    return cn_fail(CN_EDATA, "%s: a zip archive, but not PyTorch's: there is no entry */data.pkl", pth->what);
  size_t root = strlen((*pickle)->name) - strlen(wanted);
  pth->folder = cn_alloc(root + sizeof "/data/");
  if (!pth->folder) return CN_EMEMORY;
  memcpy(pth->folder, (*pickle)->name, root);
  strcpy(pth->folder + root, "/data/");
  return CN_OK;
}

/* The key of the storage that an entry holds; NULL for other entries. */
static const char *key_of(const CnPth *pth, const CnZipEntry *entry) {
  size_t length = strlen(pth->folder);
  return strncmp(entry->name, pth->folder, length) == 0 ? entry->name + length : NULL;
}

/* The entry beside the pickle of this name says in what order bytes are, if it is there. */
static CnErr check_byte_order(const CnPth *pth, const CnZipEntry *pickle) {
  static const char little[] = "little";
  char text[sizeof little];
  for (int i = 0; i < pth->zip.count; i++) {
    const CnZipEntry *entry = &pth->zip.entry[i];
    size_t root = strlen(pickle->name) - strlen("data.pkl");
    if (strncmp(entry->name, pickle->name, root) != 0 || strcmp(entry->name + root, "byteorder") != 0) continue;
    bool fits = entry->size == strlen(little);
    if (fits) CN_TRY(cn_reader_get(pth->file, text, entry->offset, strlen(little)));
    if (!fits || memcmp(text, little, strlen(little)) != 0)
      return cn_fail(CN_EDATA, "%s: its byte order is not 'little'; save it again on another machine", pth->what);
  }
  return CN_OK;
}

static CnErr locate_entries(CnPth *pth) {
  int found = 0;
  for (int i = 0; i < pth->zip.count; i++) {
    const CnZipEntry *entry = &pth->zip.entry[i];
    const char *key = key_of(pth, entry);
    Storage *s = key ? find_storage(pth, key) : NULL;
    if (!s) continue;
    CN_TRY(check_bytes(pth, s, entry->size));
    s->entry = entry;
    s->offset = entry->offset;
    found++;
  }
  for (int i = 0; i < pth->count && found < pth->count; i++)
    if (!pth->storage[i].entry)
      return cn_fail(CN_EDATA, "%s: there is no entry %s%.40s for a storage", pth->what, pth->folder,
                     pth->storage[i].key);
  return CN_OK;
}

static CnErr open_zip(CnPth *pth) {
  const CnZipEntry *pickle;
  CN_TRY(cn_zip_open(&pth->zip, pth->file));
  CN_TRY(find_root(pth, &pickle));
  for (int i = 0; i < pth->zip.count; i++) /* the others are compared when they are loaded */
    if (!key_of(pth, &pth->zip.entry[i])) CN_TRY(cn_zip_verify(&pth->zip, &pth->zip.entry[i]));
  CN_TRY(check_byte_order(pth, pickle));
  uint64_t at = pickle->offset, end = at + pickle->size;
  CN_TRY(cn_pickle_read(&pth->pickle, pth->file, &at, end, pth->what, SPARE + (size_t)cn_reader_size(pth->file)));
  if (at != end) return cn_fail(CN_EDATA, "%s: there are %" PRIu64 " bytes behind its pickle", pth->what, end - at);
  CN_TRY(gather_storages(pth));
  return locate_entries(pth);
}

/* ---- the older format: five pickles, then the storages ---- */

/* The first pickle: the number 0x1950a86a20f9469cfc6c. */
static const unsigned char magic[15] = { 0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50,
                                         0x19, 0x2e };
enum { LEGACY_PROTOCOL = 1001 };

/* The next pickle; it must not name storages unless `storages`. */
static CnErr next_pickle(CnPickle **out, CnPth *pth, uint64_t *at) {
  size_t limit = SPARE + (size_t)cn_reader_size(pth->file);
  if (pth->pickle) limit -= cn_pickle_bytes(pth->pickle);
  return cn_pickle_read(out, pth->file, at, cn_reader_size(pth->file), pth->what, limit);
}

static CnErr check_version(CnPth *pth, uint64_t *at) {
  CnPickle *p;
  CN_TRY(next_pickle(&p, pth, at));
  const CnPickleValue *v = cn_pickle_value(p);
  bool known = v->kind == CN_PK_INT && v->as.integer == LEGACY_PROTOCOL;
  cn_pickle_free(p);
  return known ? CN_OK : cn_fail(CN_EDATA, "%s: its version is not %d", pth->what, LEGACY_PROTOCOL);
}

static CnErr check_system(CnPth *pth, uint64_t *at) {
  CnPickle *p;
  CN_TRY(next_pickle(&p, pth, at));
  const CnPickleValue *v = cn_pickle_find(cn_pickle_value(p), "little_endian");
  bool little = v && v->kind == CN_PK_BOOL && v->as.boolean;
  cn_pickle_free(p);
  return little ? CN_OK : cn_fail(CN_EDATA, "%s: its byte order is not said to be little_endian", pth->what);
}

/* The storages follow each other in the order of the keys, each behind its count of elements. */
static CnErr locate_runs(CnPth *pth, const CnPickleValue *keys, uint64_t at) {
  uint64_t size = cn_reader_size(pth->file);
  uint32_t count = keys->kind == CN_PK_LIST ? keys->as.list->count : 0;
  if (keys->kind != CN_PK_LIST || (int64_t)count != pth->count)
    return cn_fail(CN_EDATA, "%s: the list of its storages has not those %d that its tensors name", pth->what,
                   pth->count);
  for (uint32_t i = 0; i < count; i++) {
    const CnPickleValue *key = &keys->as.list->item[i];
    Storage *s = key->kind == CN_PK_TEXT ? find_storage(pth, key->as.text) : NULL;
    if (!s || s->offset)
      return cn_fail(CN_EDATA, "%s: its list of storages names another one, or one twice", pth->what);
    uint64_t elements = 0, element = cn_element_size(s->element);
    unsigned char b[8];
    if (size - at < 8) return cn_fail(CN_EDATA, "%s: it is cut in front of storage %.40s", pth->what, s->key);
    CN_TRY(cn_reader_get(pth->file, b, at, 8));
    for (int k = 7; k >= 0; k--) elements = elements << 8 | b[k];
    at += 8;
    if (elements != (uint64_t)s->count)
      return cn_fail(CN_EDATA, "%s: storage %.40s has %" PRIu64 " elements, and its tensors expect %" PRId64, pth->what,
                     s->key, elements, s->count);
    if (elements > (size - at) / element)
      return cn_fail(CN_EDATA, "%s: storage %.40s should have %" PRIu64 " elements of %" PRIu64 " bytes, and the file "
                     "has %" PRIu64 " bytes left: it is cut", pth->what, s->key, elements, element, size - at);
    s->offset = at;
    at += elements * element;
  }
  if (at == size) return CN_OK;
  return cn_fail(CN_EDATA, "%s: there are %" PRIu64 " bytes behind its last storage", pth->what, size - at);
}

static CnErr open_legacy(CnPth *pth) {
  uint64_t at = sizeof magic;
  CnPickle *keys;
  CN_TRY(check_version(pth, &at));
  CN_TRY(check_system(pth, &at));
  CN_TRY(next_pickle(&pth->pickle, pth, &at));
  CN_TRY(gather_storages(pth));
  CN_TRY(next_pickle(&keys, pth, &at));
  CnErr e = locate_runs(pth, cn_pickle_value(keys), at);
  cn_pickle_free(keys);
  return e;
}

/* ---- both ---- */

static CnErr open_by_start(CnPth *pth) {
  unsigned char start[sizeof magic] = { 0 };
  uint64_t size = cn_reader_size(pth->file);
  CN_TRY(cn_reader_get(pth->file, start, 0, size < sizeof start ? (size_t)size : sizeof start));
  if (memcmp(start, "PK\3\4", 4) == 0) return open_zip(pth);
  if (memcmp(start, magic, sizeof magic) == 0) return open_legacy(pth);
  return cn_fail(CN_EDATA, "%s: not a PyTorch file, or one from before 0.1.10: expected a zip archive, or the number "
                 "that files of torch.save begin with", pth->what);
}

static CnErr open_reader(CnPth **out, CnReader *file) {
  CnPth *pth = cn_alloc_zeroed(sizeof *pth);
  if (!pth) {
    cn_reader_close(file);
    return CN_EMEMORY;
  }
  pth->file = file;
  pth->what = cn_reader_path(file);
  CnErr e = open_by_start(pth);
  if (e == CN_OK) *out = pth;
  else cn_pth_close(pth);
  return e;
}

CnErr cn_pth_open(CnPth **out, const char *path) {
  CnReader *file;
  CN_TRY(cn_reader_open(&file, path));
  return open_reader(out, file);
}

CnErr cn_pth_open_memory(CnPth **out, const void *data, size_t size, const char *name) {
  CnReader *file;
  CN_TRY(cn_reader_open_memory(&file, data, size, name));
  return open_reader(out, file);
}

const CnPickleValue *cn_pth_value(const CnPth *pth) { return cn_pickle_value(pth->pickle); }

static CnErr load_storage(CnPth *pth, Storage *s) {
  CnTensor *numbers;
  uint32_t crc = 0;
  if (s->numbers) return CN_OK;
  CN_TRY(cn_tensor_new(&numbers, cn_element_dtype(s->element), CN_DEVICE_CPU, 1, &s->count));
  CnErr e = cn_elements_read(numbers, pth->file, s->offset, s->element, s->entry ? &crc : NULL);
  if (e == CN_OK && s->entry) e = cn_zip_compare(&pth->zip, s->entry, crc);
  if (e == CN_OK) s->numbers = numbers;
  else cn_tensor_unref(numbers);
  return e;
}

CnErr cn_pth_load(CnPth *pth) {
  for (int i = 0; i < pth->zip.count; i++) { /* what no tensor refers to */
    const char *key = key_of(pth, &pth->zip.entry[i]);
    if (key && !find_storage(pth, key)) CN_TRY(cn_zip_verify(&pth->zip, &pth->zip.entry[i]));
  }
  for (int i = 0; i < pth->count; i++) CN_TRY(load_storage(pth, &pth->storage[i]));
  return CN_OK;
}

CnErr cn_pth_tensor(CnTensor **out, CnPth *pth, const CnPickleTensor *t) {
  CnTensor *numbers = pth->storage[t->storage->index].numbers;
  if (!numbers) return cn_fail(CN_EUSAGE, "pth: the tensors of %s have not been loaded", pth->what);
  return cn_tensor_view(out, numbers, t->ndim, t->shape, t->stride, t->offset);
}
