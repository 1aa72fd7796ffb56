/* test_kernels.c - elementwise and copying kernels of the CPU, against plain loops in double: broadcasting with odd
** strides, extreme values, conversions. On every instruction set this processor has. Sums, indices, losses and updates:
** test_kernels_sums.c; random numbers: test_kernels_random.c. */
#include "kernel_calls.h"

/* A new pair of operands that broadcast to (3,4,5), some along odd strides. */
static void operands(CnDtype dtype, int which, CnTensor **x, CnTensor **y) {
  static const int turned[] = { 2, 0, 1 };
  switch (which) {
    case 0: *x = varied(dtype, 1, SHAPE(3, 4, 5)), *y = varied(dtype, 2, SHAPE(3, 4, 5)); break;
    case 1: *x = varied(dtype, 3, SHAPE(3, 4, 5)), *y = varied(dtype, 4, SHAPE(5)); break;
    case 2: *x = varied(dtype, 5, SHAPE(4, 1)), *y = varied(dtype, 6, SHAPE(3, 1, 5)); break;
    case 3: *x = varied(dtype, 7, SCALAR), *y = varied(dtype, 8, SHAPE(3, 4, 5)); break;
    case 4: *x = permuted(varied(dtype, 9, SHAPE(4, 5, 3)), turned), *y = varied(dtype, 10, SHAPE(3, 4, 1)); break;
    case 5:
      *x = stepped(varied(dtype, 11, SHAPE(3, 4, 9)), 2, 2);
      *y = permuted(stepped(varied(dtype, 12, SHAPE(7, 5, 3)), 0, 2), turned);
      break;
    default: *x = varied(dtype, 13, SHAPE(1, 1, 1)), *y = permuted(varied(dtype, 14, SHAPE(4, 5, 3)), turned); break;
  }
}
#define OPERANDS 7

typedef double Reference(double x, double y);
static double ref_add(double x, double y) { return x + y; }
static double ref_sub(double x, double y) { return x - y; }
static double ref_mul(double x, double y) { return x * y; }
static double ref_div(double x, double y) { return x / y; }
static double ref_larger(double x, double y) { return x > y ? x : y; }
static double ref_smaller(double x, double y) { return x < y ? x : y; }
static double ref_one(double x, double y) { (void)x, (void)y; return 1; }
static double ref_minus_one(double x, double y) { (void)x, (void)y; return -1; }
static double ref_x(double x, double y) { (void)y; return x; }
static double ref_y(double x, double y) { (void)x; return y; }
static double ref_inverse(double x, double y) { (void)x; return 1 / y; }
static double ref_div_y(double x, double y) { return -x / (y * y); }
static double ref_above(double x, double y) { return x > y ? 1 : x == y ? 0.5 : 0; }
static double ref_below(double x, double y) { return x < y ? 1 : x == y ? 0.5 : 0; }

static const struct {
  CnOpId id;
  Reference *f, *dx, *dy;
  bool floats;
} arithmetic[] = {
  { CN_OP_add, ref_add, ref_one, ref_one, false },       { CN_OP_sub, ref_sub, ref_one, ref_minus_one, false },
  { CN_OP_mul, ref_mul, ref_y, ref_x, false },           { CN_OP_div, ref_div, ref_inverse, ref_div_y, true },
  { CN_OP_maximum, ref_larger, ref_above, ref_below, true }, { CN_OP_minimum, ref_smaller, ref_below, ref_above, true },
};

static double wrapped(CnDtype dtype, double value) {
  return dtype == CN_U8 ? (double)(uint8_t)(int64_t)value : value;
}

