/* test_pth.c - files that PyTorch wrote give what was saved; no damage to them goes unnoticed where there is a
** checksum, none is believed where there is not, and none makes the reader large. */
#include "scratch.h"

#include <stdlib.h>
#include <zlib.h>

#include "io/pth.h"
#include "io/zip.h"

#define FIXTURE(name) "tests/fixtures/odd." name ".pth" /* see make_fixtures.py; from the source folder */

typedef struct Text {
  char *data;
  size_t size, room;
} Text;

static void put(Text *t, const void *bytes, size_t size) {
  while (t->size + size > t->room) t->data = realloc(t->data, t->room = 2 * t->room + 256);
  if (size) memcpy(t->data + t->size, bytes, size);
  t->size += size;
}

static Text read_file(const char *path) {
  Text t = { 0 };
  char *data;
  size_t size;
  assert_ok(cn_file_read(&data, &size, path, 1 << 24));
  put(&t, data, size);
  cn_free(data);
  return t;
}

/* ---- what is in a file, as bytes to compare ---- */

static void write_value(Text *t, CnPth *pth, const CnPickleValue *v) {
  put(t, &v->kind, sizeof v->kind);
  switch (v->kind) {
    case CN_PK_INT: case CN_PK_FLOAT: put(t, &v->as.integer, sizeof v->as.integer); break;
    case CN_PK_BOOL: put(t, &v->as.boolean, 1); break;
    case CN_PK_TEXT: put(t, v->as.text, v->length + 1); break;
    case CN_PK_TUPLE: case CN_PK_LIST: case CN_PK_DICT:
      put(t, &v->as.list->count, sizeof v->as.list->count);
      for (uint32_t i = 0; i < v->as.list->count; i++) write_value(t, pth, &v->as.list->item[i]);
      break;
    case CN_PK_TENSOR: {
      CnTensor *tensor;
      assert_ok(cn_pth_tensor(&tensor, pth, v->as.tensor));
      put(t, &tensor->dtype, sizeof tensor->dtype);
      put(t, tensor->shape, (size_t)tensor->ndim * sizeof *tensor->shape);
      size_t bytes = cn_tensor_bytes(tensor);
      char *values = malloc(bytes + 1);
      assert_ok(cn_tensor_read(tensor, values, bytes));
      put(t, values, bytes);
      free(values);
      cn_tensor_unref(tensor);
      break;
    }
    default: break;
  }
}

/* Opens and loads a file in memory; what is in it is written to `out` unless that is NULL. */
static CnErr read_pth(Text *out, const void *data, size_t size) {
  CnPth *pth = NULL;
  CnErr e = cn_pth_open_memory(&pth, data, size, "file");
  if ((e == CN_OK) != (pth != NULL)) fail_msg("a result beside an error, or none without");
  if (e == CN_OK) e = cn_pth_load(pth);
  if (e == CN_OK && out) write_value(out, pth, cn_pth_value(pth));
  cn_pth_close(pth);
  return e;
}

static bool same(const Text *a, const Text *b) { return a->size == b->size && memcmp(a->data, b->data, a->size) == 0; }

static void test_all_writers_agree(void **state) {
  (void)state;
  static const char *const paths[] = { FIXTURE("torch1.legacy"), FIXTURE("torch1.zip"), FIXTURE("torch2.legacy"),
                                       FIXTURE("torch2.zip") };
  Text first = { 0 };
  for (size_t i = 0; i < 4; i++) {
    Text file = read_file(paths[i]), values = { 0 };
    assert_ok(read_pth(&values, file.data, file.size));
    if (i == 0) first = values;
    else assert_true(same(&values, &first));
    if (i) free(values.data);
    free(file.data);
  }
  assert_true(first.size > 1000);
  free(first.data);
}

