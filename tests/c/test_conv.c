/* test_conv.c - the dense and image kernels against plain loops in f64.
**
** Every case runs forward and backward through the engine, in f32 and f64, with each instruction set of this machine
** and with 1, 2 and 3 threads: close to the loops, and the same bits whatever the threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/threads.h"
#include "device/cpu.h"
#include "tensor/autograd.h"

#define MAX_ARRAYS 64

typedef struct Array {
  int ndim;
  int64_t shape[4], count;
  double *v;
} Array;

/* Arrays of one test, given back together. */
static Array pool[MAX_ARRAYS];
static int used;

static Array *zeros(int ndim, int64_t a, int64_t b, int64_t c, int64_t d) {
  assert_true(used < MAX_ARRAYS);
  Array *x = &pool[used++];
  *x = (Array){ .ndim = ndim, .shape = { a, b, c, d } };
  x->count = 1;
  for (int i = 0; i < ndim; i++) x->count *= x->shape[i];
  x->v = calloc((size_t)x->count + 1, sizeof(double));
  assert_non_null(x->v);
  return x;
}

static void drop_arrays(void) {
  while (used > 0) free(pool[--used].v);
}

static uint64_t seed = 1;

/* Uniform in [-1,1), exact in f32. */
static double draw(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (double)(int32_t)(seed >> 40) / 8388608.0 - 1;
}

static Array *fill_random(Array *x) {
  for (int64_t i = 0; i < x->count; i++) x->v[i] = draw();
  return x;
}

#define IMAGE(n, h, w, c) fill_random(zeros(4, n, h, w, c))
#define MATRIX(m, n) fill_random(zeros(2, m, n, 1, 1))
#define VECTOR(n) fill_random(zeros(1, n, 1, 1, 1))

static void ok(CnErr err) {
  if (err != CN_OK) fail_msg("%s", cn_error_message());
}

static CnTensor *tensor_of(const Array *x, CnDtype dtype) {
  CnTensor *t;
  ok(cn_tensor_new(&t, dtype, CN_DEVICE_CPU, x->ndim, x->shape));
  for (int64_t i = 0; i < x->count; i++)
    if (dtype == CN_F32) ((float *)cn_tensor_data(t))[i] = (float)x->v[i];
    else ((double *)cn_tensor_data(t))[i] = x->v[i];
  return t;
}

static void near(const char *what, const CnTensor *t, const Array *expected, double tolerance) {
  double difference = 0, norm = 0;
  assert_int_equal(cn_tensor_count(t), expected->count);
  for (int64_t i = 0; i < expected->count; i++) {
    double x = t->dtype == CN_F32 ? (double)((float *)cn_tensor_data(t))[i] : ((double *)cn_tensor_data(t))[i];
    if (isnan(x) && isnan(expected->v[i])) continue;
    difference += (x - expected->v[i]) * (x - expected->v[i]);
    norm += expected->v[i] * expected->v[i];
  }
  if (!(sqrt(difference) <= tolerance * sqrt(norm) + 1e-30))
    fail_msg("%s: relative difference %g, allowed %g (%s, %s, %d threads)", what, sqrt(difference / norm), tolerance,
             cn_dtype_name(t->dtype), cn_cpu_isa(), cn_threads());
}

/* One application and what it must give. Entries of `in` and `gin` may be NULL: not given, or no gradient expected. */
typedef struct Case {
  const char *name;
  CnOpId op;
  CnAttr attr[CN_MAX_ATTRS];
  int nin, nout;
  Array *in[5], *gin[5];
  Array *out[2], *gout[2];
  Array *after[5]; /* what an input that forward writes must be afterwards */
} Case;

#define MAX_BYTES (4 << 20)

