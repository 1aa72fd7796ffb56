/* gemm.h - products of row-major matrices as convolutions and dense layers need them: many rows, few columns.
**
** M counts rows (pixels, examples), K inputs, N outputs. The small matrix is packed once: `gemm_pack` lays it out in
** panels of 1 to 3 vectors of columns, zero-padded, so that a tile of rows walks straight through a panel. The inner
** routines run on the calling thread and take any leading dimension (ld: elements from row to row), so that a fused
** kernel can call them strip by strip; the whole-matrix routines below them cut the rows into pieces by shape. */
#ifndef CN_GEMM_H
#define CN_GEMM_H

#include <stdbool.h>

#include "kernels/cpu/ahead.h"
#include "kernels/cpu/lanes.h"

/* Elements that a packed (K,N) matrix takes. */
CN_INLINE size_t gemm_packed_count(int64_t k, int64_t n) { return (size_t)(k * CN_LANES(n)); }

/* Packs b (K,N), or the transpose of b (N,K) when `transposed`. */
void FN(gemm_pack)(REAL *packed, const REAL *b, int64_t ldb, bool transposed, int64_t k, int64_t n);

/* c (M,N) = a (M,K) * packed (K,N) + bias (N); bias may be NULL. */
void FN(gemm_tile_rows)(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *packed,
                        const REAL *bias, REAL *c, int64_t ldc);

void FN(gemm_tile_rows_ahead)(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *packed,
                              const REAL *bias, REAL *c, int64_t ldc, Ahead *ahead);

/* c (K,N) += transpose of a (M,K) * g (M,N), the sum over rows taken in strips of 128 so that f32 keeps its digits. */
void FN(gemm_add_outer)(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                        REAL *c, int64_t ldc);

/* The same where reading rows of g up to whole vectors is allowed: from scratch memory. */
void FN(gemm_add_outer_ahead)(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                              REAL *c, int64_t ldc, Ahead *ahead);

/* In bf16 these round what they multiply to bf16 where the processor multiplies pairs of such numbers
** (cn_cpu_products), by means of these: see gemm_pairs.c. Their packed matrix is another. */
#if defined(CN_REAL_bf16) && defined(__AVX512F__)
void FN(pairs_pack)(REAL *packed, const REAL *b, int64_t ldb, bool transposed, int64_t k, int64_t n);
void FN(pairs_tile_rows)(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *packed,
                         const REAL *bias, REAL *c, int64_t ldc, Ahead *ahead);
void FN(pairs_add_outer)(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                         REAL *c, int64_t ldc, Ahead *ahead);
#endif

/* The product of FN(gemm) below for at most GEMM_FEW rows: b is read where it lies, by the calling thread. */
#define GEMM_FEW 4
void FN(gemm_few)(int64_t m, int64_t n, int64_t k, const REAL *a, const REAL *b, bool transposed, const REAL *bias,
                  REAL *c);

/* All rows, on all threads. */

/* c (M,N) = a (M,K) * b + bias, where b is (K,N), or (N,K) when `transposed`; a, b, c contiguous, bias may be NULL. */
CnErr FN(gemm)(int64_t m, int64_t n, int64_t k, const REAL *a, const REAL *b, bool transposed, const REAL *bias,
               REAL *c);

/* c (K,N) = transpose of a (M,K) * g (M,N); all contiguous. */
CnErr FN(gemm_outer)(int64_t m, int64_t k, int64_t n, const REAL *a, const REAL *g, REAL *c);

/* out (N) = sum of the rows of g (M,N). */
CnErr FN(column_sums)(int64_t m, int64_t n, const REAL *g, REAL *out);

/* out[i] = sum over the pieces, in their order, of partial[piece * count + i], taken in f64. */
void FN(sum_partials)(int64_t pieces, int64_t count, const REAL *partial, REAL *out);

/* How many partial sums a reduction over `rows` keeps: enough for 16 threads, at least 1024 rows each. */
CN_INLINE int64_t reduction_pieces(int64_t rows) { return CN_MAX(1, CN_MIN(32, rows / 1024)); }

#endif
