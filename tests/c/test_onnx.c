/* test_onnx.c - what is built comes back from the file; no damage to one leads further than to an error. */
#include "scratch.h"

#include <stdlib.h>
#include <time.h>

#include "io/file.h"
#include "io/onnx.h"

static CnTensor *weight, *shape;

static CnTensor *tensor_of(CnDtype dtype, int ndim, const int64_t *sizes, const void *values) {
  CnTensor *t;
  assert_ok(cn_tensor_new(&t, dtype, CN_DEVICE_CPU, ndim, sizes));
  assert_ok(cn_tensor_write(t, values, cn_tensor_bytes(t)));
  return t;
}

static int setup(void **state) {
  static const float values[6] = { 1.5f, -0.0f, 3e38f, 1e-45f, -2, 7 };
  static const int64_t sizes[2] = { -1, INT64_MAX };
  int status = scratch_setup(state);
  weight = tensor_of(CN_F32, 4, (int64_t[]){ 2, 3, 1, 1 }, values);
  shape = tensor_of(CN_I64, 1, (int64_t[]){ 2 }, sizes);
  return status;
}

static int teardown(void **state) {
  cn_tensor_unref(weight);
  cn_tensor_unref(shape);
  if (cn_tensor_live() != 0) return 1;
  return scratch_teardown(state);
}

static CnErr add_parts(CnOnnx *m) {
  static const int64_t pads[4] = { 1, 1, 1, 1 };
  char *in[] = { "images", "weight", "" }, *out[] = { "logits" };
  const CnOnnxNode node = { .op = "Conv", .name = "first", .inputs = 3, .outputs = 1, .attributes = 4, .input = in,
                            .output = out };
  const CnOnnxAttribute attributes[4] = {
    { .name = "alpha", .kind = CN_ONNX_FLOAT, .f = 0.25f },
    { .name = "auto_pad", .kind = CN_ONNX_STRING, .s = "NOTSET", .count = 6 },
    { .name = "group", .kind = CN_ONNX_INT, .i = -7 },
    { .name = "pads", .kind = CN_ONNX_INTS, .ints = pads, .count = 4 },
  };
  const CnOnnxValue images = { .name = "images", .dtype = CN_F32, .ndim = 4, .shape = { -1, 3, 8, -1 },
                               .symbol = { "N" } };
  const CnOnnxValue logits = { .name = "logits", .dtype = CN_I64, .ndim = 1, .shape = { 5 } };
  for (int i = 0; i < 5; i++) CN_TRY(cn_onnx_add_node(m, &node, attributes));
  CN_TRY(cn_onnx_add_constant(m, "weight", weight));
  CN_TRY(cn_onnx_add_constant(m, "shape", shape));
  CN_TRY(cn_onnx_add_value(m, false, &images));
  CN_TRY(cn_onnx_add_value(m, true, &logits));
  return cn_onnx_add_metadata(m, "mean", "[0.5]");
}

static CnErr save(const char *name) {
  CnOnnx *m = NULL;
  CN_TRY(cn_onnx_new(&m, "graph", "1.2"));
  CnErr e = add_parts(m);
  if (e == CN_OK) e = cn_onnx_save(m, scratch_path(name));
  cn_onnx_close(m);
  return e;
}

