/* test_pickle.c - the pickle machine: what each opcode makes, that all others are refused, that nothing gets large. */
#include "scratch.h"

#include <stdlib.h>

#include "io/pickle.h"

#define LIMIT ((size_t)1 << 20)

/* Reads `size` bytes as one pickle that must end exactly there. */
static CnErr read_bytes(CnPickle **out, const void *bytes, size_t size, size_t limit) {
  CnReader *r;
  uint64_t at = 0;
  assert_ok(cn_reader_open_memory(&r, bytes, size, "input"));
  CnErr e = cn_pickle_read(out, r, &at, size, "input", limit);
  if (e == CN_OK) assert_int_equal(at, size);
  cn_reader_close(r);
  return e;
}

#define READ(out, text) read_bytes(out, "\x80\x02" text, sizeof("\x80\x02" text) - 1, LIMIT)
#define REFUSED(message, text) \
  do { \
    CnPickle *p_ = NULL; \
    assert_fails(CN_EDATA, message, READ(&p_, text)); \
    assert_null(p_); \
  } while (0)

static const CnPickleValue *item(const CnPickleValue *list, uint32_t i) {
  assert_true(i < list->as.list->count);
  return &list->as.list->item[i];
}

/* ---- values ---- */

static void test_numbers(void **state) {
  (void)state;
  CnPickle *p;
  assert_ok(READ(&p, "(K\xc8M\x40\x9cJ\xff\xff\xff\xff\x8a\x00\x8a\x01\xff\x8a\x02\x2c\x01"
                     "\x8a\x06\x00\x00\x00\x00\x00\x01"
                     "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x40"
                     "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\xc0G\x3f\xb9\x99\x99\x99\x99\x99\x9at."));
  static const int64_t whole[] = { 200, 40000, -1, 0, -1, 300, (int64_t)1 << 40, INT64_MIN };
  const CnPickleValue *v = cn_pickle_value(p);
  assert_int_equal(v->kind, CN_PK_TUPLE);
  assert_int_equal(v->as.list->count, 11);
  for (uint32_t i = 0; i < 8; i++) {
    assert_int_equal(item(v, i)->kind, CN_PK_INT);
    assert_int_equal(item(v, i)->as.integer, whole[i]);
  }
  assert_int_equal(item(v, 8)->kind, CN_PK_FLOAT);
  assert_true(item(v, 8)->as.number == 0x1p70);
  assert_true(item(v, 9)->as.number == -0x1p70);
  assert_true(item(v, 10)->as.number == 0.1);
  cn_pickle_free(p);
}

static void test_plain(void **state) {
  (void)state;
  CnPickle *p;
  REFUSED("a key has no value", "}(K\x01u.");
  assert_ok(READ(&p, "}q\x00(X\x01\x00\x00\x00" "a](NK\x01\x88\x89)eU\x02" "bcK\x01K\x02\x86u."));
  const CnPickleValue *v = cn_pickle_value(p), *list = cn_pickle_find(v, "a"), *pair = cn_pickle_find(v, "bc");
  assert_int_equal(v->kind, CN_PK_DICT);
  assert_int_equal(list->kind, CN_PK_LIST);
  assert_int_equal(list->as.list->count, 5);
  assert_int_equal(item(list, 0)->kind, CN_PK_NONE);
  assert_true(item(list, 2)->as.boolean && !item(list, 3)->as.boolean);
  assert_int_equal(item(list, 4)->as.list->count, 0);
  assert_int_equal(item(pair, 1)->as.integer, 2);
  assert_null(cn_pickle_find(v, "b"));
  assert_null(cn_pickle_find(list, "b"));
  cn_pickle_free(p);
}

