/* test_kernels.c - the CPU's kernels outside images and matrices, against plain loops in double: broadcasting with odd
** strides, reductions, ties and NaN, wrong indices, conversions, updates; on every instruction set this processor has,
** and the same bits with 1, 2 and 3 threads. Random numbers: test_kernels_random.c. */
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
        if (arithmetic[op].floats && dtype > CN_F64) continue;
        CnTensor *x, *y, *z = empty(dtype, 3, shape);
        operands(dtype, which, &x, &y);
        CnCall call = call_of(dtype, TENSORS(x, y), TENSORS(z));
        assert_int_equal(column[arithmetic[op].id].forward[dtype](&call), CN_OK);
        for (int64_t i = 0; i < 60; i++) {
          double a = broadcast_at(x, i, 3, shape), b = broadcast_at(y, i, 3, shape);
          ASSERT_NEAR(stored(z, i), wrapped(dtype, arithmetic[op].f(a, b)), dtype == CN_F64 ? 1e-15 : 1e-6);
        }
      }
    }
    reset();
  }
}

/* Adds value to the element of `sums` (contiguous, of t's shape) that broadcast to `flat`. */
static void add_broadcast(double *sums, const CnTensor *t, int64_t flat, int ndim, const int64_t *shape, double value) {
  int64_t element = 0, stride = 1;
  for (int d = ndim - 1; d >= 0; d--) {
    int own = d - (ndim - t->ndim);
    if (own >= 0) {
      if (t->shape[own] != 1) element += flat % shape[d] * stride;
      stride *= t->shape[own];
    }
    flat /= shape[d];
  }
  sums[element] += value;
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
  double values[] = { -2.5, -1, -0.25, 0, 0.25, 1, 3, NAN, INFINITY, -INFINITY };
  int n = COUNT(values);
  for (int dtype = CN_F32; dtype <= CN_F64; dtype++) {
    double tolerance = dtype == CN_F32 ? 1e-6 : 1e-14;
    CnTensor *x = tensor(dtype, values, SHAPE(n)), *y = empty(dtype, SHAPE(n)), *g = varied(dtype, 3, SHAPE(n));
    CnTensor *gx = empty(dtype, SHAPE(n));
    CnCall call = call_of(dtype, TENSORS(x), TENSORS(y));
    call.gout[0] = g;
    call.gin[0] = gx;
#define CHECK(id, value, slope, first, last) \
    FORWARD(id, call); \
    BACKWARD(id, call); \
    for (int i = first; i < last; i++) { \
      double v = values[i], r = stored(y, i); \
      (void)v, (void)r; \
      ASSERT_NEAR(stored(y, i), value, tolerance); \
      ASSERT_NEAR(stored(gx, i), (slope) * stored(g, i), 4 * tolerance); \
    }
    CHECK(neg, -v, -1, 0, n);
    CHECK(exp, exp(v), r, 0, n);
    CHECK(log, log(v), 1 / v, 4, 7);
    CHECK(sqrt, sqrt(v), 0.5 / r, 4, 7);
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
      if (dtype > CN_F64) continue;
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
    if (dtype > CN_F64) continue;
    call.gout[0] = y;
    call.gin[0] = empty(dtype, 3, a->shape);
    call.gin[2] = empty(dtype, 3, b->shape);
    BACKWARD(concat, call);
    assert_memory_equal(call.gin[0]->storage->data, a->storage->data, a->storage->bytes);
    assert_memory_equal(call.gin[2]->storage->data, b->storage->data, b->storage->bytes);
  }
  reset();
}

