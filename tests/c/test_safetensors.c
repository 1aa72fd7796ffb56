/* test_safetensors.c - every value comes back; every rule of the format is kept; no damage to a file goes unnoticed. */
#include "scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "io/safetensors.h"

/* ---- what is saved ---- */

static CnTensor *tensor_of(CnDtype dtype, int ndim, const int64_t *shape, const void *values) {
  CnTensor *t;
  assert_ok(cn_tensor_new(&t, dtype, CN_DEVICE_CPU, ndim, shape));
  assert_ok(cn_tensor_write(t, values, cn_tensor_bytes(t)));
  return t;
}

enum { TENSORS = 7 };
static CnTensor *tensors[TENSORS];
static const CnMetadata metadata[] = { { "step", "12" }, { "note", "\"quoted\" \\ é\n" } };

static void make_named(CnNamedTensor named[TENSORS]) {
  static const char *const names[TENSORS] = { "weights", "double", "__counts", "bytes", "scalar \"é\"", "empty", "half" };
  for (int i = 0; i < TENSORS; i++) named[i] = (CnNamedTensor){ names[i], tensors[i] };
}

static int setup(void **state) {
  static const float f32[6] = { 1.5f, -0.0f, 3e38f, 1e-45f, -2, 7 };
  static const double f64[2] = { 1.0 / 3, -1e300 };
  static const int64_t i64[3] = { INT64_MIN, INT64_MAX, 0 };
  static const uint8_t u8[5] = { 0, 1, 127, 128, 255 };
  static const uint16_t bf16[3] = { 0x3f80, 0xff80, 0x7fc1 }; /* 1, -infinity, NaN */
  static const float scalar = 42;
  int status = scratch_setup(state);
  tensors[0] = tensor_of(CN_F32, 2, (int64_t[]){ 2, 3 }, f32);
  tensors[1] = tensor_of(CN_F64, 1, (int64_t[]){ 2 }, f64);
  tensors[2] = tensor_of(CN_I64, 1, (int64_t[]){ 3 }, i64);
  tensors[3] = tensor_of(CN_U8, 1, (int64_t[]){ 5 }, u8);
  tensors[4] = tensor_of(CN_F32, 0, NULL, &scalar);
  tensors[5] = tensor_of(CN_F32, 3, (int64_t[]){ 4, 0, 2 }, f32);
  tensors[6] = tensor_of(CN_BF16, 2, (int64_t[]){ 1, 3 }, bf16);
  return status;
}

static int teardown(void **state) {
  for (int i = 0; i < TENSORS; i++) cn_tensor_unref(tensors[i]);
  if (cn_tensor_live() != 0) return 1;
  return scratch_teardown(state);
}

static CnErr save(const char *name) {
  CnNamedTensor named[TENSORS];
  make_named(named);
  return cn_safetensors_save(scratch_path(name), named, TENSORS, metadata, 2);
}

static void assert_same(const CnTensor *a, const CnTensor *b) {
  assert_int_equal(a->dtype, b->dtype);
  assert_int_equal(cn_tensor_count(a), cn_tensor_count(b));
  if (cn_tensor_count(a) > 0) assert_true(cn_tensor_same_shape(a, b)); /* the shape of nothing is not protected */
  assert_memory_equal(cn_tensor_data(a), cn_tensor_data(b), cn_tensor_bytes(a));
}

/* ---- round trip ---- */

static void test_round_trip(void **state) {
  (void)state;
  CnNamedTensor named[TENSORS];
  make_named(named);
  assert_ok(save("file"));
  assert_names("file ");
  CnSafetensors *s;
  assert_ok(cn_safetensors_open(&s, scratch_path("file")));
  assert_int_equal(cn_safetensors_count(s), TENSORS);
  static const char *const order[] = { "__counts", "double", "empty", "scalar \"é\"", "weights", "half", "bytes" };
  for (int i = 0; i < TENSORS; i++) {
    CnTensor *t;
    int at = cn_safetensors_find(s, named[i].name);
    assert_string_equal(cn_safetensors_name(s, i), order[i]);
    assert_ok(cn_safetensors_read(&t, s, at));
    assert_int_equal(cn_safetensors_spec(s, at).ndim, named[i].tensor->ndim);
    assert_same(t, named[i].tensor);
    cn_tensor_unref(t);
  }
  assert_int_equal(cn_safetensors_find(s, "none"), -1);
  assert_int_equal(cn_safetensors_metadata_count(s), 2);
  assert_string_equal(cn_safetensors_metadata(s, 0).value, metadata[1].value);
  assert_string_equal(cn_safetensors_metadata(s, 1).key, "step");
  cn_safetensors_close(s);
}

