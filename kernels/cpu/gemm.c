/* gemm.c - register-tiled matrix products.
**
** A tile is a few rows of the result by 1 to 3 vectors of columns, held in registers while the inner dimension runs; an
** element of `a` is broadcast, a vector of the other matrix is loaded once for all rows. Row counts below are chosen so
** that accumulators, loaded vectors and one broadcast fit 32 registers (AVX-512) or 16, with at least eight independent
** sums to cover the latency of a multiply-add. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/undone.h"

#include "device/cpu.h"

#if defined(CN_REAL_bf16) && defined(__AVX512F__)
#define BY_PAIRS(call) if (cn_cpu_products != CN_PRODUCTS_PLAIN) { call; return; }
#else
#define BY_PAIRS(call)
#endif

#if defined(__AVX512F__)
#define ROWS_1 16
#define ROWS_2 8
#define ROWS_3 8
#define ROWS_OUTER_1 16
#else
#define ROWS_1 8
#define ROWS_2 4
#define ROWS_3 4
#define ROWS_OUTER_1 8
#endif
#define MAX_ROWS 16
#define MAX_WIDTH 3
#define STRIP 128 /* rows that gemm_add_outer sums before it rounds into the result */

#define SUM_BLOCK 512 /* elements that a thread sums over all pieces */
#define PER_STEP 16   /* multiply-adds in the time of an elementary step, in which CN_WORTH_SHARING counts */

typedef VREAL Tile[MAX_ROWS][MAX_WIDTH];

/* Vectors in the next panel when `left` remain: 3 while it lasts, but never a lone one after a 3. */
static int panel_width(int64_t left) { return left == 4 ? 2 : (int)CN_MIN(left, MAX_WIDTH); }

/* sum[i][j] += a[i] * v[j], `a` having `step` elements from row to row; rows in groups of four share a pointer. */
CN_INLINE void tile_step(int rows, int width, const REAL *const *group, int64_t step, const VREAL *v, Tile sum) {
  CN_UNROLL(16) for (int i = 0; i < rows; i++) {
    VREAL x = vsplat(group[i / 4][i % 4 * step]);
    CN_UNROLL(4) for (int j = 0; j < width; j++) sum[i][j] += x * v[j];
  }
}

/* sum[i][j] += a[i,:] * panel[:,j]; `rows` and `width` are constants where this is inlined. */
CN_INLINE void multiply_rows(int rows, int width, int64_t k, const REAL *a, int64_t lda, const REAL *panel,
                             const char *ahead, Tile sum) {
  const REAL *group[MAX_ROWS / 4];
  CN_UNROLL(4) for (int g = 0; 4 * g < rows; g++) group[g] = a + 4 * g * lda;
  for (int64_t p = 0; p < k; p++) {
    VREAL v[MAX_WIDTH];
    CN_UNROLL(4) for (int j = 0; j < width; j++) v[j] = VLOAD(panel + j * VLEN);
    if (ahead != NULL) ahead = ahead_ask(ahead);
    tile_step(rows, width, group, lda, v, sum);
    panel += width * VLEN;
    CN_UNROLL(4) for (int g = 0; 4 * g < rows; g++) {
      group[g]++;
      HOLD(group[g]);
    }
  }
}

/* sum[i][j] += a[:,i] * g[:,j]. */
CN_INLINE void multiply_outer(int rows, int width, int64_t m, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                              const char *ahead, Tile sum) {
  for (int64_t p = 0; p < m; p++) {
    VREAL v[MAX_WIDTH];
    CN_UNROLL(4) for (int j = 0; j < width; j++) v[j] = VLOAD(g + j * VLEN);
    const REAL *group[MAX_ROWS / 4];
    CN_UNROLL(4) for (int i = 0; 4 * i < rows; i++) group[i] = a + 4 * i;
    if (ahead != NULL) ahead = ahead_ask(ahead);
    tile_step(rows, width, group, 1, v, sum);
    a += lda;
    g += ldg;
    HOLD(a);
    HOLD(g);
  }
}