static void test_arithmetic(void **state) {
  (void)state;
  static const int64_t shape[] = { 3, 4, 5 };
  for (int op = 0; op < COUNT(arithmetic); op++) {
    for (int dtype = 0; dtype < CN_DTYPES; dtype++) {
      for (int which = 0; which < OPERANDS; which++) {
        if (arithmetic[op].floats && !cn_dtype_is_real(dtype)) continue;
        CnTensor *x, *y, *z = empty(dtype, 3, shape);
        operands(dtype, which, &x, &y);
        CnCall call = call_of(dtype, TENSORS(x, y), TENSORS(z));
        assert_int_equal(column[arithmetic[op].id].forward[dtype](&call), CN_OK);
        for (int64_t i = 0; i < 60; i++) {
          double a = broadcast_at(x, i, 3, shape), b = broadcast_at(y, i, 3, shape);
          ASSERT_NEAR(stored(z, i), wrapped(dtype, arithmetic[op].f(a, b)), rounding(dtype));
        }
      }
    }
    reset();
  }
}

static void test_arithmetic_gradients(void **state) {
  (void)state;
  static const int64_t shape[] = { 3, 4, 5 };
  for (int op = 0; op < COUNT(arithmetic); op++) {
    for (int which = 0; which < OPERANDS; which++) {
      CnTensor *x, *y, *g = varied(CN_F64, 99, 3, shape);
      operands(CN_F64, which, &x, &y);
      CnCall call = call_of(CN_F64, TENSORS(x, y), TENSORS(g));
      CnTensor *gx = empty(CN_F64, x->ndim, x->shape), *gy = empty(CN_F64, y->ndim, y->shape);
      call.gout[0] = g;
      call.gin[0] = gx;
      call.gin[1] = gy;
      assert_int_equal(column[arithmetic[op].id].backward[CN_F64](&call), CN_OK);
      double sx[60] = { 0 }, sy[60] = { 0 };
      for (int64_t i = 0; i < 60; i++) {
        double a = broadcast_at(x, i, 3, shape), b = broadcast_at(y, i, 3, shape);
        add_broadcast(sx, x, i, 3, shape, stored(g, i) * arithmetic[op].dx(a, b));
        add_broadcast(sy, y, i, 3, shape, stored(g, i) * arithmetic[op].dy(a, b));
      }
      assert_values(gx, sx, count(gx), 1e-13);
      assert_values(gy, sy, count(gy), 1e-13);
      call.gin[0] = NULL; /* one gradient alone */
      memset(gy->storage->data, 0, gy->storage->bytes);
      assert_int_equal(column[arithmetic[op].id].backward[CN_F64](&call), CN_OK);
      assert_values(gy, sy, count(gy), 1e-13);
    }
    reset();
  }
}

static void test_extreme_arithmetic(void **state) {
  (void)state;
  CnTensor *x = tensor(CN_F32, (double[]){ NAN, 1, 2, -0.0, INFINITY }, SHAPE(5));
  CnTensor *y = tensor(CN_F32, (double[]){ 1, NAN, 2, 0.0, 3 }, SHAPE(5));
  CnTensor *z = empty(CN_F32, SHAPE(5));
  CnCall call = call_of(CN_F32, TENSORS(x, y), TENSORS(z));
  FORWARD(maximum, call);
  ASSERT_VALUES(z, 0, NAN, NAN, 2, 0, INFINITY);
  FORWARD(minimum, call);
  ASSERT_VALUES(z, 0, NAN, NAN, 2, 0, 3);
  CnTensor *big = tensor(CN_I64, (double[]){ 0 }, SCALAR), *two = tensor(CN_I64, (double[]){ 2 }, SCALAR);
  CnTensor *product = empty(CN_I64, SCALAR);
  *(int64_t *)big->storage->data = INT64_MAX;
  call = call_of(CN_I64, TENSORS(big, two), TENSORS(product));
  FORWARD(mul, call);
  assert_true(*(int64_t *)product->storage->data == -2); /* wraps */
  CnTensor *none = empty(CN_F64, SHAPE(0, 3)), *row = varied(CN_F64, 1, SHAPE(3)), *out = empty(CN_F64, SHAPE(0, 3));
  call = call_of(CN_F64, TENSORS(none, row), TENSORS(out));
  FORWARD(add, call); /* nothing to do */
  CnTensor *g = empty(CN_F64, SHAPE(3));
  call.gout[0] = out;
  call.gin[1] = g;
  BACKWARD(add, call);
  ASSERT_VALUES(g, 0, 0, 0, 0);
  reset();
}