/* sum and mean over every set of dimensions, forward and backward. */
static void test_reductions(void **state) {
  (void)state;
  static const int64_t shapes[][4] = { { 3, 4, 5, 6 }, { 1, 7, 1, 3 }, { 70, 1, 300, 2 }, { 2, 0, 3, 2 },
                                       { 3, 1, 1, 1 } };
  for (int s = 0; s < COUNT(shapes); s++) {
    CnTensor *x = varied(CN_F64, 5, 4, shapes[s]);
    for (uint32_t dims = 1; dims < 16; dims++) {
      int64_t kept[4], n = 1;
      for (int d = 0; d < 4; d++) {
        kept[d] = dims >> d & 1 ? 1 : shapes[s][d];
        n *= dims >> d & 1 ? shapes[s][d] : 1;
      }
      CnTensor *y = empty(CN_F64, 4, kept), *gx = empty(CN_F64, 4, shapes[s]);
      double *sums = calloc((size_t)count(y) + 1, sizeof *sums);
      for (int64_t i = 0; i < count(x); i++) add_broadcast(sums, y, i, 4, shapes[s], stored(x, i));
      CnCall call = call_of(CN_F64, TENSORS(x), TENSORS(y));
      call.attr[0].i = dims;
      call.attr[1].i = 1;
      FORWARD(sum, call);
      assert_values(y, sums, count(y), 1e-13);
      call.gout[0] = y;
      call.gin[0] = gx;
      BACKWARD(sum, call);
      for (int64_t i = 0; i < count(x); i++) ASSERT_NEAR(stored(gx, i), broadcast_at(y, i, 4, shapes[s]), 0);
      FORWARD(mean, call);
      for (int64_t i = 0; i < count(y); i++) ASSERT_NEAR(stored(y, i), sums[i] / (double)n, 1e-13);
      BACKWARD(mean, call);
      for (int64_t i = 0; i < count(x); i++)
        ASSERT_NEAR(stored(gx, i), broadcast_at(y, i, 4, shapes[s]) / (double)n, 1e-15);
      free(sums);
    }
    reset();
  }
}

static void test_whole_sums(void **state) {
  (void)state;
  int64_t n = 3000001;
  CnTensor *x = empty(CN_F32, SHAPE(n)), *y = empty(CN_F32, SCALAR), *square = empty(CN_F64, SCALAR);
  for (int64_t i = 0; i < n; i++) put(x, i, 0.1);
  CnCall call = call_of(CN_F32, TENSORS(x), TENSORS(y));
  FORWARD(sum, call); /* a running f32 sum would be off by percents */
  ASSERT_NEAR(stored(y, 0), (double)n * (double)0.1f, 1e-7);
  FORWARD(mean, call);
  ASSERT_NEAR(stored(y, 0), 0.1f, 1e-7);
  call = call_of(CN_F32, TENSORS(x), TENSORS(square));
  FORWARD(squared_norm, call);
  ASSERT_NEAR(stored(square, 0), (double)n * (double)0.1f * (double)0.1f, 1e-12);
  CnTensor *bytes = empty(CN_U8, SHAPE(100000)), *total = empty(CN_I64, SCALAR);
  for (int64_t i = 0; i < 100000; i++) put(bytes, i, 255);
  call = call_of(CN_U8, TENSORS(bytes), TENSORS(total));
  FORWARD(sum, call);
  ASSERT_VALUES(total, 0, 25500000);
  CnTensor *none = empty(CN_F32, SHAPE(0));
  call = call_of(CN_F32, TENSORS(none), TENSORS(y));
  FORWARD(sum, call);
  ASSERT_VALUES(y, 0, 0);
  FORWARD(mean, call);
  assert_true(isnan(stored(y, 0)));
  reset();
}

