/* conv_general.c - any convolution as matrix products over strips of rows.
**
** A strip's inputs are gathered into a matrix: one row for a pixel of the result, the channels of each tap side by
** side; then it is a product with the weights. The gradient by the input is gathered in the same way from the output's
** gradient: input pixels whose coordinates are equal modulo the stride (a phase) are reached by the same taps, from
** neighbouring output pixels, so each phase is a convolution of stride 1 without wasted taps and without scattering.
** Where images are small, so that the matrices of all of them together are not large, they are multiplied as one: a
** large matrix of weights is then walked through once for many images, not for each. */
#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/shares.h"
#include "kernels/cpu/undone.h"

#define STRIP 32768      /* elements of a gathered matrix, at most, unless one row of pixels is more */
#define WHOLE (1 << 21)  /* elements of one for all images together, */
#define SMALL_IMAGE 64   /* which have so many pixels, at most */
#define WHOLE_ROWS 32    /* of such a matrix are multiplied at a time */
#define INCOMING_PIXELS 128 /* whose gradient is made at a time */

/* Neighbouring taps that read neighbouring pixels: `length` pixels from (y,x) for the result's pixel (0,0). */
typedef struct Run {
  int64_t y, x, length;
} Run;

/* How the pixels (i,j) of a result are gathered from an image. */
typedef struct Gather {
  const REAL *image; /* (N,h,w,c) */
  bool relu;                 /* max(image, 0) */
  int64_t h, w, c, channels; /* channels: of one group */
  int64_t rows, columns;     /* of the result, in each image */
  int64_t step_h, step_w;    /* pixels of the image from one pixel of the result to the next */
  int64_t taps, runs;
  Run *run;
} Gather;

static void add_tap(Gather *v, int64_t y, int64_t x) {
  Run *last = v->runs > 0 ? &v->run[v->runs - 1] : NULL;
  v->taps++;
  if (last != NULL && v->channels == v->c && last->y == y && last->x + last->length == x) last->length++;
  else v->run[v->runs++] = (Run){ y, x, 1 };
}

CN_INLINE void copy_values(const Gather *v, REAL *to, const REAL *from, int64_t count) {
  if (v->relu) rectify(to, from, count);
  else memcpy(to, from, (size_t)count * sizeof(REAL));
}

/* Result rows begin … end-1 of image n, group `group`, into col ((end-begin)*columns, taps*channels). */
static void gather_rows(const Gather *v, int64_t n, int64_t begin, int64_t end, int64_t group, REAL *col) {
  const REAL *image = v->image + n * v->h * v->w * v->c + group * v->channels;
  for (int64_t i = begin; i < end; i++)
    for (int64_t j = 0; j < v->columns; j++)
      for (int64_t r = 0; r < v->runs; r++) {
        int64_t y = v->run[r].y + i * v->step_h, x = v->run[r].x + j * v->step_w, length = v->run[r].length;
        int64_t count = length * v->channels;
        if (y < 0 || y >= v->h) {
          memset(col, 0, (size_t)count * sizeof(REAL));
        } else if (x >= 0 && x + length <= v->w) {
          copy_values(v, col, image + (y * v->w + x) * v->c, count);
        } else {
          for (int64_t k = 0; k < length; k++)
            if (x + k < 0 || x + k >= v->w)
              memset(col + k * v->channels, 0, (size_t)v->channels * sizeof(REAL));
            else
              copy_values(v, col + k * v->channels, image + (y * v->w + x + k) * v->c, v->channels);
        }
        col += count;
      }
}

static int64_t strip_rows(const Gather *v) {
  int64_t row = v->columns * v->taps * v->channels;
  return CN_MAX(1, CN_MIN(v->rows, STRIP / CN_MAX(row, 1)));
}

static int64_t strip_count(const Gather *v) { return strip_rows(v) * v->columns * v->taps * v->channels; }

static bool gathers_whole(const Gather *v, int64_t images) {
  int64_t pixels = v->rows * v->columns;
  return v->channels == v->c && pixels <= SMALL_IMAGE && images * pixels * v->taps * v->channels <= WHOLE;
}

/* All images, one below the other; NULL without memory. */
static REAL *gather_all(const Gather *v, int64_t images) {
  int64_t count = v->rows * v->columns * v->taps * v->channels;
  REAL *col = cn_alloc((size_t)CN_MAX(images * count, 1) * sizeof(REAL));
  if (col == NULL) return NULL;
  CN_PARALLEL_FOR_IF_WORTH(images * count)
  for (int64_t n = 0; n < images; n++) gather_rows(v, n, 0, v->rows, 0, col + n * count);
  return col;
}