static void test_compare(void **state) {
  (void)state;
  static const int64_t shape[] = { 3, 4, 5 };
  for (int dtype = 0; dtype < CN_DTYPES; dtype++) {
    for (int which = 0; which < OPERANDS; which++) {
      CnTensor *x, *y, *z = empty(CN_U8, 3, shape);
      operands(dtype, which, &x, &y);
      CnCall call = call_of(dtype, TENSORS(x, y), TENSORS(z));
#define CHECK(id, operator) \
      FORWARD(id, call); \
      for (int64_t i = 0; i < 60; i++) \
        assert_int_equal(stored(z, i), broadcast_at(x, i, 3, shape) operator broadcast_at(y, i, 3, shape))
      CHECK(eq, ==);
      CHECK(ne, !=);
      CHECK(lt, <);
      CHECK(le, <=);
      CHECK(gt, >);
      CHECK(ge, >=);
#undef CHECK
    }
  }
  reset();
}

static void test_where(void **state) {
  (void)state;
  static const int64_t shape[] = { 3, 4, 5 };
  CnTensor *masks[] = { varied(CN_U8, 1, SHAPE(3, 4, 5)), varied(CN_U8, 2, SHAPE(4, 1)), varied(CN_U8, 3, SCALAR) };
  for (int m = 0; m < COUNT(masks); m++) {
    for (int64_t i = 0; i < count(masks[m]); i++) put(masks[m], i, (int)stored(masks[m], i) % 3); /* 2 counts as true */
    for (int which = 0; which < OPERANDS; which++) {
      CnTensor *x, *y, *z = empty(CN_F64, 3, shape), *g = varied(CN_F64, 5, 3, shape);
      operands(CN_F64, which, &x, &y);
      CnCall call = call_of(CN_F64, TENSORS(masks[m], x, y), TENSORS(z));
      FORWARD(where, call);
      double sx[60] = { 0 }, sy[60] = { 0 };
      for (int64_t i = 0; i < 60; i++) {
        bool on = broadcast_at(masks[m], i, 3, shape) != 0;
        ASSERT_NEAR(stored(z, i), broadcast_at(on ? x : y, i, 3, shape), 0);
        add_broadcast(sx, x, i, 3, shape, on ? stored(g, i) : 0);
        add_broadcast(sy, y, i, 3, shape, on ? 0 : stored(g, i));
      }
      call.gout[0] = g;
      call.gin[1] = empty(CN_F64, x->ndim, x->shape);
      call.gin[2] = empty(CN_F64, y->ndim, y->shape);
      call.in[1] = call.in[2] = NULL; /* not saved */
      BACKWARD(where, call);
      assert_values(call.gin[1], sx, count(call.gin[1]), 1e-13);
      assert_values(call.gin[2], sy, count(call.gin[2]), 1e-13);
    }
  }
  reset();
}