static void test_extremum(void **state) {
  (void)state;
  double values[] = { 1, 5, 5, -2,   NAN, 7, NAN, 1,   -INFINITY, -INFINITY, -INFINITY, -INFINITY };
  CnTensor *x = tensor(CN_F32, values, SHAPE(3, 4)), *y = empty(CN_F32, SHAPE(3)), *index = empty(CN_I64, SHAPE(3));
  CnCall call = call_of(CN_F32, TENSORS(x), TENSORS(y, index));
  call.attr[0].i = 1;
  FORWARD(max, call);
  ASSERT_VALUES(y, 0, 5, NAN, -INFINITY);
  ASSERT_VALUES(index, 0, 1, 0, 0);
  call.gout[0] = tensor(CN_F32, (double[]){ 10, 20, 30 }, SHAPE(3));
  call.gin[0] = empty(CN_F32, SHAPE(3, 4));
  BACKWARD(max, call);
  ASSERT_VALUES(call.gin[0], 0, 0, 10, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0);
  FORWARD(min, call);
  ASSERT_VALUES(y, 0, -2, NAN, -INFINITY);
  ASSERT_VALUES(index, 0, 3, 0, 0);
  call = call_of(CN_F32, TENSORS(x), TENSORS(index));
  call.attr[0].i = 1;
  FORWARD(argmax, call);
  ASSERT_VALUES(index, 0, 1, 0, 0);
  FORWARD(argmin, call);
  ASSERT_VALUES(index, 0, 3, 0, 0);
  CnTensor *z = varied(CN_F64, 3, SHAPE(4, 9, 5));
  CnTensor *middle = empty(CN_F64, SHAPE(4, 5)), *place = empty(CN_I64, SHAPE(4, 5));
  call = call_of(CN_F64, TENSORS(z), TENSORS(middle, place));
  call.attr[0].i = 1;
  FORWARD(min, call);
  for (int64_t i = 0; i < 20; i++) {
    double best = INFINITY;
    for (int64_t k = 0; k < 9; k++) best = fmin(best, stored(z, i / 5 * 45 + k * 5 + i % 5));
    assert_true(stored(middle, i) == best);
    assert_true(stored(z, i / 5 * 45 + (int64_t)stored(place, i) * 5 + i % 5) == best);
  }
  reset();
}

/* Whether entry i of a row is before entry j: the rule, written apart from the kernel. */
static bool ranks_before(const CnTensor *x, int64_t row, int64_t n, int64_t i, int64_t j) {
  double a = stored(x, row * n + i), b = stored(x, row * n + j);
  if (isnan(a) || isnan(b)) return isnan(a) && (!isnan(b) || i < j);
  return a != b ? a > b : i < j;
}

static void test_topk(void **state) {
  (void)state;
  int64_t n = 200;
  CnTensor *x = varied(CN_F32, 8, SHAPE(3, n)); /* values repeat: 97 different ones */
  put(x, 17, NAN);
  put(x, 150, NAN);
  put(x, 30, INFINITY);
  for (int64_t k = 1; k <= n; k += 33) {
    CnTensor *index = empty(CN_I64, SHAPE(3, k));
    CnCall call = call_of(CN_F32, TENSORS(x), TENSORS(index));
    call.attr[0].i = k;
    FORWARD(topk, call);
    for (int64_t row = 0; row < 3; row++) {
      for (int64_t place = 0; place < k; place++) {
        int64_t chosen = (int64_t)stored(index, row * k + place), rank = 0;
        for (int64_t i = 0; i < n; i++) rank += ranks_before(x, row, n, i, chosen);
        assert_int_equal(rank, place);
      }
    }
  }
  CnTensor *target = tensor(CN_I64, (double[]){ 150, 3, 5 }, SHAPE(3)), *y = empty(CN_F32, SCALAR);
  int64_t rank[3] = { 0 };
  for (int64_t row = 0; row < 3; row++)
    for (int64_t i = 0; i < n; i++) rank[row] += ranks_before(x, row, n, i, (int64_t)stored(target, row));
  assert_int_equal(rank[0], 1); /* the second NaN */
  for (int64_t k = 1; k <= n; k += 7) {
    CnCall call = call_of(CN_F32, TENSORS(x, target), TENSORS(y));
    call.attr[0].i = k;
    FORWARD(accuracy, call);
    ASSERT_NEAR(stored(y, 0), ((rank[0] < k) + (rank[1] < k) + (rank[2] < k)) / 3.0, 1e-7);
  }
  reset();
}

