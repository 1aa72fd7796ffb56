/* gemm_pairs.c - the matrix products of gemm.h from numbers rounded to bf16, two at a time: for processors that take
** pairs of them and add both products to an f32 (AVX512_BF16), twice the work of an f32 multiply-add. Where there are
** tiles (AMX) the products are theirs, of the same packed matrix. */
#include "device/cpu.h"
#include "kernels/cpu/gemm_pairs.h"
#include "kernels/cpu/undone.h"

#define ROWS 16     /* of a tile one vector wide; */
#define WIDE_ROWS 8 /* of wider tiles */

typedef __m512 Tile[ROWS][MAX_WIDTH];

#define BY_TILES(call) if (cn_cpu_products == CN_PRODUCTS_TILES) { call; return; }

void FN(pairs_pack)(REAL *packed, const REAL *b, int64_t ldb, bool transposed, int64_t k, int64_t n) {
  int64_t vectors = CN_CEIL_DIV(n, VLEN), row = transposed ? 1 : ldb, step = transposed ? ldb : 1;
  CnBf16 *to = (CnBf16 *)packed;
  for (int64_t v = 0; v < vectors && !CN_LEFT_UNDONE;) {
    int width = panel_width(vectors - v);
    for (int64_t p = 0; p < k; p += 2)
      for (int64_t j = v * VLEN; j < (v + width) * VLEN; j++)
        for (int64_t i = p; i < p + 2; i++) *to++ = i < k && j < n ? stored_of(b[i * row + j * step]) : 0;
    v += width;
  }
}

/* sum[i][j] += a[i,:] * panel[:,j] over `pairs` of pairs. Rows of a are `lda` pairs apart, or are words of one row when
** that is 1 and `step` the distance along the inner dimension. All but `pairs` are constants where this is inlined. */
CN_INLINE void multiply_pairs(int rows, int width, int64_t pairs, const Pair *a, int64_t lda, int64_t step,
                              const Pair *panel, int64_t ldp, const char *ahead, Tile sum) {
  for (int64_t p = 0; p < pairs; p++, a += step, panel += ldp) {
    if (ahead != NULL) __builtin_prefetch(ahead + p * AHEAD_LINE, 0, 2);
    __m512i v[MAX_WIDTH];
    CN_UNROLL(4) for (int j = 0; j < width; j++) v[j] = _mm512_loadu_si512(panel + j * VLEN);
    CN_UNROLL(16) for (int i = 0; i < rows; i++) {
      __m512i x = _mm512_set1_epi32((int)a[i * lda]);
      CN_UNROLL(4) for (int j = 0; j < width; j++)
        sum[i][j] = _mm512_dpbf16_ps(sum[i][j], (__m512bh)v[j], (__m512bh)x);
    }
  }
}

/* A tile of c; `bias`: one vector for each column. `whole`: all lanes of all columns are there. */
CN_INLINE void tile_rows(int rows, int width, bool whole, Start start, int64_t pairs, const Pair *a, const Pair *panel,
                         const REAL *bias, REAL *c, int64_t ldc, int64_t columns, const char *ahead) {
  Tile sum;
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++) {
      if (start == ZERO) sum[i][j] = _mm512_setzero_ps();
      else if (start == BIAS) sum[i][j] = _mm512_loadu_ps(bias + j * VLEN);
      else sum[i][j] = load_some(c + i * ldc + j * VLEN, whole ? VLEN : columns - j * VLEN);
    }
  if (ahead != NULL) multiply_pairs(rows, width, pairs, a, PITCH, 1, panel, width * VLEN, ahead, sum);
  else multiply_pairs(rows, width, pairs, a, PITCH, 1, panel, width * VLEN, NULL, sum);
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++) {
      if (whole) _mm512_storeu_ps(c + i * ldc + j * VLEN, sum[i][j]);
      else _mm512_mask_storeu_ps(c + i * ldc + j * VLEN, some(columns - j * VLEN), sum[i][j]);
    }
}

