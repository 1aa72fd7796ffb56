/* test_tiles.c - products of bf16 in tiles (AMX), the tile registers played by tile_registers.h: equal to plain sums of
** the rounded numbers, for sizes on both sides of every edge; nothing is written beside the result.
**
** Rounding takes a processor with AVX512_BF16, as all with AMX have it; elsewhere the tests are skipped. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tile_registers.h"

#include "device/cpu.h"
#include "kernels/cpu/gemm_tiles.c"

#define GUARD 12345.0f /* stands where nothing may be written */
#define MARGIN 5       /* columns between two rows of a result */

static int use_tiles(void **state) {
  (void)state;
  if (cn_cpu_use("avx512_bf16")) return 0; /* tests look again */
  cn_cpu_products = CN_PRODUCTS_TILES;
  return 0;
}

static void need_tiles(void) {
  if (cn_cpu_products != CN_PRODUCTS_TILES) skip();
}

static float *numbers(int64_t count, uint64_t seed) {
  float *x = calloc((size_t)(count + 1), sizeof *x);
  for (int64_t i = 0; i < count; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    x[i] = (float)((double)(seed >> 40) / (1 << 23) - 1);
  }
  return x;
}

static double rounded(float x) { return cn_bf16_to_float(cn_bf16_of_float(x)); }

static void check(const float *c, int64_t i, int64_t j, int64_t ldc, double sum, double size, const char *what) {
  double found = c[i * ldc + j];
  if (fabs(found - sum) <= 1e-6 * size + 1e-30) return;
  fail_msg("%s: (%lld,%lld) is %.9g, expected %.9g", what, (long long)i, (long long)j, found, sum);
}

static void product(int64_t m, int64_t n, int64_t k, bool biased, bool ahead) {
  int64_t lda = k + 3, ldc = n + MARGIN;
  float *a = numbers(m * lda, 1), *b = numbers(k * n, 2), *bias = numbers(n, 3);
  float *packed = calloc(gemm_packed_count(k + 1, n) + 1, sizeof *packed);
  float *c = malloc((size_t)(m * ldc + 1) * sizeof *c);
  Ahead wanted = { 0 };
  for (int64_t i = 0; i < m * ldc; i++) c[i] = GUARD;
  ahead_add(&wanted, a, m * lda * (int64_t)sizeof *a);
  FN(gemm_pack)(packed, b, n, false, k, n);
  FN(gemm_tile_rows_ahead)(m, n, k, a, lda, packed, biased ? bias : NULL, c, ldc, ahead ? &wanted : NULL);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = biased ? bias[j] : 0, size = fabs(sum);
      for (int64_t p = 0; p < k; p++) {
        double term = rounded(a[i * lda + p]) * rounded(b[p * n + j]);
        sum += term;
        size += fabs(term);
      }
      check(c, i, j, ldc, sum, size, "product");
    }
    for (int64_t j = n; j < ldc; j++) assert_true(c[i * ldc + j] == GUARD);
  }
  free(a), free(b), free(bias), free(packed), free(c);
}

static void outer(int64_t m, int64_t k, int64_t n) {
  int64_t lda = k + 2, ldg = CN_LANES(n) + 1, ldc = n + MARGIN;
  float *a = numbers(m * lda, 4), *g = numbers(m * ldg, 5), *c = malloc((size_t)(k * ldc) * sizeof *c);
  for (int64_t i = 0; i < k * ldc; i++) c[i] = i % ldc < n ? 0.5f : GUARD;
  FN(gemm_add_outer_ahead)(m, k, n, a, lda, g, ldg, c, ldc, NULL);
  for (int64_t i = 0; i < k; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0.5, size = 0.5;
      for (int64_t r = 0; r < m; r++) {
        double term = rounded(a[r * lda + i]) * rounded(g[r * ldg + j]);
        sum += term;
        size += fabs(term);
      }
      check(c, i, j, ldc, sum, size, "outer product");
    }
    for (int64_t j = n; j < ldc; j++) assert_true(c[i * ldc + j] == GUARD);
  }
  free(a), free(g), free(c);
}

static const int64_t few[] = { 1, 2, 15, 16, 17, 33, 64 };
#define FEW (sizeof few / sizeof few[0])

static void test_products(void **state) {
  (void)state;
  need_tiles();
  long before = tile_products;
  for (size_t i = 0; i < FEW; i++)
    for (size_t j = 0; j < FEW; j++)
      for (size_t l = 0; l < FEW; l++) product(few[i], few[j], few[l], (i + j + l) % 2, l % 2);
  assert_true(tile_products > before); /* and no other instructions */
}

static void test_long_products(void **state) {
  (void)state;
  need_tiles();
  product(130, 36, 36, false, true);
  product(70, 144, 36, false, true);
  product(66, 64, 256, true, true);  /* exactly one chunk of the inner dimension */
  product(65, 80, 257, false, true); /* one pair more, half of it there */
  product(18, 50, 600, true, false);
  product(3, 40, 0, true, false); /* the bias alone */
}

static void test_outer_products(void **state) {
  (void)state;
  need_tiles();
  for (size_t i = 0; i < FEW; i++)
    for (size_t j = 0; j < FEW; j++)
      for (size_t l = 0; l < FEW; l++) outer(few[i], few[j], few[l]);
  outer(128, 36, 36); /* exactly one strip of rows */
  outer(129, 65, 49);
  outer(300, 144, 36);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_products),
    cmocka_unit_test(test_long_products),
    cmocka_unit_test(test_outer_products),
  };
  return cmocka_run_group_tests_name("tiles", tests, use_tiles, NULL);
}