static void test_indexing(void **state) {
  (void)state;
  CnTensor *x = varied(CN_F64, 4, SHAPE(2, 5, 3)), *index = tensor(CN_I64, (double[]){ 4, 0, 4, 2 }, SHAPE(4));
  CnTensor *y = empty(CN_F64, SHAPE(2, 4, 3)), *g = varied(CN_F64, 9, SHAPE(2, 4, 3));
  CnCall call = call_of(CN_F64, TENSORS(x, index), TENSORS(y));
  call.attr[0].i = 1;
  FORWARD(index_select, call);
  double sums[30] = { 0 };
  for (int64_t i = 0; i < 24; i++) {
    int64_t from = i / 12 * 15 + (int64_t)stored(index, i / 3 % 4) * 3 + i % 3;
    assert_true(stored(y, i) == stored(x, from));
    sums[from] += stored(g, i);
  }
  call.gout[0] = g;
  call.gin[0] = empty(CN_F64, SHAPE(2, 5, 3));
  BACKWARD(index_select, call);
  assert_values(call.gin[0], sums, 30, 1e-15);

  CnTensor *weight = varied(CN_F32, 5, SHAPE(6, 4));
  CnTensor *words = tensor(CN_I64, (double[]){ 5, 1, 1, 5, 0, 5 }, SHAPE(2, 3));
  CnTensor *rows = empty(CN_F32, SHAPE(2, 3, 4));
  call = call_of(CN_F32, TENSORS(weight, words), TENSORS(rows));
  FORWARD(embedding, call);
  for (int64_t i = 0; i < 24; i++)
    assert_true(stored(rows, i) == stored(weight, (int64_t)stored(words, i / 4) * 4 + i % 4));
  call.gout[0] = rows;
  call.gin[0] = empty(CN_F32, SHAPE(6, 4));
  BACKWARD(embedding, call);
  static const int times[] = { 1, 2, 0, 0, 0, 3 };
  for (int64_t i = 0; i < 24; i++) ASSERT_NEAR(stored(call.gin[0], i), times[i / 4] * stored(weight, i), 1e-6);

  for (int dim = 0; dim < 3; dim++) {
    int64_t shape[] = { 2, 5, 3 }, stride[] = { 15, 3, 1 };
    int64_t size = shape[dim];
    shape[dim] = 4;
    CnTensor *places = empty(CN_I64, 3, shape), *picked = empty(CN_F64, 3, shape), *gp = varied(CN_F64, 7, 3, shape);
    double expected[30] = { 0 };
    for (int64_t i = 0; i < count(places); i++) put(places, i, (double)((i * 7 + 3) % size));
    call = call_of(CN_F64, TENSORS(x, places), TENSORS(picked));
    call.attr[0].i = dim;
    FORWARD(gather, call);
    for (int64_t i = 0; i < count(places); i++) {
      int64_t coordinate[3] = { i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2] };
      coordinate[dim] = (int64_t)stored(places, i);
      int64_t from = coordinate[0] * stride[0] + coordinate[1] * stride[1] + coordinate[2];
      assert_true(stored(picked, i) == stored(x, from));
      expected[from] += stored(gp, i);
    }
    call.gout[0] = gp;
    call.gin[0] = empty(CN_F64, SHAPE(2, 5, 3));
    BACKWARD(gather, call);
    assert_values(call.gin[0], expected, 30, 1e-14);
  }
  reset();
}

static void test_wrong_indices(void **state) {
  (void)state;
  CnTensor *weight = varied(CN_F32, 5, SHAPE(10, 4)), *index = tensor(CN_I64, (double[]){ 0, 9, 3, 12 }, SHAPE(4));
  CnTensor *y = empty(CN_F32, SHAPE(4, 4));
  CnCall call = call_of(CN_F32, TENSORS(weight, index), TENSORS(y));
  assert_int_equal(column[CN_OP_embedding].forward[CN_F32](&call), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "embedding: index 12 at position 3 is outside 0 … 9");
  put(index, 3, -1);
  assert_int_equal(column[CN_OP_index_select].forward[CN_F32](&call), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "index_select: index -1 at position 3 is outside 0 … 9");
  CnTensor *places = tensor(CN_I64, (double[]){ 0, 9, 3, 10 }, SHAPE(1, 4)), *picked = empty(CN_F32, SHAPE(1, 4));
  call = call_of(CN_F32, TENSORS(weight, places), TENSORS(picked));
  assert_int_equal(column[CN_OP_gather].forward[CN_F32](&call), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "gather: index 10 at position 3 is outside 0 … 9");
  CnTensor *logits = varied(CN_F32, 6, SHAPE(2, 10)), *target = tensor(CN_I64, (double[]){ 1, 10 }, SHAPE(2));
  CnTensor *loss = empty(CN_F32, SCALAR);
  call = call_of(CN_F32, TENSORS(logits, target), TENSORS(loss));
  assert_int_equal(column[CN_OP_cross_entropy].forward[CN_F32](&call), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "cross_entropy: target 10 at position 1 is outside 0 … 9");
  call.attr[0].i = 1;
  assert_int_equal(column[CN_OP_accuracy].forward[CN_F32](&call), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "accuracy: target 10 at position 1 is outside 0 … 9");
  reset();
}

