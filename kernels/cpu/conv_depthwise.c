/* conv_depthwise.c - row conv2d where every channel has its own kernel: planes and pieces around depthwise.h. */
#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/depthwise.h"

#define STRIP 128 /* pixels summed before the weight gradient is rounded into memory */

/* What the threads share: the kernel with `lanes` elements to a tap; and a plane for each. */
typedef struct Work {
  Depthwise kernel;
  int64_t lanes;
  Plane *plane;
  void *block;
} Work;

static int64_t plane_lanes(int64_t c) { return CN_MAX(c, (int64_t)VLEN); }

static Depthwise kernel_of(const Conv *v) {
  int64_t lanes = plane_lanes(v->c);
  return (Depthwise){ v->kh, v->kw, v->stride_h, v->stride_w, v->pad_h, v->pad_w, v->dilation_h, v->dilation_w, NULL,
                      v->kw * lanes, lanes, NULL };
}

/* `count`: elements of the largest plane. */
static CnErr work_new(Work *out, const Conv *v, int64_t count) {
  Work work = { kernel_of(v), plane_lanes(v->c), NULL, NULL };
  int64_t threads = cn_threads(), taps = v->kh * v->kw;
  count = CN_CEIL_DIV(count, 16) * 16;
  size_t planes = (size_t)CN_CEIL_DIV(threads * (int64_t)sizeof(Plane), 64) * 64;
  work.block = cn_alloc(planes + (size_t)(threads * count + taps * work.lanes) * sizeof(REAL));
  if (work.block == NULL) return CN_EMEMORY;
  work.plane = work.block;
  REAL *data = (REAL *)((char *)work.block + planes), *weight = data + threads * count;
  for (int64_t i = 0; i < threads; i++) work.plane[i] = (Plane){ .data = data + i * count };
  memset(weight, 0, (size_t)(taps * work.lanes) * sizeof(REAL));
  for (int64_t t = 0; t < taps; t++) memcpy(weight + t * work.lanes, v->weight + t * v->c, (size_t)v->c * sizeof(REAL));
  work.kernel.weight = weight;
  *out = work;
  return CN_OK;
}

/* The plane of the input for block `i` of `blocks` of output rows. */
static Plane input_plane(const Conv *v, int64_t blocks, int64_t i, int64_t *begin, int64_t *end) {
  Depthwise k = kernel_of(v);
  piece_range(v->oh, blocks, i, begin, end);
  return FN(plane_of_input)(&k, v->h, v->w, plane_lanes(v->c), *begin, *end, v->ow);
}

/* The plane of the output's gradient for block `i` of `blocks` of input rows. */
static Plane gradient_plane(const Conv *v, int64_t blocks, int64_t i, int64_t *begin, int64_t *end) {
  Depthwise k = kernel_of(v);
  piece_range(v->h, blocks, i, begin, end);
  return FN(plane_of_gradient)(&k, v->oh, v->ow, plane_lanes(v->c), INT64_MAX, INT64_MIN, *begin, *end, v->w);
}

typedef Plane PlaneOf(const Conv *v, int64_t blocks, int64_t i, int64_t *begin, int64_t *end);

static int64_t largest_plane(const Conv *v, int64_t blocks, PlaneOf *plane_of) {
  int64_t most = 0, begin, end;
  for (int64_t i = 0; i < blocks; i++) {
    Plane plane = plane_of(v, blocks, i, &begin, &end);
    most = CN_MAX(most, plane_count(&plane));
  }
  return most;
}

CnErr FN(conv_depthwise_forward)(const Conv *v) {
  if (v->n * v->oh * v->ow == 0) return CN_OK;
  int64_t blocks = row_blocks(v->n, v->oh);
  const Reader reader = { .relu = v->relu, .channels = v->c };
  Work work;
  CN_TRY(work_new(&work, v, largest_plane(v, blocks, input_plane)));
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < v->n * blocks; piece++) {
    int64_t image = piece / blocks, begin, end;
    Plane *plane = &work.plane[thread_index()], as = input_plane(v, blocks, piece % blocks, &begin, &end);
    plane_lay(plane, &as);
    for (int64_t row = begin; row < end; row++) {
      FN(plane_fill)(plane, &reader, v->x + image * v->h * v->w * v->c, reads_until(&work.kernel, row));
      FN(depthwise_rows)(&work.kernel, plane, v->c, v->bias, row, 1, v->ow,
                         v->y + (image * v->oh + row) * v->ow * v->c, 0, v->c);
    }
  }
  cn_free(work.block);
  return CN_OK;
}

