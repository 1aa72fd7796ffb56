/* conv_depthwise.c - every channel convolved with its own kernel, directly.
**
** The part of an image that a block of output rows reads is copied, row by row as it is needed, into a plane that has
** the padding as zeros: the loops below know no borders. In the plane neighbouring channels are vector lanes, a block
** of PIXELS outputs stays in registers while the taps go by, and a tap is just an offset: kernel size, dilation and
** stride appear nowhere else. The gradient by the input is the same convolution, of the output's gradient spread out by
** the stride, with the kernel turned round. */
#include "kernels/cpu/conv2d.h"

#define PIXELS 8   /* outputs held in registers */
#define TAP_RUN 5  /* taps of a kernel row whose gradients are held in registers, twice */
#define STRIP 128  /* pixels summed before the weight gradient is rounded into memory */

/* Rows `origin_h` … of an image spread out by `spread` (pixel i at i*spread, zeros between), columns from `origin_w`;
** negative coordinates and those behind the end are padding. */
typedef struct Plane {
  const REAL *image; /* (h,w,c) */
  int64_t h, w, c, spread_h, spread_w;
  int64_t origin_h, origin_w;
  int64_t width, lanes; /* of the plane: pixels in a row, elements in a pixel (at least VLEN and c) */
  bool relu;            /* max(image, 0) */
  int64_t filled;       /* rows that are there */
  REAL *data;
} Plane;

static int64_t plane_lanes(int64_t c) { return CN_MAX(c, (int64_t)VLEN); }

CN_INLINE void clear_lanes(REAL *to, int64_t count) {
  for (int64_t k = 0; k < count; k++) to[k] = 0;
}

CN_INLINE void copy_lanes(REAL *to, const REAL *from, int64_t count) {
  for (int64_t k = 0; k < count; k++) to[k] = from[k];
}

CN_INLINE void copy_pixels(const Plane *p, REAL *to, const REAL *from, int64_t count) {
  if (p->relu) rectify(to, from, count);
  else copy_lanes(to, from, count);
}

static void fill_row(const Plane *p, int64_t row) {
  REAL *to = p->data + row * p->width * p->lanes;
  int64_t y = p->origin_h + row;
  /* Image columns first … last-1 fall into the plane. */
  int64_t first = p->origin_w <= 0 ? 0 : CN_CEIL_DIV(p->origin_w, p->spread_w);
  int64_t last = CN_MIN(p->w, CN_CEIL_DIV(CN_MAX(p->origin_w + p->width, 0), p->spread_w));
  if (y < 0 || y % p->spread_h != 0 || y / p->spread_h >= p->h || first >= last) {
    clear_lanes(to, p->width * p->lanes);
    return;
  }
  const REAL *from = p->image + (y / p->spread_h * p->w + first) * p->c;
  int64_t left = first * p->spread_w - p->origin_w, count = last - first;
  if (p->spread_w == 1 && p->lanes == p->c) {
    clear_lanes(to, left * p->lanes);
    copy_pixels(p, to + left * p->lanes, from, count * p->c);
    clear_lanes(to + (left + count) * p->lanes, (p->width - left - count) * p->lanes);
  } else {
    clear_lanes(to, p->width * p->lanes);
    for (int64_t x = 0; x < count; x++) copy_pixels(p, to + (left + x * p->spread_w) * p->lanes, from + x * p->c, p->c);
  }
}

static void fill_until(Plane *p, int64_t rows) {
  for (; p->filled < rows; p->filled++) fill_row(p, p->filled);
}

/* `count` outputs: out[i] = start + sum over taps of weight * plane[i]. */
CN_INLINE void convolve_pixels(int count, int64_t taps, const int64_t *offset, const REAL *weight, int64_t lanes,
                               const REAL *from, int64_t step, VREAL start, REAL *out, int64_t c, int stored) {
  VREAL sum[PIXELS];
  CN_UNROLL(8) for (int i = 0; i < count; i++) sum[i] = start;
  for (int64_t t = 0; t < taps; t++) {
    const REAL *p = from + offset[t];
    VREAL w = VLOAD(weight + t * lanes);
    CN_UNROLL(8) for (int i = 0; i < count; i++) sum[i] += w * VLOAD(p + i * step);
  }
  CN_UNROLL(8) for (int i = 0; i < count; i++) vstore_some(out + i * c, sum[i], stored);
}