static void test_softmax(void **state) {
  (void)state;
  CnTensor *x = varied(CN_F64, 4, SHAPE(3, 5, 4));
  CnTensor *y = empty(CN_F64, SHAPE(3, 5, 4)), *l = empty(CN_F64, SHAPE(3, 5, 4));
  CnTensor *g = varied(CN_F64, 5, SHAPE(3, 5, 4)), *gx = empty(CN_F64, SHAPE(3, 5, 4));
  static const int64_t size[] = { 3, 5, 4 }, stride[] = { 20, 4, 1 };
  for (int dim = 0; dim < 3; dim++) {
    CnCall call = call_of(CN_F64, TENSORS(x), TENSORS(y));
    call.attr[0].i = dim;
    FORWARD(softmax, call);
    call.out[0] = l;
    FORWARD(log_softmax, call);
    for (int64_t i = 0; i < 60; i++) {
      int64_t first = i - i / stride[dim] % size[dim] * stride[dim];
      double sum = 0;
      for (int64_t k = 0; k < size[dim]; k++) sum += exp(stored(x, first + k * stride[dim]));
      ASSERT_NEAR(stored(y, i), exp(stored(x, i)) / sum, 1e-14);
      ASSERT_NEAR(stored(l, i), stored(x, i) - log(sum), 1e-14);
    }
    call.gout[0] = g;
    call.gin[0] = gx;
    for (int logarithm = 0; logarithm < 2; logarithm++) {
      call.out[0] = logarithm ? l : y;
      if (logarithm) BACKWARD(log_softmax, call);
      else BACKWARD(softmax, call);
      for (int64_t i = 0; i < 60; i++) {
        int64_t first = i - i / stride[dim] % size[dim] * stride[dim];
        double sum = 0;
        for (int64_t k = first; k < first + size[dim] * stride[dim]; k += stride[dim])
          sum += stored(g, k) * (logarithm ? 1 : stored(y, k));
        double expected = logarithm ? stored(g, i) - stored(y, i) * sum : stored(y, i) * (stored(g, i) - sum);
        ASSERT_NEAR(stored(gx, i), expected, 1e-13);
      }
    }
  }
  CnTensor *large = tensor(CN_F32, (double[]){ 1000, 1000, -1000, -INFINITY }, SHAPE(1, 4));
  CnTensor *p = empty(CN_F32, SHAPE(1, 4));
  CnCall call = call_of(CN_F32, TENSORS(large), TENSORS(p));
  call.attr[0].i = 1;
  FORWARD(softmax, call);
  ASSERT_VALUES(p, 1e-7, 0.5, 0.5, 0, 0);
  FORWARD(log_softmax, call);
  ASSERT_VALUES(p, 1e-7, -log(2), -log(2), -2000 - log(2), -INFINITY);
  put(large, 2, NAN);
  FORWARD(softmax, call);
  assert_true(isnan(stored(p, 0)) && isnan(stored(p, 2)));
  reset();
}