/* One tile of c = a * panel + bias; the last vector of a row has `last` lanes. The bias is loaded for each tile: in
** registers it would leave too few. */
CN_INLINE void tile_rows(int rows, int width, int64_t k, const REAL *a, int64_t lda, const REAL *panel,
                         const VREAL *bias, REAL *c, int64_t ldc, int last, const char *ahead) {
  Tile sum;
  HOLD(bias);
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++) sum[i][j] = bias[j];
  if (ahead != NULL) multiply_rows(rows, width, k, a, lda, panel, ahead, sum);
  else multiply_rows(rows, width, k, a, lda, panel, NULL, sum);
  CN_UNROLL(16) for (int i = 0; i < rows; i++) {
    CN_UNROLL(4) for (int j = 0; j < width - 1; j++) VSTORE(c + i * ldc + j * VLEN, sum[i][j]);
    vstore_some(c + i * ldc + (width - 1) * VLEN, sum[i][width - 1], last);
  }
}

/* Where a panel's last vector has at most half or a quarter of its lanes, two or four rows share one: its parts are these
** rows' last columns. 36 columns take two vectors and a quarter for each row then, not three. Each element is still one
** sum over k in order, to the same bits. */
#if defined(__AVX512F__) && defined(CN_REAL_f32)
#define SHARED_ROWS 8 /* of a tile */
#define HALF 8        /* lanes */
#define QUARTER 4

/* The first `last` lanes of each part of a vector as the columns of a row each. */
CN_INLINE void store_halves(REAL *c, int64_t ldc, VREAL v, int last) {
  __mmask8 some = (__mmask8)((1u << last) - 1);
  _mm256_mask_storeu_ps(c, some, _mm512_castps512_ps256((__m512)v));
  _mm256_mask_storeu_ps(c + ldc, some, _mm512_extractf32x8_ps((__m512)v, 1));
}

CN_INLINE void store_quarters(REAL *c, int64_t ldc, VREAL v, int last) {
  __mmask8 some = (__mmask8)((1u << last) - 1);
  _mm_mask_storeu_ps(c, some, _mm512_castps512_ps128((__m512)v));
  _mm_mask_storeu_ps(c + ldc, some, _mm512_extractf32x4_ps((__m512)v, 1));
  _mm_mask_storeu_ps(c + 2 * ldc, some, _mm512_extractf32x4_ps((__m512)v, 2));
  _mm_mask_storeu_ps(c + 3 * ldc, some, _mm512_extractf32x4_ps((__m512)v, 3));
}

CN_INLINE void store_shared(int parts, REAL *c, int64_t ldc, const VREAL *shared, int last) {
  CN_UNROLL(4) for (int q = 0; q < SHARED_ROWS / parts; q++) {
    if (parts == 2) store_halves(c + 2 * q * ldc, ldc, shared[q], last);
    else store_quarters(c + 4 * q * ldc, ldc, shared[q], last);
  }
}

/* The first lanes at p in every part of a vector. */
CN_INLINE VREAL load_parts(int parts, const REAL *p) {
  return parts == 2 ? (VREAL)_mm512_broadcast_f32x8(_mm256_loadu_ps(p))
                    : (VREAL)_mm512_broadcast_f32x4(_mm_loadu_ps(p));
}

/* Quarter r has elements 0 … 3 of row r. */
CN_INLINE VREAL load_quarters(const REAL *a, int64_t lda) {
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(a));
  CN_UNROLL(4) for (int r = 1; r < 4; r++)
    v = _mm512_mask_broadcast_f32x4(v, (__mmask16)(0xf << 4 * r), _mm_loadu_ps(a + r * lda));
  return (VREAL)v;
}

/* tile_step of SHARED_ROWS rows whose last columns two share: w has these in both halves. */
CN_INLINE void halves_step(int whole, const REAL *const *group, int64_t step, const VREAL *v, VREAL w, Tile sum,
                           VREAL *shared) {
  CN_UNROLL(8) for (int i = 0; i < SHARED_ROWS; i += 2) {
    VREAL x = vsplat(group[i / 4][i % 4 * step]), y = vsplat(group[i / 4][(i % 4 + 1) * step]);
    CN_UNROLL(2) for (int j = 0; j < whole; j++) {
      sum[i][j] += x * v[j];
      sum[i + 1][j] += y * v[j];
    }
    shared[i / 2] += (VREAL)_mm512_mask_blend_ps(0xff00, (__m512)x, (__m512)y) * w;
  }
}