static CnErr input_gradient(const Conv *v) {
  int64_t blocks = row_blocks(v->n, v->h);
  const Reader reader = { .channels = v->c };
  Work work;
  CN_TRY(work_new(&work, v, largest_plane(v, blocks, gradient_plane)));
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < v->n * blocks; piece++) {
    int64_t image = piece / blocks, begin, end;
    Plane *plane = &work.plane[thread_index()], as = gradient_plane(v, blocks, piece % blocks, &begin, &end);
    plane_lay(plane, &as);
    FN(plane_fill)(plane, &reader, v->gy + image * v->oh * v->ow * v->c, v->oh);
    for (int64_t row = begin; row < end; row++) {
      int64_t at = (image * v->h + row) * v->w * v->c;
      FN(depthwise_turned_rows)(&work.kernel, plane, v->c, row, 1, v->w, v->gx + at, 0, v->c);
      if (v->relu) mask_gradient(v->gx + at, v->x + at, v->w * v->c);
    }
  }
  cn_free(work.block);
  return CN_OK;
}

/* Partial sums belong to pieces: ranges of (image, block of rows), at most 48. */
static CnErr weight_gradient(const Conv *v) {
  int64_t blocks = row_blocks(v->n, v->oh), units = v->n * blocks, pieces = CN_MIN(units, 48);
  int64_t slots = slot_count(v->c), count = v->kh * v->kw * slots * VLEN;
  const Reader reader = { .relu = v->relu, .channels = v->c };
  Work work;
  CN_TRY(work_new(&work, v, largest_plane(v, blocks, input_plane)));
  REAL *partial = cn_alloc_zeroed((size_t)((pieces + 1) * count) * sizeof(REAL));
  if (partial == NULL) {
    cn_free(work.block);
    return CN_EMEMORY;
  }
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < pieces; piece++) {
    int64_t first, last;
    piece_range(units, pieces, piece, &first, &last);
    for (int64_t unit = first; unit < last; unit++) {
      int64_t image = unit / blocks, strip = CN_MAX(1, STRIP / v->ow), begin, end;
      Plane *plane = &work.plane[thread_index()], as = input_plane(v, blocks, unit % blocks, &begin, &end);
      plane_lay(plane, &as);
      for (int64_t row = begin; row < end; row += strip) {
        int64_t rows = CN_MIN(strip, end - row), until = reads_until(&work.kernel, row + rows - 1);
        FN(plane_fill)(plane, &reader, v->x + image * v->h * v->w * v->c, until);
        FN(depthwise_weight_gradient)(&work.kernel, plane, v->c, row, rows, v->ow,
                                      v->gy + (image * v->oh + row) * v->ow * v->c, v->ow * v->c, v->c,
                                      partial + piece * count);
      }
    }
  }
  REAL *total = partial + pieces * count;
  FN(sum_partials)(pieces, count, partial, total);
  for (int64_t t = 0; t < v->kh * v->kw; t++)
    for (int slot = 0; slot < slots; slot++)
      memcpy(v->gweight + t * v->c + slot_begin(v->c, slot), total + (t * slots + slot) * VLEN,
             (size_t)slot_lanes(v->c) * sizeof(REAL));
  cn_free(partial);
  cn_free(work.block);
  return CN_OK;
}

CnErr FN(conv_depthwise_backward)(const Conv *v) {
  if (v->gx != NULL && v->n * v->h * v->w > 0) CN_TRY(input_gradient(v));
  if (v->gweight != NULL) CN_TRY(weight_gradient(v));
  return CN_OK;
}