static void test_cross_entropy(void **state) {
  (void)state;
  int64_t n = 5000, k = 7; /* several pieces */
  CnTensor *x = varied(CN_F64, 4, SHAPE(n, k)), *target = empty(CN_I64, SHAPE(n)), *y = empty(CN_F64, SCALAR);
  for (int64_t i = 0; i < n; i++) put(target, i, (double)(i * 5 % k));
  for (double smoothing = 0; smoothing < 0.3; smoothing += 0.1) {
    CnCall call = call_of(CN_F64, TENSORS(x, target), TENSORS(y));
    call.attr[0].f = smoothing;
    call.gout[0] = tensor(CN_F64, (double[]){ 3 }, SCALAR);
    call.gin[0] = empty(CN_F64, SHAPE(n, k));
    FORWARD(cross_entropy, call);
    BACKWARD(cross_entropy, call);
    double loss = 0;
    for (int64_t row = 0; row < n; row++) {
      double sum = 0;
      for (int64_t i = 0; i < k; i++) sum += exp(stored(x, row * k + i));
      for (int64_t i = 0; i < k; i++) {
        double wanted = i == (int64_t)stored(target, row) ? 1 - smoothing : smoothing / (double)(k - 1);
        loss -= wanted * (stored(x, row * k + i) - log(sum));
        double slope = (exp(stored(x, row * k + i)) / sum - wanted) / (double)n;
        ASSERT_NEAR(stored(call.gin[0], row * k + i), 3 * slope, 1e-15);
      }
    }
    ASSERT_NEAR(stored(y, 0), loss / (double)n, 1e-13);
  }
  CnTensor *far = tensor(CN_F32, (double[]){ 1e4, -1e4 }, SHAPE(1, 2));
  CnTensor *one = tensor(CN_I64, (double[]){ 1 }, SHAPE(1)), *loss = empty(CN_F32, SCALAR);
  CnCall call = call_of(CN_F32, TENSORS(far, one), TENSORS(loss));
  FORWARD(cross_entropy, call);
  ASSERT_VALUES(loss, 1e-7, 2e4);
  reset();
}

static void test_optimizers(void **state) {
  (void)state;
  for (int dtype = CN_F32; dtype <= CN_F64; dtype++) {
    double tolerance = dtype == CN_F32 ? 2e-6 : 1e-14;
    for (int nesterov = 0; nesterov < 2; nesterov++) {
      CnTensor *p = varied(dtype, 1, SHAPE(100)), *b = empty(dtype, SHAPE(100));
      double param[100], buffer[100] = { 0 };
      for (int i = 0; i < 100; i++) param[i] = stored(p, i), put(b, i, 0);
      for (int step = 0; step < 10; step++) {
        CnTensor *g = varied(dtype, 10 + (uint32_t)step, SHAPE(100));
        CnCall call = call_of(dtype, TENSORS(p, g, b), NULL);
        call.attr[0].f = 0.05, call.attr[1].f = 0.9, call.attr[2].f = 3e-4;
        call.attr[3].i = nesterov, call.attr[4].f = 0.5;
        FORWARD(sgd_step, call);
        for (int i = 0; i < 100; i++) {
          double d = 0.5 * stored(g, i) + 3e-4 * param[i];
          buffer[i] = 0.9 * buffer[i] + d;
          param[i] -= 0.05 * (nesterov ? d + 0.9 * buffer[i] : buffer[i]);
        }
      }
      assert_values(p, param, 100, tolerance);
      assert_values(b, buffer, 100, tolerance);
    }
    CnTensor *p = varied(dtype, 1, SHAPE(100)), *g = varied(dtype, 2, SHAPE(100));
    double param[100];
    for (int i = 0; i < 100; i++) param[i] = stored(p, i) - 0.1 * (stored(g, i) + 0.01 * stored(p, i));
    CnCall call = call_of(dtype, TENSORS(p, g), NULL);
    call.attr[0].f = 0.1, call.attr[2].f = 0.01, call.attr[4].f = 1;
    FORWARD(sgd_step, call); /* without momentum */
    assert_values(p, param, 100, tolerance);

    CnTensor *m = empty(dtype, SHAPE(100)), *v = empty(dtype, SHAPE(100));
    double mean[100] = { 0 }, square[100] = { 0 };
    for (int i = 0; i < 100; i++) param[i] = stored(p, i), put(m, i, 0), put(v, i, 0);
    for (int step = 1; step <= 10; step++) {
      g = varied(dtype, 20 + (uint32_t)step, SHAPE(100));
      call = call_of(dtype, TENSORS(p, g, m, v), NULL);
      call.attr[0].f = 3e-3, call.attr[1].f = 0.9, call.attr[2].f = 0.999, call.attr[3].f = 1e-8, call.attr[4].f = 5e-4;
      call.attr[5].i = step, call.attr[6].f = 1;
      FORWARD(adam_step, call);
      for (int i = 0; i < 100; i++) {
        double d = stored(g, i) + 5e-4 * param[i];
        mean[i] = 0.9 * mean[i] + 0.1 * d;
        square[i] = 0.999 * square[i] + 0.001 * d * d;
        param[i] -= 3e-3 * (mean[i] / (1 - pow(0.9, step))) / (sqrt(square[i] / (1 - pow(0.999, step))) + 1e-8);
      }
    }
    assert_values(p, param, 100, tolerance);
    assert_values(m, mean, 100, tolerance);
    assert_values(v, square, 100, tolerance);
    call = call_of(dtype, TENSORS(p, g), NULL);
    call.attr[0].f = -2;
    for (int i = 0; i < 100; i++) param[i] = stored(p, i) - 2 * stored(g, i);
    FORWARD(accumulate, call);
    assert_values(p, param, 100, tolerance);
    reset();
  }
}

