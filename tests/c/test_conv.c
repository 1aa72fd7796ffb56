/* test_conv.c - convolutions against plain loops in f64; long sums, and memory that runs out in dense kernels. */
#include "kernel_cases.h"

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
    cmocka_unit_test(general_convolutions),   cmocka_unit_test(long_weight_gradients),
    cmocka_unit_test(running_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