/* Columns 0 … columns-1 of the rows at `group`, which move on past them, times the panel; x[q] has these columns of rows
** 4q … 4q+3 in its quarters. */
CN_INLINE void quad_columns(int columns, int whole, const VREAL *x, const REAL **group, int64_t lda, const REAL *panel,
                            Tile sum, VREAL *shared) {
  CN_UNROLL(4) for (int e = 0; e < columns; e++, panel += (whole + 1) * VLEN) {
    VREAL v[MAX_WIDTH], w = load_parts(4, panel + whole * VLEN);
    CN_UNROLL(2) for (int j = 0; j < whole; j++) v[j] = VLOAD(panel + j * VLEN);
    tile_step(SHARED_ROWS, whole, group, lda, v, sum);
    CN_UNROLL(2) for (int q = 0; q < 2; q++) {
      shared[q] += (VREAL)_mm512_permutevar_ps((__m512)x[q], _mm512_set1_epi32(e)) * w;
      group[q]++;
      HOLD(group[q]);
    }
  }
}

CN_INLINE void multiply_quads(int whole, int64_t k, const REAL *a, int64_t lda, const REAL *panel, const char *ahead,
                              Tile sum, VREAL *shared) {
  const REAL *group[2] = { a, a + 4 * lda };
  int64_t step = (whole + 1) * VLEN, p = 0;
  VREAL x[2];
  for (; p + 4 <= k; p += 4, panel += 4 * step) {
    CN_UNROLL(2) for (int q = 0; q < 2; q++) x[q] = load_quarters(group[q], lda);
    for (int i = 0; ahead != NULL && i < 4; i++) ahead = ahead_ask(ahead);
    quad_columns(4, whole, x, group, lda, panel, sum, shared);
  }
  if (p < k) {
    REAL part[SHARED_ROWS * 4] = { 0 };
    for (int i = 0; i < SHARED_ROWS; i++) memcpy(part + 4 * i, a + i * lda + p, (size_t)(k - p) * sizeof(REAL));
    CN_UNROLL(2) for (int q = 0; q < 2; q++) x[q] = VLOAD(part + 16 * q);
    quad_columns((int)(k - p), whole, x, group, lda, panel, sum, shared);
  }
}

CN_INLINE void multiply_halves(int whole, int64_t k, const REAL *a, int64_t lda, const REAL *panel, const char *ahead,
                               Tile sum, VREAL *shared) {
  const REAL *group[2] = { a, a + 4 * lda };
  for (int64_t p = 0; p < k; p++, panel += (whole + 1) * VLEN) {
    VREAL v[MAX_WIDTH], w = load_parts(2, panel + whole * VLEN);
    CN_UNROLL(2) for (int j = 0; j < whole; j++) v[j] = VLOAD(panel + j * VLEN);
    if (ahead != NULL) ahead = ahead_ask(ahead);
    halves_step(whole, group, lda, v, w, sum, shared);
    CN_UNROLL(2) for (int q = 0; q < 2; q++) {
      group[q]++;
      HOLD(group[q]);
    }
  }
}

/* SHARED_ROWS rows of c = a * panel + bias; `whole` vectors and `last` columns, which 2 or 4 rows share (`parts`). */
CN_INLINE void tile_shared(int parts, int whole, int64_t k, const REAL *a, int64_t lda, const REAL *panel,
                           const VREAL *bias, REAL *c, int64_t ldc, int last, const char *ahead) {
  Tile sum;
  VREAL shared[SHARED_ROWS / 2], start = load_parts(parts, (const REAL *)&bias[whole]);
  HOLD(bias);
  CN_UNROLL(8) for (int i = 0; i < SHARED_ROWS; i++)
    CN_UNROLL(2) for (int j = 0; j < whole; j++) sum[i][j] = bias[j];
  CN_UNROLL(4) for (int q = 0; q < SHARED_ROWS / parts; q++) shared[q] = start;
  if (parts == 4 && ahead != NULL) multiply_quads(whole, k, a, lda, panel, ahead, sum, shared);
  else if (parts == 4) multiply_quads(whole, k, a, lda, panel, NULL, sum, shared);
  else if (ahead != NULL) multiply_halves(whole, k, a, lda, panel, ahead, sum, shared);
  else multiply_halves(whole, k, a, lda, panel, NULL, sum, shared);
  CN_UNROLL(8) for (int i = 0; i < SHARED_ROWS; i++)
    CN_UNROLL(2) for (int j = 0; j < whole; j++) VSTORE(c + i * ldc + j * VLEN, sum[i][j]);
  store_shared(parts, c + whole * VLEN, ldc, shared, last);
}