static void test_elementwise(void **state) {
  (void)state;
  static const double kinds[] = { -2.5, -1, -0.25, 0, 0.25, 1, 3, NAN, INFINITY, -INFINITY };
  int n = COUNT(kinds), all = 7 * n + 3; /* each of them in vectors and in the rest of a loop */
  double values[100];
  for (int i = 0; i < all; i++) values[i] = kinds[i % n];
  for (int dtype = CN_F32; dtype <= CN_F64; dtype++) {
    double tolerance = dtype == CN_F32 ? 1e-6 : 1e-14;
    CnTensor *x = tensor(dtype, values, SHAPE(all)), *y = empty(dtype, SHAPE(all)), *g = varied(dtype, 3, SHAPE(all));
    CnTensor *gx = empty(dtype, SHAPE(all));
    CnCall call = call_of(dtype, TENSORS(x), TENSORS(y));
    call.gout[0] = g;
    call.gin[0] = gx;
#define CHECK(id, value, slope, first, last) \
    FORWARD(id, call); \
    BACKWARD(id, call); \
    for (int i = 0; i < all; i++) { \
      if (i % n < first || i % n >= last) continue; \
      double v = values[i], r = stored(y, i); \
      (void)v, (void)r; \
      ASSERT_NEAR(stored(y, i), value, tolerance); \
      ASSERT_NEAR(stored(gx, i), (slope) * stored(g, i), 4 * tolerance); \
    }
    CHECK(neg, -v, -1, 0, n);
    CHECK(exp, exp(v), r, 0, n);
    CHECK(log, log(v), 1 / v, 0, n);
    CHECK(sqrt, sqrt(v), 0.5 / r, 0, n);
    CHECK(abs, fabs(v), (v > 0) - (v < 0), 0, 7);
    CHECK(tanh, tanh(v), 1 - r * r, 0, n);
    CHECK(sigmoid, 1 / (1 + exp(-v)), r * (1 - r), 0, n);
    CHECK(relu, v > 0 ? v : 0, v > 0, 0, 7);
    assert_true(isnan(stored(y, 7)) && stored(y, 8) == INFINITY && stored(y, 9) == 0);
    call.attr[0].f = 3;
    CHECK(pow, pow(v, 3), 3 * v * v, 0, 8);
    call.attr[0].f = 2;
    CHECK(pow, v * v, 2 * v, 0, n);
    call.attr[0].f = 0;
    CHECK(pow, 1, 0, 0, 7);
    call.attr[0].f = -0.5;
    CHECK(pow, pow(v, -0.5), -0.5 * pow(v, -1.5), 4, 7);
    call.attr[0].f = -1;
    call.attr[1].f = 1;
    CHECK(clamp, v < -1 ? -1 : v > 1 ? 1 : v, v >= -1 && v <= 1, 0, n);
    call.attr[0].f = -3;
    call.attr[1].f = 0.5;
    CHECK(scale, -3 * v + 0.5, -3, 0, n);
#undef CHECK
    reset();
  }
}

