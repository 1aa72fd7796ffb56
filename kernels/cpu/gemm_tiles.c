/* gemm_tiles.c - the products of gemm_pairs.h in tiles of 16 by 16: for processors with AMX (Intel, "Advanced Matrix
** Extensions", Software Developer's Manual, volume 1, chapter 18), which multiply two tiles by one instruction.
**
** A tile register holds 16 rows of 64 bytes. One of sums is 16 rows by 16 columns of f32; to it belong 16 rows by 16
** pairs of the left factor and 16 pairs by 16 columns of the packed one, just as they lie in memory. Registers 0 to 2
** hold the sums of a panel, 3 and 4 the factors, 5 and 6 what is left of the inner dimension after whole tiles. Tiles
** that stick out of the result go through memory of their own. */
#include "kernels/cpu/gemm_pairs.h"
#include "kernels/cpu/undone.h"

#define SIDE 16 /* rows of a tile; pairs and columns in its row */
#define TURNED 80 /* pairs from row to row of a turned left factor: no power of two */

/* The names of registers are part of the instructions, so these are words for the preprocessor. */
#define LEFT 3
#define RIGHT 4
#define LAST_LEFT 5
#define LAST_RIGHT 6

typedef struct Config { /* as the processor reads it */
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes[16]; /* of a row, by register */
  uint8_t rows[16];
} Config;

typedef REAL Sums[SIDE][MAX_WIDTH * SIDE];

#define EACH(width, DO)      \
  do {                       \
    DO(0);                   \
    if ((width) > 1) DO(1);  \
    if ((width) > 2) DO(2);  \
  } while (0)

/* The compiler does not know what the instructions for tiles read: what was written is to be in memory by here. */
#define WRITTEN() __asm__ volatile("" ::: "memory")

/* `left` pairs of the inner dimension remain after whole tiles, 0 to 15. */
static void configure(int64_t left) {
  Config config = { .palette = 1 };
  for (int t = 0; t <= RIGHT; t++) {
    config.bytes[t] = SIDE * sizeof(Pair);
    config.rows[t] = SIDE;
  }
  config.bytes[LAST_LEFT] = (uint16_t)((size_t)left * sizeof(Pair));
  config.rows[LAST_LEFT] = left ? SIDE : 0;
  config.bytes[LAST_RIGHT] = left ? SIDE * sizeof(Pair) : 0;
  config.rows[LAST_RIGHT] = (uint8_t)left;
  WRITTEN();
  _tile_loadconfig(&config);
}

/* Sums of 16 rows and `width` tiles of columns += left (16, pairs) * right (pairs, width*16); lda, ldb: pairs from row
** to row. */
CN_INLINE void multiply(int width, int64_t pairs, const Pair *a, int64_t lda, const Pair *b, int64_t ldb,
                        Ahead *ahead) {
  const int64_t a_bytes = lda * (int64_t)sizeof *a, b_bytes = ldb * (int64_t)sizeof *b;
  for (; pairs >= SIDE; pairs -= SIDE, a += SIDE, b += SIDE * ldb) {
    const char *far = ahead_take(ahead, SIDE);
    if (far != NULL)
      for (int i = 0; i < SIDE; i++) far = ahead_ask(far);
    _tile_loadd(LEFT, a, a_bytes);
#define STEP(j) do { _tile_loadd(RIGHT, b + j * SIDE, b_bytes); _tile_dpbf16ps(j, LEFT, RIGHT); } while (0)
    EACH(width, STEP);
#undef STEP
  }
  if (pairs == 0) return;
  _tile_loadd(LAST_LEFT, a, a_bytes);
#define STEP(j) do { _tile_loadd(LAST_RIGHT, b + j * SIDE, b_bytes); _tile_dpbf16ps(j, LAST_LEFT, LAST_RIGHT); } while (0)
  EACH(width, STEP);
#undef STEP
}