/* As many rows as go by tiles whose last columns are shared; how many these are. */
CN_INLINE int64_t panel_shared(int width, int64_t m, int64_t k, const REAL *a, int64_t lda, const REAL *panel,
                               const VREAL *bias, REAL *c, int64_t ldc, int last, Ahead *ahead) {
  int64_t i = 0;
  if (width == 1 || last > HALF) return 0;
  for (; i + SHARED_ROWS <= m; i += SHARED_ROWS) {
    const char *lines = ahead_take(ahead, k);
    if (last <= QUARTER)
      tile_shared(4, width - 1, k, a + i * lda, lda, panel, bias, c + i * ldc, ldc, last, lines);
    else tile_shared(2, width - 1, k, a + i * lda, lda, panel, bias, c + i * ldc, ldc, last, lines);
  }
  return i;
}
#else
#define panel_shared(...) 0
#endif

/* All rows of one panel's columns: tiles of `rows`, then of 4 and 1. */
CN_INLINE void panel_rows(int rows, int width, int64_t m, int64_t k, const REAL *a, int64_t lda, const REAL *panel,
                          const VREAL *bias, REAL *c, int64_t ldc, int last, Ahead *ahead) {
  int64_t i = last == VLEN ? 0 : panel_shared(width, m, k, a, lda, panel, bias, c, ldc, last, ahead);
  for (; i + rows <= m; i += rows)
    tile_rows(rows, width, k, a + i * lda, lda, panel, bias, c + i * ldc, ldc, last, ahead_take(ahead, k));
  for (; i + 4 <= m; i += 4) tile_rows(4, width, k, a + i * lda, lda, panel, bias, c + i * ldc, ldc, last, NULL);
  for (; i < m; i++) tile_rows(1, width, k, a + i * lda, lda, panel, bias, c + i * ldc, ldc, last, NULL);
}

void FN(gemm_tile_rows)(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *packed,
                        const REAL *bias, REAL *c, int64_t ldc) {
  FN(gemm_tile_rows_ahead)(m, n, k, a, lda, packed, bias, c, ldc, NULL);
}

void FN(gemm_tile_rows_ahead)(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *packed,
                              const REAL *bias, REAL *c, int64_t ldc, Ahead *ahead) {
  BY_PAIRS(FN(pairs_tile_rows)(m, n, k, a, lda, packed, bias, c, ldc, ahead))
  int64_t vectors = CN_CEIL_DIV(n, VLEN);
  for (int64_t v = 0; v < vectors && !CN_LEFT_UNDONE;) {
    int width = panel_width(vectors - v);
    int last = (int)CN_MIN((int64_t)VLEN, n - (v + width - 1) * VLEN);
    const REAL *panel = packed + v * VLEN * k;
    REAL *out = c + v * VLEN;
    VREAL start[MAX_WIDTH] = { { 0 } };
    if (bias != NULL)
      for (int j = 0; j < width; j++)
        start[j] = vload_some(bias + (v + j) * VLEN, j < width - 1 ? VLEN : last);
    if (last == VLEN) {
      if (width == 1) panel_rows(ROWS_1, 1, m, k, a, lda, panel, start, out, ldc, VLEN, ahead);
      else if (width == 2) panel_rows(ROWS_2, 2, m, k, a, lda, panel, start, out, ldc, VLEN, ahead);
      else panel_rows(ROWS_3, 3, m, k, a, lda, panel, start, out, ldc, VLEN, ahead);
    } else {
      if (width == 1) panel_rows(ROWS_1, 1, m, k, a, lda, panel, start, out, ldc, last, ahead);
      else if (width == 2) panel_rows(ROWS_2, 2, m, k, a, lda, panel, start, out, ldc, last, ahead);
      else panel_rows(ROWS_3, 3, m, k, a, lda, panel, start, out, ldc, last, ahead);
    }
    v += width;
  }
}

