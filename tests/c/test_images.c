/* test_images.c - pools, subsampling, batch norm, matrix products and gates against plain loops in f64. */
#include "kernel_cases.h"

/* -- pools -------------------------------------------------------------------------------------------------------- */

typedef struct PoolCase {
  int n, h, w, c, kh, kw, sh, sw, ph, pw;
  int levels; /* 0: any values; else multiples of 1/levels, so that maxima tie */
} PoolCase;

static void check_pool(const PoolCase *v) {
  int oh = (v->h + 2 * v->ph - v->kh) / v->sh + 1, ow = (v->w + 2 * v->pw - v->kw) / v->sw + 1;
  Array *x = IMAGE(v->n, v->h, v->w, v->c), *gy = IMAGE(v->n, oh, ow, v->c);
  Array *top = zeros(4, v->n, oh, ow, v->c), *mean = zeros(4, v->n, oh, ow, v->c);
  Array *gtop = zeros(4, v->n, v->h, v->w, v->c), *gmean = zeros(4, v->n, v->h, v->w, v->c);
  for (int64_t i = 0; v->levels && i < x->count; i++) x->v[i] = floor(x->v[i] * v->levels) / v->levels;
  for (int n = 0; n < v->n; n++)
    for (int i = 0; i < oh; i++)
      for (int j = 0; j < ow; j++)
        for (int k = 0; k < v->c; k++) {
          int64_t to = (((int64_t)n * oh + i) * ow + j) * v->c + k, best = -1;
          double sum = 0;
          int count = 0;
          for (int pass = 0; pass < 2; pass++)
            for (int p = 0; p < v->kh; p++)
              for (int q = 0; q < v->kw; q++) {
                int r = i * v->sh - v->ph + p, s = j * v->sw - v->pw + q;
                if (r < 0 || r >= v->h || s < 0 || s >= v->w) continue;
                int64_t from = (((int64_t)n * v->h + r) * v->w + s) * v->c + k;
                if (pass == 1) {
                  gmean->v[from] += gy->v[to] / count;
                  continue;
                }
                sum += x->v[from];
                count++;
                if (best < 0 || x->v[from] > x->v[best]) best = from;
              }
          mean->v[to] = sum / count;
          top->v[to] = x->v[best];
          gtop->v[best] += gy->v[to];
        }
  CnAttr attr[6] = { { v->kh }, { v->kw }, { v->sh }, { v->sw }, { v->ph }, { v->pw } };
  char name[120];
  snprintf(name, sizeof name, "pool (%d,%d,%d,%d) kernel %d,%d stride %d,%d padding %d,%d", v->n, v->h, v->w, v->c,
           v->kh, v->kw, v->sh, v->sw, v->ph, v->pw);
  Case c = { name, CN_OP_max_pool2d, { { 0 } }, 1, 1, { x }, { gtop }, { top }, { gy }, { NULL } };
  memcpy(c.attr, attr, sizeof attr);
  check(&c);
  c.op = CN_OP_avg_pool2d;
  c.gin[0] = gmean;
  c.out[0] = mean;
  check(&c);
  drop_arrays();
}