CN_INLINE void sums_zero(int width) {
#define ZERO_ONE(j) _tile_zero(j)
  EACH(width, ZERO_ONE);
#undef ZERO_ONE
}

CN_INLINE void sums_load(int width, const REAL *from, int64_t ld) {
#define LOAD_ONE(j) _tile_loadd(j, from + j * SIDE, ld * (int64_t)sizeof *from)
  EACH(width, LOAD_ONE);
#undef LOAD_ONE
}

CN_INLINE void sums_store(int width, REAL *to, int64_t ld) {
#define STORE_ONE(j) _tile_stored(j, to + j * SIDE, ld * (int64_t)sizeof *to)
  EACH(width, STORE_ONE);
#undef STORE_ONE
}

/* Sums that begin with what c has, `rows` of `columns`, and end there: sums_load and sums_store of a part. */
CN_INLINE void part_load(int width, Sums sums, int64_t rows, int64_t columns, const REAL *c, int64_t ldc) {
  memset(sums, 0, sizeof(Sums));
  for (int64_t i = 0; i < rows; i++) memcpy(sums[i], c + i * ldc, (size_t)columns * sizeof(REAL));
  WRITTEN();
  sums_load(width, sums[0], MAX_WIDTH * SIDE);
}

CN_INLINE void part_store(int width, Sums sums, int64_t rows, int64_t columns, REAL *c, int64_t ldc) {
  sums_store(width, sums[0], MAX_WIDTH * SIDE);
  for (int64_t i = 0; i < rows; i++) memcpy(c + i * ldc, sums[i], (size_t)columns * sizeof(REAL));
}

/* A panel's columns of `m` rows, at most BLOCK; `pairs` of the inner dimension. */
CN_INLINE void panel_rows(int width, Start start, int64_t m, int64_t columns, int64_t pairs, const Pair *a,
                          const Pair *panel, const REAL *bias, REAL *c, int64_t ldc, Ahead *ahead) {
  Sums sums;
  for (int64_t i = 0; i < m; i += SIDE) {
    int64_t rows = CN_MIN(SIDE, m - i);
    bool whole = rows == SIDE && columns == width * SIDE;
    if (start == ZERO) sums_zero(width);
    else if (start == BIAS) part_load(width, sums, rows, columns, bias, 0);
    else if (whole) sums_load(width, c + i * ldc, ldc);
    else part_load(width, sums, rows, columns, c + i * ldc, ldc);
    multiply(width, pairs, a + i * PITCH, PITCH, panel, width * SIDE, ahead);
    if (whole) sums_store(width, c + i * ldc, ldc);
    else part_store(width, sums, rows, columns, c + i * ldc, ldc);
  }
}

void FN(tiles_rows)(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *packed, const REAL *bias,
                    REAL *c, int64_t ldc, Ahead *ahead) {
  Pair block[BLOCK * PITCH];
  int64_t all = CN_CEIL_DIV(k, 2), vectors = CN_CEIL_DIV(n, VLEN);
  configure(all % SIDE);
  for (int64_t row = 0; row < m; row += BLOCK) {
    int64_t rows = CN_MIN(BLOCK, m - row);
    for (int64_t first = 0; first < CN_MAX(all, 1); first += CHUNK) {
      int64_t pairs = CN_MIN(CHUNK, all - first);
      Start start = first > 0 ? GO_ON : bias != NULL ? BIAS : ZERO;
      for (int64_t i = 0; i < rows; i++)
        round_row(a + (row + i) * lda + 2 * first, CN_MIN(2 * pairs, k - 2 * first), block + i * PITCH);
      WRITTEN();
      for (int64_t v = 0; v < vectors && !CN_LEFT_UNDONE;) {
        int width = panel_width(vectors - v);
        int64_t columns = CN_MIN(width * VLEN, n - v * VLEN);
        const Pair *panel = (const Pair *)packed + (v * all + first * width) * VLEN;
        const REAL *begin = bias ? bias + v * VLEN : NULL;
        REAL *out = c + row * ldc + v * VLEN;
        if (width == 1) panel_rows(1, start, rows, columns, pairs, block, panel, begin, out, ldc, ahead);
        else if (width == 2) panel_rows(2, start, rows, columns, pairs, block, panel, begin, out, ldc, ahead);
        else panel_rows(3, start, rows, columns, pairs, block, panel, begin, out, ldc, ahead);
        v += width;
      }
    }
  }
  _tile_release();
}