/* Runs a case with the present settings; appends every result's bytes to `bytes`. */
static size_t run_case(const Case *c, CnDtype dtype, double tolerance, unsigned char *bytes) {
  CnTensor *in[5] = { NULL }, *out[2] = { NULL };
  size_t size = 0;
  char what[160];
  for (int i = 0; i < c->nin; i++)
    if (c->in[i] != NULL) {
      in[i] = tensor_of(c->in[i], dtype);
      in[i]->requires_grad = c->gin[i] != NULL;
    }
  ok(cn_apply(out, c->op, in, c->nin, c->attr));
  for (int i = 0; i < c->nout; i++) {
    snprintf(what, sizeof what, "%s output %d", c->name, i);
    near(what, out[i], c->out[i], tolerance);
    assert_true(size + cn_tensor_bytes(out[i]) <= MAX_BYTES);
    memcpy(bytes + size, cn_tensor_data(out[i]), cn_tensor_bytes(out[i]));
    size += cn_tensor_bytes(out[i]);
  }
  for (int i = 0; i < c->nout; i++)
    if (c->gout[i] != NULL) {
      CnTensor *gout = tensor_of(c->gout[i], dtype);
      ok(cn_backward(out[i], gout, i < c->nout - 1));
      cn_tensor_unref(gout);
    }
  for (int i = 0; i < c->nin; i++) {
    snprintf(what, sizeof what, "%s input %d", c->name, i);
    if (c->gin[i] != NULL) {
      assert_non_null(in[i]->grad);
      near(what, in[i]->grad, c->gin[i], tolerance);
      assert_true(size + cn_tensor_bytes(in[i]) <= MAX_BYTES);
      memcpy(bytes + size, cn_tensor_data(in[i]->grad), cn_tensor_bytes(in[i]));
      size += cn_tensor_bytes(in[i]);
    }
    if (c->after[i] != NULL) near(what, in[i], c->after[i], tolerance);
    cn_tensor_unref(in[i]);
  }
  for (int i = 0; i < c->nout; i++) cn_tensor_unref(out[i]);
  return size;
}

static void check_within(const Case *c, double f32, double f64) {
  static const char *const isa[] = { "portable", "avx2", "avx512" };
  unsigned char *first = malloc(MAX_BYTES), *other = malloc(MAX_BYTES);
  assert_non_null(first);
  assert_non_null(other);
  const char *start = cn_cpu_isa();
  int threads = cn_threads();
  int64_t live = cn_tensor_live();
  for (int i = 0; i < 3; i++) {
    if (cn_cpu_use(isa[i]) != CN_OK) continue;
    for (int dtype = CN_F32; dtype <= CN_F64; dtype++)
      for (int t = 1; t <= 3; t++) {
        cn_threads_set(t);
        size_t size = run_case(c, (CnDtype)dtype, dtype == CN_F32 ? f32 : f64, t == 1 ? first : other);
        if (t > 1 && memcmp(first, other, size) != 0)
          fail_msg("%s: other bits with %d threads (%s, %s)", c->name, t, cn_dtype_name((CnDtype)dtype), isa[i]);
      }
  }
  assert_int_equal(cn_tensor_live(), live);
  cn_threads_set(threads);
  ok(cn_cpu_use(start));
  free(first);
  free(other);
}

static void check(const Case *c) { check_within(c, 2e-6, 1e-13); }

/* -- convolutions ------------------------------------------------------------------------------------------------ */

typedef struct ConvCase {
  int n, h, w, c, o, kh, kw, sh, sw, ph, pw, dh, dw, groups, bias;
} ConvCase;

