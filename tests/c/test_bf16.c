/* test_bf16.c - numbers of 16 bits: every pattern, rounding, what is not finite; and that the vectors of each
** instruction set do to the bits what the scalar functions do. */
#include "kernel_calls.h"

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static bool is_nan(uint32_t pattern) { return (pattern & 0x7fff) > 0x7f80; }

static void test_every_pattern(void **state) {
  (void)state;
  for (uint32_t p = 0; p <= 0xffff; p++) {
    float x = cn_bf16_to_float((CnBf16)p);
    if (is_nan(p)) { /* a NaN is made quiet, and otherwise kept */
      assert_int_equal(cn_bf16_of_float(x), p | 0x40);
      assert_true(is_nan(cn_bf16_of_double(NAN)));
      continue;
    }
    assert_int_equal(cn_bf16_of_float(x), p);
    assert_int_equal(cn_bf16_of_double((double)x), p);
  }
}

/* Between neighbours a and b: below the middle a, above it b, in the middle the even one. The middle above the largest
** number goes to infinity. */
static void test_rounding(void **state) {
  (void)state;
  for (uint32_t p = 0; p < 0xffff; p++) {
    if ((p & 0x7fff) >= 0x7f80) continue;
    uint32_t bits = p << 16, even = p & 1 ? p + 1 : p;
    assert_int_equal(cn_bf16_of_float(float_of(bits | 0x7fff)), p);
    assert_int_equal(cn_bf16_of_float(float_of(bits | 0x8000)), even);
    assert_int_equal(cn_bf16_of_float(float_of(bits | 0x8001)), p + 1);
    double middle = (double)float_of(bits | 0x8000), hair = fabs(middle) * 0x1p-50 + 0x1p-1000;
    double away = middle < 0 || p >= 0x8000 ? -hair : hair;
    assert_int_equal(cn_bf16_of_double(middle), even); /* by way of f32 each of the three would be in the middle */
    assert_int_equal(cn_bf16_of_double(middle - away), p);
    assert_int_equal(cn_bf16_of_double(middle + away), p + 1);
  }
  assert_int_equal(cn_bf16_of_double(1e300), 0x7f80);
  assert_int_equal(cn_bf16_of_double(-1e300), 0xff80);
  assert_int_equal(cn_bf16_of_double(1e-300), 0);
  assert_int_equal(cn_bf16_of_double(-1e-300), 0x8000);
  assert_int_equal(cn_bf16_of_double(INFINITY), 0x7f80);
}

static void test_whole_numbers(void **state) {
  (void)state;
  for (int64_t i = -256; i <= 256; i++) assert_true((int64_t)cn_bf16_to_float(cn_bf16_of_i64(i)) == i);
  int64_t middle = ((int64_t)1 << 62) + ((int64_t)1 << 54); /* between 2^62 and the next */
  assert_true(cn_bf16_to_float(cn_bf16_of_i64(middle)) == 0x1p62f);
  assert_true(cn_bf16_to_float(cn_bf16_of_i64(middle + 1)) == 0x1p62f + 0x1p55f);
  assert_true(cn_bf16_to_float(cn_bf16_of_i64(-middle - 1)) == -0x1p62f - 0x1p55f);
  assert_true(cn_bf16_to_float(cn_bf16_of_i64(INT64_MIN)) == -0x1p63f);
}

/* Floats of every kind: all exponents and signs, with patterns around each rounding. */
#define FLOATS (512 * 37 + 5)
static CnTensor *floats(void) {
  CnTensor *x = empty(CN_F32, SHAPE(FLOATS));
  uint32_t seed = 1;
  for (int64_t i = 0; i < FLOATS; i++) {
    static const uint32_t low[] = { 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff };
    seed = seed * 1664525u + 1013904223u;
    uint32_t fraction = (seed >> 9 & 0x7f0000) | (i % 7 < 6 ? low[i % 7] : seed & 0xffff);
    ((float *)x->storage->data)[i] = float_of((uint32_t)(i % 512) << 23 | fraction);
  }
  return x;
}

