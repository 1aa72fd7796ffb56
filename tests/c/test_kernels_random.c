/* test_kernels_random.c - kernels that draw numbers: which block and word of a stream each element takes, the same mask
** in both directions, the same numbers for both types, and the distributions. */
#include "kernel_calls.h"

/* All 64 bits of each count. */
#define SEED 0x123456789ABCDEF1u
#define STREAM 0xFEDCBA9876543217u
#define CARRY 0xFFFFFF00 /* blocks from here on cross into the upper half of the counter */

static void set_stream(CnCall *call, int slot, int64_t counter) {
  call->attr[slot].i = (int64_t)SEED;
  call->attr[slot + 1].i = (int64_t)STREAM;
  call->attr[slot + 2].i = counter;
}

/* Word of element i of a fill or mask that began at `counter`, as a number in [0, 1). */
static float unit(int64_t counter, int64_t i) {
  uint32_t word[4];
  cn_philox(word, SEED, STREAM, (uint64_t)(counter + i / 4));
  return cn_u32_to_unit(word[i % 4]);
}

static void test_dropout(void **state) {
  (void)state;
  int64_t n = 100003; /* several pieces, and not a multiple of 4 */
  for (int dtype = CN_F32; dtype <= CN_F64; dtype++) {
    CnTensor *x = varied(dtype, 1, SHAPE(n)), *y = empty(dtype, SHAPE(n)), *g = varied(dtype, 2, SHAPE(n));
    CnCall call = call_of(dtype, TENSORS(x), TENSORS(y));
    call.attr[0].f = 0.3;
    set_stream(&call, 1, CARRY);
    FORWARD(dropout, call);
    call.in[0] = NULL;
    call.gout[0] = g;
    call.gin[0] = empty(dtype, SHAPE(n));
    BACKWARD(dropout, call);
    double kept = 0;
    for (int64_t i = 0; i < n; i++) {
      double factor = unit(CARRY, i) >= 0.3f ? 1 / 0.7 : 0;
      kept += factor > 0;
      bool forward = near(stored(y, i), factor * stored(x, i), 1e-6);
      bool backward = near(stored(call.gin[0], i), factor * stored(g, i), 1e-6);
      if (!forward || !backward) fail_msg("element %lld", (long long)i);
    }
    ASSERT_NEAR(kept / (double)n, 0.7, 0.01); /* 0.7 +- 7 deviations */
    reset();
  }
  CnTensor *x = varied(CN_F32, 1, SHAPE(9)), *y = empty(CN_F32, SHAPE(9));
  CnCall call = call_of(CN_F32, TENSORS(x), TENSORS(y));
  set_stream(&call, 1, 0);
  call.attr[0].f = unit(0, 5); /* a word equal to p is kept */
  FORWARD(dropout, call);
  for (int64_t i = 0; i < 9; i++) assert_true((stored(y, i) != 0) == (unit(0, i) >= unit(0, 5)));
  call.attr[0].f = 0;
  FORWARD(dropout, call); /* p = 0: nothing happens */
  assert_memory_equal(y->storage->data, x->storage->data, x->storage->bytes);
  reset();
}

static void test_drop_path(void **state) {
  (void)state;
  CnTensor *x = varied(CN_F64, 1, SHAPE(50, 3, 7)), *y = empty(CN_F64, SHAPE(50, 3, 7));
  CnCall call = call_of(CN_F64, TENSORS(x), TENSORS(y));
  call.attr[0].f = 0.4;
  set_stream(&call, 1, 5);
  FORWARD(drop_path, call);
  call.gout[0] = x;
  call.gin[0] = empty(CN_F64, SHAPE(50, 3, 7));
  BACKWARD(drop_path, call);
  for (int64_t i = 0; i < 50 * 21; i++) {
    double expected = unit(5, i / 21) >= 0.4f ? stored(x, i) / (1 - 0.4) : 0;
    ASSERT_NEAR(stored(y, i), expected, 1e-15);
    ASSERT_NEAR(stored(call.gin[0], i), expected, 1e-15);
  }
  reset();
}