static void test_tensors_share_their_storage(void **state) {
  (void)state;
  CnPth *pth;
  CnTensor *a, *b;
  assert_ok(cn_pth_open(&pth, FIXTURE("torch1.zip")));
  const CnPickleValue *views = cn_pickle_find(cn_pth_value(pth), "views");
  const CnPickleValue *whole = cn_pickle_find(views, "whole"), *turned = cn_pickle_find(views, "transposed");
  assert_fails(CN_EUSAGE, "have not been loaded", cn_pth_tensor(&a, pth, whole->as.tensor));
  assert_ok(cn_pth_load(pth));
  assert_ok(cn_pth_tensor(&a, pth, whole->as.tensor));
  assert_ok(cn_pth_tensor(&b, pth, turned->as.tensor));
  cn_pth_close(pth);
  assert_ptr_equal(a->storage, b->storage);
  assert_int_equal(b->shape[0], 6);
  assert_int_equal(b->stride[0], 1);
  cn_tensor_unref(a);
  cn_tensor_unref(b);
  assert_int_equal(cn_tensor_live(), 0);
}

/* ---- damage ---- */

static void test_cut_anywhere(void **state) {
  (void)state;
  static const char *const paths[] = { FIXTURE("torch1.legacy"), FIXTURE("torch2.zip") };
  for (int i = 0; i < 2; i++) {
    Text file = read_file(paths[i]);
    for (size_t n = 0; n < file.size; n++) {
      char *part = malloc(n + 1); /* exactly, so that a sanitizer sees one byte too many */
      memcpy(part, file.data, n);
      assert_int_equal(read_pth(NULL, part, n), CN_EDATA);
      free(part);
    }
    put(&file, "", 1);
    assert_int_equal(read_pth(NULL, file.data, file.size), CN_EDATA); /* and one byte too many */
    free(file.data);
  }
}

/* A flipped bit of a zip file is an error, or was where nothing is read from and changes no value. Without checksums it
** is an error or another value. */
static void flip_every_bit(const char *path, bool zip) {
  Text file = read_file(path), values = { 0 }, now = { 0 };
  int noticed = 0, unread = 0, changed = 0;
  assert_ok(read_pth(&values, file.data, file.size));
  for (size_t n = 0; n < 8 * file.size; n++) {
    file.data[n / 8] ^= (char)(1 << n % 8);
    cn_memory_reset_peak();
    int64_t before = cn_memory_stats().bytes_live;
    now.size = 0;
    CnErr e = read_pth(&now, file.data, file.size);
    file.data[n / 8] ^= (char)(1 << n % 8);
    int64_t used = cn_memory_stats().bytes_peak - before;
    if (used > 2 * (int64_t)file.size + (1 << 18)) fail_msg("bit %zu: %lld bytes", n, (long long)used);
    if (e == CN_EDATA) noticed++;
    else if (e != CN_OK) fail_msg("bit %zu: %s", n, cn_error_message());
    else if (same(&values, &now)) unread++;
    else changed++;
  }
  if (zip) assert_int_equal(changed, 0);
  assert_true(noticed > unread);
  print_message("%s: %d flips noticed, %d of no effect, %d changed values\n", path, noticed, unread, changed);
  free(file.data);
  free(values.data);
  free(now.data);
}

static void test_flip_every_bit(void **state) {
  (void)state;
  flip_every_bit(FIXTURE("torch1.zip"), true);
  flip_every_bit(FIXTURE("torch1.legacy"), false);
}

static void test_no_memory(void **state) {
  (void)state;
  static const char *const paths[] = { FIXTURE("torch1.legacy"), FIXTURE("torch2.zip") };
  int64_t blocks = cn_memory_stats().blocks_live;
  for (int i = 0; i < 2; i++) {
    for (int64_t n = 0;; n++) {
      CnPth *pth = NULL;
      cn_memory_fail_after(n);
      CnErr e = cn_pth_open(&pth, paths[i]);
      if (e == CN_OK) e = cn_pth_load(pth);
      cn_memory_fail_after(-1);
      cn_pth_close(pth);
      assert_int_equal(cn_memory_stats().blocks_live, blocks);
      if (e == CN_OK) break;
      assert_int_equal(e, CN_EMEMORY);
      assert_in_range(n, 0, 500);
    }
  }
}

/* ---- archives that lie ---- */

/* One entry of an archive that is being made, and what its headers say where that is not the truth. */
typedef struct Entry {
  const char *name, *data;
  size_t size;
  const char *local_name; /* NULL: the same */
  int method, flags;
  bool open;              /* the header in front leaves checksum and sizes to the directory, as PyTorch's do */
  uint32_t crc_off;       /* added to the checksum */
  int64_t size_off, packed_off, offset_off; /* added to what the directory says */
} Entry;