static void pools(void **state) {
  (void)state;
  static const PoolCase cases[] = {
    { 2, 8, 8, 16, 3, 3, 1, 1, 1, 1, 0 }, { 2, 9, 7, 16, 3, 3, 2, 2, 1, 1, 3 }, { 1, 7, 8, 36, 3, 3, 1, 1, 1, 1, 2 },
    { 2, 8, 8, 3, 2, 2, 2, 2, 0, 0, 2 },  { 1, 11, 9, 5, 5, 5, 3, 2, 0, 2, 2 }, { 1, 6, 6, 20, 2, 4, 1, 3, 1, 2, 1 },
    { 1, 9, 9, 64, 3, 3, 2, 2, 1, 1, 2 }, { 40, 3, 3, 1, 3, 3, 1, 1, 1, 1, 0 },
    { 1, 16, 17, 17, 15, 17, 1, 1, 7, 8, 1 },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_pool(&cases[i]);
}

/* NaN wins over every number; where all is -infinity, the first pixel inside the image gets the gradient. */
static void pools_of_values_that_are_not_finite(void **state) {
  (void)state;
  Array *x = zeros(4, 1, 3, 3, 20), *y = zeros(4, 1, 3, 3, 20);
  Array *gy = zeros(4, 1, 3, 3, 20), *gx = zeros(4, 1, 3, 3, 20);
  for (int i = 0; i < 9 * 20; i++) {
    int pixel = i / 20, row = pixel / 3, column = pixel % 3, lane = i % 20;
    x->v[i] = lane % 2 ? (pixel == 4 ? NAN : 1) : -INFINITY;
    y->v[i] = lane % 2 ? NAN : -INFINITY;
    gy->v[i] = 1;
    int first = (row > 0 ? row - 1 : 0) * 3 + (column > 0 ? column - 1 : 0);
    gx->v[(lane % 2 ? 4 : first) * 20 + lane] += 1;
  }
  for (int i = 0; i < 3; i++) {
    static const char *const isa[] = { "portable", "avx2", "avx512" };
    const char *start = cn_cpu_isa();
    if (cn_cpu_use(isa[i]) != CN_OK) continue;
    CnAttr attr[CN_MAX_ATTRS] = { { 3 }, { 3 }, { 1 }, { 1 }, { 1 }, { 1 } };
    CnTensor *in = tensor_of(x, CN_F32), *out, *g = tensor_of(gy, CN_F32);
    in->requires_grad = true;
    ok(cn_apply1(&out, CN_OP_max_pool2d, in, attr));
    for (int k = 0; k < 180; k++) {
      double value = (double)((float *)cn_tensor_data(out))[k];
      assert_true(isnan(y->v[k]) ? isnan(value) : value == y->v[k]);
    }
    ok(cn_backward(out, g, false));
    near("max_pool2d", in->grad, gx, 0);
    cn_tensor_unref(in);
    cn_tensor_unref(out);
    cn_tensor_unref(g);
    ok(cn_cpu_use(start));
  }
  drop_arrays();
}

static void global_average(void **state) {
  (void)state;
  static const int sizes[][4] = { { 3, 8, 8, 64 }, { 2, 7, 5, 36 }, { 2, 4, 4, 3 }, { 1, 1, 1, 17 } };
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    int n = sizes[s][0], pixels = sizes[s][1] * sizes[s][2], c = sizes[s][3];
    Array *x = IMAGE(n, sizes[s][1], sizes[s][2], c), *gy = MATRIX(n, c), *y = zeros(2, n, c, 1, 1);
    Array *gx = zeros(4, n, sizes[s][1], sizes[s][2], c);
    for (int64_t i = 0; i < x->count; i++) {
      int64_t to = i / (pixels * c) * c + i % c;
      y->v[to] += x->v[i] / pixels;
      gx->v[i] = gy->v[to] / pixels;
    }
    check(&(Case){ "global_avg_pool2d", CN_OP_global_avg_pool2d, { { 0 } }, 1, 1, { x }, { gx }, { y }, { gy },
                   { NULL } });
    drop_arrays();
  }
}

static void subsampling(void **state) {
  (void)state;
  static const int sizes[][7] = { { 2, 8, 8, 16, 2, 0, 0 }, { 2, 7, 9, 5, 2, 1, 1 }, { 1, 7, 5, 36, 3, 0, 2 },
                                  { 1, 6, 6, 3, 2, -1, 1 }, { 1, 5, 5, 1, 1, 0, 0 } };
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    const int *v = sizes[s];
    int oh = (v[1] + v[4] - 1) / v[4], ow = (v[2] + v[4] - 1) / v[4];
    Array *x = IMAGE(v[0], v[1], v[2], v[3]), *gy = IMAGE(v[0], oh, ow, v[3]), *y = zeros(4, v[0], oh, ow, v[3]);
    Array *gx = zeros(4, v[0], v[1], v[2], v[3]);
    for (int64_t to = 0; to < y->count; to++) {
      int64_t pixel = to / v[3], r = pixel / ow % oh * v[4] + v[5], q = pixel % ow * v[4] + v[6];
      if (r < 0 || r >= v[1] || q < 0 || q >= v[2]) continue;
      int64_t from = ((pixel / (oh * ow) * v[1] + r) * v[2] + q) * v[3] + to % v[3];
      y->v[to] = x->v[from];
      gx->v[from] = gy->v[to];
    }
    check(&(Case){ "subsample2d", CN_OP_subsample2d, { { v[4] }, { v[5] }, { v[6] } }, 1, 1, { x }, { gx }, { y },
                   { gy }, { NULL } });
    drop_arrays();
  }
}

/* -- batch norm --------------------------------------------------------------------------------------------------- */