/* Every kernel that shares work among threads, on arrays of several pieces; what it wrote, as a sum of all bits. */
static uint64_t many_results(void) {
  int64_t n = 301, k = 477;
  CnTensor *x = varied(CN_F32, 1, SHAPE(n, k)), *y = empty(CN_F32, SHAPE(n, k)), *all = empty(CN_F32, SCALAR);
  CnTensor *rows = empty(CN_F32, SHAPE(n)), *columns = empty(CN_F32, SHAPE(k)), *square = empty(CN_F64, SCALAR);
  CnTensor *bias = varied(CN_F32, 2, SHAPE(k)), *gx = empty(CN_F32, SHAPE(n, k)), *gb = empty(CN_F32, SHAPE(k));
  CnTensor *target = empty(CN_I64, SHAPE(n)), *loss = empty(CN_F32, SCALAR), *table = empty(CN_F32, SHAPE(1000, k));
  CnTensor *gl = empty(CN_F32, SHAPE(n, k)), *noise = empty(CN_F32, SHAPE(n, k));
  for (int64_t i = 0; i < n; i++) put(target, i, (double)(i * i % k));
  for (int64_t i = 0; i < n * k; i++) put(x, i, stored(x, i) * 1.0001 + 1e-3 * sin((double)i));
  CnCall call = call_of(CN_F32, TENSORS(x), TENSORS(all));
  FORWARD(sum, call);
  call = call_of(CN_F32, TENSORS(x), TENSORS(rows)), call.attr[0].i = 2;
  FORWARD(mean, call);
  call = call_of(CN_F32, TENSORS(x), TENSORS(columns)), call.attr[0].i = 1;
  FORWARD(sum, call);
  call = call_of(CN_F32, TENSORS(x), TENSORS(square));
  FORWARD(squared_norm, call);
  call = call_of(CN_F32, TENSORS(x, bias), TENSORS(y));
  FORWARD(mul, call);
  call.gout[0] = y, call.gin[0] = gx, call.gin[1] = gb;
  BACKWARD(mul, call);
  call = call_of(CN_F32, TENSORS(x, target), TENSORS(loss));
  FORWARD(cross_entropy, call);
  call.gout[0] = loss, call.gin[0] = gl;
  BACKWARD(cross_entropy, call);
  for (int64_t i = 0; i < n; i++) put(target, i, (double)(i % 7 * 100));
  call = call_of(CN_F32, TENSORS(table, target), NULL);
  call.gout[0] = y, call.gin[0] = table;
  BACKWARD(embedding, call);
  call = call_of(CN_F32, TENSORS(noise), NULL);
  call.attr[1].f = 1, call.attr[2].i = 1, call.attr[3].i = 2, call.attr[4].i = 3;
  FORWARD(fill_normal, call);
  uint64_t hash = 14695981039346656037u;
  const CnTensor *results[] = { all, rows, columns, square, y, gx, gb, loss, gl, table, noise };
  for (int t = 0; t < COUNT(results); t++)
    for (size_t i = 0; i < results[t]->storage->bytes; i++)
      hash = (hash ^ ((const uint8_t *)results[t]->storage->data)[i]) * 1099511628211u;
  reset();
  return hash;
}