static void put_number(Text *t, uint64_t n, int bytes) {
  for (int i = 0; i < bytes; i++, n >>= 8) put(t, &(unsigned char){ (unsigned char)n }, 1);
}

typedef struct Lies { /* about the whole archive */
  int64_t count, size, offset;
  const char *behind;
} Lies;

static Text make_zip(const Entry *entries, int count, const Lies *lies) {
  Text t = { 0 }, directory = { 0 };
  static const Lies none;
  if (!lies) lies = &none;
  for (int i = 0; i < count; i++) {
    const Entry *e = &entries[i];
    const char *local = e->local_name ? e->local_name : e->name;
    uint32_t crc = (uint32_t)crc32_z(0, (const unsigned char *)e->data, e->size) + e->crc_off;
    size_t at = t.size;
    put_number(&t, 0x04034b50, 4), put_number(&t, 0, 2), put_number(&t, (uint64_t)e->flags, 2);
    put_number(&t, (uint64_t)e->method, 2), put_number(&t, 0, 4), put_number(&t, e->open ? 0 : crc, 4);
    put_number(&t, e->open ? 0 : e->size, 4), put_number(&t, e->open ? 0 : e->size, 4);
    put_number(&t, strlen(local), 2), put_number(&t, 0, 2);
    put(&t, local, strlen(local));
    put(&t, e->data, e->size);
    put_number(&directory, 0x02014b50, 4), put_number(&directory, 0, 4), put_number(&directory, (uint64_t)e->flags, 2);
    put_number(&directory, (uint64_t)e->method, 2), put_number(&directory, 0, 4), put_number(&directory, crc, 4);
    put_number(&directory, e->size + (uint64_t)(e->size_off + e->packed_off), 4);
    put_number(&directory, e->size + (uint64_t)e->size_off, 4);
    put_number(&directory, strlen(e->name), 2), put_number(&directory, 0, 12);
    put_number(&directory, at + (uint64_t)e->offset_off, 4);
    put(&directory, e->name, strlen(e->name));
  }
  size_t at = t.size;
  put(&t, directory.data, directory.size);
  uint64_t said = (uint64_t)(count + lies->count);
  put_number(&t, 0x06054b50, 4), put_number(&t, 0, 4), put_number(&t, said, 2), put_number(&t, said, 2);
  put_number(&t, directory.size + (uint64_t)lies->size, 4), put_number(&t, at + (uint64_t)lies->offset, 4);
  put_number(&t, 0, 2);
  if (lies->behind) put(&t, lies->behind, strlen(lies->behind));
  free(directory.data);
  return t;
}

#define NAME_STORAGE(count) \
  "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" "0X\x03\x00\x00\x00" "cpu" count "tQ"
#define A_TENSOR(count) \
  "\x80\x02" "ctorch._utils\n_rebuild_tensor_v2\n(" NAME_STORAGE(count) "K\x00K\x02\x85K\x01\x85\x89NtR."
#define DATA(text) (text), sizeof(text) - 1

static CnErr read_zip(const Entry *entries, int count, const Lies *lies) {
  Text t = make_zip(entries, count, lies);
  int64_t blocks = cn_memory_stats().blocks_live;
  cn_memory_reset_peak();
  int64_t before = cn_memory_stats().bytes_live;
  CnErr e = read_pth(NULL, t.data, t.size);
  assert_true(cn_memory_stats().bytes_peak - before < (1 << 18));
  assert_int_equal(cn_memory_stats().blocks_live, blocks);
  free(t.data);
  return e;
}