static void comes_back(void **state) {
  (void)state;
  CnOnnx *m;
  assert_ok(save("model"));
  assert_ok(cn_onnx_open(&m, scratch_path("model")));
  CnOnnxAbout about = cn_onnx_about(m);
  assert_int_equal(about.ir_version, 7);
  assert_int_equal(about.opset, 13);
  assert_string_equal(about.producer, "cnas");
  assert_string_equal(about.producer_version, "1.2");
  assert_string_equal(about.graph, "graph");
  assert_int_equal(cn_onnx_nodes(m), 5);
  CnOnnxNode node = cn_onnx_node(m, 4);
  assert_string_equal(node.op, "Conv");
  assert_int_equal(node.inputs, 3);
  assert_string_equal(node.input[1], "weight");
  assert_string_equal(node.input[2], "");
  assert_string_equal(node.output[0], "logits");
  CnOnnxAttribute a;
  assert_ok(cn_onnx_attribute(&a, m, 4, 0));
  assert_true(a.kind == CN_ONNX_FLOAT && a.f == 0.25f);
  assert_ok(cn_onnx_attribute(&a, m, 4, 1));
  assert_true(a.kind == CN_ONNX_STRING && a.count == 6 && memcmp(a.s, "NOTSET", 6) == 0);
  assert_ok(cn_onnx_attribute(&a, m, 4, 2));
  assert_true(a.kind == CN_ONNX_INT && a.i == -7);
  assert_ok(cn_onnx_attribute(&a, m, 4, 3));
  assert_true(a.kind == CN_ONNX_INTS && a.count == 4 && a.ints[3] == 1);
  CnTensor *t, *expected[2] = { weight, shape };
  for (int i = 0; i < 2; i++) {
    assert_ok(cn_onnx_constant(&t, m, i));
    assert_true(t->dtype == expected[i]->dtype && cn_tensor_same_shape(t, expected[i]));
    assert_memory_equal(cn_tensor_data(t), cn_tensor_data(expected[i]), cn_tensor_bytes(t));
    cn_tensor_unref(t);
  }
  CnOnnxValue v;
  assert_ok(cn_onnx_value(&v, m, false, 0));
  assert_true(v.dtype == CN_F32 && v.ndim == 4 && v.shape[1] == 3 && v.shape[3] == -1 && v.symbol[3] == NULL);
  assert_string_equal(v.symbol[0], "N");
  assert_ok(cn_onnx_value(&v, m, true, 0));
  assert_true(v.dtype == CN_I64 && v.ndim == 1 && v.shape[0] == 5);
  const char *key, *value;
  assert_int_equal(cn_onnx_metadata(m), 1);
  cn_onnx_metadata_entry(m, 0, &key, &value);
  assert_string_equal(key, "mean");
  assert_string_equal(value, "[0.5]");
  cn_onnx_close(m);
}

static char *read_model(size_t *size) {
  char *bytes;
  assert_ok(save("model"));
  assert_ok(cn_file_read(&bytes, size, scratch_path("model"), 1 << 20));
  return bytes;
}

static void same_model_same_bytes(void **state) {
  (void)state;
  size_t n, again;
  char *first = read_model(&n), *second = read_model(&again);
  assert_int_equal(n, again);
  assert_memory_equal(first, second, n);
  cn_free(first);
  cn_free(second);
}

/* Opens the bytes and looks at everything in them. */
static CnErr look(const void *bytes, size_t size) {
  CnOnnx *m = NULL;
  CnErr e = cn_onnx_open_memory(&m, bytes, size, "bytes");
  assert_true(e == CN_OK || e == CN_EDATA);
  if (e != CN_OK) return e;
  CnOnnxAttribute a;
  CnOnnxValue v;
  for (int i = 0; i < cn_onnx_nodes(m); i++)
    for (int k = 0; k < cn_onnx_node(m, i).attributes; k++) (void)cn_onnx_attribute(&a, m, i, k);
  for (int i = 0; i < cn_onnx_constants(m); i++) {
    CnTensor *t = NULL;
    assert_ok(cn_onnx_constant(&t, m, i));
    cn_tensor_unref(t);
  }
  for (int i = 0; i < cn_onnx_values(m, false); i++) (void)cn_onnx_value(&v, m, false, i);
  cn_onnx_close(m);
  return CN_OK;
}

static void a_cut_is_noticed(void **state) {
  (void)state;
  size_t n;
  char *bytes = read_model(&n);
  int whole = 0;
  for (size_t size = 0; size < n; size++) {
    char *part = malloc(size + 1); /* so that a read behind the end is seen by a sanitizer */
    memcpy(part, bytes, size);
    whole += look(part, size) == CN_OK;
    free(part);
  }
  assert_true(whole <= 2); /* cut between fields of the model itself, where what is missing may be missing */
  assert_int_equal(look(bytes, n), CN_OK);
  cn_free(bytes);
}

static void flipped_bits_do_no_harm(void **state) {
  (void)state;
  size_t n;
  char *bytes = read_model(&n);
  for (size_t bit = 0; bit < 8 * n; bit++) {
    bytes[bit / 8] ^= (char)(1 << bit % 8);
    (void)look(bytes, n);
    bytes[bit / 8] ^= (char)(1 << bit % 8);
  }
  cn_free(bytes);
}