/* With `relu` the convolution of max(x, 0), some of x being 0. */
static void check_conv(const ConvCase *v, bool relu) {
  int oh = (v->h + 2 * v->ph - v->dh * (v->kh - 1) - 1) / v->sh + 1;
  int ow = (v->w + 2 * v->pw - v->dw * (v->kw - 1) - 1) / v->sw + 1, cg = v->c / v->groups, og = v->o / v->groups;
  Array *x = IMAGE(v->n, v->h, v->w, v->c), *weight = IMAGE(v->kh, v->kw, cg, v->o), *bias = VECTOR(v->o);
  Array *gy = IMAGE(v->n, oh, ow, v->o), *y = zeros(4, v->n, oh, ow, v->o);
  Array *gx = zeros(4, v->n, v->h, v->w, v->c), *gweight = zeros(4, v->kh, v->kw, cg, v->o);
  Array *gbias = zeros(1, v->o, 1, 1, 1);
  for (int64_t i = 0; relu && i < x->count; i += 5) x->v[i] = i % 2 ? 0 : -0.0;
  for (int n = 0; n < v->n; n++)
    for (int i = 0; i < oh; i++)
      for (int j = 0; j < ow; j++)
        for (int o = 0; o < v->o; o++) {
          int64_t to = (((int64_t)n * oh + i) * ow + j) * v->o + o;
          double g = gy->v[to], sum = v->bias ? bias->v[o] : 0;
          gbias->v[o] += g;
          for (int p = 0; p < v->kh; p++)
            for (int q = 0; q < v->kw; q++) {
              int r = i * v->sh - v->ph + p * v->dh, s = j * v->sw - v->pw + q * v->dw;
              if (r < 0 || r >= v->h || s < 0 || s >= v->w) continue;
              for (int k = 0; k < cg; k++) {
                int64_t from = (((int64_t)n * v->h + r) * v->w + s) * v->c + o / og * cg + k;
                int64_t by = (((int64_t)p * v->kw + q) * cg + k) * v->o + o;
                if (relu && x->v[from] <= 0) continue;
                sum += x->v[from] * weight->v[by];
                gx->v[from] += g * weight->v[by];
                gweight->v[by] += g * x->v[from];
              }
            }
          y->v[to] = sum;
        }
  char name[160];
  snprintf(name, sizeof name,
           "conv2d (%d,%d,%d,%d) to %d, kernel %d,%d stride %d,%d padding %d,%d dilation %d,%d groups %d%s%s", v->n,
           v->h, v->w, v->c, v->o, v->kh, v->kw, v->sh, v->sw, v->ph, v->pw, v->dh, v->dw, v->groups,
           v->bias ? " bias" : "", relu ? " relu" : "");
  Case c = { name, CN_OP_conv2d,
             { { v->sh }, { v->sw }, { v->ph }, { v->pw }, { v->dh }, { v->dw }, { v->groups }, { relu } },
             v->bias ? 3 : 2, 1, { x, weight, bias }, { gx, gweight, gbias }, { y }, { gy }, { NULL } };
  check(&c);
  c.gin[1] = c.gin[2] = NULL; /* only the input's gradient, then only the weight's */
  check(&c);
  c.gin[0] = NULL;
  c.gin[1] = gweight;
  check(&c);
  drop_arrays();
}

/* Bytes of the output and of the gradients by x and weight: of one row with `fused`, else of row relu and a row after
** it. */
static size_t relu_conv_bytes(const ConvCase *v, bool fused, CnDtype dtype, Array *const in[3], const Array *gy,
                              unsigned char *bytes) {
  CnAttr attr[CN_MAX_ATTRS] = { { v->sh }, { v->sw }, { v->ph },     { v->pw },
                                { v->dh }, { v->dw }, { v->groups }, { fused } };
  CnTensor *x = tensor_of(in[0], dtype), *weight = tensor_of(in[1], dtype), *g = tensor_of(gy, dtype), *y;
  CnTensor *bias = v->bias ? tensor_of(in[2], dtype) : NULL, *positive = NULL;
  size_t size = 0;
  x->requires_grad = weight->requires_grad = true;
  if (!fused) ok(cn_apply1(&positive, CN_OP_relu, x, NULL));
  ok(cn_apply(&y, CN_OP_conv2d, (CnTensor *[]){ fused ? x : positive, weight, bias }, 3, attr));
  ok(cn_backward(y, g, false));
  const CnTensor *result[] = { y, x->grad, weight->grad };
  for (int i = 0; i < 3; i++) {
    assert_true(size + cn_tensor_bytes(result[i]) <= MAX_BYTES);
    memcpy(bytes + size, cn_tensor_data(result[i]), cn_tensor_bytes(result[i]));
    size += cn_tensor_bytes(result[i]);
  }
  CnTensor *made[] = { x, weight, bias, g, positive, y };
  for (int i = 0; i < 6; i++) cn_tensor_unref(made[i]);
  return size;
}