static void test_archives_that_lie(void **state) {
  (void)state;
  const Entry pickle = { .name = "a/data.pkl", DATA(A_TENSOR("K\x02")) };
  const Entry numbers = { .name = "a/data/0", DATA("12345678") };
  Entry e[4] = { pickle, numbers };
#define REFUSED(message, change) \
  do { \
    e[0] = pickle, e[1] = numbers, e[2] = e[3] = (Entry){ .name = "a/other", DATA("other") }; \
    change; \
    assert_fails(CN_EDATA, message, read_zip(e, 3, NULL)); \
  } while (0)
  assert_ok(read_zip(e, 2, NULL));
  REFUSED("a/data/0 is compressed", e[1].method = 8);
  REFUSED("a/data/0 is encrypted", e[1].flags = 1);
  REFUSED("a/data/0 is damaged: its checksum", e[1].crc_off = 1);
  REFUSED("a/data.pkl is damaged: its checksum", e[0].crc_off = 1);
  REFUSED("a/other is damaged: its checksum", e[2].crc_off = 1);
  REFUSED("is there twice", e[2] = numbers);
  REFUSED("is there twice", e[2] = pickle);
  REFUSED("it has two models", (e[2] = pickle, e[2].name = "b/data.pkl"));
  REFUSED("absolute, has '..'", e[2].name = "../a");
  REFUSED("absolute, has '..'", e[2].name = "a/../../b");
  REFUSED("absolute, has '..'", e[2].name = "a/..");
  REFUSED("absolute, has '..'", e[2].name = "/etc/passwd");
  REFUSED("absolute, has '..'", e[2].name = "");
  REFUSED("absolute, has '..'", e[2].name = "a\\b");
  REFUSED("absolute, has '..'", e[2].name = "a\nb");
  REFUSED("another header than the directory says", e[1].local_name = "a/data/1");
  REFUSED("another header than the directory says", e[1].size_off = -1);
  REFUSED("has two sizes", e[1].packed_off = 1);
  REFUSED("ends beyond the directory", (e[1].open = true, e[1].size_off = 1000000));
  REFUSED("overlap", (e[1].open = true, e[1].size_off = 1));
  REFUSED("lacks the zip64 field", e[1].size_off = 0xffffffff - 8);
  REFUSED("begins beyond the directory", e[1].offset_off = 1000000);
  REFUSED("another header than the directory says", e[1].offset_off = 1);
  REFUSED("another header than the directory says", e[1].offset_off = -1);
  REFUSED("no entry a/data/0", e[1].name = "a/data/1");
  REFUSED("not PyTorch's", e[0].name = "a/other.pkl");
  REFUSED("not PyTorch's", e[0].name = "data.pkl");
  REFUSED("not PyTorch's", e[0].name = "a/b/data.pkl");
  REFUSED("should have 2 elements of 4 bytes, and the file has 7", e[1].size = 7);
  REFUSED("should have 3 elements", (e[0].data = A_TENSOR("K\x03")));
  REFUSED("byte order", (e[2] = (Entry){ .name = "a/byteorder", DATA("big") }));
  REFUSED("byte order", (e[2] = (Entry){ .name = "a/byteorder", DATA("BIGEST") }));
  REFUSED("bytes behind its pickle", (e[0].data = "\x80\x02N.N", e[0].size = 5));
#undef REFUSED
}

