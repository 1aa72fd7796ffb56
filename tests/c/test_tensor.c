/* test_tensor.c - tensors and the tape as C sees them: ownership, views, gradients, and failing allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "device/cpu.h"
#include "tensor/autograd.h"
#include "tensor/op.h"
#include "tensor/print.h"

static CnTensor *vector(int64_t n, const float *values) {
  CnTensor *t = NULL;
  assert_int_equal(cn_tensor_new(&t, CN_F32, CN_DEVICE_CPU, 1, &n), CN_OK);
  assert_int_equal(cn_tensor_write(t, values, (size_t)n * sizeof *values), CN_OK);
  return t;
}

static void test_refused(void **state) {
  (void)state;
  CnTensor *t = NULL;
  assert_int_equal(cn_tensor_new(&t, CN_F32, CN_DEVICE_CPU, 2, (int64_t[]){ 3, -1 }), CN_EUSAGE);
  assert_int_equal(cn_tensor_new(&t, CN_F32, CN_DEVICE_CPU, 7, (int64_t[]){ 1, 1, 1, 1, 1, 1, 1 }), CN_EUSAGE);
  assert_int_equal(cn_tensor_new(&t, CN_F64, CN_DEVICE_CPU, 3, (int64_t[]){ 1 << 30, 1 << 30, 1 << 30 }), CN_EMEMORY);
  assert_null(t);
  CnDevice device;
  assert_int_equal(cn_device_parse(&device, "tpu"), CN_EUSAGE);
  assert_int_equal(cn_device_parse(&device, "cuda:x"), CN_EUSAGE);
  assert_int_equal(cn_device_parse(&device, "auto"), CN_OK);
  assert_int_equal(cn_cpu_use("sse9"), CN_EUSAGE);
}

static void test_view_shares_storage(void **state) {
  (void)state;
  CnTensor *t = vector(6, (float[]){ 0, 1, 2, 3, 4, 5 }), *m = NULL, *row = NULL, *turned = NULL;
  assert_int_equal(cn_apply1(&m, CN_OP_reshape, t, (CnAttr[7]){ { .i = 2 }, { .i = 2 }, { .i = -1 } }), CN_OK);
  assert_int_equal(m->shape[1], 3);
  assert_int_equal(cn_apply1(&row, CN_OP_select, m, (CnAttr[]){ { .i = 0 }, { .i = 2 } }), CN_OK);
  assert_int_equal(cn_apply1(NULL, CN_OP_fill, row, (CnAttr[]){ { .f = 9 } }), CN_OK);
  assert_true(((float *)cn_tensor_data(t))[3] == 9);
  assert_int_equal(cn_apply1(&turned, CN_OP_transpose, m, (CnAttr[]){ { .i = 0 }, { .i = 1 } }), CN_OK);
  assert_false(cn_tensor_is_contiguous(turned));
  float values[6];
  assert_int_equal(cn_tensor_read(turned, values, sizeof values), CN_OK);
  assert_memory_equal(values, ((float[]){ 0, 9, 1, 9, 2, 9 }), sizeof values);
  cn_tensor_unref(t); /* the views keep the storage */
  assert_int_equal(cn_tensor_read(m, values, sizeof values), CN_OK);
  cn_tensor_unref(row);
  cn_tensor_unref(turned);
  cn_tensor_unref(m);
}

/* y = sum(relu(x * x + x)) with x used three times. */
static CnErr polynomial(CnTensor **loss, CnTensor *x) {
  CnTensor *square = NULL, *sum = NULL, *positive = NULL;
  CnErr e = cn_apply2(&square, CN_OP_mul, x, x, NULL);
  if (e == CN_OK) e = cn_apply2(&sum, CN_OP_add, square, x, NULL);
  if (e == CN_OK) e = cn_apply1(&positive, CN_OP_relu, sum, NULL);
  if (e == CN_OK) e = cn_apply1(loss, CN_OP_sum, positive, NULL);
  cn_tensor_unref(square);
  cn_tensor_unref(sum);
  cn_tensor_unref(positive);
  return e;
}