static void test_cast(void **state) {
  (void)state;
  double values[] = { 3.9, -3.9, 300, -1, NAN, INFINITY, -INFINITY, 0.5, 254.99, 1e30 };
  for (int dtype = CN_F32; dtype <= CN_F64; dtype++) {
    CnTensor *x = tensor(dtype, values, SHAPE(10)), *bytes = empty(CN_U8, SHAPE(10)), *wide = empty(CN_I64, SHAPE(10));
    CnCall call = call_of(dtype, TENSORS(x), TENSORS(bytes));
    FORWARD(cast, call);
    ASSERT_VALUES(bytes, 0, 3, 0, 255, 0, 0, 255, 0, 0, 254, 255);
    call = call_of(dtype, TENSORS(x), TENSORS(wide));
    FORWARD(cast, call);
    const int64_t *w = wide->storage->data;
    assert_true(w[0] == 3 && w[1] == -3 && w[3] == -1 && w[4] == 0 && w[5] == INT64_MAX && w[6] == INT64_MIN &&
                w[9] == INT64_MAX);
    call.gin[0] = empty(dtype, SHAPE(10)); /* no gradient comes back from integers */
    BACKWARD(cast, call);
    ASSERT_VALUES(call.gin[0], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  }
  CnTensor *i = tensor(CN_I64, (double[]){ -5, 7, 256 }, SHAPE(3)), *f = empty(CN_F32, SHAPE(3));
  CnTensor *u = empty(CN_U8, SHAPE(3)), *d = empty(CN_F64, SHAPE(3));
  CnCall call = call_of(CN_I64, TENSORS(i), TENSORS(f));
  FORWARD(cast, call);
  ASSERT_VALUES(f, 0, -5, 7, 256);
  call = call_of(CN_I64, TENSORS(i), TENSORS(u));
  FORWARD(cast, call);
  ASSERT_VALUES(u, 0, 0, 7, 255);
  call = call_of(CN_F32, TENSORS(f), TENSORS(d));
  FORWARD(cast, call);
  ASSERT_VALUES(d, 0, -5, 7, 256);
  call.gout[0] = tensor(CN_F64, (double[]){ 0.1, 2, 3 }, SHAPE(3));
  call.gin[0] = empty(CN_F32, SHAPE(3));
  BACKWARD(cast, call);
  ASSERT_VALUES(call.gin[0], 0, (float)0.1, 2, 3);
  call = call_of(CN_U8, TENSORS(u), NULL);
  call.attr[0].f = 1000;
  FORWARD(fill, call);
  ASSERT_VALUES(u, 0, 255, 255, 255);
  reset();
}

static void test_contiguous(void **state) {
  (void)state;
  for (int dtype = 0; dtype < CN_DTYPES; dtype++) {
    CnTensor *x = permuted(varied(dtype, 1, SHAPE(5, 7, 33, 2)), (int[]){ 2, 0, 3, 1 });
    CnTensor *views[] = { x, stepped(x, 0, 3), stepped(x, 2, 2), varied(dtype, 2, SCALAR) };
    for (int v = 0; v < COUNT(views); v++) {
      CnTensor *y = empty(dtype, views[v]->ndim, views[v]->shape);
      CnCall call = call_of(dtype, TENSORS(views[v]), TENSORS(y));
      FORWARD(contiguous, call);
      for (int64_t i = 0; i < count(y); i++) assert_true(stored(y, i) == at(views[v], i));
      if (!cn_dtype_is_float(dtype)) continue;
      call.gout[0] = y;
      call.gin[0] = empty(dtype, y->ndim, y->shape);
      BACKWARD(contiguous, call);
      assert_memory_equal(call.gin[0]->storage->data, y->storage->data, y->storage->bytes);
    }
  }
  reset();
}

static void test_concat(void **state) {
  (void)state;
  for (int dtype = 0; dtype < CN_DTYPES; dtype++) {
    CnTensor *a = varied(dtype, 1, SHAPE(2, 3, 4)), *b = varied(dtype, 2, SHAPE(2, 1, 4));
    CnTensor *none = empty(dtype, SHAPE(2, 0, 4)), *y = empty(dtype, SHAPE(2, 4, 4));
    CnCall call = call_of(dtype, TENSORS(a, none, b), TENSORS(y));
    call.attr[0].i = 1;
    FORWARD(concat, call);
    for (int64_t i = 0; i < 32; i++) {
      int64_t outer = i / 16, row = i / 4 % 4, c = i % 4;
      ASSERT_NEAR(stored(y, i), row < 3 ? stored(a, outer * 12 + row * 4 + c) : stored(b, outer * 4 + c), 0);
    }
    if (!cn_dtype_is_float(dtype)) continue;
    call.gout[0] = y;
    call.gin[0] = empty(dtype, 3, a->shape);
    call.gin[2] = empty(dtype, 3, b->shape);
    BACKWARD(concat, call);
    assert_memory_equal(call.gin[0]->storage->data, a->storage->data, a->storage->bytes);
    assert_memory_equal(call.gin[2]->storage->data, b->storage->data, b->storage->bytes);
  }
  reset();
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_arithmetic),
    cmocka_unit_test(test_arithmetic_gradients),
    cmocka_unit_test(test_extreme_arithmetic),
    cmocka_unit_test(test_compare),
    cmocka_unit_test(test_where),
    cmocka_unit_test(test_elementwise),
    cmocka_unit_test(test_cast),
    cmocka_unit_test(test_contiguous),
    cmocka_unit_test(test_concat),
  };
  int failed = 0;
  RUN_FOR_EACH_COLUMN(failed, tests);
  return failed;
}
