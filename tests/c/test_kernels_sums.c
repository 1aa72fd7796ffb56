/* test_kernels_sums.c - reducing, choosing, loss and update kernels of the CPU, against plain loops in double: ties and
** NaN, wrong indices, the same bits with 1, 2 and 3 threads, failing allocations. On every instruction set this
** processor has. */
#include "kernel_calls.h"

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

  int64_t entries = 300, width = 400, uses = 500; /* several pieces, each owning some of the entries */
  CnTensor *wide = empty(CN_F64, SHAPE(entries, width)), *used = empty(CN_I64, SHAPE(uses));
  CnTensor *gw = varied(CN_F64, 6, SHAPE(uses, width));
  double *totals = calloc((size_t)(entries * width), sizeof *totals);
  for (int64_t i = 0; i < uses; i++) put(used, i, (double)(i * 7 % entries));
  for (int64_t i = 0; i < uses * width; i++)
    totals[(int64_t)stored(used, i / width) * width + i % width] += stored(gw, i);
  call = call_of(CN_F64, TENSORS(wide, used), NULL);
  call.gout[0] = gw;
  call.gin[0] = wide;
  BACKWARD(embedding, call);
  assert_values(wide, totals, entries * width, 1e-14);
  free(totals);

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
    call.attr[5].i = 0;
    assert_int_equal(column[CN_OP_adam_step].forward[dtype](&call), CN_EUSAGE);
    assert_string_equal(cn_error_message(), "adam_step: steps count from 1, got 0");
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
    cmocka_unit_test(test_reductions),
    cmocka_unit_test(test_whole_sums),
    cmocka_unit_test(test_extremum),
    cmocka_unit_test(test_topk),
    cmocka_unit_test(test_indexing),
    cmocka_unit_test(test_wrong_indices),
    cmocka_unit_test(test_softmax),
    cmocka_unit_test(test_cross_entropy),
    cmocka_unit_test(test_optimizers),
    cmocka_unit_test(test_threads),
    cmocka_unit_test(test_allocation_failures),
  };
  int failed = 0;
  RUN_FOR_EACH_COLUMN(failed, tests);
  return failed;
}
