/* safetensors.c - see safetensors.h. The reader keeps the header's text, in which names and metadata stay; no tree is
** made of more than one entry at a time, so that a header takes little more memory than its text. */
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "io/element.h"
#include "io/json.h"

#define HEADER_LIMIT 100000000u /* bytes, the format's own */
#define MIN_ENTRY 46            /* bytes of what is said of one tensor, at least … */
#define MAX_ENTRY 4096          /* … and at most */
#define MAX_METADATA 10000      /* keys */
#define METADATA "__metadata__"
#define SUMS "crc32"

/* What a type of ours is written as. Elements are numbered in the order of the reference writer: the largest first. */
static const CnElement written[CN_DTYPES] = {
  [CN_F32] = CN_EL_F32, [CN_F64] = CN_EL_F64, [CN_I64] = CN_EL_I64, [CN_U8] = CN_EL_U8, [CN_BF16] = CN_EL_BF16
};

static uint32_t crc_of(uint32_t crc, const void *data, size_t size) { return (uint32_t)crc32_z(crc, data, size); }

/* Of each key and value with their final 0, in the order of keys. */
static uint32_t metadata_crc(const CnMetadata *metadata, int count) {
  uint32_t crc = 0;
  for (int i = 0; i < count; i++) {
    crc = crc_of(crc, metadata[i].key, strlen(metadata[i].key) + 1);
    crc = crc_of(crc, metadata[i].value, strlen(metadata[i].value) + 1);
  }
  return crc;
}

static int by_metadata_key(const void *a, const void *b) {
  return strcmp(((const CnMetadata *)a)->key, ((const CnMetadata *)b)->key);
}

/* ---- reading ---- */

typedef struct Entry {
  const char *name;
  uint64_t begin, end; /* bytes from the start of the data */
  int64_t shape[CN_MAX_DIMS];
  uint32_t crc;
  uint8_t ndim, element; /* a CnElement */
  bool summed;
} Entry;

struct CnSafetensors {
  CnReader *file;
  const char *what;    /* the file, for messages; borrowed from it */
  uint64_t size, data; /* bytes of all; where the data begins */
  char *header;        /* its text, in pieces */
  CnJsonMember sums;   /* the value of "crc32" in it */
  Entry *entries;      /* by offset */
  int count;
  CnMetadata *metadata; /* by key */
  int metadata_count;
};

void cn_safetensors_close(CnSafetensors *s) {
  if (!s) return;
  cn_reader_close(s->file);
  cn_free(s->header);
  cn_free(s->entries);
  cn_free(s->metadata);
  cn_free(s);
}

static CnErr read_header(CnSafetensors *s, size_t *size) {
  unsigned char length[8];
  if (s->size < 8)
    return cn_fail(CN_EDATA, "%s: not a safetensors file: %llu bytes, expected at least 8", s->what,
                   (unsigned long long)s->size);
  CN_TRY(cn_reader_get(s->file, length, 0, 8));
  uint64_t n = 0;
  for (int i = 7; i >= 0; i--) n = n << 8 | length[i];
  if (n > HEADER_LIMIT)
    return cn_fail(CN_EDATA, "%s: not a safetensors file: a header of %llu bytes, more than %u", s->what,
                   (unsigned long long)n, HEADER_LIMIT);
  if (n > s->size - 8)
    return cn_fail(CN_EDATA, "%s: the header should have %llu bytes, and the file has %llu after its length: it is cut",
                   s->what, (unsigned long long)n, (unsigned long long)(s->size - 8));
  s->header = cn_alloc((size_t)n + 1);
  if (!s->header) return CN_EMEMORY;
  CN_TRY(cn_reader_get(s->file, s->header, 8, (size_t)n));
  if (n == 0 || s->header[0] != '{')
    return cn_fail(CN_EDATA, "%s: not a safetensors file: the header does not begin with '{'", s->what);
  s->data = 8 + n;
  *size = (size_t)n;
  return CN_OK;
}

static CnErr entry_fail(const CnSafetensors *s, const char *name, const char *reason) {
  return cn_fail(CN_EDATA, "%s: tensor %s: %s", s->what, name, reason);
}