/* Tiles of `tall` rows, then of 4 and 1. */
CN_INLINE void panel_rows(int tall, int width, bool whole, Start start, int64_t m, int64_t pairs, const Pair *a,
                          const Pair *panel, const REAL *bias, REAL *c, int64_t ldc, int64_t columns, Ahead *ahead) {
#define TILE(rows, far) \
  tile_rows(rows, width, whole, start, pairs, a + i * PITCH, panel, bias, c + i * ldc, ldc, columns, far)
  int64_t i = 0;
  for (; i + tall <= m; i += tall) TILE(tall, ahead_take(ahead, pairs));
  for (; i + 4 <= m; i += 4) TILE(4, NULL);
  for (; i < m; i++) TILE(1, NULL);
#undef TILE
}

/* A block of rows by all columns, inner dimension 2*first … 2*(first+pairs)-1 of k. */
static void block_rows(int64_t m, int64_t n, int64_t all, int64_t first, int64_t pairs, const Pair *a,
                       const REAL *packed, const REAL *bias, REAL *c, int64_t ldc, Ahead *ahead) {
  int64_t vectors = CN_CEIL_DIV(n, VLEN);
  for (int64_t v = 0; v < vectors && !CN_LEFT_UNDONE;) {
    int width = panel_width(vectors - v);
    int64_t columns = n - v * VLEN;
    const Pair *panel = (const Pair *)packed + (v * all + first * width) * VLEN;
    REAL lanes[MAX_WIDTH * (VBYTES / sizeof(REAL))], *out = c + v * VLEN;
#define PANEL(tall, wide, whole, start) \
  panel_rows(tall, wide, whole, start, m, pairs, a, panel, lanes, out, ldc, columns, ahead)
    if (first == 0 && bias == NULL && columns >= width * VLEN) { /* what the blocks call it with */
      if (width == 1) PANEL(ROWS, 1, true, ZERO);
      else if (width == 2) PANEL(WIDE_ROWS, 2, true, ZERO);
      else PANEL(WIDE_ROWS, 3, true, ZERO);
    } else if (first == 0) {
      memset(lanes, 0, sizeof lanes);
      if (bias != NULL) memcpy(lanes, bias + v * VLEN, (size_t)CN_MIN(columns, width * VLEN) * sizeof(REAL));
      if (width == 1) PANEL(ROWS, 1, false, BIAS);
      else if (width == 2) PANEL(WIDE_ROWS, 2, false, BIAS);
      else PANEL(WIDE_ROWS, 3, false, BIAS);
    } else {
      if (width == 1) PANEL(ROWS, 1, false, GO_ON);
      else if (width == 2) PANEL(WIDE_ROWS, 2, false, GO_ON);
      else PANEL(WIDE_ROWS, 3, false, GO_ON);
    }
#undef PANEL
    v += width;
  }
}

void FN(pairs_tile_rows)(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *packed,
                         const REAL *bias, REAL *c, int64_t ldc, Ahead *ahead) {
  BY_TILES(FN(tiles_rows)(m, n, k, a, lda, packed, bias, c, ldc, ahead))
  Pair block[BLOCK * PITCH];
  int64_t all = CN_CEIL_DIV(k, 2);
  for (int64_t row = 0; row < m; row += BLOCK) {
    int64_t rows = CN_MIN(BLOCK, m - row);
    for (int64_t first = 0; first < CN_MAX(all, 1); first += CHUNK) {
      int64_t pairs = CN_MIN(CHUNK, all - first);
      for (int64_t i = 0; i < rows; i++)
        round_row(a + (row + i) * lda + 2 * first, CN_MIN(2 * pairs, k - 2 * first), block + i * PITCH);
      block_rows(rows, n, all, first, pairs, block, packed, bias, c + row * ldc, ldc, ahead);
    }
  }
}