/* `shift` moves the mean away from zero: the variance must keep its digits. */
static void check_batch_norm(int n, int h, int w, int c, bool training, bool affine, bool running, double shift) {
  const double momentum = 0.1, eps = 1e-5;
  int64_t rows = (int64_t)n * h * w;
  Array *x = IMAGE(n, h, w, c), *gy = IMAGE(n, h, w, c), *weight = VECTOR(c), *bias = VECTOR(c), *mean = VECTOR(c);
  Array *var = VECTOR(c), *mean_after = zeros(1, c, 1, 1, 1), *var_after = zeros(1, c, 1, 1, 1);
  Array *y = zeros(4, n, h, w, c), *gx = zeros(4, n, h, w, c);
  Array *gweight = zeros(1, c, 1, 1, 1), *gbias = zeros(1, c, 1, 1, 1);
  for (int64_t i = 0; i < x->count; i++) x->v[i] = (double)(float)(x->v[i] + shift);
  for (int k = 0; k < c; k++) {
    var->v[k] = var->v[k] * 0.25 + 1;
    double m = 0, v = 0, sum = 0, sum_x = 0;
    for (int64_t i = k; i < x->count; i += c) m += x->v[i] / (double)rows;
    for (int64_t i = k; i < x->count; i += c) v += (x->v[i] - m) * (x->v[i] - m) / (double)rows;
    mean_after->v[k] = training ? (1 - momentum) * mean->v[k] + momentum * m : mean->v[k];
    double unbiased = v * (double)rows / (double)(rows - 1);
    var_after->v[k] = training ? (1 - momentum) * var->v[k] + momentum * unbiased : var->v[k];
    if (!training) m = mean->v[k], v = var->v[k];
    double r = 1 / sqrt(v + eps), scale = affine ? weight->v[k] : 1;
    for (int64_t i = k; i < x->count; i += c) {
      y->v[i] = (x->v[i] - m) * r * scale + (affine ? bias->v[k] : 0);
      sum += gy->v[i];
      sum_x += gy->v[i] * (x->v[i] - m) * r;
    }
    gweight->v[k] = sum_x;
    gbias->v[k] = sum;
    for (int64_t i = k; i < x->count; i += c)
      gx->v[i] = scale * r * (training ? gy->v[i] - (sum + (x->v[i] - m) * r * sum_x) / (double)rows : gy->v[i]);
  }
  char name[120];
  snprintf(name, sizeof name, "batch_norm (%d,%d,%d,%d)%s%s%s mean %g", n, h, w, c, training ? " training" : "",
           affine ? " affine" : "", running ? " running" : "", shift);
  Case v = { name, CN_OP_batch_norm, { { training }, { .f = momentum }, { .f = eps } }, 5, 1, { x }, { gx }, { y },
             { gy }, { NULL } };
  if (affine) v.in[1] = weight, v.in[2] = bias, v.gin[1] = gweight, v.gin[2] = gbias;
  if (running) v.in[3] = mean, v.in[4] = var, v.after[3] = mean_after, v.after[4] = var_after;
  check_within(&v, 2e-6 * (1 + fabs(shift)), 1e-12);
  drop_arrays();
}

static void batch_norms(void **state) {
  (void)state;
  check_batch_norm(4, 8, 8, 16, true, false, true, 0);
  check_batch_norm(3, 7, 5, 36, true, true, true, 0);
  check_batch_norm(3, 7, 5, 36, false, true, true, 0);
  check_batch_norm(2, 9, 9, 3, true, true, false, 0.5);
  check_batch_norm(2, 3, 3, 5, false, false, true, 0);
  check_batch_norm(2, 32, 32, 64, true, true, true, 0);
  check_batch_norm(2, 16, 16, 20, true, false, false, 100);
  check_batch_norm(1, 2, 4, 1, true, true, true, 0);
}

/* -- matrices ----------------------------------------------------------------------------------------------------- */

static void check_product(int m, int k, int n, int bias) {
  Array *x = MATRIX(m, k), *w = MATRIX(k, n), *b = VECTOR(n), *gy = MATRIX(m, n), *y = zeros(2, m, n, 1, 1);
  Array *gx = zeros(2, m, k, 1, 1), *gw = zeros(2, k, n, 1, 1), *gb = zeros(1, n, 1, 1, 1);
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double sum = bias ? b->v[j] : 0, g = gy->v[i * n + j];
      gb->v[j] += g;
      for (int p = 0; p < k; p++) {
        sum += x->v[i * k + p] * w->v[p * n + j];
        gx->v[i * k + p] += g * w->v[p * n + j];
        gw->v[p * n + j] += g * x->v[i * k + p];
      }
      y->v[i * n + j] = sum;
    }
  char name[80];
  snprintf(name, sizeof name, "(%d,%d)(%d,%d)%s", m, k, k, n, bias ? " bias" : "");
  check(&(Case){ name, CN_OP_linear, { { 0 } }, bias ? 3 : 2, 1, { x, w, b }, { gx, gw, gb }, { y }, { gy },
                 { NULL } });
  if (!bias) check(&(Case){ name, CN_OP_matmul, { { 0 } }, 2, 1, { x, w }, { gx, gw }, { y }, { gy }, { NULL } });
  drop_arrays();
}

