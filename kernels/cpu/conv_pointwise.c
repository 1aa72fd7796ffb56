/* conv_pointwise.c - 1x1 convolution of stride 1: every pixel's channels times one matrix (C,O).
**
** With ReLU it goes over the pixels in strips that a level-2 cache holds: those of the input are rectified into scratch
** memory in front of their product, those of the input's gradient masked behind it. Sums are taken in the order of the
** whole-matrix routines, so that the bits are those of a ReLU and a convolution. */
#include "kernels/cpu/conv2d.h"

#define STRIP 16384 /* elements of the input, or of its gradient, in a strip */
#define ROWS 128    /* pixels, and */
#define BLOCK 128   /* channels, of the input that are rectified together for the weight gradient */
#define SHARE 32    /* channels that a piece of the weight gradient takes where there are few pixels */

/* c (pixels,n) = a (pixels,k) times the weights, (k,n) or (n,k) when `transposed`. `mask` (pixels,n) masks c once it is
** stored; without it (NULL) `a` is the input, and rectified. */
static CnErr multiply(int64_t pixels, int64_t n, int64_t k, const REAL *a, const REAL *weight, bool transposed,
                      const REAL *bias, REAL *c, const REAL *mask) {
  int64_t share = CN_CEIL_DIV(pixels, 64), rows = CN_MIN(share, STRIP / CN_MAX(1, mask != NULL ? n : k));
  rows = CN_MAX(16, rows & ~(int64_t)7);
  int64_t strips = CN_CEIL_DIV(pixels, rows), scratch = mask != NULL ? 0 : CN_CEIL_DIV(rows * k, 16) * 16;
  size_t packed_size = CN_CEIL_DIV(gemm_packed_count(k, n), 16) * 16;
  REAL *packed = cn_alloc((packed_size + (size_t)(cn_threads() * scratch)) * sizeof(REAL));
  if (packed == NULL) return CN_EMEMORY;
  FN(gemm_pack)(packed, weight, transposed ? k : n, transposed, k, n);
  CN_PARALLEL_FOR_IF_WORTH(pixels * n * k)
  for (int64_t strip = 0; strip < strips; strip++) {
    int64_t begin = strip * rows, count = CN_MIN(rows, pixels - begin);
    if (mask != NULL) {
      FN(gemm_tile_rows)(count, n, k, a + begin * k, k, packed, bias, c + begin * n, n);
      mask_gradient(c + begin * n, mask + begin * n, count * n);
    } else {
      REAL *positive = packed + packed_size + thread_index() * scratch;
      rectify(positive, a + begin * k, count * k);
      FN(gemm_tile_rows)(count, n, k, positive, k, packed, bias, c + begin * n, n);
    }
  }
  cn_free(packed);
  return CN_OK;
}

CnErr FN(conv_pointwise_forward)(const Conv *v) {
  int64_t pixels = v->n * v->h * v->w;
  if (v->relu) return multiply(pixels, v->o, v->c, v->x, v->weight, false, v->bias, v->y, NULL);
  return FN(gemm)(pixels, v->o, v->c, v->x, v->weight, false, v->bias, v->y);
}

/* sum (channels,O) += transpose of max(x, 0) * gy, over pixels begin … end-1 and `channels` of x from `first`; there is
** room for ROWS * BLOCK elements at `positive`. */
static void add_outer(const Conv *v, int64_t begin, int64_t end, int64_t first, int64_t channels, REAL *positive,
                      REAL *sum) {
  for (int64_t row = begin; row < end; row += ROWS)
    for (int64_t c = 0; c < channels; c += BLOCK) {
      int64_t rows = CN_MIN(ROWS, end - row), width = CN_MIN(BLOCK, channels - c);
      const REAL *x = v->x + row * v->c + first + c;
      if (width == v->c) rectify(positive, x, rows * width);
      else
        for (int64_t i = 0; i < rows; i++) rectify(positive + i * width, x + i * v->c, width);
      FN(gemm_add_outer)(rows, width, v->o, positive, width, v->gy + row * v->o, v->o, sum + c * v->o, v->o);
    }
}

/* Partial sums belong to ranges of pixels; when these are few, each is shared by groups of channels, as in gemm_outer. */
static CnErr weight_gradient(const Conv *v) {
  int64_t pixels = v->n * v->h * v->w, parts = reduction_pieces(pixels), count = v->c * v->o;
  int64_t group = parts >= 16 ? v->c : SHARE, groups = CN_CEIL_DIV(v->c, CN_MAX(1, group));
  REAL *partial = cn_alloc((size_t)(parts * count + cn_threads() * ROWS * BLOCK) * sizeof(REAL));
  if (partial == NULL) return CN_EMEMORY;
  memset(partial, 0, (size_t)(parts * count) * sizeof(REAL));
  CN_PARALLEL_FOR_IF_WORTH(pixels * count)
  for (int64_t piece = 0; piece < parts * groups; piece++) {
    int64_t part = piece / groups, first = piece % groups * group, begin, end;
    piece_range(pixels, parts, part, &begin, &end);
    add_outer(v, begin, end, first, CN_MIN(group, v->c - first),
              partial + parts * count + thread_index() * ROWS * BLOCK, partial + part * count + first * v->o);
  }
  FN(sum_partials)(parts, count, partial, v->gweight);
  cn_free(partial);
  return CN_OK;
}

CnErr FN(conv_pointwise_backward)(const Conv *v) {
  int64_t pixels = v->n * v->h * v->w;
  if (v->relu) {
    if (v->gx != NULL) CN_TRY(multiply(pixels, v->c, v->o, v->gy, v->weight, true, NULL, v->gx, v->x));
    return v->gweight != NULL ? weight_gradient(v) : CN_OK;
  }
  if (v->gx != NULL) CN_TRY(FN(gemm)(pixels, v->c, v->o, v->gy, v->weight, true, NULL, v->gx));
  if (v->gweight != NULL) CN_TRY(FN(gemm_outer)(pixels, v->c, v->o, v->x, v->gy, v->gweight));
  return CN_OK;
}
