/* gemm_pairs.h - factors of products in bf16 as pairs along the inner dimension, one pair a word: what processors with
** AVX512_BF16 multiply vector by vector (gemm_pairs.c) and those with AMX tile by tile (gemm_tiles.c).
**
** Rows of the left factor lie as they are, the packed matrix has a pair's columns side by side. What is missing from
** the last pair is 0. Numbers near 0 (denormals) count as 0 in both. */
#ifndef CN_GEMM_PAIRS_H
#define CN_GEMM_PAIRS_H

#include "kernels/cpu/gemm.h"

#define CHUNK 128   /* pairs that are multiplied before the sums go back to memory: rows of them stay in the cache */
#define PITCH 144   /* pairs from row to row of a block: no power of two, which would crowd few sets of the cache */
#define BLOCK 64    /* rows that are rounded at a time */
#define MAX_WIDTH 3 /* vectors of columns in a panel of the packed matrix */
#define STRIP 64    /* pairs of rows that an outer product sums before it adds them to the result */
#define INPUTS 64   /* rows of the result, at most, that it makes at a time */

typedef uint32_t Pair; /* the first number of the two in the lower half */

/* What the sums of a tile begin with. */
typedef enum Start { ZERO, BIAS, GO_ON } Start;

CN_INLINE int panel_width(int64_t left) { return left == 4 ? 2 : (int)CN_MIN(left, MAX_WIDTH); }

CN_INLINE __mmask16 some(int64_t lanes) { return (__mmask16)((1u << CN_MAX(0, CN_MIN(lanes, VLEN))) - 1); }
CN_INLINE __m512 load_some(const REAL *p, int64_t lanes) { return _mm512_maskz_loadu_ps(some(lanes), p); }

/* The lanes of two vectors, rounded, as pairs (a[0],b[0]), (a[1],b[1]), … */
CN_INLINE __m512i interleave(__m512 a, __m512 b) {
  const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(a));
  const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(b));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/* `count` numbers of a row as pairs, and zeros up to whole vectors. */
CN_INLINE void round_row(const REAL *a, int64_t count, Pair *to) {
  int64_t i = 0;
  for (; i + 32 <= count; i += 32)
    _mm512_storeu_si512(to + i / 2, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(a + i)));
  for (; i < count; i += 16)
    _mm256_storeu_si256((__m256i *)(to + i / 2), (__m256i)_mm512_cvtneps_pbh(load_some(a + i, count - i)));
}

/* Row 2p of a matrix with its neighbour 2p+1, which may be missing, as pairs: `columns` at most 16. */
CN_INLINE __m512i paired_rows(const REAL *a, int64_t lda, int64_t p, int64_t rows, int64_t columns) {
  const __m512 second = 2 * p + 1 < rows ? load_some(a + (2 * p + 1) * lda, columns) : _mm512_setzero_ps();
  return interleave(load_some(a + 2 * p * lda, columns), second);
}

/* The same products as pairs_tile_rows and pairs_add_outer of gemm.h, in tiles: for processors with AMX. */
void FN(tiles_rows)(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *packed, const REAL *bias,
                    REAL *c, int64_t ldc, Ahead *ahead);
void FN(tiles_add_outer)(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                         REAL *c, int64_t ldc, Ahead *ahead);

#endif