static void test_backward(void **state) {
  (void)state;
  CnTensor *x = vector(3, (float[]){ 1, 2, -0.5f }), *loss = NULL;
  x->requires_grad = true;
  assert_int_equal(polynomial(&loss, x), CN_OK);
  assert_int_equal(cn_backward(loss, NULL, true), CN_OK);
  assert_memory_equal(cn_tensor_data(x->grad), ((float[]){ 3, 5, 0 }), 12);
  assert_int_equal(cn_backward(loss, NULL, false), CN_OK); /* adds */
  assert_memory_equal(cn_tensor_data(x->grad), ((float[]){ 6, 10, 0 }), 12);
  assert_int_equal(cn_backward(loss, NULL, false), CN_EUSAGE);
  assert_non_null(strstr(cn_error_message(), "used already"));
  cn_tensor_unref(loss);
  cn_tensor_unref(x);
}

static void test_written_in_place(void **state) {
  (void)state;
  CnTensor *x = vector(2, (float[]){ 1, 2 }), *y = NULL, *z = NULL;
  x->requires_grad = true;
  assert_int_equal(cn_apply1(&y, CN_OP_exp, x, NULL), CN_OK);
  assert_int_equal(cn_apply1(&z, CN_OP_sum, y, NULL), CN_OK);
  assert_int_equal(cn_apply1(NULL, CN_OP_fill, y, (CnAttr[]){ { .f = 0 } }), CN_EUSAGE); /* recording is on */
  bool before = cn_grad_enable(false);
  assert_int_equal(cn_apply1(NULL, CN_OP_fill, y, (CnAttr[]){ { .f = 0 } }), CN_OK);
  cn_grad_enable(before);
  assert_int_equal(cn_backward(z, NULL, false), CN_EUSAGE);
  assert_non_null(strstr(cn_error_message(), "in place"));
  cn_tensor_unref(x);
  cn_tensor_unref(y);
  cn_tensor_unref(z);
}

static void test_long_chain_is_freed(void **state) {
  (void)state;
  CnTensor *x = vector(1, (float[]){ 1 });
  x->requires_grad = true;
  CnTensor *y = cn_tensor_ref(x);
  for (int i = 0; i < 200000; i++) {
    CnTensor *next = NULL;
    assert_int_equal(cn_apply1(&next, CN_OP_neg, y, NULL), CN_OK);
    cn_tensor_unref(y);
    y = next;
  }
  cn_tensor_unref(y); /* not by recursion: the stack would not hold it */
  cn_tensor_unref(x);
}

static void test_each_allocation_fails_cleanly(void **state) {
  (void)state;
  int64_t live = cn_tensor_live(), blocks = cn_memory_stats().blocks_live, failures = 0;
  for (int64_t n = 0;; n++) {
    CnTensor *x = vector(3, (float[]){ 1, 2, 3 }), *loss = NULL;
    x->requires_grad = true;
    cn_memory_fail_after(n);
    CnErr e = polynomial(&loss, x);
    if (e == CN_OK) e = cn_backward(loss, NULL, false);
    cn_memory_fail_after(-1);
    cn_tensor_unref(loss);
    cn_tensor_unref(x);
    assert_int_equal(cn_tensor_live(), live);
    assert_int_equal(cn_memory_stats().blocks_live, blocks);
    if (e == CN_OK) break;
    assert_int_equal(e, CN_EMEMORY);
    failures++;
  }
  assert_true(failures > 20);
}

static void test_print(void **state) {
  (void)state;
  CnTensor *x = vector(4, (float[]){ 1, -2.5f, 0.0f / 1, 3 });
  ((float *)cn_tensor_data(x))[2] = __builtin_nanf("");
  char *text = NULL;
  assert_int_equal(cn_tensor_format(&text, x), CN_OK);
  assert_string_equal(text, "f32 (4) on cpu, from -2.5 to 3, mean 0.5, 1 NaN\n{   1 -2.5  nan    3}");
  cn_free(text);
  cn_tensor_unref(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_refused),
    cmocka_unit_test(test_view_shares_storage),
    cmocka_unit_test(test_backward),
    cmocka_unit_test(test_written_in_place),
    cmocka_unit_test(test_long_chain_is_freed),
    cmocka_unit_test(test_each_allocation_fails_cleanly),
    cmocka_unit_test(test_print),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