static CnErr parse_dtype(const CnSafetensors *s, Entry *entry, const cJSON *item) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "dtype"));
  if (!text) return entry_fail(s, entry->name, "dtype must be a string");
  for (int i = 0; i < CN_ELEMENTS; i++) {
    if (strcmp(cn_element_safetensors((CnElement)i), text)) continue;
    entry->element = (uint8_t)i;
    return CN_OK;
  }
  return cn_fail(CN_EDATA, "%s: tensor %s: type %.20s is not supported: expected F64, F32, F16, BF16, I64, I32, I16, "
                 "I8, U8 or BOOL", s->what, entry->name, text);
}

/* `bytes`: of one element, becomes those of all. */
static CnErr parse_shape(const CnSafetensors *s, Entry *entry, uint64_t *bytes, const cJSON *item) {
  const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape"), *size;
  if (!cJSON_IsArray(shape)) return entry_fail(s, entry->name, "shape must be an array");
  cJSON_ArrayForEach(size, shape) {
    if (!cJSON_IsNumber(size)) return entry_fail(s, entry->name, "shape must hold whole numbers");
    if (entry->ndim == CN_MAX_DIMS) return entry_fail(s, entry->name, "more than 6 dimensions are not supported");
    entry->shape[entry->ndim++] = (int64_t)size->valuedouble;
    if (__builtin_mul_overflow(*bytes, (uint64_t)size->valuedouble, bytes))
      return entry_fail(s, entry->name, "its shape is too large");
  }
  return CN_OK;
}

static CnErr parse_tree(const CnSafetensors *s, Entry *entry, const cJSON *item) {
  if (!cJSON_IsObject(item) || cJSON_GetArraySize(item) != 3)
    return entry_fail(s, entry->name, "expected {\"dtype\", \"shape\", \"data_offsets\"}");
  CN_TRY(parse_dtype(s, entry, item));
  uint64_t bytes = cn_element_size((CnElement)entry->element);
  CN_TRY(parse_shape(s, entry, &bytes, item));
  const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
  const cJSON *begin = cJSON_IsArray(offsets) ? offsets->child : NULL, *end = begin ? begin->next : NULL;
  if (!cJSON_IsNumber(begin) || !cJSON_IsNumber(end) || end->next)
    return entry_fail(s, entry->name, "data_offsets must be two whole numbers");
  entry->begin = (uint64_t)begin->valuedouble;
  entry->end = (uint64_t)end->valuedouble;
  if (entry->begin > entry->end || entry->end - entry->begin != bytes)
    return cn_fail(CN_EDATA, "%s: tensor %s: data_offsets [%llu,%llu] do not fit its shape, which needs %llu bytes",
                   s->what, entry->name, (unsigned long long)entry->begin, (unsigned long long)entry->end,
                   (unsigned long long)bytes);
  return CN_OK;
}

static CnErr parse_entry(const CnSafetensors *s, Entry *entry, const CnJsonMember *member) {
  cJSON *tree;
  *entry = (Entry){ .name = member->key };
  if (member->length > MAX_ENTRY) return entry_fail(s, entry->name, "its description is too long");
  CN_TRY(cn_json_parse(&tree, member->value, member->length, s->what, CN_JSON_COUNTS));
  CnErr e = parse_tree(s, entry, tree);
  cJSON_Delete(tree);
  return e;
}

static CnErr twice(const CnSafetensors *s, const char *key) {
  return cn_fail(CN_EDATA, "%s: an object has the key '%s' twice", s->what, key);
}

static CnErr parse_metadata(CnSafetensors *s, const CnJsonMember *object) {
  CnJsonWalk walk;
  CnJsonMember member;
  if (s->metadata) return twice(s, METADATA);
  if (object->value[0] != '{') return cn_fail(CN_EDATA, "%s: " METADATA " must be an object", s->what);
  CN_TRY(cn_json_walk(&walk, object->value, object->length, s->what, CN_JSON_COUNTS));
  size_t most = cn_json_members(&walk);
  if (most > MAX_METADATA) return cn_fail(CN_EDATA, "%s: " METADATA " has more than %d keys", s->what, MAX_METADATA);
  s->metadata = cn_alloc(most * sizeof *s->metadata);
  if (!s->metadata) return CN_EMEMORY;
  for (;;) {
    char *text;
    CN_TRY(cn_json_next(&walk, &member));
    if (!member.key) break;
    CN_TRY(cn_json_string(&text, &member, s->what));
    if (!text)
      return cn_fail(CN_EDATA, "%s: " METADATA " must hold strings, and '%s' is none", s->what, member.key);
    if (strcmp(member.key, SUMS) == 0) {
      if (s->sums.key) return twice(s, SUMS);
      s->sums = (CnJsonMember){ member.key, text, strlen(text) };
      continue;
    }
    s->metadata[s->metadata_count++] = (CnMetadata){ member.key, text };
  }
  if (s->metadata_count) qsort(s->metadata, (size_t)s->metadata_count, sizeof *s->metadata, by_metadata_key);
  for (int i = 1; i < s->metadata_count; i++)
    if (strcmp(s->metadata[i - 1].key, s->metadata[i].key) == 0) return twice(s, s->metadata[i].key);
  return CN_OK;
}