void FN(gemm_pack)(REAL *packed, const REAL *b, int64_t ldb, bool transposed, int64_t k, int64_t n) {
  BY_PAIRS(FN(pairs_pack)(packed, b, ldb, transposed, k, n))
  int64_t vectors = CN_CEIL_DIV(n, VLEN);
  for (int64_t v = 0; v < vectors && !CN_LEFT_UNDONE;) {
    int width = panel_width(vectors - v);
    int64_t columns = CN_MIN((int64_t)width * VLEN, n - v * VLEN);
    for (int64_t p = 0; p < k; p++) {
      const REAL *from = transposed ? b + v * VLEN * ldb + p : b + p * ldb + v * VLEN;
      int64_t step = transposed ? ldb : 1;
      for (int64_t j = 0; j < columns; j++) packed[j] = from[j * step];
      for (int64_t j = columns; j < width * VLEN; j++) packed[j] = 0;
      packed += width * VLEN;
    }
    v += width;
  }
}

/* One tile of c += aT * g over at most STRIP rows. */
CN_INLINE void tile_outer(int rows, int width, int64_t m, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                          REAL *c, int64_t ldc, int last, const char *ahead) {
  Tile sum;
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++) sum[i][j] = (VREAL){ 0 };
  if (ahead != NULL) multiply_outer(rows, width, m, a, lda, g, ldg, ahead, sum);
  else multiply_outer(rows, width, m, a, lda, g, ldg, NULL, sum);
  /* All loads, then all stores: a load that overlaps a masked store would wait for it. */
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++)
      sum[i][j] += vload_some(c + i * ldc + j * VLEN, j < width - 1 ? VLEN : last);
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++)
      vstore_some(c + i * ldc + j * VLEN, sum[i][j], j < width - 1 ? VLEN : last);
}

/* The same where rows share their last columns, see tile_shared. */
#if defined(SHARED_ROWS)
/* c + sums, in all of the `last` columns. */
CN_INLINE void add_parts(int parts, REAL *c, int64_t ldc, const VREAL *shared, int last) {
  CN_UNROLL(8) for (int i = 0; i < SHARED_ROWS; i++) {
    REAL part[16], *to = c + i * ldc;
    VSTORE(part, shared[i / parts]);
    const REAL *from = part + i % parts * (VLEN / parts);
    for (int e = 0; e < last; e++) to[e] += from[e];
  }
}

CN_INLINE void outer_shared(int parts, int whole, int64_t m, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                            REAL *c, int64_t ldc, int last, const char *ahead) {
  const __m512i own = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  VREAL shared[SHARED_ROWS / 2] = { { 0 } };
  Tile sum;
  CN_UNROLL(8) for (int i = 0; i < SHARED_ROWS; i++)
    CN_UNROLL(2) for (int j = 0; j < whole; j++) sum[i][j] = (VREAL){ 0 };
  for (int64_t p = 0; p < m; p++) {
    const REAL *group[2] = { a, a + 4 };
    VREAL v[MAX_WIDTH], w = load_parts(parts, g + whole * VLEN);
    CN_UNROLL(2) for (int j = 0; j < whole; j++) v[j] = VLOAD(g + j * VLEN);
    if (ahead != NULL) ahead = ahead_ask(ahead);
    if (parts == 2) halves_step(whole, group, 1, v, w, sum, shared);
    else {
      tile_step(SHARED_ROWS, whole, group, 1, v, sum);
      CN_UNROLL(2) for (int q = 0; q < 2; q++)
        shared[q] += (VREAL)_mm512_permutevar_ps((__m512)load_parts(4, group[q]), own) * w;
    }
    a += lda;
    g += ldg;
    HOLD(a);
    HOLD(g);
  }
  CN_UNROLL(8) for (int i = 0; i < SHARED_ROWS; i++) {
    REAL *to = c + i * ldc;
    CN_UNROLL(2) for (int j = 0; j < whole; j++) VSTORE(to + j * VLEN, VLOAD(to + j * VLEN) + sum[i][j]);
  }
  add_parts(parts, c + whole * VLEN, ldc, shared, last);
}