static void test_threads(void **state) {
  (void)state;
  uint64_t hash[3];
  for (int threads = 1; threads <= 3; threads++) {
    cn_threads_set(threads);
    hash[threads - 1] = many_results();
  }
  assert_true(hash[0] == hash[1] && hash[1] == hash[2]);
}

static void test_allocation_failures(void **state) {
  (void)state;
  CnTensor *x = varied(CN_F64, 1, SHAPE(40, 50)), *bias = varied(CN_F64, 2, SHAPE(50)), *all = empty(CN_F64, SCALAR);
  CnTensor *target = empty(CN_I64, SHAPE(40)), *mask = varied(CN_U8, 3, SHAPE(40, 50));
  CnTensor *z = varied(CN_F64, 1, SHAPE(40, 50));
  for (int64_t i = 0; i < 40; i++) put(target, i, (double)i);
  CnCall sum = call_of(CN_F64, TENSORS(x), TENSORS(all)), loss = call_of(CN_F64, TENSORS(x, target), TENSORS(all));
  CnCall product = call_of(CN_F64, TENSORS(x, bias), TENSORS(z));
  CnCall choice = call_of(CN_F64, TENSORS(mask, x, bias), TENSORS(z));
  product.gout[0] = choice.gout[0] = z;
  product.gin[1] = choice.gin[2] = empty(CN_F64, SHAPE(50));
  struct {
    CnKernel kernel;
    CnCall *call;
    int allocations;
  } cases[] = { { column[CN_OP_sum].forward[CN_F64], &sum, 1 },
                { column[CN_OP_squared_norm].forward[CN_F64], &sum, 1 },
                { column[CN_OP_cross_entropy].forward[CN_F64], &loss, 1 },
                { column[CN_OP_mul].backward[CN_F64], &product, 2 },
                { column[CN_OP_where].backward[CN_F64], &choice, 2 } };
  int64_t live = cn_memory_stats().blocks_live;
  for (int i = 0; i < COUNT(cases); i++) {
    for (int after = 0; after < cases[i].allocations; after++) {
      cn_memory_fail_after(after);
      assert_int_equal(cases[i].kernel(cases[i].call), CN_EMEMORY);
      assert_int_equal(cn_memory_stats().blocks_live, live);
    }
    cn_memory_fail_after(-1);
    assert_int_equal(cases[i].kernel(cases[i].call), CN_OK);
    assert_int_equal(cn_memory_stats().blocks_live, live);
  }
  reset();
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_arithmetic),      cmocka_unit_test(test_arithmetic_gradients),
    cmocka_unit_test(test_extreme_arithmetic), cmocka_unit_test(test_compare),
    cmocka_unit_test(test_where),           cmocka_unit_test(test_elementwise),
    cmocka_unit_test(test_cast),            cmocka_unit_test(test_contiguous),
    cmocka_unit_test(test_concat),          cmocka_unit_test(test_reductions),
    cmocka_unit_test(test_whole_sums),      cmocka_unit_test(test_extremum),
    cmocka_unit_test(test_topk),            cmocka_unit_test(test_indexing),
    cmocka_unit_test(test_wrong_indices),   cmocka_unit_test(test_softmax),
    cmocka_unit_test(test_cross_entropy),   cmocka_unit_test(test_optimizers),
    cmocka_unit_test(test_threads),         cmocka_unit_test(test_allocation_failures),
  };
  int failed = 0;
  RUN_FOR_EACH_COLUMN(failed, tests);
  return failed;
}