/* A ReLU in the convolution and one before it give the same bits: of zeros, infinities and NaN too. */
static void check_relu_bits(const ConvCase *v) {
  static const char *const isa[] = { "portable", "avx2", "avx512" };
  unsigned char *fused = malloc(MAX_BYTES), *apart = malloc(MAX_BYTES);
  assert_non_null(fused);
  assert_non_null(apart);
  const char *start = cn_cpu_isa();
  int oh = (v->h + 2 * v->ph - v->dh * (v->kh - 1) - 1) / v->sh + 1;
  int ow = (v->w + 2 * v->pw - v->dw * (v->kw - 1) - 1) / v->sw + 1;
  Array *in[3] = { IMAGE(v->n, v->h, v->w, v->c), IMAGE(v->kh, v->kw, v->c / v->groups, v->o), VECTOR(v->o) };
  Array *gy = IMAGE(v->n, oh, ow, v->o);
  const double odd[] = { 0, -0.0, INFINITY, -INFINITY, NAN };
  for (int special = 0; special < 2; special++) {
    for (int i = 0; special && i < 5; i++) in[0]->v[(i * 37 + 11) % in[0]->count] = odd[i];
    for (int i = 0; i < 3; i++) {
      if (cn_cpu_use(isa[i]) != CN_OK) continue;
      for (int dtype = CN_F32; dtype <= CN_F64; dtype++) {
        size_t size = relu_conv_bytes(v, true, (CnDtype)dtype, in, gy, fused);
        assert_int_equal(relu_conv_bytes(v, false, (CnDtype)dtype, in, gy, apart), size);
        if (memcmp(fused, apart, size) != 0)
          fail_msg("conv2d (%d,%d,%d,%d) to %d, kernel %d,%d: other bits with relu than after it (%s, %s)", v->n, v->h,
                   v->w, v->c, v->o, v->kh, v->kw, cn_dtype_name((CnDtype)dtype), isa[i]);
      }
    }
  }
  ok(cn_cpu_use(start));
  drop_arrays();
  free(fused);
  free(apart);
}

static void check_convs(const ConvCase *v, size_t count) {
  for (size_t i = 0; i < count; i++) {
    check_conv(&v[i], false);
    check_conv(&v[i], true);
    check_relu_bits(&v[i]);
  }
}
#define CHECK_CONVS(...) \
  check_convs((const ConvCase[]){ __VA_ARGS__ }, sizeof((const ConvCase[]){ __VA_ARGS__ }) / sizeof(ConvCase))

static void depthwise_convolutions(void **state) {
  (void)state;
  CHECK_CONVS({ 2, 7, 9, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16, 0 }, { 2, 9, 7, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16, 1 },
              { 3, 8, 8, 36, 36, 5, 5, 1, 1, 2, 2, 1, 1, 36, 1 }, { 2, 11, 8, 36, 36, 5, 5, 2, 2, 4, 4, 2, 2, 36, 0 },
              { 1, 17, 33, 3, 3, 3, 3, 1, 1, 2, 2, 2, 2, 3, 1 }, { 2, 6, 6, 5, 5, 5, 5, 1, 1, 4, 4, 2, 2, 5, 0 },
              { 1, 32, 32, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 48, 0 }, { 2, 8, 8, 64, 64, 5, 5, 1, 1, 4, 4, 2, 2, 64, 0 },
              { 2, 8, 8, 64, 64, 3, 3, 2, 2, 2, 2, 2, 2, 64, 0 }, { 1, 9, 12, 20, 20, 1, 7, 1, 1, 0, 3, 1, 1, 20, 1 },
              { 1, 12, 9, 20, 20, 7, 1, 1, 2, 3, 0, 1, 1, 20, 0 }, { 1, 10, 10, 17, 17, 3, 5, 3, 2, 0, 1, 1, 2, 17, 0 },
              { 1, 5, 5, 16, 16, 2, 2, 1, 1, 3, 3, 1, 1, 16, 0 }, { 1, 6, 5, 8, 8, 1, 1, 1, 1, 0, 0, 1, 1, 8, 1 },
              { 1, 6, 5, 8, 8, 1, 1, 3, 2, 1, 0, 1, 1, 8, 0 }, { 40, 4, 4, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16, 0 });
}