/* Output pixels 0 … width-1 of one row and one slot of channels. */
CN_INLINE void convolve_slot(int64_t width, int64_t taps, const int64_t *offset, const REAL *weight, int64_t lanes,
                             const REAL *from, int64_t step, VREAL start, REAL *out, int64_t c, int stored) {
  int64_t x = 0;
  for (; x + PIXELS <= width; x += PIXELS)
    convolve_pixels(PIXELS, taps, offset, weight, lanes, from + x * step, step, start, out + x * c, c, stored);
  for (; x + 4 <= width; x += 4)
    convolve_pixels(4, taps, offset, weight, lanes, from + x * step, step, start, out + x * c, c, stored);
  for (; x < width; x++)
    convolve_pixels(1, taps, offset, weight, lanes, from + x * step, step, start, out + x * c, c, stored);
}

static void convolve_row(int64_t width, int64_t taps, const int64_t *offset, const REAL *weight, const REAL *bias,
                         int64_t lanes, const REAL *from, int64_t step, REAL *out, int64_t c) {
  for (int slot = 0; slot < slot_count(c); slot++) {
    int64_t begin = slot_begin(c, slot);
    int stored = slot_lanes(c);
    VREAL start = bias != NULL ? vload_some(bias + begin, stored) : (VREAL){ 0 };
    if (stored == VLEN)
      convolve_slot(width, taps, offset, weight + begin, lanes, from + begin, step, start, out + begin, c, VLEN);
    else
      convolve_slot(width, taps, offset, weight, lanes, from, step, start, out, c, stored);
  }
}

/* sum[t] += g[i] * x[i + t] over a strip of rows, for `taps` neighbouring taps of a kernel row. */
CN_INLINE void gradient_run(int taps, int64_t rows, int64_t width, const REAL *x, int64_t x_pitch, int64_t x_step,
                            int64_t tap_step, const REAL *g, int64_t g_pitch, int64_t g_step, int read, REAL *sum,
                            int64_t sum_step) {
  VREAL even[TAP_RUN], odd[TAP_RUN];
  CN_UNROLL(8) for (int t = 0; t < taps; t++) even[t] = odd[t] = (VREAL){ 0 };
  for (int64_t row = 0; row < rows; row++, x += x_pitch, g += g_pitch) {
    const REAL *tap[TAP_RUN];
    CN_UNROLL(8) for (int t = 0; t < taps; t++) tap[t] = x + t * tap_step;
    int64_t i = 0;
    for (; i + 2 <= width; i += 2) {
      VREAL first = vload_some(g + i * g_step, read), second = vload_some(g + (i + 1) * g_step, read);
      CN_UNROLL(8) for (int t = 0; t < taps; t++) {
        even[t] += first * VLOAD(tap[t] + i * x_step);
        odd[t] += second * VLOAD(tap[t] + (i + 1) * x_step);
      }
    }
    if (i < width) {
      VREAL first = vload_some(g + i * g_step, read);
      CN_UNROLL(8) for (int t = 0; t < taps; t++) even[t] += first * VLOAD(tap[t] + i * x_step);
    }
  }
  CN_UNROLL(8) for (int t = 0; t < taps; t++) {
    REAL *to = sum + t * sum_step;
    VSTORE(to, VLOAD(to) + even[t] + odd[t]);
  }
}