static void test_cast(void **state) {
  (void)state;
  CnTensor *x = floats(), *y = empty(CN_BF16, SHAPE(FLOATS)), *z = empty(CN_F32, SHAPE(FLOATS));
  CnCall call = call_of(CN_F32, TENSORS(x), TENSORS(y));
  FORWARD(cast, call);
  const CnBf16 *short_ = y->storage->data;
  const float *from = x->storage->data, *back = z->storage->data;
  for (int64_t i = 0; i < FLOATS; i++) assert_int_equal(short_[i], cn_bf16_of_float(from[i]));
  CnCall return_ = call_of(CN_BF16, TENSORS(y), TENSORS(z));
  FORWARD(cast, return_);
  for (int64_t i = 0; i < FLOATS; i++) assert_int_equal(bits_of(back[i]), (uint32_t)short_[i] << 16);

  /* Gradients: that of a bf16 tensor is bf16. */
  return_.gout[0] = x;
  return_.gin[0] = empty(CN_BF16, SHAPE(FLOATS));
  BACKWARD(cast, return_);
  assert_memory_equal(return_.gin[0]->storage->data, short_, FLOATS * sizeof *short_);
  call.gout[0] = y;
  call.gin[0] = empty(CN_F32, SHAPE(FLOATS));
  BACKWARD(cast, call);
  assert_memory_equal(call.gin[0]->storage->data, back, FLOATS * sizeof *back);

  double odd[] = { 1.5, -300, 1e-40, NAN, INFINITY, 0x1p53 };
  CnTensor *d = tensor(CN_F64, odd, SHAPE(6)), *s = empty(CN_BF16, SHAPE(6)), *wide = empty(CN_I64, SHAPE(6));
  CnTensor *bytes = empty(CN_U8, SHAPE(6));
  call = call_of(CN_F64, TENSORS(d), TENSORS(s));
  FORWARD(cast, call);
  for (int i = 0; i < 6; i++) assert_int_equal(((CnBf16 *)s->storage->data)[i], cn_bf16_of_double(odd[i]));
  call = call_of(CN_BF16, TENSORS(s), TENSORS(wide));
  FORWARD(cast, call);
  assert_memory_equal(wide->storage->data, ((int64_t[]){ 1, -300, 0, 0, INT64_MAX, (int64_t)1 << 53 }), 48);
  call = call_of(CN_BF16, TENSORS(s), TENSORS(bytes));
  FORWARD(cast, call);
  assert_memory_equal(bytes->storage->data, ((uint8_t[]){ 1, 0, 0, 0, 255, 255 }), 6);
  call = call_of(CN_I64, TENSORS(wide), TENSORS(s));
  FORWARD(cast, call);
  assert_int_equal(((CnBf16 *)s->storage->data)[4], cn_bf16_of_float(0x1p63f));
  reset();
}

/* A block that changes nothing reads and writes every element by vectors; channels fill them or do not. */
static void test_vectors(void **state) {
  (void)state;
  for (int64_t channels = 1; channels <= 37; channels += 3) {
    int64_t pixels = 0x10000 / channels;
    CnTensor *x = empty(CN_BF16, SHAPE(1, 1, pixels, channels)), *z = empty(CN_BF16, SHAPE(1, 1, pixels, channels));
    CnBf16 *from = x->storage->data, *to = z->storage->data;
    for (int64_t i = 0; i < count(x); i++) from[i] = (CnBf16)i;
    CnCall call = call_of(CN_BF16, TENSORS(x), TENSORS(z));
    for (int i = 1; i < 8; i++) call.in_spec[i].ndim = -1;
    FORWARD(add_block, call);
    for (int64_t i = 0; i < count(x); i++)
      if (from[i] != 0x8000) assert_int_equal(to[i], is_nan(from[i]) ? from[i] | 0x40 : from[i]);

    float scale[40], zero[40] = { 0 }; /* products with more digits are rounded as the scalar function does */
    for (int c = 0; c < 40; c++) scale[c] = 1.0f + (float)c * 0.0371f;
    CnTensor *s = empty(CN_F32, SHAPE(channels)), *t = empty(CN_F32, SHAPE(channels));
    memcpy(s->storage->data, scale, (size_t)channels * sizeof *scale);
    memcpy(t->storage->data, zero, (size_t)channels * sizeof *zero);
    call.nin = 4;
    call.in[2] = s;
    call.in[3] = t;
    FORWARD(add_block, call);
    for (int64_t i = 0; i < count(x); i++)
      if (from[i] != 0x8000 && !is_nan(from[i]))
        assert_int_equal(to[i], cn_bf16_of_float(cn_bf16_to_float(from[i]) * scale[i % channels]));
    reset();
  }
}

static void test_sums(void **state) {
  (void)state;
  CnTensor *x = varied(CN_BF16, 1, SHAPE(7, 33)), *y = varied(CN_BF16, 2, SHAPE(7, 33)), *z = empty(CN_BF16, SHAPE(33));
  CnCall call = call_of(CN_BF16, TENSORS(x, y), NULL);
  double before[7 * 33];
  for (int64_t i = 0; i < count(x); i++) before[i] = stored(x, i);
  call.attr[0].f = 0.5;
  FORWARD(accumulate, call);
  for (int64_t i = 0; i < count(x); i++)
    assert_true(stored(x, i) == (double)cn_bf16_to_float(cn_bf16_of_double(before[i] + 0.5 * stored(y, i))));
  call = call_of(CN_BF16, TENSORS(y), TENSORS(z));
  call.attr[0].i = 1;
  FORWARD(sum, call);
  for (int64_t c = 0; c < 33; c++) { /* taken in f64, rounded once */
    double sum = 0;
    for (int64_t r = 0; r < 7; r++) sum += stored(y, r * 33 + c);
    assert_true(stored(z, c) == (double)cn_bf16_to_float(cn_bf16_of_double(sum)));
  }
  call = call_of(CN_BF16, TENSORS(z), NULL);
  call.attr[0].f = 1.01171875; /* in the middle */
  FORWARD(fill, call);
  for (int64_t c = 0; c < 33; c++) assert_true(stored(z, c) == 1.015625);
  reset();
}

int main(void) {
  const struct CMUnitTest scalars[] = {
    cmocka_unit_test(test_every_pattern),
    cmocka_unit_test(test_rounding),
    cmocka_unit_test(test_whole_numbers),
  };
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_cast),
    cmocka_unit_test(test_vectors),
    cmocka_unit_test(test_sums),
  };
  int failed = cmocka_run_group_tests_name("scalars", scalars, NULL, NULL);
  RUN_FOR_EACH_COLUMN(failed, tests);
  return failed;
}