/* The bytes as the format's own writer lays them out, and the same at each save. */
static void test_bytes(void **state) {
  (void)state;
  CnNamedTensor one = { "b", tensors[3] };
  assert_ok(cn_safetensors_save(scratch_path("one"), &one, 1, NULL, 0));
  char expected[256] = { 0 }, sums[100];
  snprintf(sums, sizeof sums, "{\\\"b\\\":\\\"%08lx\\\",\\\"__metadata__\\\":\\\"00000000\\\"}",
           crc32(0, cn_tensor_data(tensors[3]), 5));
  int n = snprintf(expected + 8, sizeof expected - 8,
                   "{\"__metadata__\":{\"crc32\":\"%s\"},\"b\":{\"dtype\":\"U8\",\"shape\":[5],"
                   "\"data_offsets\":[0,5]}}", sums);
  for (; n % 8; n++) expected[8 + n] = ' ';
  expected[0] = (char)n;
  memcpy(expected + 8 + n, cn_tensor_data(tensors[3]), 5);
  assert_contents(scratch_path("one"), expected, (size_t)n + 13);
  char *first;
  size_t size;
  assert_ok(save("a"));
  assert_ok(save("b"));
  assert_ok(cn_file_read(&first, &size, scratch_path("a"), 10000));
  assert_contents(scratch_path("b"), first, size);
  cn_free(first);
}

static void test_strides(void **state) {
  (void)state;
  CnTensor *turned, *back;
  static const float expected[6] = { 1.5f, 1e-45f, -0.0f, -2, 3e38f, 7 };
  assert_ok(cn_tensor_view(&turned, tensors[0], 2, (int64_t[]){ 3, 2 }, (int64_t[]){ 1, 3 }, 0));
  CnNamedTensor one = { "turned", turned };
  assert_ok(cn_safetensors_save(scratch_path("file"), &one, 1, NULL, 0));
  CnSafetensors *s;
  assert_ok(cn_safetensors_open(&s, scratch_path("file")));
  assert_ok(cn_safetensors_read(&back, s, 0));
  assert_memory_equal(cn_tensor_data(back), expected, sizeof expected);
  cn_safetensors_close(s);
  cn_tensor_unref(back);
  cn_tensor_unref(turned);
}

static void test_nothing(void **state) {
  (void)state;
  CnSafetensors *s;
  assert_ok(cn_safetensors_save(scratch_path("file"), NULL, 0, NULL, 0));
  assert_ok(cn_safetensors_open(&s, scratch_path("file")));
  assert_int_equal(cn_safetensors_count(s), 0);
  cn_safetensors_close(s);
}

static void test_refused_saves(void **state) {
  (void)state;
  const char *path = scratch_path("file");
  CnNamedTensor two[2] = { { "a", tensors[0] }, { "a", tensors[1] } }, reserved = { "__metadata__", tensors[0] };
  CnNamedTensor bad = { "\xff", tensors[0] };
  CnMetadata sums = { "crc32", "" }, twice[2] = { { "k", "1" }, { "k", "2" } }, value = { "k", "\xff" };
  assert_fails(CN_EUSAGE, "two tensors are named 'a'", cn_safetensors_save(path, two, 2, NULL, 0));
  assert_fails(CN_EUSAGE, "cannot be named", cn_safetensors_save(path, &reserved, 1, NULL, 0));
  assert_fails(CN_EUSAGE, "is not UTF-8", cn_safetensors_save(path, &bad, 1, NULL, 0));
  assert_fails(CN_EUSAGE, "'crc32' is written by the file itself", cn_safetensors_save(path, two, 1, &sums, 1));
  assert_fails(CN_EUSAGE, "the key 'k' twice", cn_safetensors_save(path, two, 1, twice, 2));
  assert_fails(CN_EUSAGE, "is not UTF-8", cn_safetensors_save(path, two, 1, &value, 1));
  assert_names("");
}

/* ---- files from elsewhere ---- */

/* A file of this header and `data` zero bytes, opened and read whole. */
static CnErr read_made(const char *header, size_t data) {
  size_t n = strlen(header);
  char *file = calloc(1, 8 + n + data);
  for (int i = 0; i < 8; i++) file[i] = (char)(n >> (8 * i));
  memcpy(file + 8, header, n);
  CnSafetensors *s;
  CnErr e = cn_safetensors_open_memory(&s, file, 8 + n + data, "made");
  for (int i = 0; e == CN_OK && i < cn_safetensors_count(s); i++) {
    CnTensor *t;
    e = cn_safetensors_read(&t, s, i);
    if (e == CN_OK) cn_tensor_unref(t);
    if (e != CN_OK || i == cn_safetensors_count(s) - 1) {
      cn_safetensors_close(s);
      break;
    }
  }
  free(file);
  return e;
}