/* Makes the bytes from `begin` to `end` a field of this number; returns its beginning, which is further in front. */
static char *wrap(char *begin, const char *end, int field) {
  size_t size = (size_t)(end - begin);
  char part[10];
  int parts = 0;
  for (size_t left = size; parts == 0 || left > 0; left >>= 7) part[parts++] = (char)(left & 127);
  for (int i = parts - 1; i >= 0; i--) *--begin = (char)(part[i] | (i < parts - 1 ? 128 : 0));
  *--begin = (char)(field << 3 | 2);
  return begin;
}

/* Graphs in attributes of nodes of graphs, thousands deep: unpacking that by recursion would end the process. */
static void nesting_is_limited(void **state) {
  (void)state;
  size_t room = 4 << 20;
  char *bytes = malloc(room), *end = bytes + room, *begin = end;
  for (int i = 0; i < 100000; i++) {
    begin = wrap(begin, end, 6); /* of an attribute: g */
    begin = wrap(begin, end, 5); /* of a node: attribute */
    begin = wrap(begin, end, 1); /* of a graph: node */
  }
  begin = wrap(begin, end, 7); /* of a model: graph */
  clock_t start = clock();
  assert_int_equal(look(begin, (size_t)(end - begin)), CN_EDATA);
  assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 1);
  free(bytes);
}

/* Two bytes for each node, which take a hundred and fifty in memory. */
static void memory_is_limited(void **state) {
  (void)state;
  size_t nodes = 4 << 20, room = 2 * nodes + 64;
  char *bytes = malloc(room), *end = bytes + room, *begin = end;
  for (size_t i = 0; i < nodes; i++) begin = wrap(begin, begin, 1);
  begin = wrap(begin, end, 7);
  size_t size = (size_t)(end - begin);
  int64_t before = cn_memory_stats().bytes_live;
  cn_memory_reset_peak();
  assert_int_equal(look(begin, size), CN_EDATA);
  assert_non_null(strstr(cn_error_message(), "twice its size"));
  assert_true(cn_memory_stats().bytes_peak - before <= (int64_t)size + (17 << 20));
  free(bytes);
}

/* A model with one changed constant, which must be refused with these words. */
static void refuse(const char *words, void (*change)(char *at), const char *where) {
  size_t n;
  char *bytes = read_model(&n), *at = NULL;
  size_t length = strlen(where);
  for (size_t i = 0; i + length <= n && at == NULL; i++)
    if (memcmp(bytes + i, where, length) == 0) at = bytes + i;
  assert_non_null(at);
  change(at);
  assert_int_equal(look(bytes, n), CN_EDATA);
  if (strstr(cn_error_message(), words) == NULL) fail_msg("expected '%s' in '%s'", words, cn_error_message());
  cn_free(bytes);
}

static void larger_size(char *at) { at[1] = 9; }
static void other_type(char *at) { at[9] = 10; }

static void lies_are_named(void **state) {
  (void)state;
  refuse("24 bytes of raw data, and its shape needs 108", larger_size, "\x08\x02\x08\x03\x08\x01\x08\x01");
  refuse("ONNX's type 10", other_type, "\x08\x02\x08\x03\x08\x01\x08\x01\x10\x01");
  assert_int_equal(look("", 0), CN_EDATA);
  assert_int_equal(look("\x08\x07", 2), CN_EDATA);
  assert_non_null(strstr(cn_error_message(), "no graph"));
}

static void failing_memory(void **state) {
  (void)state;
  CnErr e = CN_EMEMORY;
  for (int64_t n = 0; e != CN_OK; n++) {
    cn_memory_fail_after(n);
    e = save("failing");
    CnOnnx *m = NULL;
    if (e == CN_OK) e = cn_onnx_open(&m, scratch_path("failing"));
    cn_memory_fail_after(-1);
    cn_onnx_close(m);
    if (e != CN_OK && e != CN_EMEMORY && e != CN_EIO) fail_msg("allocation %d: %s", (int)n, cn_error_message());
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(comes_back, setup, teardown),
    cmocka_unit_test_setup_teardown(same_model_same_bytes, setup, teardown),
    cmocka_unit_test_setup_teardown(a_cut_is_noticed, setup, teardown),
    cmocka_unit_test_setup_teardown(flipped_bits_do_no_harm, setup, teardown),
    cmocka_unit_test_setup_teardown(nesting_is_limited, setup, teardown),
    cmocka_unit_test_setup_teardown(memory_is_limited, setup, teardown),
    cmocka_unit_test_setup_teardown(lies_are_named, setup, teardown),
    cmocka_unit_test_setup_teardown(failing_memory, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