static void test_storages_that_lie(void **state) {
  (void)state;
  static const struct {
    const char *pickle;
    size_t size;
    const char *message;
  } cases[] = {
    { DATA(A_TENSOR("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10")), "should have 1152921504606846976 elements" },
    { DATA(A_TENSOR("\x8a\x08\x02\x00\x00\x00\x00\x00\x00\x40")), "should have 4611686018427387906 elements" },
    { DATA(A_TENSOR("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\xff")), "of the wrong kind" },
    { DATA(A_TENSOR("K\x01")), "beyond its storage" },
    { DATA("\x80\x02(" NAME_STORAGE("K\x02") NAME_STORAGE("K\x03") "t."), "has two types or sizes" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Entry e[2] = { { .name = "a/data.pkl", .data = cases[i].pickle, .size = cases[i].size },
                   { .name = "a/data/0", DATA("12345678") } };
    assert_fails(CN_EDATA, cases[i].message, read_zip(e, 2, NULL));
  }
}

static void test_directories_that_lie(void **state) {
  (void)state;
  const Entry e[2] = { { .name = "a/data.pkl", DATA(A_TENSOR("K\x02")) }, { .name = "a/data/0", DATA("12345678") } };
  static const struct {
    Lies lies;
    const char *message;
  } cases[] = {
    { { .count = 1 }, "its directory is cut" },   { { .count = -1 }, "more records than it says" },
    { { .count = 65533 }, "its directory is cut" },   { { .size = 1 }, "elsewhere than it says" },
    { { .offset = 1 }, "elsewhere than it says" },    { { .offset = -1 }, "elsewhere than it says" },
    { { .behind = "x" }, "does not end with a directory" },
    { { .size = 0xffffff00 }, "elsewhere than it says" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_fails(CN_EDATA, cases[i].message, read_zip(e, 2, &cases[i].lies));
}

static void test_overlapping_entries(void **state) {
  (void)state;
  static const char outer_data[] = "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\4\0\0\0a/in";
  Entry e[2] = { { .name = "a/out", DATA(outer_data) }, { .name = "a/in", DATA("") } };
  e[1].offset_off = -(int64_t)(sizeof outer_data - 1); /* its header is inside the other's bytes */
  assert_fails(CN_EDATA, "overlap", read_zip(e, 2, NULL));
}

static void test_other_files(void **state) {
  (void)state;
  static const char *const texts[] = { "", "x", "PK\3\4", "not a model at all, but long enough to be one", "\x80\x02" };
  CnPth *pth;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    assert_int_equal(cn_pth_open_memory(&pth, texts[i], strlen(texts[i]), "file"), CN_EDATA);
  assert_fails(CN_EDATA, "No such file", cn_pth_open(&pth, "tests/fixtures/none.pth"));
}

/* ---- the older format ---- */

#define MAGIC "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
#define VERSION "\x80\x02M\xe9\x03."
#define SYSTEM(endian) "\x80\x02}(X\x0d\x00\x00\x00little_endian" endian "u."
#define KEYS "\x80\x02]X\x01\x00\x00\x00" "0a."
#define NUMBERS "\x02\x00\x00\x00\x00\x00\x00\x00" "12345678"

static void test_legacy_files_that_lie(void **state) {
  (void)state;
  static const struct {
    const char *data;
    size_t size;
    const char *message; /* NULL: accepted */
  } cases[] = {
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x02") KEYS NUMBERS), NULL },
    { DATA(MAGIC "\x80\x02M\xe8\x03." SYSTEM("\x88") A_TENSOR("K\x02") KEYS NUMBERS), "version is not 1001" },
    { DATA(MAGIC VERSION SYSTEM("\x89") A_TENSOR("K\x02") KEYS NUMBERS), "little_endian" },
    { DATA(MAGIC VERSION "\x80\x02}." A_TENSOR("K\x02") KEYS NUMBERS), "little_endian" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x02") "\x80\x02]." NUMBERS), "has not those 1" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x02") "\x80\x02N." NUMBERS), "has not those 1" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x02") "\x80\x02]X\x01\x00\x00\x00" "1a." NUMBERS),
      "names another one" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x02") "\x80\x02]K\x00" "a." NUMBERS), "names another one" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x03") KEYS NUMBERS), "has 2 elements, and its tensors expect 3" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x02") KEYS "\x02\x00\x00\x00\x00\x00\x00\x00" "1234567"),
      "it is cut" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x02") KEYS "\x02\x00"), "it is cut in front of storage 0" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("K\x02") KEYS NUMBERS "x"), "1 bytes behind its last storage" },
    { DATA(MAGIC VERSION SYSTEM("\x88") A_TENSOR("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40") KEYS
           "\x00\x00\x00\x00\x00\x00\x00\x40" "12345678"), "it is cut" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CnErr e = read_pth(NULL, cases[i].data, cases[i].size);
    if (!cases[i].message) assert_ok(e);
    else if (e != CN_EDATA || !strstr(cn_error_message(), cases[i].message))
      fail_msg("case %zu: got '%s', expected '%s'", i, e ? cn_error_message() : "no error", cases[i].message);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_all_writers_agree),   cmocka_unit_test(test_tensors_share_their_storage),
    cmocka_unit_test(test_cut_anywhere),        cmocka_unit_test(test_flip_every_bit),
    cmocka_unit_test(test_no_memory),           cmocka_unit_test(test_archives_that_lie),
    cmocka_unit_test(test_storages_that_lie),   cmocka_unit_test(test_directories_that_lie),
    cmocka_unit_test(test_overlapping_entries), cmocka_unit_test(test_other_files),
    cmocka_unit_test(test_legacy_files_that_lie),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