static void test_uniform(void **state) {
  (void)state;
  int64_t n = 100003;
  CnTensor *f = empty(CN_F32, SHAPE(n)), *d = empty(CN_F64, SHAPE(n));
  CnCall single = call_of(CN_F32, TENSORS(f), NULL), twice = call_of(CN_F64, TENSORS(d), NULL);
  single.attr[1].f = twice.attr[1].f = 1;
  set_stream(&single, 2, 40);
  set_stream(&twice, 2, 40);
  FORWARD(fill_uniform, single);
  FORWARD(fill_uniform, twice);
  for (int64_t i = 0; i < n; i++) {
    assert_true(stored(f, i) == stored(d, i));
    assert_true(stored(f, i) == unit(40, i));
  }
  single.attr[0].f = 1e6; /* one step of f32 wide: every rounding would reach the end */
  single.attr[1].f = 1e6 + 0.0625;
  FORWARD(fill_uniform, single);
  for (int64_t i = 0; i < n; i++) assert_true(stored(f, i) == 1e6);
  single.attr[0].f = single.attr[1].f = 3; /* an empty interval gives its end */
  FORWARD(fill_uniform, single);
  assert_true(stored(f, 0) == 3 && stored(f, n - 1) == 3);
  single.attr[1].f = 2;
  assert_int_equal(column[CN_OP_fill_uniform].forward[CN_F32](&single), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "fill_uniform: low 3 must not be above high 2");
  single.attr[0].f = -0.1;
  single.attr[1].f = 0.1;
  FORWARD(fill_uniform, single);
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    assert_true(stored(f, i) >= (double)-0.1f && stored(f, i) < (double)0.1f);
    sum += stored(f, i);
  }
  ASSERT_NEAR(sum / (double)n, 0, 2e-3);
  reset();
}

static void test_normal(void **state) {
  (void)state;
  int64_t n = 200003;
  CnTensor *d = empty(CN_F64, SHAPE(n)), *f = empty(CN_F32, SHAPE(n)), *later = empty(CN_F64, SHAPE(8));
  CnCall call = call_of(CN_F64, TENSORS(d), NULL);
  call.attr[0].f = 1;
  call.attr[1].f = 2;
  set_stream(&call, 2, 4);
  FORWARD(fill_normal, call);
  double moment[5] = { 0 };
  for (int64_t i = 0; i < n; i++) {
    double z = (stored(d, i) - 1) / 2;
    for (int m = 1; m <= 4; m++) moment[m] += pow(z, m) / (double)n;
  }
  ASSERT_NEAR(moment[1], 0, 0.015); /* within about five deviations of each estimate */
  ASSERT_NEAR(moment[2], 1, 0.01);
  ASSERT_NEAR(moment[3], 0, 0.05);
  ASSERT_NEAR(moment[4], 3, 0.03);
  uint32_t word[4];
  cn_philox(word, SEED, STREAM, 4);
  double radius = sqrt(-2 * log(((double)word[2] + 1) / 4294967296.0)), angle = 2 * acos(-1) * word[3] / 4294967296.0;
  ASSERT_NEAR(stored(d, 2), 1 + 2 * radius * cos(angle), 1e-14);
  ASSERT_NEAR(stored(d, 3), 1 + 2 * radius * sin(angle), 1e-14);
  CnCall single = call;
  single.dtype = CN_F32;
  single.in[0] = f;
  FORWARD(fill_normal, single);
  for (int64_t i = 0; i < n; i++) assert_true(stored(f, i) == (double)(float)stored(d, i));
  CnCall shifted = call_of(CN_F64, TENSORS(later), NULL); /* a later start of the same stream */
  shifted.attr[0].f = 1;
  shifted.attr[1].f = 2;
  set_stream(&shifted, 2, 9);
  FORWARD(fill_normal, shifted);
  assert_memory_equal(later->storage->data, (double *)d->storage->data + 20, later->storage->bytes);
  reset();
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_dropout),
    cmocka_unit_test(test_drop_path),
    cmocka_unit_test(test_uniform),
    cmocka_unit_test(test_normal),
  };
  int failed = 0;
  RUN_FOR_EACH_COLUMN(failed, tests);
  return failed;
}