static void pointwise_convolutions(void **state) {
  (void)state;
  CHECK_CONVS({ 2, 7, 9, 16, 16, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0 }, { 2, 8, 8, 64, 16, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1 },
              { 1, 9, 5, 36, 36, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0 }, { 3, 5, 5, 144, 36, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1 },
              { 1, 7, 7, 3, 5, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1 }, { 1, 7, 7, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1 },
              { 2, 6, 6, 48, 64, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0 }, { 2, 3, 3, 64, 100, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0 },
              { 2, 9, 8, 48, 24, 1, 1, 2, 2, 0, 0, 1, 1, 1, 0 }, { 2, 7, 7, 16, 8, 1, 1, 3, 2, 0, 0, 1, 1, 1, 1 },
              { 1, 33, 35, 16, 33, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0 }, { 1, 4, 4, 16, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 });
}

static void general_convolutions(void **state) {
  (void)state;
  CHECK_CONVS({ 2, 9, 9, 3, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0 }, { 2, 8, 11, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1 },
              { 1, 9, 8, 5, 36, 5, 5, 1, 1, 2, 2, 1, 1, 1, 1 }, { 1, 9, 13, 16, 16, 1, 7, 1, 2, 0, 3, 1, 1, 1, 0 },
              { 1, 13, 9, 16, 20, 7, 1, 2, 1, 3, 0, 1, 1, 1, 0 }, { 2, 8, 8, 12, 18, 3, 3, 1, 1, 1, 1, 1, 1, 3, 1 },
              { 1, 10, 10, 8, 16, 3, 3, 2, 2, 2, 2, 2, 2, 8, 0 }, { 1, 7, 6, 4, 6, 2, 3, 3, 1, 1, 1, 2, 1, 2, 1 },
              { 1, 6, 7, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1 }, { 1, 32, 32, 48, 48, 3, 3, 2, 2, 1, 1, 1, 1, 1, 0 },
              { 36, 5, 5, 6, 10, 2, 2, 1, 1, 0, 0, 1, 1, 1, 0 }, { 1, 5, 5, 6, 10, 2, 2, 4, 4, 0, 0, 1, 1, 1, 0 },
              { 1, 4, 4, 64, 96, 2, 2, 1, 1, 0, 0, 1, 1, 1, 0 }, { 1, 3, 3, 7, 9, 3, 3, 1, 1, 5, 5, 1, 1, 1, 0 });
}

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

/* -- long sums, and memory that runs out -------------------------------------------------------------------------- */

/* f32 weight gradients over the 98304 pixels of a batch keep six digits. */
static void long_weight_gradients(void **state) {
  (void)state;
  for (int depthwise = 0; depthwise < 2; depthwise++) {
    int64_t x_shape[4] = { 96, 32, 32, 16 };
    int64_t w_shape[4] = { depthwise ? 5 : 1, depthwise ? 5 : 1, depthwise ? 1 : 16, 16 };
    CnAttr attr[CN_MAX_ATTRS] = { { 1 }, { 1 }, { depthwise ? 2 : 0 }, { depthwise ? 2 : 0 }, { 1 }, { 1 },
                                  { depthwise ? 16 : 1 } };
    CnTensor *grad[2];
    uint64_t start = seed;
    for (int dtype = CN_F32; dtype <= CN_F64; dtype++) {
      CnTensor *in[2], *y, *g;
      seed = start;
      Array *x = IMAGE(x_shape[0], x_shape[1], x_shape[2], x_shape[3]), *gy = IMAGE(96, 32, 32, 16);
      Array *w = IMAGE(w_shape[0], w_shape[1], w_shape[2], w_shape[3]);
      in[0] = tensor_of(x, (CnDtype)dtype);
      in[1] = tensor_of(w, (CnDtype)dtype);
      g = tensor_of(gy, (CnDtype)dtype);
      in[1]->requires_grad = true;
      ok(cn_apply(&y, CN_OP_conv2d, in, 2, attr));
      ok(cn_backward(y, g, false));
      grad[dtype] = cn_tensor_ref(in[1]->grad);
      cn_tensor_unref(y);
      cn_tensor_unref(g);
      cn_tensor_unref(in[0]);
      cn_tensor_unref(in[1]);
      drop_arrays();
    }
    Array *expected = zeros(4, w_shape[0], w_shape[1], w_shape[2], w_shape[3]);
    memcpy(expected->v, cn_tensor_data(grad[1]), (size_t)expected->count * sizeof(double));
    near(depthwise ? "depthwise weight gradient" : "pointwise weight gradient", grad[0], expected, 2e-6);
    cn_tensor_unref(grad[0]);
    cn_tensor_unref(grad[1]);
    drop_arrays();
  }
}