/* What the forward pass and the weight gradient read: the input around each output pixel. */
static Gather gather_inputs(const Conv *v, Run *run) {
  Gather gather = { v->x, v->relu, v->h, v->w, v->c, v->c / v->groups, v->oh, v->ow, v->stride_h, v->stride_w, 0, 0,
                    run };
  for (int64_t p = 0; p < v->kh; p++)
    for (int64_t q = 0; q < v->kw; q++) add_tap(&gather, p * v->dilation_h - v->pad_h, q * v->dilation_w - v->pad_w);
  return gather;
}

/* Where a result goes: pixel (i,j) of image n to out + n*image_step + i*row_step + j*column_step. It is a gradient to be
** masked by `mask`, which is laid out as `out` is, unless that is NULL. */
typedef struct Target {
  REAL *out;
  const REAL *mask;
  int64_t image_step, row_step, column_step, outputs;
} Target;

/* Masks `rows` rows of `columns` pixels from element `at` on, which have just been stored. */
static void mask_rows(const Target *to, int64_t at, int64_t rows, int64_t columns) {
  int64_t width = to->outputs;
  if (to->column_step == to->outputs) width *= columns, columns = 1;
  for (int64_t i = 0; i < rows; i++, at += to->row_step)
    for (int64_t j = 0; j < columns; j++)
      mask_gradient(to->out + at + j * to->column_step, to->mask + at + j * to->column_step, width);
}

/* A target without gaps between its pixels. */
static bool is_dense(const Target *to, const Gather *v) {
  return to->column_step == to->outputs && to->row_step == v->columns * to->column_step &&
         to->image_step == v->rows * to->row_step;
}

/* multiply() below for all images at once. */
static CnErr multiply_whole(const Gather *v, int64_t images, const REAL *packed, const REAL *bias, Target to) {
  int64_t inner = v->taps * v->channels, rows = images * v->rows * v->columns;
  int64_t pieces = CN_CEIL_DIV(rows, WHOLE_ROWS);
  REAL *col = gather_all(v, images);
  if (col == NULL) return CN_EMEMORY;
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < pieces; piece++) {
    int64_t first = piece * WHOLE_ROWS, count = CN_MIN(WHOLE_ROWS, rows - first), at = first * to.outputs;
    FN(gemm_tile_rows)(count, to.outputs, inner, col + first * inner, inner, packed, bias, to.out + at, to.outputs);
    if (to.mask != NULL && inner > 0) mask_gradient(to.out + at, to.mask + at, count * to.outputs);
  }
  cn_free(col);
  return CN_OK;
}

/* Result = gathered * packed, for each strip and group; packed holds `groups` matrices (taps*channels, outputs). */
static CnErr multiply(const Gather *v, int64_t images, int64_t groups, const REAL *packed, const REAL *bias,
                      Target to) {
  int64_t rows = strip_rows(v), strips = CN_CEIL_DIV(v->rows, rows), inner = v->taps * v->channels;
  int64_t size = strip_count(v), packed_size = (int64_t)gemm_packed_count(inner, to.outputs);
  if (gathers_whole(v, images) && is_dense(&to, v)) return multiply_whole(v, images, packed, bias, to);
  REAL *cols = cn_alloc((size_t)(cn_threads() * size) * sizeof(REAL));
  if (cols == NULL) return CN_EMEMORY;
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < images * strips; piece++) {
    if (CN_LEFT_UNDONE) continue;
    int64_t n = piece / strips, begin = piece % strips * rows, end = CN_MIN(begin + rows, v->rows);
    REAL *col = cols + thread_index() * size;
    for (int64_t g = 0; g < groups; g++) {
      const REAL *matrix = packed + g * packed_size, *start = bias != NULL ? bias + g * to.outputs : NULL;
      int64_t at = n * to.image_step + begin * to.row_step + g * to.outputs;
      REAL *out = to.out + at;
      gather_rows(v, n, begin, end, g, col);
      if (to.row_step == v->columns * to.column_step) {
        FN(gemm_tile_rows)((end - begin) * v->columns, to.outputs, inner, col, inner, matrix, start, out,
                           to.column_step);
      } else {
        for (int64_t i = 0; i < end - begin; i++)
          FN(gemm_tile_rows)(v->columns, to.outputs, inner, col + i * v->columns * inner, inner, matrix, start,
                             out + i * to.row_step, to.column_step);
      }
      if (to.mask != NULL && inner > 0) mask_rows(&to, at, end - begin, v->columns);
    }
  }
  cn_free(cols);
  return CN_OK;
}