#define ENTRY(name, type, shape, offsets) \
  "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define A(type, shape, offsets) "{" ENTRY("a", type, shape, offsets) "}"
#define SUMS(text) "\"__metadata__\":{\"crc32\":\"" text "\"}"

static void test_malformed(void **state) {
  (void)state;
  static const struct {
    const char *header;
    size_t data;
    const char *message; /* NULL: accepted */
  } cases[] = {
    { A("F32", "[2]", "[0,8]"), 8, NULL },
    { A("F32", "[2]", "[0,8]") "     ", 8, NULL },
    { A("F32", "[]", "[0,4]"), 4, NULL },
    { A("I64", "[0]", "[0,0]"), 0, NULL },
    { " " A("F32", "[2]", "[0,8]"), 8, "does not begin with '{'" },
    { "", 0, "does not begin with '{'" },
    { "[]", 0, "does not begin with '{'" },
    { "{\"a\"", 0, "the text ends inside a value" },
    { "{\"a\"}", 0, "expected a colon" },
    { "{\"a\":}", 0, "expected a value" },
    { "{\"a\":]}", 0, "a closing bracket without" },
    { "{a:1}", 0, "expected a key in quotes" },
    { "{\"a\" 1}", 0, "expected a colon" },
    { "{\"__metadata__\":{},}", 0, "expected a key in quotes" },
    { "{\"__metadata__\":{} \"a\":1}", 0, "expected a comma" },
    { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "the key '__metadata__' twice" },
    { "{\"\\u0061\\u00e9\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 0, "tensor aé ends at 1" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1}]}", 1, "not JSON" },
    { "{}x", 0, "does not belong here" },
    { "{} {}", 0, "more text after the value" },
    { "{\"a\":1}", 0, "tensor a: expected {\"dtype\"" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, "tensor a: expected {\"dtype\"" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1}}", 1, "tensor a: expected {\"dtype\"" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"offsets\":[0,1]}}", 1, "data_offsets must be two whole numbers" },
    { "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "the key 'dtype' twice" },
    { "{" ENTRY("a", "U8", "[]", "[0,1]") "," ENTRY("a", "U8", "[]", "[1,2]") "}", 2, "the key 'a' twice" },
    { A("F8_E4M3", "[2]", "[0,2]"), 2, "tensor a: type F8_E4M3 is not supported" },
    { A("C64", "[2]", "[0,16]"), 16, "tensor a: type C64 is not supported" },
    { A("U16", "[2]", "[0,4]"), 4, "tensor a: type U16 is not supported" },
    { A("F16", "[2]", "[0,4]"), 4, NULL },
    { A("I16", "[2]", "[0,8]"), 8, "[0,8] do not fit its shape, which needs 4 bytes" },
    { A("F32", "2", "[0,8]"), 8, "shape must be an array" },
    { A("F32", "[\"2\"]", "[0,8]"), 8, "shape must hold whole numbers" },
    { A("F32", "[2.0]", "[0,8]"), 8, "expected a whole number" },
    { A("F32", "[-2]", "[0,8]"), 8, "expected a whole number" },
    { A("F32", "[1,1,1,1,1,1,2]", "[0,8]"), 8, "more than 6 dimensions" },
    { A("F32", "[9007199254740992,9007199254740992]", "[0,8]"), 8, "its shape is too large" },
    { A("F32", "[4294967296,4294967296]", "[0,0]"), 0, "its shape is too large" },
    { A("F32", "[9007199254740993]", "[0,8]"), 8, "a whole number beyond 2^53" },
    { A("F32", "[2]", "[0,7]"), 8, "[0,7] do not fit its shape, which needs 8 bytes" },
    { A("F32", "[2]", "[8,0]"), 8, "do not fit its shape" },
    { A("F32", "[2]", "[0]"), 8, "data_offsets must be two whole numbers" },
    { A("F32", "[2]", "[0,8,8]"), 8, "data_offsets must be two whole numbers" },
    { A("F32", "[2]", "[4,12]"), 12, "tensor a begins at 4, expected 0" },
    { A("F32", "[2]", "[0,8]"), 7, "the file is cut" },
    { A("F32", "[2]", "[0,8]"), 9, "9 bytes of data, and the tensors have 8" },
    { "{" ENTRY("a", "U8", "[2]", "[0,2]") "," ENTRY("b", "U8", "[2]", "[1,3]") "}", 3,
      "tensor b begins at 1, expected 2" },
    { "{\"__metadata__\":[]}", 0, "__metadata__ must be an object" },
    { "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ must hold strings" },
    { "{" SUMS("{") "}", 0, "the text ends inside a value" },
    { "{" SUMS("[]") "}", 0, "crc32 must hold an object" },
    { "{" SUMS("{\\\"a\\\":\\\"00000000\\\"}") "}", 0, "the checksums and the tensors differ at 'a'" },
    { "{" SUMS("{}") "," ENTRY("a", "U8", "[0]", "[0,0]") "}", 0, "tensor a: it has no checksum" },
    { "{" SUMS("{\\\"a\\\":\\\"0000000G\\\"}") "," ENTRY("a", "U8", "[0]", "[0,0]") "}", 0,
      "must be 8 hexadecimal digits" },
    { "{" SUMS("{\\\"a\\\":\\\"00000001\\\"}") "," ENTRY("a", "U8", "[1]", "[0,1]") "}", 1,
      "tensor a is damaged: its checksum is d202ef8d, expected 00000001" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CnErr e = read_made(cases[i].header, cases[i].data);
    if (!cases[i].message) assert_ok(e);
    else if (e != CN_EDATA || !strstr(cn_error_message(), cases[i].message))
      fail_msg("%s: got '%s', expected '%s'", cases[i].header, e ? cn_error_message() : "no error", cases[i].message);
  }
}

static void test_hostile_lengths(void **state) {
  (void)state;
  static const uint64_t lengths[] = { 3, 9, 1000, 100000001, (uint64_t)1 << 32, (uint64_t)1 << 63, UINT64_MAX,
                                      UINT64_MAX - 7 };
  CnSafetensors *s;
  for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
    char file[10] = { 0, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
    for (int i = 0; i < 8; i++) file[i] = (char)(lengths[k] >> (8 * i));
    assert_int_equal(cn_safetensors_open_memory(&s, file, 10, "made"), CN_EDATA);
  }
  assert_fails(CN_EDATA, "No such file", cn_safetensors_open(&s, scratch_path("none")));
}

/* `unit` again and again between `start` and `end`. */
static void read_repeated(const char *start, const char *unit, const char *end, const char *message) {
  size_t n = strlen(unit), count = 400000 / n, at = strlen(start);
  char *header = malloc(500000);
  strcpy(header, start);
  for (size_t i = 0; i < count; i++, at += n) memcpy(header + at, unit, n);
  strcpy(header + at, end);
  cn_memory_reset_peak();
  int64_t before = cn_memory_stats().bytes_live;
  assert_fails(CN_EDATA, message, read_made(header, 0));
  int64_t used = cn_memory_stats().bytes_peak - before;
  if (used > 3 * (int64_t)strlen(header)) fail_msg("%s…: %lld bytes of memory", start, (long long)used);
  free(header);
}

/* Headers that would make a large tree are refused, or walked without one. */
static void test_headers_of_many_values(void **state) {
  (void)state;
  read_repeated("{\"a\":[", "0,", "0]}", "tensor a: its description is too long");
  read_repeated("{\"a\":{\"dtype\":\"U8\",\"shape\":[", "1,", "1],\"data_offsets\":[0,1]}}", "description is too long");
  read_repeated("{\"a\":[", "{},", "{}]}", "tensor a: its description is too long");
  read_repeated("{\"a\":0", ",\"a\":0", "}", "tensor a: expected {\"dtype\"");
  read_repeated("{\"__metadata__\":{", "\"a\":\"\",", "\"b\":0}}", "__metadata__ has more than 10000 keys");
  read_repeated("{", ENTRY("a", "U8", "[0]", "[0,0]") ",", ENTRY("b", "U8", "[0]", "[0,0]") "}", "the key 'a' twice");
}

/* Reads all of it, in memory; on success gives the tensors' values to `compare`, when that is not NULL. */
static CnErr read_all(const char *file, size_t size, const CnNamedTensor *compare) {
  CnSafetensors *s;
  CN_TRY(cn_safetensors_open_memory(&s, file, size, "file"));
  CnErr e = CN_OK;
  for (int i = 0; i < cn_safetensors_count(s) && e == CN_OK; i++) {
    CnTensor *t;
    e = cn_safetensors_read(&t, s, i);
    if (e != CN_OK) break;
    int k = 0;
    while (k < TENSORS && strcmp(compare[k].name, cn_safetensors_name(s, i))) k++;
    assert_true(k < TENSORS);
    assert_same(t, compare[k].tensor);
    cn_tensor_unref(t);
  }
  cn_safetensors_close(s);
  return e;
}

static void test_cut_anywhere(void **state) {
  (void)state;
  CnNamedTensor named[TENSORS];
  char *file;
  size_t size;
  make_named(named);
  assert_ok(save("file"));
  assert_ok(cn_file_read(&file, &size, scratch_path("file"), 10000));
  for (size_t n = 0; n < size; n++) {
    char *part = malloc(n + 1); /* exactly, so that a sanitizer sees one byte too many */
    memcpy(part, file, n);
    assert_int_equal(read_all(part, n, named), CN_EDATA);
    free(part);
  }
  assert_ok(read_all(file, size, named));
  cn_free(file);
}

/* A flipped bit is an error, or (in the name "crc32" alone) changes no tensor; in the data it names the tensor. */
static void test_flip_every_bit(void **state) {
  (void)state;
  CnNamedTensor named[TENSORS];
  char *file;
  size_t size, unnoticed = 0;
  make_named(named);
  assert_ok(save("file"));
  assert_ok(cn_file_read(&file, &size, scratch_path("file"), 10000));
  size_t data = 8 + (unsigned char)file[0] + 256u * (unsigned char)file[1];
  for (size_t bit = 0; bit < 8 * size; bit++) {
    file[bit / 8] ^= (char)(1 << bit % 8);
    CnErr e = read_all(file, size, named);
    file[bit / 8] ^= (char)(1 << bit % 8);
    if (e == CN_OK) unnoticed++;
    else assert_int_equal(e, CN_EDATA);
    if (bit / 8 >= data) assert_fails(CN_EDATA, "is damaged: its checksum is", e);
  }
  assert_true(unnoticed <= 40);
  cn_free(file);
}

/* ---- failures ---- */

static ssize_t full_write(int fd, const void *data, size_t size) {
  (void)fd, (void)data, (void)size;
  errno = ENOSPC;
  return -1;
}

static void test_full_disk(void **state) {
  (void)state;
  assert_ok(cn_file_write(scratch_path("file"), "old", 3));
  CnSystem real = cn_system;
  cn_system.write = full_write;
  CnErr e = save("file");
  cn_system = real;
  assert_fails(CN_EIO, "No space left on device", e);
  assert_contents(scratch_path("file"), "old", 3);
  assert_names("file ");
}

static uint64_t left_bytes; /* 0 in a file system that is not bounded */
static int filled_statvfs(int fd, struct statvfs *info) {
  (void)fd;
  *info = (struct statvfs){ .f_frsize = 1, .f_blocks = left_bytes > 0, .f_bavail = left_bytes };
  return 0;
}

static void test_filled_disk(void **state) {
  (void)state;
  CnNamedTensor named[TENSORS];
  make_named(named);
  uint64_t bytes = 0;
  for (int i = 0; i < TENSORS; i++) bytes += cn_tensor_bytes(named[i].tensor);
  assert_ok(cn_file_write(scratch_path("file"), "old", 3));
  CnSystem real = cn_system;
  cn_system.fstatvfs = filled_statvfs;
  left_bytes = bytes - 1;
  cn_system.write = full_write; /* not one byte is tried */
  CnErr e = save("file");
  cn_system = real;
  assert_fails(CN_EIO, "MB left: No space left on device; make room there", e);
  assert_contents(scratch_path("file"), "old", 3);
  assert_names("file ");
  cn_system.fstatvfs = filled_statvfs;
  left_bytes = bytes;
  CnErr just = save("file");
  left_bytes = 0;
  CnErr unbounded = save("file");
  cn_system = real;
  assert_ok(just);
  assert_ok(unbounded);
}

static void test_no_memory(void **state) {
  (void)state;
  CnNamedTensor named[TENSORS];
  make_named(named);
  int64_t before = cn_memory_stats().blocks_live;
  for (int64_t n = 0;; n++) {
    char *file = NULL;
    size_t size;
    cn_memory_fail_after(n);
    CnErr e = save("file");
    if (e == CN_OK) e = cn_file_read(&file, &size, scratch_path("file"), 10000);
    if (e == CN_OK) e = read_all(file, size, named);
    cn_memory_fail_after(-1);
    cn_free(file);
    assert_int_equal(cn_memory_stats().blocks_live, before);
    if (e == CN_OK) break;
    assert_true(n < 200);
  }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    TEST(test_round_trip),  TEST(test_bytes),           TEST(test_strides),      TEST(test_nothing),
    TEST(test_malformed),   TEST(test_refused_saves),   TEST(test_cut_anywhere), TEST(test_flip_every_bit),
    TEST(test_full_disk),   TEST(test_hostile_lengths), TEST(test_no_memory),
    TEST(test_filled_disk), TEST(test_headers_of_many_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