/* Fails each allocation of a forward and backward pass in turn; the last round passes. */
static void out_of_memory(CnOpId op, const CnAttr *attr, int nin, Array *const *in) {
  for (int64_t after = 0;; after++) {
    int64_t tensors = cn_tensor_live(), blocks = cn_memory_stats().blocks_live;
    CnTensor *t[5] = { NULL }, *y = NULL, *g = NULL;
    for (int i = 0; i < nin; i++)
      if (in[i] != NULL) {
        t[i] = tensor_of(in[i], CN_F32);
        t[i]->requires_grad = i < 3;
      }
    cn_memory_fail_after(after);
    CnErr err = cn_apply(&y, op, t, nin, attr);
    if (err == CN_OK) err = cn_tensor_new_like(&g, y);
    if (err == CN_OK) memset(cn_tensor_data(g), 0, cn_tensor_bytes(g));
    if (err == CN_OK) err = cn_backward(y, g, false);
    cn_memory_fail_after(-1);
    cn_tensor_unref(y);
    cn_tensor_unref(g);
    for (int i = 0; i < nin; i++) cn_tensor_unref(t[i]);
    assert_int_equal(cn_tensor_live(), tensors);
    assert_int_equal(cn_memory_stats().blocks_live, blocks);
    if (err == CN_OK) break;
    assert_int_equal(err, CN_EMEMORY);
    assert_true(after < 200);
  }
}

static void running_out_of_memory(void **state) {
  (void)state;
  Array *x = IMAGE(2, 5, 5, 6), *square = IMAGE(3, 3, 6, 6), *thin = IMAGE(3, 3, 1, 6), *point = IMAGE(1, 1, 6, 6);
  Array *bias = VECTOR(6), *a = MATRIX(4, 6), *b = MATRIX(6, 6), *var = VECTOR(6);
  CnAttr conv[CN_MAX_ATTRS] = { { 1 }, { 1 }, { 0 }, { 0 }, { 1 }, { 1 }, { 1 } };
  CnAttr strided[CN_MAX_ATTRS], depthwise[CN_MAX_ATTRS];
  memcpy(strided, conv, sizeof conv);
  memcpy(depthwise, conv, sizeof conv);
  strided[0].i = strided[1].i = 2;
  depthwise[6].i = 6;
  CnAttr norm[CN_MAX_ATTRS] = { { 1 }, { .f = 0.1 }, { .f = 1e-5 } };
  for (int relu = 0; relu < 2; relu++) {
    conv[7].i = strided[7].i = depthwise[7].i = relu;
    out_of_memory(CN_OP_conv2d, conv, 3, (Array *[]){ x, square, bias });
    out_of_memory(CN_OP_conv2d, strided, 3, (Array *[]){ x, square, bias });
    out_of_memory(CN_OP_conv2d, depthwise, 3, (Array *[]){ x, thin, bias });
    out_of_memory(CN_OP_conv2d, conv, 3, (Array *[]){ x, point, bias });
  }
  out_of_memory(CN_OP_linear, conv, 3, (Array *[]){ a, b, bias });
  out_of_memory(CN_OP_matmul, conv, 2, (Array *[]){ a, b });
  for (int k = 0; k < 6; k++) var->v[k] = 1;
  out_of_memory(CN_OP_batch_norm, norm, 5, (Array *[]){ x, bias, bias, bias, var });
  drop_arrays();
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(depthwise_convolutions), cmocka_unit_test(pointwise_convolutions),
    cmocka_unit_test(general_convolutions),   cmocka_unit_test(pools),
    cmocka_unit_test(pools_of_values_that_are_not_finite), cmocka_unit_test(global_average),
    cmocka_unit_test(subsampling),            cmocka_unit_test(batch_norms),
    cmocka_unit_test(products),               cmocka_unit_test(batched_products),
    cmocka_unit_test(lstm_gates),             cmocka_unit_test(long_weight_gradients),
    cmocka_unit_test(running_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