/* Rows 0 … rows-1 of a panel of columns, at most, as pairs of neighbouring rows. */
CN_INLINE void pair_rows(const REAL *a, int64_t lda, int64_t rows, int64_t columns, Pair *to, int64_t pitch) {
  for (int64_t p = 0; 2 * p < rows; p++)
    for (int64_t j = 0; j < columns; j += VLEN)
      _mm512_storeu_si512(to + p * pitch + j, paired_rows(a + j, lda, p, rows, columns - j));
}

CN_INLINE void tile_outer(int rows, int width, int64_t pairs, const Pair *a, const Pair *g, REAL *c, int64_t ldc,
                          int64_t columns, const char *ahead) {
  Tile sum;
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++) sum[i][j] = _mm512_setzero_ps();
  if (ahead != NULL) multiply_pairs(rows, width, pairs, a, 1, INPUTS, g, MAX_WIDTH * VLEN, ahead, sum);
  else multiply_pairs(rows, width, pairs, a, 1, INPUTS, g, MAX_WIDTH * VLEN, NULL, sum);
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++)
      sum[i][j] += load_some(c + i * ldc + j * VLEN, columns - j * VLEN);
  CN_UNROLL(16) for (int i = 0; i < rows; i++)
    CN_UNROLL(4) for (int j = 0; j < width; j++)
      _mm512_mask_storeu_ps(c + i * ldc + j * VLEN, some(columns - j * VLEN), sum[i][j]);
}

CN_INLINE void panel_outer(int tall, int width, int64_t inputs, int64_t pairs, const Pair *a, const Pair *g, REAL *c,
                           int64_t ldc, int64_t columns, Ahead *ahead) {
  int64_t i = 0;
  for (; i + tall <= inputs; i += tall)
    tile_outer(tall, width, pairs, a + i, g, c + i * ldc, ldc, columns, ahead_take(ahead, pairs));
  for (; i + 4 <= inputs; i += 4) tile_outer(4, width, pairs, a + i, g, c + i * ldc, ldc, columns, NULL);
  for (; i < inputs; i++) tile_outer(1, width, pairs, a + i, g, c + i * ldc, ldc, columns, NULL);
}

void FN(pairs_add_outer)(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                         REAL *c, int64_t ldc, Ahead *ahead) {
  BY_TILES(FN(tiles_add_outer)(m, k, n, a, lda, g, ldg, c, ldc, ahead))
  Pair left[STRIP * INPUTS], right[STRIP * MAX_WIDTH * (VBYTES / sizeof(REAL))];
  int64_t vectors = CN_CEIL_DIV(n, VLEN);
  for (int64_t row = 0; row < m; row += 2 * STRIP) {
    int64_t rows = CN_MIN(2 * STRIP, m - row), pairs = CN_CEIL_DIV(rows, 2);
    for (int64_t first = 0; first < k; first += INPUTS) {
      int64_t inputs = CN_MIN(INPUTS, k - first);
      pair_rows(a + row * lda + first, lda, rows, inputs, left, INPUTS);
      for (int64_t v = 0; v < vectors && !CN_LEFT_UNDONE;) {
        int width = panel_width(vectors - v);
        int64_t columns = n - v * VLEN;
        REAL *out = c + first * ldc + v * VLEN;
        pair_rows(g + row * ldg + v * VLEN, ldg, rows, CN_MIN(columns, width * VLEN), right, MAX_WIDTH * VLEN);
        if (width == 1) panel_outer(ROWS, 1, inputs, pairs, left, right, out, ldc, columns, ahead);
        else if (width == 2) panel_outer(WIDE_ROWS, 2, inputs, pairs, left, right, out, ldc, columns, ahead);
        else panel_outer(WIDE_ROWS, 3, inputs, pairs, left, right, out, ldc, columns, ahead);
        v += width;
      }
    }
  }
}