static int by_offset(const void *a, const void *b) {
  const Entry *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  if (x->end != y->end) return x->end < y->end ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* The data is covered from its first byte to its last, each byte once. */
static CnErr check_cover(const CnSafetensors *s) {
  uint64_t at = 0, size = s->size - s->data;
  for (int i = 0; i < s->count; i++) {
    const Entry *entry = &s->entries[i];
    if (entry->begin != at)
      return cn_fail(CN_EDATA, "%s: tensor %s begins at %llu, expected %llu: tensors must follow each other without "
                     "gap or overlap", s->what, entry->name, (unsigned long long)entry->begin, (unsigned long long)at);
    if (entry->end > size)
      return cn_fail(CN_EDATA, "%s: tensor %s ends at %llu, and the data has %llu bytes: the file is cut", s->what,
                     entry->name, (unsigned long long)entry->end, (unsigned long long)size);
    at = entry->end;
  }
  if (at == size) return CN_OK;
  return cn_fail(CN_EDATA, "%s: %llu bytes of data, and the tensors have %llu", s->what, (unsigned long long)size,
                 (unsigned long long)at);
}

static CnErr parse_sum(const CnSafetensors *s, uint32_t *out, const CnJsonMember *member) {
  char *text;
  CN_TRY(cn_json_string(&text, member, s->what));
  if (!text || strlen(text) != 8 || strspn(text, "0123456789abcdef") != 8)
    return cn_fail(CN_EDATA, "%s: the checksum of '%s' must be 8 hexadecimal digits", s->what, member->key);
  *out = (uint32_t)strtoul(text, NULL, 16);
  return CN_OK;
}

static int by_entry_name(const void *a, const void *b) {
  return strcmp((*(Entry *const *)a)->name, (*(Entry *const *)b)->name);
}

/* The checksum of one tensor, or of the metadata. `entries` by name. */
static CnErr match_sum(const CnSafetensors *s, Entry **entries, const CnJsonMember *member) {
  uint32_t crc = 0;
  CN_TRY(parse_sum(s, &crc, member));
  if (strcmp(member->key, METADATA) == 0) {
    if (crc == metadata_crc(s->metadata, s->metadata_count)) return CN_OK;
    return cn_fail(CN_EDATA, "%s: the metadata is damaged: its checksum does not match", s->what);
  }
  Entry key = { .name = member->key }, *wanted = &key, **found = NULL;
  if (s->count) found = bsearch(&wanted, entries, (size_t)s->count, sizeof *entries, by_entry_name);
  if (!found) return cn_fail(CN_EDATA, "%s: the checksums and the tensors differ at '%s'", s->what, member->key);
  if ((*found)->summed) return twice(s, member->key);
  (*found)->crc = crc;
  (*found)->summed = true;
  return CN_OK;
}

/* Each entry has one, or none has. */
static CnErr match_sums(const CnSafetensors *s, Entry **entries) {
  CnJsonWalk walk;
  CnJsonMember member;
  if (!s->sums.key) return CN_OK;
  if (s->sums.value[0] != '{')
    return cn_fail(CN_EDATA, "%s: " SUMS " must hold an object", s->what);
  CN_TRY(cn_json_walk(&walk, s->sums.value, s->sums.length, s->what, CN_JSON_COUNTS));
  for (;;) {
    CN_TRY(cn_json_next(&walk, &member));
    if (!member.key) break;
    CN_TRY(match_sum(s, entries, &member));
  }
  for (int i = 0; i < s->count; i++)
    if (!entries[i]->summed) return entry_fail(s, entries[i]->name, "it has no checksum, and others have");
  return CN_OK;
}

/* What names must be like, and the checksums, which are given by name. */
static CnErr check_names(const CnSafetensors *s) {
  Entry **entries = cn_alloc((size_t)s->count * sizeof *entries);
  CnErr e = entries ? CN_OK : CN_EMEMORY;
  if (entries) {
    for (int i = 0; i < s->count; i++) entries[i] = &s->entries[i];
    qsort(entries, (size_t)s->count, sizeof *entries, by_entry_name);
    for (int i = 1; i < s->count && e == CN_OK; i++)
      if (strcmp(entries[i - 1]->name, entries[i]->name) == 0) e = twice(s, entries[i]->name);
    if (e == CN_OK) e = match_sums(s, entries);
  }
  cn_free(entries);
  return e;
}

static CnErr parse(CnSafetensors *s) {
  CnJsonWalk walk;
  CnJsonMember member;
  size_t size = 0;
  CN_TRY(read_header(s, &size));
  CN_TRY(cn_json_walk(&walk, s->header, size, s->what, CN_JSON_COUNTS));
  size_t most = cn_json_members(&walk);
  if (most > size / MIN_ENTRY + 2) most = size / MIN_ENTRY + 2; /* one of them is no entry, one may be bad */
  s->entries = cn_alloc(most * sizeof *s->entries);
  if (!s->entries) return CN_EMEMORY;
  for (;;) {
    CN_TRY(cn_json_next(&walk, &member));
    if (!member.key) break;
    if (strcmp(member.key, METADATA) == 0) {
      CN_TRY(parse_metadata(s, &member));
      continue;
    }
    if ((size_t)s->count == most) return entry_fail(s, member.key, "there are too many for a header of this size");
    CN_TRY(parse_entry(s, &s->entries[s->count++], &member));
  }
  if (s->count) qsort(s->entries, (size_t)s->count, sizeof *s->entries, by_offset);
  CN_TRY(check_cover(s));
  return check_names(s);
}

static CnErr open_reader(CnSafetensors **out, CnReader *file) {
  CnSafetensors *s = cn_alloc(sizeof *s);
  if (!s) {
    cn_reader_close(file);
    return CN_EMEMORY;
  }
  *s = (CnSafetensors){ .file = file, .what = cn_reader_path(file), .size = cn_reader_size(file) };
  CnErr e = parse(s);
  if (e == CN_OK) *out = s;
  else cn_safetensors_close(s);
  return e;
}

CnErr cn_safetensors_open(CnSafetensors **out, const char *path) {
  CnReader *file;
  CN_TRY(cn_reader_open(&file, path));
  return open_reader(out, file);
}

CnErr cn_safetensors_open_memory(CnSafetensors **out, const void *data, size_t size, const char *name) {
  CnReader *file;
  CN_TRY(cn_reader_open_memory(&file, data, size, name));
  return open_reader(out, file);
}

int cn_safetensors_count(const CnSafetensors *s) { return s->count; }
const char *cn_safetensors_name(const CnSafetensors *s, int i) { return s->entries[i].name; }
int cn_safetensors_metadata_count(const CnSafetensors *s) { return s->metadata_count; }
CnMetadata cn_safetensors_metadata(const CnSafetensors *s, int i) { return s->metadata[i]; }

int cn_safetensors_find(const CnSafetensors *s, const char *name) {
  for (int i = 0; i < s->count; i++)
    if (strcmp(s->entries[i].name, name) == 0) return i;
  return -1;
}

CnSpec cn_safetensors_spec(const CnSafetensors *s, int i) {
  const Entry *entry = &s->entries[i];
  CnSpec spec = { .dtype = cn_element_dtype((CnElement)entry->element), .ndim = entry->ndim };
  memcpy(spec.shape, entry->shape, sizeof spec.shape);
  return spec;
}

CnErr cn_safetensors_read(CnTensor **out, CnSafetensors *s, int i) {
  const Entry *entry = &s->entries[i];
  CnTensor *t;
  CnElement element = (CnElement)entry->element;
  CN_TRY(cn_tensor_new(&t, cn_element_dtype(element), CN_DEVICE_CPU, entry->ndim, entry->shape));
  uint32_t crc = 0;
  CnErr e = cn_elements_read(t, s->file, s->data + entry->begin, element, entry->summed ? &crc : NULL);
  if (e == CN_OK && entry->summed && crc != entry->crc)
    e = cn_fail(CN_EDATA, "%s: tensor %s is damaged: its checksum is %08x, expected %08x", s->what, entry->name, crc,
                entry->crc);
  if (e == CN_OK) *out = t;
  else cn_tensor_unref(t);
  return e;
}

/* ---- writing ---- */

typedef struct Item { /* a tensor to be written */
  const char *name;
  CnTensor *tensor;
  uint32_t crc;
} Item;

static int by_written_order(const void *a, const void *b) {
  const Item *x = a, *y = b;
  int rank = (int)written[x->tensor->dtype] - (int)written[y->tensor->dtype];
  return rank ? rank : strcmp(x->name, y->name);
}

/* cJSON hands out NULL and false when memory is out; `ok` gathers that. */
static bool add_sums(cJSON *metadata, const Item *items, int count, uint32_t metadata_sum) {
  cJSON *sums = cJSON_CreateObject();
  bool ok = sums;
  char hex[9];
  for (int i = 0; i < count; i++) {
    snprintf(hex, sizeof hex, "%08x", items[i].crc);
    ok = ok && cJSON_AddStringToObject(sums, items[i].name, hex);
  }
  snprintf(hex, sizeof hex, "%08x", metadata_sum);
  ok = ok && cJSON_AddStringToObject(sums, METADATA, hex);
  char *text = ok ? cJSON_PrintUnformatted(sums) : NULL;
  ok = text && cJSON_AddStringToObject(metadata, SUMS, text);
  cJSON_free(text);
  cJSON_Delete(sums);
  return ok;
}

static bool add_entry(cJSON *header, const Item *item, uint64_t begin) {
  const CnTensor *t = item->tensor;
  cJSON *entry = cJSON_AddObjectToObject(header, item->name);
  char text[160] = "[";
  size_t n = 1;
  for (int i = 0; i < t->ndim; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld", i ? "," : "", (long long)t->shape[i]);
  snprintf(text + n, sizeof text - n, "]");
  bool ok = entry && cJSON_AddStringToObject(entry, "dtype", cn_element_safetensors(written[t->dtype]));
  ok = ok && cJSON_AddRawToObject(entry, "shape", text);
  uint64_t end = begin + cn_tensor_bytes(t);
  snprintf(text, sizeof text, "[%llu,%llu]", (unsigned long long)begin, (unsigned long long)end);
  return ok && cJSON_AddRawToObject(entry, "data_offsets", text);
}

static bool add_all(cJSON *header, const Item *items, int count, const CnMetadata *metadata, int metadata_count) {
  cJSON *object = cJSON_AddObjectToObject(header, METADATA);
  bool ok = object;
  for (int i = 0; i < metadata_count; i++)
    ok = ok && cJSON_AddStringToObject(object, metadata[i].key, metadata[i].value);
  ok = ok && add_sums(object, items, count, metadata_crc(metadata, metadata_count));
  uint64_t at = 0;
  for (int i = 0; i < count && ok; i++) {
    ok = add_entry(header, &items[i], at);
    at += cn_tensor_bytes(items[i].tensor);
  }
  return ok;
}

/* Length and JSON, padded with spaces to a multiple of 8. Its size does not depend on the checksums. */
static CnErr put_header(CnWriter *w, const Item *items, int count, const CnMetadata *metadata, int metadata_count) {
  cJSON *header = cJSON_CreateObject();
  bool ok = header && add_all(header, items, count, metadata, metadata_count);
  char *text = ok ? cJSON_PrintUnformatted(header) : NULL;
  cJSON_Delete(header);
  if (!text) return cn_fail(CN_EMEMORY, "safetensors: out of memory for the header");
  size_t length = strlen(text), padded = (length + 7) / 8 * 8;
  unsigned char size[8];
  for (int i = 0; i < 8; i++) size[i] = (unsigned char)(padded >> (8 * i));
  CnErr e = cn_writer_put(w, size, 8);
  if (e == CN_OK) e = cn_writer_put(w, text, length);
  if (e == CN_OK) e = cn_writer_put(w, "       ", padded - length);
  cJSON_free(text);
  return e;
}

static CnErr put_tensor(CnWriter *w, Item *item) {
  const CnTensor *t = item->tensor;
  size_t bytes = cn_tensor_bytes(t);
  const void *data = cn_tensor_data(t);
  void *copy = NULL; /* of this one tensor, where its own memory cannot be written as it is */
  CnErr e = CN_OK;
  if (!cn_device_equal(cn_tensor_device(t), CN_DEVICE_CPU) || !cn_tensor_is_contiguous(t)) {
    data = copy = cn_alloc(bytes);
    e = copy ? cn_tensor_read(t, copy, bytes) : CN_EMEMORY;
  }
  if (e == CN_OK && bytes) {
    item->crc = crc_of(0, data, bytes);
    e = cn_writer_put(w, data, bytes);
  }
  cn_free(copy);
  return e;
}

/* The checksums are known when the values have been written: the header is written again, in place. */
static CnErr put_all(CnWriter *w, Item *items, int count, const CnMetadata *metadata, int metadata_count) {
  CN_TRY(put_header(w, items, count, metadata, metadata_count));
  for (int i = 0; i < count; i++) CN_TRY(put_tensor(w, &items[i]));
  CN_TRY(cn_writer_rewind(w));
  return put_header(w, items, count, metadata, metadata_count);
}

static CnErr check_text(const char *path, const char *what, const char *text) {
  const char *end = text + strlen(text);
  for (const char *c = text; c < end;) {
    size_t length = cn_utf8_length(c, end);
    if (length == 0) return cn_fail(CN_EUSAGE, "safetensors: %s: %s '%.60s' is not UTF-8", path, what, text);
    c += length;
  }
  return CN_OK;
}

static int by_item_name(const void *a, const void *b) {
  return strcmp(((const Item *)a)->name, ((const Item *)b)->name);
}

/* Sorts both lists by name on the way. */
static CnErr check_save(const char *path, Item *items, int count, CnMetadata *metadata, int metadata_count) {
  qsort(items, (size_t)count, sizeof *items, by_item_name);
  for (int i = 0; i < count; i++) {
    if (strcmp(items[i].name, METADATA) == 0)
      return cn_fail(CN_EUSAGE, "safetensors: %s: a tensor cannot be named " METADATA, path);
    if (i && strcmp(items[i - 1].name, items[i].name) == 0)
      return cn_fail(CN_EUSAGE, "safetensors: %s: two tensors are named '%s'", path, items[i].name);
    CN_TRY(check_text(path, "the tensor name", items[i].name));
  }
  qsort(metadata, (size_t)metadata_count, sizeof *metadata, by_metadata_key);
  for (int i = 0; i < metadata_count; i++) {
    if (strcmp(metadata[i].key, SUMS) == 0)
      return cn_fail(CN_EUSAGE, "safetensors: %s: the metadata key '" SUMS "' is written by the file itself", path);
    if (i && strcmp(metadata[i - 1].key, metadata[i].key) == 0)
      return cn_fail(CN_EUSAGE, "safetensors: %s: the metadata has the key '%s' twice", path, metadata[i].key);
    CN_TRY(check_text(path, "the metadata key", metadata[i].key));
    CN_TRY(check_text(path, "the metadata value", metadata[i].value));
  }
  return CN_OK;
}

static CnErr save(const char *path, Item *items, int count, CnMetadata *metadata, int metadata_count) {
  CN_TRY(check_save(path, items, count, metadata, metadata_count));
  qsort(items, (size_t)count, sizeof *items, by_written_order);
  CnWriter *w;
  CN_TRY(cn_writer_open(&w, path));
  uint64_t bytes = 0;
  for (int i = 0; i < count; i++) bytes += cn_tensor_bytes(items[i].tensor);
  CnErr e = cn_writer_expect(w, bytes); /* and the header, which is small beside them */
  if (e == CN_OK) e = put_all(w, items, count, metadata, metadata_count);
  if (e == CN_OK) return cn_writer_commit(w);
  cn_writer_abandon(w);
  return e;
}

CnErr cn_safetensors_save(const char *path, const CnNamedTensor *tensors, int count, const CnMetadata *metadata,
                          int metadata_count) {
  Item *items = cn_alloc((size_t)count * sizeof *items);
  CnMetadata *texts = cn_alloc((size_t)metadata_count * sizeof *texts);
  CnErr e = items && texts ? CN_OK : CN_EMEMORY;
  if (e == CN_OK) {
    for (int i = 0; i < count; i++) items[i] = (Item){ .name = tensors[i].name, .tensor = tensors[i].tensor };
    if (metadata_count) memcpy(texts, metadata, (size_t)metadata_count * sizeof *texts);
    e = save(path, items, count, texts, metadata_count);
  }
  cn_free(items);
  cn_free(texts);
  return e;
}