CN_INLINE int64_t panel_outer_shared(int width, int64_t m, int64_t k, const REAL *a, int64_t lda, const REAL *g,
                                     int64_t ldg, REAL *c, int64_t ldc, int last, Ahead *ahead) {
  int64_t i = 0;
  if (width == 1 || last > HALF) return 0;
  for (; i + SHARED_ROWS <= k; i += SHARED_ROWS) {
    const char *lines = ahead_take(ahead, m);
    if (last <= QUARTER && lines != NULL)
      outer_shared(4, width - 1, m, a + i, lda, g, ldg, c + i * ldc, ldc, last, lines);
    else if (last <= QUARTER) outer_shared(4, width - 1, m, a + i, lda, g, ldg, c + i * ldc, ldc, last, NULL);
    else outer_shared(2, width - 1, m, a + i, lda, g, ldg, c + i * ldc, ldc, last, lines);
  }
  return i;
}
#else
#define panel_outer_shared(...) 0
#endif

CN_INLINE void panel_outer(int rows, int width, int64_t m, int64_t k, const REAL *a, int64_t lda, const REAL *g,
                           int64_t ldg, REAL *c, int64_t ldc, int last, Ahead *ahead) {
  int64_t i = panel_outer_shared(width, m, k, a, lda, g, ldg, c, ldc, last, ahead);
  for (; i + rows <= k; i += rows)
    tile_outer(rows, width, m, a + i, lda, g, ldg, c + i * ldc, ldc, last, ahead_take(ahead, m));
  for (; i + 4 <= k; i += 4) tile_outer(4, width, m, a + i, lda, g, ldg, c + i * ldc, ldc, last, NULL);
  for (; i < k; i++) tile_outer(1, width, m, a + i, lda, g, ldg, c + i * ldc, ldc, last, NULL);
}

/* `whole`: rows of g can be read up to whole vectors. */
static void add_outer(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                      bool whole, REAL *c, int64_t ldc, Ahead *ahead) {
  int64_t vectors = CN_CEIL_DIV(n, VLEN);
  REAL padded[STRIP * MAX_WIDTH * (VBYTES / sizeof(REAL))]; /* a panel of g whose last vector is not whole */
  for (int64_t begin = 0; begin < m; begin += STRIP) {
    int64_t rows = CN_MIN((int64_t)STRIP, m - begin);
    const REAL *from = a + begin * lda;
    for (int64_t v = 0; v < vectors && !CN_LEFT_UNDONE;) {
      int width = panel_width(vectors - v);
      int64_t columns = CN_MIN((int64_t)width * VLEN, n - v * VLEN);
      int last = (int)(columns - (width - 1) * VLEN);
      const REAL *panel = g + begin * ldg + v * VLEN;
      int64_t ldp = ldg;
      if (last < VLEN && !whole) {
        ldp = width * VLEN;
        for (int64_t i = 0; i < rows; i++)
          for (int j = 0; j < width; j++)
            VSTORE(padded + i * ldp + j * VLEN, vload_some(panel + i * ldg + j * VLEN, j < width - 1 ? VLEN : last));
        panel = padded;
      }
      REAL *out = c + v * VLEN;
      if (width == 1) panel_outer(ROWS_OUTER_1, 1, rows, k, from, lda, panel, ldp, out, ldc, last, ahead);
      else if (width == 2) panel_outer(ROWS_2, 2, rows, k, from, lda, panel, ldp, out, ldc, last, ahead);
      else panel_outer(ROWS_3, 3, rows, k, from, lda, panel, ldp, out, ldc, last, ahead);
      v += width;
    }
  }
}

void FN(gemm_add_outer)(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                        REAL *c, int64_t ldc) {
  BY_PAIRS(FN(pairs_add_outer)(m, k, n, a, lda, g, ldg, c, ldc, NULL))
  add_outer(m, k, n, a, lda, g, ldg, false, c, ldc, NULL);
}

void FN(gemm_add_outer_ahead)(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                              REAL *c, int64_t ldc, Ahead *ahead) {
  BY_PAIRS(FN(pairs_add_outer)(m, k, n, a, lda, g, ldg, c, ldc, ahead))
  add_outer(m, k, n, a, lda, g, ldg, true, c, ldc, ahead);
}