/* The weight gradient of `rows` output rows, one slot: every kernel row in runs of taps. `x` is the plane's row that
** the first output row begins at; sum (KH,KW,slots,VLEN). */
CN_INLINE void gradient_slot(const Conv *v, int64_t rows, const REAL *x, int64_t width, int64_t lanes, const REAL *g,
                             int read, REAL *sum, int64_t sum_step) {
  int64_t x_pitch = v->stride_h * width * lanes, x_step = v->stride_w * lanes, tap_step = v->dilation_w * lanes;
  for (int64_t p = 0; p < v->kh; p++)
    for (int64_t q = 0; q < v->kw;) {
      int taps = (int)CN_MIN((int64_t)TAP_RUN, v->kw - q);
      const REAL *from = x + p * v->dilation_h * width * lanes + q * tap_step;
      REAL *to = sum + (p * v->kw + q) * sum_step;
#define RUN(n) gradient_run(n, rows, v->ow, from, x_pitch, x_step, tap_step, g, v->ow * v->c, v->c, read, to, sum_step)
      switch (taps) {
      case 1: RUN(1); break;
      case 2: RUN(2); break;
      case 3: RUN(3); break;
      case 4: RUN(4); break;
      default: RUN(5); break;
      }
#undef RUN
      q += taps;
    }
}

/* What the threads share: tap offsets into a plane, the kernel with `lanes` elements to a tap; and a plane for each. */
typedef struct Work {
  int64_t taps, lanes, plane_count; /* plane_count: elements of one plane */
  int64_t *offset;
  REAL *weight, *planes;
  void *block;
} Work;

/* `rows` and `width` of a plane; `turned` puts the last tap first. */
static CnErr work_new(Work *out, const Conv *v, int64_t rows, int64_t width, bool turned) {
  Work work = { .taps = v->kh * v->kw, .lanes = plane_lanes(v->c) };
  work.plane_count = CN_CEIL_DIV(rows * width * work.lanes, 16) * 16;
  size_t offsets = (size_t)CN_CEIL_DIV(work.taps * 8, 64) * 64;
  size_t weights = (size_t)CN_CEIL_DIV(work.taps * work.lanes * (int64_t)sizeof(REAL), 64) * 64;
  work.block = cn_alloc(offsets + weights + (size_t)(cn_threads() * work.plane_count) * sizeof(REAL));
  if (work.block == NULL) return CN_EMEMORY;
  work.offset = work.block;
  work.weight = (REAL *)((char *)work.block + offsets);
  work.planes = (REAL *)((char *)work.block + offsets + weights);
  memset(work.weight, 0, weights);
  for (int64_t p = 0; p < v->kh; p++)
    for (int64_t q = 0; q < v->kw; q++) {
      int64_t t = p * v->kw + q, from = turned ? work.taps - 1 - t : t;
      work.offset[t] = (p * v->dilation_h * width + q * v->dilation_w) * work.lanes;
      memcpy(work.weight + t * work.lanes, v->weight + from * v->c, (size_t)v->c * sizeof(REAL));
    }
  *out = work;
  return CN_OK;
}

/* Rows or columns of a plane that `outputs` of them read. */
static int64_t reach(int64_t outputs, int64_t stride, int64_t kernel, int64_t dilation) {
  return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
}

CnErr FN(conv_depthwise_forward)(const Conv *v) {
  if (v->n * v->oh * v->ow == 0) return CN_OK;
  int64_t blocks = row_blocks(v->n, v->oh), width = reach(v->ow, v->stride_w, v->kw, v->dilation_w);
  Work work;
  CN_TRY(work_new(&work, v, reach(CN_CEIL_DIV(v->oh, blocks), v->stride_h, v->kh, v->dilation_h), width, false));
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < v->n * blocks; piece++) {
    int64_t image = piece / blocks, begin, end;
    piece_range(v->oh, blocks, piece % blocks, &begin, &end);
    Plane plane = { v->x + image * v->h * v->w * v->c, v->h, v->w, v->c, 1, 1, begin * v->stride_h - v->pad_h,
                    -v->pad_w, width, work.lanes, v->relu, 0, work.planes + thread_index() * work.plane_count };
    for (int64_t row = begin; row < end; row++) {
      int64_t at = (row - begin) * v->stride_h;
      fill_until(&plane, at + reach(1, 1, v->kh, v->dilation_h));
      convolve_row(v->ow, work.taps, work.offset, work.weight, v->bias, work.lanes,
                   plane.data + at * width * work.lanes, v->stride_w * work.lanes,
                   v->y + (image * v->oh + row) * v->ow * v->c, v->c);
    }
  }
  cn_free(work.block);
  return CN_OK;
}