CnErr FN(conv_general_forward)(const Conv *v) {
  int64_t taps = v->kh * v->kw, outputs = v->o / v->groups, inner = taps * (v->c / v->groups);
  size_t packed_size = gemm_packed_count(inner, outputs);
  Run *run = cn_alloc((size_t)taps * sizeof(Run));
  REAL *packed = cn_alloc((size_t)v->groups * packed_size * sizeof(REAL));
  CnErr err = run == NULL || packed == NULL ? CN_EMEMORY : CN_OK;
  if (err == CN_OK) {
    for (int64_t g = 0; g < v->groups; g++)
      FN(gemm_pack)(packed + g * (int64_t)packed_size, v->weight + g * outputs, v->o, false, inner, outputs);
    Gather gather = gather_inputs(v, run);
    err = multiply(&gather, v->n, v->groups, packed, v->bias,
                   (Target){ v->y, NULL, v->oh * v->ow * v->o, v->ow * v->o, v->o, outputs });
  }
  cn_free(packed);
  cn_free(run);
  return err;
}

/* Input pixels (down + i*stride_h, right + j*stride_w): which taps reach them, from where. Tap (p,q) joins input row r
** and output row (r + pad - p*dilation) / stride. Taps go backwards so that neighbours read neighbours; `tap` gets
** their numbers. */
static Gather gather_phase(const Conv *v, int64_t down, int64_t right, Run *run, int64_t *tap) {
  Gather gather = { v->gy, false, v->oh, v->ow, v->o, v->o / v->groups, CN_CEIL_DIV(v->h - down, v->stride_h),
                    CN_CEIL_DIV(v->w - right, v->stride_w), 1, 1, 0, 0, run };
  for (int64_t p = v->kh - 1; p >= 0; p--)
    for (int64_t q = v->kw - 1; q >= 0; q--) {
      int64_t y = down + v->pad_h - p * v->dilation_h, x = right + v->pad_w - q * v->dilation_w;
      if (y % v->stride_h != 0 || x % v->stride_w != 0) continue;
      tap[gather.taps] = p * v->kw + q;
      add_tap(&gather, y / v->stride_h, x / v->stride_w);
    }
  return gather;
}

/* Weights of one phase and group, turned so that they take output channels: matrix (taps*O/groups, C/groups). */
static void turn_weights(const Conv *v, const int64_t *tap, int64_t taps, int64_t group, REAL *matrix) {
  int64_t inputs = v->c / v->groups, outputs = v->o / v->groups;
  for (int64_t t = 0; t < taps; t++)
    for (int64_t o = 0; o < outputs; o++)
      for (int64_t c = 0; c < inputs; c++)
        matrix[(t * outputs + o) * inputs + c] = v->weight[(tap[t] * inputs + c) * v->o + group * outputs + o];
}

static CnErr input_gradient(const Conv *v) {
  int64_t taps = v->kh * v->kw, inputs = v->c / v->groups, inner = taps * (v->o / v->groups);
  Run *run = cn_alloc((size_t)taps * sizeof(Run));
  int64_t *tap = cn_alloc((size_t)taps * sizeof(int64_t));
  REAL *matrix = cn_alloc((size_t)(inner * inputs) * sizeof(REAL));
  REAL *packed = cn_alloc((size_t)v->groups * gemm_packed_count(inner, inputs) * sizeof(REAL));
  CnErr err = run == NULL || tap == NULL || matrix == NULL || packed == NULL ? CN_EMEMORY : CN_OK;
  for (int64_t down = 0; down < CN_MIN(v->stride_h, v->h) && err == CN_OK; down++)
    for (int64_t right = 0; right < CN_MIN(v->stride_w, v->w) && err == CN_OK; right++) {
      Gather gather = gather_phase(v, down, right, run, tap);
      int64_t depth = gather.taps * gather.channels, first = (down * v->w + right) * v->c;
      for (int64_t g = 0; g < v->groups; g++) {
        turn_weights(v, tap, gather.taps, g, matrix);
        FN(gemm_pack)(packed + g * (int64_t)gemm_packed_count(depth, inputs), matrix, inputs, false, depth, inputs);
      }
      err = multiply(&gather, v->n, v->groups, packed, NULL,
                     (Target){ v->gx + first, v->relu ? v->x + first : NULL, v->h * v->w * v->c,
                               v->stride_h * v->w * v->c, v->stride_w * v->c, inputs });
    }
  cn_free(packed);
  cn_free(matrix);
  cn_free(tap);
  cn_free(run);
  return err;
}