static void products(void **state) {
  (void)state;
  check_product(96, 256, 10, 1);
  check_product(1, 128, 512, 1);
  check_product(1, 1, 1, 0);
  check_product(7, 5, 3, 0);
  check_product(33, 47, 65, 0);
  for (int few = 1; few <= 5; few++) check_product(few, 130, 97, few & 1);
  check_product(2, 9, 16, 0);
  for (int n = 17; n <= 25; n++) check_product(19, n + 3, n, n & 1); /* last columns that rows share, and not */
  check_product(300, 72, 40, 0);
  check_product(2100, 19, 21, 0);
  check_product(0, 4, 5, 1);
}

static void batched_products(void **state) {
  (void)state;
  enum { B = 3, M = 9, K = 10, N = 19 };
  Array *x = fill_random(zeros(3, B, M, K, 1)), *y = fill_random(zeros(3, B, K, N, 1));
  Array *gz = fill_random(zeros(3, B, M, N, 1));
  Array *z = zeros(3, B, M, N, 1), *gx = zeros(3, B, M, K, 1), *gy = zeros(3, B, K, N, 1);
  for (int b = 0; b < B; b++)
    for (int i = 0; i < M; i++)
      for (int j = 0; j < N; j++)
        for (int p = 0; p < K; p++) {
          int xi = (b * M + i) * K + p, yi = (b * K + p) * N + j, zi = (b * M + i) * N + j;
          z->v[zi] += x->v[xi] * y->v[yi];
          gx->v[xi] += gz->v[zi] * y->v[yi];
          gy->v[yi] += gz->v[zi] * x->v[xi];
        }
  check(&(Case){ "batched matmul", CN_OP_matmul, { { 0 } }, 2, 1, { x, y }, { gx, gy }, { z }, { gz }, { NULL } });
  drop_arrays();
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static void lstm_gates(void **state) {
  (void)state;
  static const int sizes[][2] = { { 1, 128 }, { 5, 7 } };
  for (int s = 0; s < 2; s++) {
    int n = sizes[s][0], size = sizes[s][1];
    Array *gates = MATRIX(n, 4 * size), *c = MATRIX(n, size), *gh = MATRIX(n, size), *gnext = MATRIX(n, size);
    Array *h = zeros(2, n, size, 1, 1), *next = zeros(2, n, size, 1, 1), *gc = zeros(2, n, size, 1, 1);
    Array *ggates = zeros(2, n, 4 * size, 1, 1);
    for (int r = 0; r < n; r++)
      for (int j = 0; j < size; j++) {
        const double *row = gates->v + r * 4 * size;
        double *to = ggates->v + r * 4 * size;
        double i = sigmoid(row[j]), f = sigmoid(row[size + j]), g = tanh(row[2 * size + j]);
        double o = sigmoid(row[3 * size + j]);
        int at = r * size + j;
        next->v[at] = f * c->v[at] + i * g;
        double t = tanh(next->v[at]), gs = gh->v[at] * o * (1 - t * t) + gnext->v[at];
        h->v[at] = o * t;
        gc->v[at] = gs * f;
        to[j] = gs * g * i * (1 - i);
        to[size + j] = gs * c->v[at] * f * (1 - f);
        to[2 * size + j] = gs * i * (1 - g * g);
        to[3 * size + j] = gh->v[at] * t * o * (1 - o);
      }
    check(&(Case){ "lstm_gates", CN_OP_lstm_gates, { { 0 } }, 2, 2, { gates, c }, { ggates, gc }, { h, next },
                   { gh, gnext }, { NULL } });
    drop_arrays();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(pools),       cmocka_unit_test(pools_of_values_that_are_not_finite),
    cmocka_unit_test(global_average), cmocka_unit_test(subsampling),
    cmocka_unit_test(batch_norms), cmocka_unit_test(products),
    cmocka_unit_test(batched_products), cmocka_unit_test(lstm_gates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