CnErr FN(gemm)(int64_t m, int64_t n, int64_t k, const REAL *a, const REAL *b, bool transposed, const REAL *bias,
               REAL *c) {
  if (m <= GEMM_FEW) {
    FN(gemm_few)(m, n, k, a, b, transposed, bias, c);
    return CN_OK;
  }
  REAL *packed = cn_alloc(gemm_packed_count(k, n) * sizeof(REAL));
  if (packed == NULL) return CN_EMEMORY;
  FN(gemm_pack)(packed, b, transposed ? k : n, transposed, k, n);
  int64_t rows = CN_MAX(16, CN_MIN(256, CN_CEIL_DIV(m, 64)) & ~(int64_t)7);
  int64_t pieces = CN_CEIL_DIV(m, rows);
  if (pieces == 1) {
    FN(gemm_tile_rows)(m, n, k, a, k, packed, bias, c, n);
  } else {
    CN_PARALLEL_FOR_IF_WORTH(m * n * k / PER_STEP)
    for (int64_t piece = 0; piece < pieces; piece++) {
      int64_t begin = piece * rows, count = CN_MIN(rows, m - begin);
      FN(gemm_tile_rows)(count, n, k, a + begin * k, k, packed, bias, c + begin * n, n);
    }
  }
  cn_free(packed);
  return CN_OK;
}

void FN(sum_partials)(int64_t pieces, int64_t count, const REAL *partial, REAL *out) {
  int64_t blocks = CN_CEIL_DIV(count, SUM_BLOCK);
  CN_PARALLEL_FOR_IF_WORTH(pieces * count)
  for (int64_t block = 0; block < blocks; block++) {
    int64_t begin = block * SUM_BLOCK, size = CN_MIN(SUM_BLOCK, count - begin);
    double sum[SUM_BLOCK] = { 0 };
    for (int64_t piece = 0; piece < pieces; piece++)
      for (int64_t i = 0; i < size; i++) sum[i] += partial[piece * count + begin + i];
    for (int64_t i = 0; i < size; i++) out[begin + i] = (REAL)sum[i];
  }
}

/* Pieces are row ranges by blocks of inputs: the blocks give threads work when there are few rows. */
CnErr FN(gemm_outer)(int64_t m, int64_t k, int64_t n, const REAL *a, const REAL *g, REAL *c) {
  int64_t parts = reduction_pieces(m), count = k * n;
  int64_t blocks = parts >= 16 ? 1 : CN_CEIL_DIV(k, 32);
  REAL *partial = parts == 1 ? c : cn_alloc((size_t)(parts * count) * sizeof(REAL));
  if (partial == NULL) return CN_EMEMORY;
  CN_PARALLEL_FOR_IF_WORTH(m * k * n / PER_STEP)
  for (int64_t piece = 0; piece < parts * blocks; piece++) {
    int64_t part = piece / blocks, from, begin, end;
    from = blocks == 1 ? 0 : piece % blocks * 32;
    int64_t inputs = blocks == 1 ? k : CN_MIN(32, k - from);
    piece_range(m, parts, part, &begin, &end);
    REAL *sum = partial + part * count + from * n;
    memset(sum, 0, (size_t)(inputs * n) * sizeof(REAL));
    FN(gemm_add_outer)(end - begin, inputs, n, a + begin * k + from, k, g + begin * n, n, sum, n);
  }
  if (partial != c) {
    FN(sum_partials)(parts, count, partial, c);
    cn_free(partial);
  }
  return CN_OK;
}

CnErr FN(column_sums)(int64_t m, int64_t n, const REAL *g, REAL *out) {
  int64_t parts = reduction_pieces(m);
  double *partial = cn_alloc_zeroed((size_t)(parts * n) * sizeof(double));
  if (partial == NULL) return CN_EMEMORY;
  CN_PARALLEL_FOR_IF_WORTH(m * n)
  for (int64_t part = 0; part < parts; part++) {
    int64_t begin, end;
    piece_range(m, parts, part, &begin, &end);
    double *sum = partial + part * n;
    for (int64_t i = begin; i < end; i++)
      for (int64_t j = 0; j < n; j++) sum[j] += g[i * n + j];
  }
  for (int64_t j = 0; j < n; j++) {
    double sum = 0;
    for (int64_t part = 0; part < parts; part++) sum += partial[part * n + j];
    out[j] = (REAL)sum;
  }
  cn_free(partial);
  return CN_OK;
}