/* The gradient of the output's pixels from `first` on: where it is, or made in `scratch`. */
static const REAL *output_gradient(const Conv *v, int64_t first, int64_t pixels, REAL *scratch) {
  if (v->incoming == NULL) return v->gy + first * v->o;
  FN(read_gradient)(v->incoming, first, pixels, scratch, v->o);
  return scratch;
}

static CnErr weight_gradient_whole(const Conv *v, const Gather *gather) {
  int64_t pixels = v->n * v->oh * v->ow;
  REAL *col = gather_all(gather, v->n), *scratch = NULL;
  if (v->incoming != NULL) scratch = cn_alloc((size_t)CN_MAX(pixels * v->o, 1) * sizeof(REAL));
  CnErr err = col == NULL || (v->incoming != NULL && scratch == NULL) ? CN_EMEMORY : CN_OK;
  if (err == CN_OK)
    err = FN(gemm_outer)(pixels, gather->taps * gather->channels, v->o, col, output_gradient(v, 0, pixels, scratch),
                         v->gweight);
  cn_free(scratch);
  cn_free(col);
  return err;
}

/* Partial sums belong to pieces: ranges of strips. */
static CnErr weight_gradient_strips(const Conv *v, const Gather *gather) {
  int64_t outputs = v->o / v->groups, inner = gather->taps * gather->channels, count = inner * v->o;
  int64_t rows = strip_rows(gather);
  if (v->incoming != NULL) rows = CN_MAX(1, CN_MIN(rows, INCOMING_PIXELS / v->ow));
  int64_t strips = CN_CEIL_DIV(v->oh, rows), size = CN_CEIL_DIV(rows * v->ow * inner, 16) * 16;
  int64_t scratch = v->incoming != NULL ? rows * v->ow * v->o : 0, pieces = CN_MIN(v->n * strips, 32);
  REAL *partial = cn_alloc_zeroed((size_t)(pieces * count) * sizeof(REAL));
  REAL *cols = cn_alloc((size_t)(cn_threads() * (size + scratch)) * sizeof(REAL));
  CnErr err = partial == NULL || cols == NULL ? CN_EMEMORY : CN_OK;
  if (err == CN_OK) {
    Shares shares;
    shares_of(&shares, pieces);
    CN_PARALLEL_IF_WORTH(v->n * v->oh * v->ow * count)
    for (int64_t piece; (piece = shares_take(&shares)) >= 0;) {
      int64_t first, last;
      REAL *col = cols + thread_index() * (size + scratch);
      piece_range(v->n * strips, pieces, piece, &first, &last);
      for (int64_t strip = first; strip < last && !CN_LEFT_UNDONE; strip++) {
        int64_t n = strip / strips, begin = strip % strips * rows, end = CN_MIN(begin + rows, v->oh);
        int64_t pixels = (end - begin) * v->ow;
        const REAL *gy = output_gradient(v, (n * v->oh + begin) * v->ow, pixels, col + size);
        for (int64_t g = 0; g < v->groups; g++) {
          gather_rows(gather, n, begin, end, g, col);
          FN(gemm_add_outer)(pixels, inner, outputs, col, inner, gy + g * outputs, v->o,
                             partial + piece * count + g * outputs, v->o);
        }
      }
    }
    FN(sum_partials)(pieces, count, partial, v->gweight);
  }
  cn_free(cols);
  cn_free(partial);
  return err;
}

static CnErr weight_gradient(const Conv *v) {
  Run *run = cn_alloc((size_t)(v->kh * v->kw) * sizeof(Run));
  if (run == NULL) return CN_EMEMORY;
  Gather gather = gather_inputs(v, run);
  CnErr err = gathers_whole(&gather, v->n) ? weight_gradient_whole(v, &gather) : weight_gradient_strips(v, &gather);
  cn_free(run);
  return err;
}

CnErr FN(conv_general_backward)(const Conv *v) {
  if (v->gx != NULL) CN_TRY(input_gradient(v));
  if (v->gweight != NULL) CN_TRY(weight_gradient(v));
  return CN_OK;
}