/* What is memoized is the same object wherever it is fetched. */
static void test_memo(void **state) {
  (void)state;
  CnPickle *p;
  assert_ok(READ(&p, "(]q\x00K\x05" "ah\x00j\x00\x00\x00\x00t."));
  const CnPickleValue *v = cn_pickle_value(p);
  assert_int_equal(v->as.list->count, 3);
  assert_ptr_equal(item(v, 0)->as.list, item(v, 2)->as.list);
  assert_int_equal(item(item(v, 1), 0)->as.integer, 5);
  cn_pickle_free(p);
  REFUSED("read before it is written", "h\x00.");
  REFUSED("read before it is written", "j\xff\xff\xff\xff.");
  REFUSED("read before it is written", "Nq\x01h\x00.");
  REFUSED("a place of the memo is left out", "Nq\x02.");
  REFUSED("a place of the memo is left out", "Nr\xff\xff\xff\xff.");
}

#define STORAGE "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" "7X\x03\x00\x00\x00" "cpuK\x18tQ"
#define TO_62 "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40" /* 2^62 */
#define TO_52 "\x8a\x07\x00\x00\x00\x00\x00\x00\x10"     /* 2^52 */
#define TENSOR(offset, shape, stride) "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE offset shape stride "\x89N" "tR."

static void test_tensors(void **state) {
  (void)state;
  CnPickle *p;
  assert_ok(READ(&p, TENSOR("K\x02", "K\x03K\x02\x86", "K\x06K\x01\x86")));
  const CnPickleTensor *t = cn_pickle_value(p)->as.tensor;
  assert_int_equal(cn_pickle_value(p)->kind, CN_PK_TENSOR);
  assert_int_equal(t->ndim, 2);
  assert_true(t->offset == 2 && t->shape[0] == 3 && t->shape[1] == 2 && t->stride[0] == 6 && t->stride[1] == 1);
  assert_string_equal(t->storage->key, "7");
  assert_int_equal(t->storage->count, 24);
  assert_int_equal(t->storage->element, CN_EL_F32);
  assert_ptr_equal(cn_pickle_storages(p), t->storage);
  cn_pickle_free(p);
  assert_ok(READ(&p, TENSOR("K\x17", ")", ")"))); /* the last element */
  cn_pickle_free(p);
  assert_ok(READ(&p, TENSOR("K\x63", "K\x00\x85", "K\x01\x85"))); /* nothing, anywhere */
  cn_pickle_free(p);
  REFUSED("beyond its storage", TENSOR("K\x18", ")", ")"));
  REFUSED("beyond its storage", TENSOR("K\x00", "K\x04K\x06\x86", "K\x06K\x02\x86"));
  REFUSED("whole and not negative", TENSOR("K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85"));
  REFUSED("whole and not negative", TENSOR("K\x00", "K\x02\x85", "J\xff\xff\xff\xff\x85"));
  REFUSED("whole and not negative", TENSOR("K\x00", "G\x3f\xf0\x00\x00\x00\x00\x00\x00\x85", "K\x01\x85"));
  REFUSED("not made of a storage, an offset", TENSOR("J\xff\xff\xff\xff", ")", ")"));
  REFUSED("not as many strides as sizes", TENSOR("K\x00", "K\x02\x85", ")"));
  REFUSED("more than 6 dimensions", TENSOR("K\x00", "(K\x01K\x01K\x01K\x01K\x01K\x01K\x01t", ")"));
  REFUSED("more elements than its storage", TENSOR("K\x00", "K\x19\x85", "K\x00\x85"));
  REFUSED("too large", TENSOR("K\x00", TO_62 "\x85", TO_62 "\x85"));
  REFUSED("too large", TENSOR("K\x00", "\x8a\x04\x00\x00\x00\x40\x8a\x05\x00\x00\x00\x00\x01\x86", "K\x00K\x00\x86"));
  REFUSED("too large", TENSOR("K\x00", "K\x02K\x02\x86", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x01\x86"));
  REFUSED("too large", TENSOR("K\x00", "K\x00" TO_52 TO_52 "\x87", "K\x00K\x00K\x00\x87"));
}

static void test_calls(void **state) {
  (void)state;
  CnPickle *p;
  assert_ok(READ(&p, "ccollections\nOrderedDict\n)R(K\x01Nu}b."));
  assert_int_equal(cn_pickle_value(p)->as.list->count, 2);
  cn_pickle_free(p);
  assert_ok(READ(&p, "ccollections\nOrderedDict\n](](K\x01Ne](K\x02Nee\x85R.")); /* as Python 2 writes it */
  assert_int_equal(cn_pickle_value(p)->kind, CN_PK_DICT);
  assert_int_equal(cn_pickle_value(p)->as.list->count, 4);
  cn_pickle_free(p);
  assert_ok(READ(&p, "ctorch\nSize\nK\x01K\x02\x86\x85R."));
  assert_int_equal(cn_pickle_value(p)->kind, CN_PK_TUPLE);
  cn_pickle_free(p);
  REFUSED("list of pairs", "ccollections\nOrderedDict\n](Ne\x85R.");
  REFUSED("list of pairs", "ccollections\nOrderedDict\n}\x85R.");
  REFUSED("is called that is no function", "K\x01)R.");
  REFUSED("is called that is no function", "ctorch\nFloatStorage\n)R.");
  REFUSED("is called that is no function", "ccollections\nOrderedDict\n]R.");
  REFUSED("not made of a tensor", "ctorch._utils\n_rebuild_parameter\nNNN\x87R.");
  REFUSED("not made of a tuple", "ctorch\nSize\n]\x85R.");
  REFUSED("gets attributes", "]}b.");
  REFUSED("gets attributes", "}Nb.");
  REFUSED("not that of a storage", "NQ.");
  REFUSED("not that of a storage", ")Q.");
  REFUSED("is a view of another one", "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" "7"
                                      "X\x03\x00\x00\x00" "cpuK\x18)tQ.");
  REFUSED("of the wrong kind", "(X\x07\x00\x00\x00storagectorch\nSize\nX\x01\x00\x00\x00" "7"
                                  "X\x03\x00\x00\x00" "cpuK\x18tQ.");
}

/* ---- what is refused ---- */

static const char allowed[] = "(.RbcQqrhj})]tsueXUaJKMGN\x80\x85\x86\x87\x88\x89\x8a";

static void test_every_opcode(void **state) {
  (void)state;
  for (int op = 0; op < 256; op++) {
    if (memchr(allowed, op, sizeof allowed - 1)) continue;
    unsigned char bytes[] = { 0x80, 2, 'N', (unsigned char)op, '.' };
    char message[64];
    CnPickle *p = NULL;
    snprintf(message, sizeof message, "(0x%02x) at byte 3 of the pickle", op);
    assert_fails(CN_EDATA, message, read_bytes(&p, bytes, sizeof bytes, LIMIT));
  }
  REFUSED("opcode STACK_GLOBAL (0x93) at byte 2", "\x93.");
  REFUSED("opcode NEWOBJ (0x81)", "\x81.");
  REFUSED("opcode INST (0x69)", "ios\nsystem\n.");
  REFUSED("opcode FRAME (0x95)", "\x95.");
}

static void test_names(void **state) {
  (void)state;
  static const char *const names[] = {
    "os\nsystem", "posix\nsystem", "nt\nsystem", "builtins\neval", "builtins\nexec", "builtins\ngetattr",
    "__builtin__\neval", "collections\nOrderedDict ", " collections\nOrderedDict", "collections\nordereddict",
    "Collections\nOrderedDict", "collections\nOrderedDict\r", "collections\ndefaultdict", "torch\nFloatstorage",
    "torch\n_rebuild_tensor_v2", "torch._utils\nFloatStorage", "torch._utils\n_rebuild_tensor", "torch\nload",
    "torch._utils\n_rebuild_tensor_v3", "torch\nComplexFloatStorage", "torch\nQInt8Storage", "torch\nfloat32",
    "torch.nn\nLinear", "torch.serialization\nload", "__main__\nNet", "\n", "torch\n", "\nFloatStorage",
    "torch.storage\nFloatStorage", "torch\n\x01\x02\xff", "torch.jit._serialization\nload",
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char bytes[200];
    CnPickle *p = NULL;
    int n = snprintf(bytes, sizeof bytes, "\x80\x02" "c%s\n)R.", names[i]);
    assert_fails(CN_EDATA, "opcode GLOBAL at byte 2 names '", read_bytes(&p, bytes, (size_t)n, LIMIT));
  }
  char bytes[300] = "\x80\x02" "ctorch\n"; /* a line that does not end */
  memset(bytes + 9, 'A', sizeof bytes - 9);
  CnPickle *p = NULL;
  assert_fails(CN_EDATA, "opcode GLOBAL", read_bytes(&p, bytes, sizeof bytes, LIMIT));
}

static void test_broken_programs(void **state) {
  (void)state;
  CnPickle *p = NULL;
  assert_fails(CN_EDATA, "does not begin with its protocol", read_bytes(&p, "N.", 2, LIMIT));
  assert_fails(CN_EDATA, "its protocol is not 2", read_bytes(&p, "\x80\x04N.", 4, LIMIT));
  assert_fails(CN_EDATA, "it is cut", read_bytes(&p, "", 0, LIMIT));
  assert_fails(CN_EDATA, "it is cut", read_bytes(&p, "\x80", 1, LIMIT));
  REFUSED("it is cut", "N");
  REFUSED("it is cut", "J\x01\x02");
  REFUSED("longer than the file", "X\xff\xff\xff\xff" "a.");
  REFUSED("it is cut", "\x8a\xff.");
  REFUSED("does not end with one value", ".");
  REFUSED("does not end with one value", "N(.");
  REFUSED("there is no mark", "t.");
  REFUSED("its stack is empty", "\x85.");
  REFUSED("its stack is empty", "N\x86.");
  REFUSED("its stack is empty", "N(N\x86.");
  REFUSED("its stack is empty", "](R.");
  REFUSED("its stack is empty", "N(q\x00.");
  REFUSED("its stack is empty", "a.");
  REFUSED("its stack is empty", "Na.");
  REFUSED("something that is not a list gets entries", "NNa.");
  REFUSED("something that is not a list gets entries", "}Na.");
  REFUSED("something that is not a list gets entries", ")(Ne.");
  REFUSED("something that is not a dict gets entries", "]NNs.");
  REFUSED("its stack is empty", "(NNu.");
}

/* ---- what would grow ---- */

typedef struct Text {
  char *data;
  size_t size, room;
} Text;

static void put(Text *t, const char *bytes, size_t size) {
  while (t->size + size > t->room) t->data = realloc(t->data, t->room = 2 * t->room + 64);
  memcpy(t->data + t->size, bytes, size);
  t->size += size;
}

/* Reads it with what a file of this size may use; memory stays within that, as the allocator rounds it. */
static CnErr read_text(Text *t, const char *expected) {
  CnPickle *p = NULL;
  size_t limit = LIMIT + t->size;
  cn_memory_reset_peak();
  int64_t before = cn_memory_stats().bytes_live;
  CnErr e = read_bytes(&p, t->data, t->size, limit);
  int64_t used = cn_memory_stats().bytes_peak - before;
  if (used > (int64_t)(limit + limit / 8) + 65536) fail_msg("%lld bytes for %zu", (long long)used, t->size);
  if (expected && !strstr(cn_error_message(), expected)) fail_msg("'%s' lacks '%s'", cn_error_message(), expected);
  cn_pickle_free(p);
  free(t->data);
  return e;
}

/* `start`, then `unit` again and again up to the size, then `end`. */
static CnErr read_repeated(const char *start, const char *unit, size_t unit_size, const char *end, size_t size,
                           const char *expected) {
  Text t = { 0 };
  put(&t, "\x80\x02", 2);
  put(&t, start, strlen(start));
  while (t.size < size) put(&t, unit, unit_size);
  put(&t, end, strlen(end));
  return read_text(&t, expected);
}

static void test_bombs(void **state) {
  (void)state;
  enum { MILLION = 1 << 20 };
  static const char many[] = "needs more than";
  assert_int_equal(read_repeated("", "N", 1, ".", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("(", "N", 1, "t.", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("", "(", 1, ".", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("N", "\x85", 1, ".", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("](", "]", 1, "e.", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("](", "}", 1, "e.", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("](", "U", 2, "e.", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("]", "Na", 2, ".", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("", "K\x01q\x00", 4, ".", 4 * MILLION, many), CN_EDATA);
  assert_int_equal(read_repeated("]q", "\x00", 1, ".", 10, NULL), CN_EDATA);
  assert_int_equal(read_repeated("](", "G01234567", 9, "e.", MILLION, NULL), CN_EDATA); /* 16 bytes for 9 */
  assert_int_equal(read_repeated("](", "G01234567", 9, "e.", MILLION / 4, NULL), CN_OK);
  assert_int_equal(read_repeated("N", "\x85", 1, ".", 80, "nested more than 64 deep"), CN_EDATA);
  assert_int_equal(read_repeated("N", "\x85", 1, ".", 60, NULL), CN_OK);
}

/* ((((),()),((),())), …: each level holds the one before twice. */
static void test_shared_tuples_unfold(void **state) {
  (void)state;
  for (int levels = 10; levels <= 60; levels += 10) {
    Text t = { 0 };
    put(&t, "\x80\x02)q\x00", 5);
    for (int i = 0; i < levels; i++) {
      char level[] = { 'h', (char)i, '\x86', 'q', (char)(i + 1) };
      put(&t, level, sizeof level);
    }
    put(&t, ".", 1);
    assert_int_equal(read_text(&t, levels > 20 ? "more than four million" : NULL), levels > 20 ? CN_EDATA : CN_OK);
  }
}

static void test_a_list_in_itself(void **state) {
  (void)state;
  REFUSED("contains itself", "]q\x00h\x00" "a.");
  REFUSED("contains itself", "}q\x00K\x01h\x00s.");
  REFUSED("contains itself", "]q\x00](h\x00" "ea.");
  REFUSED("contains itself", "]q\x00h\x00\x85" "a.");
}

static void test_no_memory(void **state) {
  (void)state;
  static const char text[] = "\x80\x02" TENSOR("K\x02", "K\x03K\x02\x86", "K\x06K\x01\x86");
  int64_t blocks = cn_memory_stats().blocks_live;
  for (int64_t n = 0;; n++) {
    CnPickle *p = NULL;
    CnReader *r;
    uint64_t at = 0;
    assert_ok(cn_reader_open_memory(&r, text, sizeof text - 1, "input"));
    cn_memory_fail_after(n);
    CnErr e = cn_pickle_read(&p, r, &at, sizeof text - 1, "input", LIMIT);
    cn_memory_fail_after(-1);
    cn_reader_close(r);
    if (e == CN_OK) {
      cn_pickle_free(p);
      break;
    }
    assert_int_equal(e, CN_EMEMORY);
    assert_int_equal(cn_memory_stats().blocks_live, blocks);
    assert_in_range(n, 0, 20);
  }
  assert_int_equal(cn_memory_stats().blocks_live, blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_numbers),         cmocka_unit_test(test_plain),
    cmocka_unit_test(test_memo),            cmocka_unit_test(test_tensors),
    cmocka_unit_test(test_calls),           cmocka_unit_test(test_every_opcode),
    cmocka_unit_test(test_names),           cmocka_unit_test(test_broken_programs),
    cmocka_unit_test(test_bombs),           cmocka_unit_test(test_shared_tuples_unfold),
    cmocka_unit_test(test_a_list_in_itself), cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
