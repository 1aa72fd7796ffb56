/* gemm_few.c - the product of one to four rows with a matrix as it lies in memory.
**
** With so few rows each element of the matrix is used once or so: reading it is all the work, and packing it would be
** several times as much. A (K,N) matrix is read row by row, eight rows in one pass over the results, which stay in the
** first cache; each result is the same chain of multiply-adds as in gemm.c. A (N,K) one is read as inner products. */
#include "kernels/cpu/gemm.h"

#define TERMS 8   /* rows of b in a pass */
#define COLUMNS 4 /* inner products at once */

/* c (rows,n) += a (rows,terms) * b (terms,n); `rows` and `terms` are constants where this is inlined. */
CN_INLINE void add_terms(int rows, int terms, int64_t n, const REAL *a, int64_t lda, const REAL *b, REAL *c) {
  int64_t whole = n / VLEN * VLEN;
  for (int64_t j = 0; j < whole; j += VLEN)
    CN_UNROLL(4) for (int i = 0; i < rows; i++) {
      VREAL sum = VLOAD(c + i * n + j);
      CN_UNROLL(8) for (int t = 0; t < terms; t++) sum += vsplat(a[i * lda + t]) * VLOAD(b + t * n + j);
      VSTORE(c + i * n + j, sum);
    }
  for (int64_t j = whole; j < n; j++)
    for (int i = 0; i < rows; i++) {
      REAL sum = c[i * n + j];
      for (int t = 0; t < terms; t++) sum += a[i * lda + t] * b[t * n + j];
      c[i * n + j] = sum;
    }
}

CN_INLINE void along_rows(int rows, int64_t n, int64_t k, const REAL *a, const REAL *b, const REAL *bias, REAL *c) {
  for (int i = 0; i < rows; i++)
    for (int64_t j = 0; j < n; j++) c[i * n + j] = bias != NULL ? bias[j] : 0;
  int64_t p = 0;
  for (; p + TERMS <= k; p += TERMS) add_terms(rows, TERMS, n, a + p, k, b + p * n, c);
  for (; p < k; p++) add_terms(rows, 1, n, a + p, k, b + p * n, c);
}

CN_INLINE REAL lanes_sum(VREAL v) { /* by halves */
  REAL part[VBYTES / sizeof(REAL)];
  VSTORE(part, v);
  for (int half = VLEN / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) part[i] += part[i + half];
  return part[0];
}

/* c[i][j] = bias[j] + a[i,:] * b[j,:] for `columns` rows of b. */
CN_INLINE void inner_products(int rows, int columns, int64_t n, int64_t k, const REAL *a, const REAL *b,
                              const REAL *bias, REAL *c) {
  VREAL sum[GEMM_FEW][COLUMNS] = { { { 0 } } };
  int64_t p = 0;
  for (; p + VLEN <= k; p += VLEN)
    CN_UNROLL(4) for (int i = 0; i < rows; i++)
      CN_UNROLL(4) for (int j = 0; j < columns; j++) sum[i][j] += VLOAD(a + i * k + p) * VLOAD(b + j * k + p);
  if (p < k)
    CN_UNROLL(4) for (int i = 0; i < rows; i++)
      CN_UNROLL(4) for (int j = 0; j < columns; j++)
        sum[i][j] += vload_some(a + i * k + p, (int)(k - p)) * vload_some(b + j * k + p, (int)(k - p));
  CN_UNROLL(4) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < columns; j++)
      c[i * n + j] = lanes_sum(sum[i][j]) + (bias != NULL ? bias[j] : 0);
}

CN_INLINE void across_rows(int rows, int64_t n, int64_t k, const REAL *a, const REAL *b, const REAL *bias, REAL *c) {
  int64_t j = 0;
  for (; j + COLUMNS <= n; j += COLUMNS)
    inner_products(rows, COLUMNS, n, k, a, b + j * k, bias != NULL ? bias + j : NULL, c + j);
  for (; j < n; j++) inner_products(rows, 1, n, k, a, b + j * k, bias != NULL ? bias + j : NULL, c + j);
}

void FN(gemm_few)(int64_t m, int64_t n, int64_t k, const REAL *a, const REAL *b, bool transposed, const REAL *bias,
                  REAL *c) {
  switch (m) { /* the number of rows as a constant */
#define CASE(rows) \
  case rows: \
    if (transposed) across_rows(rows, n, k, a, b, bias, c); \
    else along_rows(rows, n, k, a, b, bias, c); \
    break;
    CASE(1)
    CASE(2)
    CASE(3)
    CASE(4)
#undef CASE
  }
}