/* Columns of a strip as rows of pairs: to[column][p]. */
static void turn(const REAL *a, int64_t lda, int64_t rows, int64_t columns, Pair *to) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i place = _mm512_mullo_epi32(lane, _mm512_set1_epi32(TURNED));
  for (int64_t p = 0; 2 * p < rows; p++)
    for (int64_t j = 0; j < columns; j += VLEN)
      _mm512_i32scatter_epi32(to + j * TURNED + p, place, paired_rows(a + j, lda, p, rows, columns - j), sizeof(Pair));
}

/* c (inputs, columns) += left (inputs, pairs) * right (pairs, columns), whole tiles of pairs. */
CN_INLINE void panel_outer(int width, int64_t inputs, int64_t columns, int64_t pairs, const Pair *left,
                           const Pair *right, REAL *c, int64_t ldc, Ahead *ahead) {
  Sums sums;
  for (int64_t i = 0; i < inputs; i += SIDE) {
    int64_t rows = CN_MIN(SIDE, inputs - i);
    bool whole = rows == SIDE && columns == width * SIDE;
    if (whole) sums_load(width, c + i * ldc, ldc);
    else part_load(width, sums, rows, columns, c + i * ldc, ldc);
    multiply(width, pairs, left + i * TURNED, TURNED, right, MAX_WIDTH * SIDE, ahead);
    if (whole) sums_store(width, c + i * ldc, ldc);
    else part_store(width, sums, rows, columns, c + i * ldc, ldc);
  }
}

void FN(tiles_add_outer)(int64_t m, int64_t k, int64_t n, const REAL *a, int64_t lda, const REAL *g, int64_t ldg,
                         REAL *c, int64_t ldc, Ahead *ahead) {
  Pair left[INPUTS * TURNED], right[STRIP * MAX_WIDTH * SIDE];
  int64_t vectors = CN_CEIL_DIV(n, VLEN);
  configure(0);
  for (int64_t row = 0; row < m; row += 2 * STRIP) {
    int64_t rows = CN_MIN(2 * STRIP, m - row), own = CN_CEIL_DIV(rows, 2), pairs = CN_CEIL_DIV(own, SIDE) * SIDE;
    if (own < pairs) memset(left, 0, sizeof left);
    for (int64_t first = 0; first < k; first += INPUTS) {
      int64_t inputs = CN_MIN(INPUTS, k - first);
      turn(a + row * lda + first, lda, rows, inputs, left);
      for (int64_t v = 0; v < vectors && !CN_LEFT_UNDONE;) {
        int width = panel_width(vectors - v);
        int64_t columns = CN_MIN(width * VLEN, n - v * VLEN);
        REAL *out = c + first * ldc + v * VLEN;
        for (int64_t p = 0; p < pairs; p++)
          for (int64_t j = 0; j < width * SIDE; j += SIDE)
            _mm512_storeu_si512(right + (p * MAX_WIDTH * SIDE + j), p >= own ? _mm512_setzero_si512() :
                                paired_rows(g + row * ldg + v * VLEN + j, ldg, p, rows, columns - j));
        WRITTEN();
        if (width == 1) panel_outer(1, inputs, columns, pairs, left, right, out, ldc, ahead);
        else if (width == 2) panel_outer(2, inputs, columns, pairs, left, right, out, ldc, ahead);
        else panel_outer(3, inputs, columns, pairs, left, right, out, ldc, ahead);
        v += width;
      }
    }
  }
  _tile_release();
}