static CnErr input_gradient(const Conv *v) {
  int64_t blocks = row_blocks(v->n, v->h), width = reach(v->w, 1, v->kw, v->dilation_w);
  Work work;
  CN_TRY(work_new(&work, v, reach(CN_CEIL_DIV(v->h, blocks), 1, v->kh, v->dilation_h), width, true));
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < v->n * blocks; piece++) {
    int64_t image = piece / blocks, begin, end;
    piece_range(v->h, blocks, piece % blocks, &begin, &end);
    Plane plane = { v->gy + image * v->oh * v->ow * v->c, v->oh, v->ow, v->c, v->stride_h, v->stride_w,
                    begin + v->pad_h - (v->kh - 1) * v->dilation_h, v->pad_w - (v->kw - 1) * v->dilation_w,
                    width, work.lanes, false, 0, work.planes + thread_index() * work.plane_count };
    for (int64_t row = begin; row < end; row++) {
      int64_t at = (image * v->h + row) * v->w * v->c;
      fill_until(&plane, row - begin + reach(1, 1, v->kh, v->dilation_h));
      convolve_row(v->w, work.taps, work.offset, work.weight, NULL, work.lanes,
                   plane.data + (row - begin) * width * work.lanes, work.lanes, v->gx + at, v->c);
      if (v->relu) mask_gradient(v->gx + at, v->x + at, v->w * v->c);
    }
  }
  cn_free(work.block);
  return CN_OK;
}

/* Partial sums belong to pieces: ranges of (image, block of rows), at most 48. */
static CnErr weight_gradient(const Conv *v) {
  int64_t blocks = row_blocks(v->n, v->oh), width = reach(v->ow, v->stride_w, v->kw, v->dilation_w);
  int64_t units = v->n * blocks, pieces = CN_MIN(units, 48);
  int slots = slot_count(v->c);
  int64_t count = v->kh * v->kw * slots * VLEN;
  Work work;
  CN_TRY(work_new(&work, v, reach(CN_CEIL_DIV(v->oh, blocks), v->stride_h, v->kh, v->dilation_h), width, false));
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
      int64_t image = unit / blocks, begin, end;
      piece_range(v->oh, blocks, unit % blocks, &begin, &end);
      Plane plane = { v->x + image * v->h * v->w * v->c, v->h, v->w, v->c, 1, 1, begin * v->stride_h - v->pad_h,
                      -v->pad_w, width, work.lanes, v->relu, 0, work.planes + thread_index() * work.plane_count };
      int64_t strip = CN_MAX(1, STRIP / v->ow);
      for (int64_t row = begin; row < end; row += strip) {
        int64_t rows = CN_MIN(strip, end - row), at = (row - begin) * v->stride_h;
        fill_until(&plane, at + reach(rows, v->stride_h, v->kh, v->dilation_h));
        for (int slot = 0; slot < slots; slot++) {
          int64_t c = slot_begin(v->c, slot);
          const REAL *x = plane.data + at * width * work.lanes + c;
          const REAL *g = v->gy + (image * v->oh + row) * v->ow * v->c + c;
          REAL *sum = partial + piece * count + slot * VLEN;
          if (v->c >= VLEN) gradient_slot(v, rows, x, width, work.lanes, g, VLEN, sum, slots * VLEN);
          else gradient_slot(v, rows, x, width, work.lanes, g, slot_lanes(v->c), sum, slots * VLEN);
        }
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
