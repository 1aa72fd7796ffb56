/* depthwise.c - the loops of depthwise convolution: see depthwise.h.
**
** A block of PIXELS outputs stays in registers while the kernel goes by, row by row: a row's weights are in registers
** too, and each pixel that the row covers is loaded once and used by all the taps that meet it. For that the number of
** columns, the stride and the dilation are constants, for the usual ones of each; others go by one tap at a time. */
#include "kernels/cpu/depthwise.h"

#define PIXELS 8
#define MAX_COLUMNS 7
#define GRADIENT_PIXELS 4
#define TAP_RUN 5 /* taps of a kernel row whose gradients are held in registers, twice */

/* ---- planes ---- */

void FN(plane_fill)(Plane *p, const Reader *r, const STORED *image, int64_t until) {
  int64_t count = CN_MIN(p->w, p->origin_w + p->width), y = CN_MAX(p->filled, 0);
  until = CN_MIN(until, CN_MIN(p->h, p->origin_h + p->height));
  if (count > 0 && y < until)
    FN(read_rows)(r, image + y * p->w * r->channels, p->w * r->channels, until - y, count, plane_row(p, y),
                  p->width * p->lanes, p->lanes);
  p->filled = CN_MAX(p->filled, until);
}

Plane FN(plane_of_input)(const Depthwise *k, int64_t h, int64_t w, int64_t lanes, int64_t begin, int64_t end,
                         int64_t ow) {
  return (Plane){ .h = h, .w = w, .origin_h = begin * k->stride_h - k->pad_h, .origin_w = -k->pad_w,
                  .height = reach(end - begin, k->stride_h, k->kh, k->dilation_h),
                  .width = reach(ow, k->stride_w, k->kw, k->dilation_w), .lanes = lanes };
}

Plane FN(plane_of_gradient)(const Depthwise *k, int64_t oh, int64_t ow, int64_t lanes, int64_t first, int64_t last,
                            int64_t begin, int64_t end, int64_t w) {
  int64_t top = CN_MIN(first, floor_div(begin + k->pad_h - (k->kh - 1) * k->dilation_h, k->stride_h));
  int64_t bottom = CN_MAX(last, floor_div(end - 1 + k->pad_h, k->stride_h) + 1);
  int64_t left = CN_MIN(0, floor_div(k->pad_w - (k->kw - 1) * k->dilation_w, k->stride_w));
  int64_t right = CN_MAX(ow, floor_div(w - 1 + k->pad_w, k->stride_w) + 1);
  return (Plane){ .h = oh, .w = ow, .origin_h = top, .origin_w = left, .height = bottom - top, .width = right - left,
                  .lanes = lanes };
}

/* ---- convolution ---- */

/* One row of outputs to be made: what the routines below share. Steps are in elements: from kernel row to row and tap
** to tap in the plane, from kernel row to row and tap to tap in the weights, from output to output in both. */
typedef struct Row {
  int64_t kh, kw, row_step, tap_step, weight_row, weight_step, from_step, to_step, lanes;
} Row;

/* Kernel rows whose weights stay in registers along a row of outputs. */
#if defined(__AVX512F__)
#define KEPT_ROWS 3
#else
#define KEPT_ROWS 0
#endif

CN_INLINE void load_row(int columns, const Row *r, const REAL *weight, VREAL *w) {
  CN_UNROLL(8) for (int q = 0; q < columns; q++) w[q] = VLOAD(weight + q * r->weight_step);
}

/* What one kernel row adds to `count` outputs; all ints are constants. */
CN_INLINE void add_row(int count, int columns, int stride, int dilation, const Row *r, const REAL *from,
                       const VREAL *w, VREAL *sum) {
  CN_UNROLL(32) for (int j = 0; j <= (count - 1) * stride + (columns - 1) * dilation; j++) {
    VREAL x = VLOAD(from);
    HOLD_VECTOR(x);
    from += r->lanes;
    HOLD(from);
    CN_UNROLL(8) for (int q = 0; q < columns; q++) {
      int i = (j - q * dilation) / stride;
      if (j >= q * dilation && i < count && i * stride == j - q * dilation) sum[i] += w[q] * x;
    }
  }
}

/* `count` outputs; kept is NULL, or the weights of KEPT_ROWS rows, which are all. */
CN_INLINE void convolve_pixels(int count, int columns, int stride, int dilation, const Row *r, const REAL *from,
                               const REAL *weight, VREAL (*kept)[MAX_COLUMNS], VREAL start, REAL *to) {
  VREAL sum[PIXELS];
  CN_UNROLL(8) for (int i = 0; i < count; i++) sum[i] = start;
  if (kept != NULL) {
    CN_UNROLL(4) for (int p = 0; p < KEPT_ROWS; p++)
      add_row(count, columns, stride, dilation, r, from + p * r->row_step, kept[p], sum);
  } else {
    for (int64_t p = 0; p < r->kh; p++, from += r->row_step, weight += r->weight_row) {
      VREAL w[MAX_COLUMNS];
      load_row(columns, r, weight, w);
      add_row(count, columns, stride, dilation, r, from, w, sum);
    }
  }
  CN_UNROLL(8) for (int i = 0; i < count; i++) VSTORE(to + i * r->to_step, sum[i]);
}

/* Outputs 0 … width-1 of a row. `keep`: the kernel has KEPT_ROWS rows. */
CN_INLINE void convolve_row(bool keep, int columns, int stride, int dilation, const Row *row, int64_t width,
                            const REAL *from, const REAL *weight, VREAL start, REAL *to, const char *ahead) {
  const Row r = *row; /* not what the stores below might change */
  VREAL kept[KEPT_ROWS + 1][MAX_COLUMNS], (*rows)[MAX_COLUMNS] = keep ? kept : NULL;
  CN_UNROLL(4) for (int p = 0; keep && p < KEPT_ROWS; p++) load_row(columns, &r, weight + p * r.weight_row, kept[p]);
  int64_t x = 0;
  for (; x + PIXELS <= width; x += PIXELS, from += PIXELS * r.from_step, to += PIXELS * r.to_step) {
    if (ahead != NULL) CN_UNROLL(8) for (int i = 0; i < PIXELS; i++) ahead = ahead_ask(ahead);
    convolve_pixels(PIXELS, columns, stride, dilation, &r, from, weight, rows, start, to);
  }
  for (; x + 4 <= width; x += 4, from += 4 * r.from_step, to += 4 * r.to_step)
    convolve_pixels(4, columns, stride, dilation, &r, from, weight, rows, start, to);
  for (; x < width; x++, from += r.from_step, to += r.to_step)
    convolve_pixels(1, columns, stride, dilation, &r, from, weight, rows, start, to);
}

/* Any kernel; `stored` lanes of each output. */
CN_INLINE void any_pixels(int count, const Row *r, const REAL *from, const REAL *weight, VREAL start, REAL *to,
                          int stored) {
  VREAL sum[PIXELS];
  CN_UNROLL(8) for (int i = 0; i < count; i++) sum[i] = start;
  for (int64_t p = 0; p < r->kh; p++)
    for (int64_t q = 0; q < r->kw; q++) {
      const REAL *x = from + p * r->row_step + q * r->tap_step;
      VREAL w = VLOAD(weight + p * r->weight_row + q * r->weight_step);
      CN_UNROLL(8) for (int i = 0; i < count; i++) sum[i] += w * VLOAD(x + i * r->from_step);
    }
  CN_UNROLL(8) for (int i = 0; i < count; i++) vstore_some(to + i * r->to_step, sum[i], stored);
}

static void any_row(const Row *r, int64_t width, const REAL *from, const REAL *weight, VREAL start, REAL *to,
                    int stored) {
  int64_t x = 0;
  for (; x + PIXELS <= width; x += PIXELS)
    any_pixels(PIXELS, r, from + x * r->from_step, weight, start, to + x * r->to_step, stored);
  for (; x < width; x++) any_pixels(1, r, from + x * r->from_step, weight, start, to + x * r->to_step, stored);
}

/* The kernels that have their own code: rows (3 or any), columns, stride, dilation. */
#define ROW_KERNELS(K) \
  K(3, 3, 1, 1) K(3, 3, 1, 2) K(3, 3, 2, 1) K(3, 3, 2, 2) K(0, 5, 1, 1) K(0, 5, 1, 2) K(0, 5, 2, 1) K(0, 5, 2, 2) \
  K(0, 1, 1, 1) K(0, 2, 1, 1) K(0, 3, 1, 1) K(0, 7, 1, 1)

typedef void RowKernel(const Row *r, int64_t width, const REAL *from, const REAL *weight, VREAL start, REAL *to,
                       const char *ahead);

#define DEFINE(rows, columns, stride, dilation)                                                                   \
  static void row_##rows##columns##stride##dilation(const Row *r, int64_t width, const REAL *from,                \
                                                    const REAL *weight, VREAL start, REAL *to,                    \
                                                    const char *ahead) {                                          \
    convolve_row(KEPT_ROWS > 0 && rows == KEPT_ROWS, columns, stride, dilation, r, width, from, weight, start, to, \
                 ahead);                                                                                          \
  }
ROW_KERNELS(DEFINE)
#undef DEFINE

/* NULL: there is none. */
static RowKernel *row_kernel(const Depthwise *k) {
#define CHOOSE(rows, columns, stride, dilation)                                    \
  if ((rows == 0 || k->kh == rows) && k->kw == columns && k->stride_w == stride && \
      (k->dilation_w == dilation || columns == 1))                                 \
    return row_##rows##columns##stride##dilation;
  ROW_KERNELS(CHOOSE)
#undef CHOOSE
  return NULL;
}

/* `rows` rows of outputs, the first from `from` on. */
static void convolve(const Depthwise *k, const Plane *plane, int64_t channels, const REAL *bias, const REAL *from,
                     int64_t rows, int64_t width, REAL *to, int64_t to_row, int64_t to_step) {
  int64_t pitch = plane->width * plane->lanes;
  Row r = { k->kh, k->kw, k->dilation_h * pitch, k->dilation_w * plane->lanes, k->weight_row, k->weight_step,
            k->stride_w * plane->lanes, to_step, plane->lanes };
  RowKernel *kernel = row_kernel(k);
  for (int slot = 0; slot < slot_count(channels); slot++) {
    int64_t c = slot_begin(channels, slot);
    int stored = slot_lanes(channels);
    VREAL start = bias != NULL ? vload_some(bias + c, stored) : (VREAL){ 0 };
    for (int64_t i = 0; i < rows; i++) {
      const REAL *x = from + i * k->stride_h * pitch + c;
      if (stored < VLEN) any_row(&r, width, x, k->weight, start, to + i * to_row, stored);
      else if (kernel != NULL) kernel(&r, width, x, k->weight + c, start, to + i * to_row + c, ahead_take(k->ahead, width));
      else any_row(&r, width, x, k->weight + c, start, to + i * to_row + c, VLEN);
    }
  }
}

void FN(depthwise_rows)(const Depthwise *k, const Plane *plane, int64_t channels, const REAL *bias, int64_t first,
                        int64_t rows, int64_t width, REAL *to, int64_t to_row, int64_t to_step) {
  int64_t y = first * k->stride_h - k->pad_h - plane->origin_h, x = -k->pad_w - plane->origin_w;
  convolve(k, plane, channels, bias, plane->data + (y * plane->width + x) * plane->lanes, rows, width, to, to_row,
           to_step);
}

/* ---- gradient by the input ---- */

/* Along one axis: input i with (i + pad) % stride == phase gets its gradient from outputs (i + pad) / stride + low +
** m * dilation, m = 0 … taps-1, through taps last - m * step. */
typedef struct Phase {
  int64_t taps, last, step, low, dilation;
} Phase;

static Phase phase_of(int64_t phase, int64_t kernel, int64_t stride, int64_t dilation) {
  Phase f = { 0, 0, 1, 0, 1 };
  int64_t step = stride, rest = dilation;
  while (rest != 0) {
    int64_t next = step % rest;
    step = rest;
    rest = next;
  }
  step = stride / step; /* stride over the greatest common divisor */
  for (int64_t p = 0; p < kernel; p++)
    if ((phase - p * dilation) % stride == 0) {
      f.taps++;
      f.last = p;
    }
  f.step = step;
  f.dilation = step * dilation / stride;
  f.low = floor_div(phase - f.last * dilation, stride);
  return f;
}

/* Inputs `first`, first + stride … of an axis are of one phase; the gradient's pixel where the first of them begins. */
static int64_t phase_begin(int64_t first, int64_t pad, int64_t kernel, int64_t stride, int64_t dilation, Phase *f) {
  *f = phase_of((first + pad) % stride, kernel, stride, dilation);
  return (first + pad) / stride + f->low;
}

void FN(depthwise_turned_rows)(const Depthwise *k, const Plane *gradient, int64_t channels, int64_t first, int64_t rows,
                               int64_t width, REAL *to, int64_t to_row, int64_t to_step) {
  for (int64_t i = 0; i < CN_MIN(k->stride_h, rows); i++)
    for (int64_t j = 0; j < CN_MIN(k->stride_w, width); j++) {
      Phase down, along;
      int64_t y = phase_begin(first + i, k->pad_h, k->kh, k->stride_h, k->dilation_h, &down) - gradient->origin_h;
      int64_t x = phase_begin(j, k->pad_w, k->kw, k->stride_w, k->dilation_w, &along) - gradient->origin_w;
      Depthwise part = { .kh = down.taps, .kw = along.taps, .stride_h = 1, .stride_w = 1,
                         .dilation_h = down.dilation, .dilation_w = along.dilation,
                         .weight = k->weight + down.last * k->weight_row + along.last * k->weight_step,
                         .weight_row = -down.step * k->weight_row, .weight_step = -along.step * k->weight_step,
                         .ahead = k->ahead };
      if (down.taps == 0 || along.taps == 0) part.kh = part.kw = y = x = 0; /* no output read these pixels */
      convolve(&part, gradient, channels, NULL, gradient->data + (y * gradient->width + x) * gradient->lanes,
               CN_CEIL_DIV(rows - i, k->stride_h), CN_CEIL_DIV(width - j, k->stride_w), to + i * to_row + j * to_step,
               k->stride_h * to_row, k->stride_w * to_step);
    }
}

/* ---- gradient by the weights ---- */

/* What the routines below share: steps in elements from output row to row and output to output, from kernel row to row
** and tap to tap. */
typedef struct Strip {
  int64_t rows, width, x_row, x_step, row_step, tap_step, g_row, g_step, lanes, sum_row, sum_step;
} Strip;

/* Outputs i … i+count-1 of one row into the sums of `kernel_rows` rows of the kernel, all constants but `x` and `g`. */
CN_INLINE void weigh_pixels(int count, int kernel_rows, int columns, int stride, int dilation, const Strip *s,
                            const REAL *x, const REAL *g, VREAL sum[][MAX_COLUMNS]) {
  VREAL weight[GRADIENT_PIXELS];
  CN_UNROLL(4) for (int i = 0; i < count; i++) {
    weight[i] = VLOAD(g + i * s->g_step);
    HOLD_VECTOR(weight[i]);
  }
  CN_UNROLL(4) for (int p = 0; p < kernel_rows; p++) {
    const REAL *at = x + p * s->row_step;
    CN_UNROLL(32) for (int j = 0; j <= (count - 1) * stride + (columns - 1) * dilation; j++) {
      VREAL from = VLOAD(at);
      HOLD_VECTOR(from);
      at += s->lanes;
      HOLD(at);
      CN_UNROLL(8) for (int q = 0; q < columns; q++) {
        int i = (j - q * dilation) / stride;
        if (j >= q * dilation && i < count && i * stride == j - q * dilation) sum[p][q] += weight[i] * from;
      }
    }
  }
}

CN_INLINE void weigh_strip(int kernel_rows, int columns, int stride, int dilation, const Strip *s, const REAL *x,
                           const REAL *g, REAL *total) {
  VREAL sum[4][MAX_COLUMNS];
  CN_UNROLL(4) for (int p = 0; p < kernel_rows; p++)
    CN_UNROLL(8) for (int q = 0; q < columns; q++) sum[p][q] = (VREAL){ 0 };
  for (int64_t row = 0; row < s->rows; row++, x += s->x_row, g += s->g_row) {
    int64_t i = 0;
    for (; i + GRADIENT_PIXELS <= s->width; i += GRADIENT_PIXELS)
      weigh_pixels(GRADIENT_PIXELS, kernel_rows, columns, stride, dilation, s, x + i * s->x_step, g + i * s->g_step,
                   sum);
    for (; i < s->width; i++)
      weigh_pixels(1, kernel_rows, columns, stride, dilation, s, x + i * s->x_step, g + i * s->g_step, sum);
  }
  CN_UNROLL(4) for (int p = 0; p < kernel_rows; p++)
    CN_UNROLL(8) for (int q = 0; q < columns; q++) {
      REAL *to = total + p * s->sum_row + q * s->sum_step;
      VSTORE(to, VLOAD(to) + sum[p][q]);
    }
}

/* sum[t] += g[i] * x[i + t] for `taps` neighbouring taps of a kernel row; `read` lanes of g. */
CN_INLINE void any_run(int taps, const Strip *s, const REAL *x, const REAL *g, int read, REAL *sum) {
  VREAL even[TAP_RUN], odd[TAP_RUN];
  CN_UNROLL(8) for (int t = 0; t < taps; t++) even[t] = odd[t] = (VREAL){ 0 };
  for (int64_t row = 0; row < s->rows; row++, x += s->x_row, g += s->g_row) {
    const REAL *tap[TAP_RUN];
    CN_UNROLL(8) for (int t = 0; t < taps; t++) tap[t] = x + t * s->tap_step;
    int64_t i = 0;
    for (; i + 2 <= s->width; i += 2) {
      VREAL first = vload_some(g + i * s->g_step, read), second = vload_some(g + (i + 1) * s->g_step, read);
      CN_UNROLL(8) for (int t = 0; t < taps; t++) {
        even[t] += first * VLOAD(tap[t] + i * s->x_step);
        odd[t] += second * VLOAD(tap[t] + (i + 1) * s->x_step);
      }
    }
    if (i < s->width) {
      VREAL first = vload_some(g + i * s->g_step, read);
      CN_UNROLL(8) for (int t = 0; t < taps; t++) even[t] += first * VLOAD(tap[t] + i * s->x_step);
    }
  }
  CN_UNROLL(8) for (int t = 0; t < taps; t++) {
    REAL *to = sum + t * s->sum_step;
    VSTORE(to, VLOAD(to) + even[t] + odd[t]);
  }
}

CN_INLINE void any_strip(const Depthwise *k, const Strip *s, const REAL *x, const REAL *g, int read, REAL *sum) {
  for (int64_t p = 0; p < k->kh; p++)
    for (int64_t q = 0; q < k->kw; q += TAP_RUN) {
      const REAL *from = x + p * s->row_step + q * s->tap_step;
      REAL *to = sum + p * s->sum_row + q * s->sum_step;
      switch (CN_MIN((int64_t)TAP_RUN, k->kw - q)) {
      case 1: any_run(1, s, from, g, read, to); break;
      case 2: any_run(2, s, from, g, read, to); break;
      case 3: any_run(3, s, from, g, read, to); break;
      case 4: any_run(4, s, from, g, read, to); break;
      default: any_run(5, s, from, g, read, to); break;
      }
    }
}

/* The kernels that have their own code: as many kernel rows at a time as there are registers for. */
#if defined(__AVX512F__)
#define ROWS_OF_5 3
#else
#define ROWS_OF_5 2
#endif
/* columns, stride, dilation, kernel rows at a time */
#define STRIP_KERNELS(K) \
  K(3, 1, 1, 3) K(3, 1, 2, 3) K(3, 2, 1, 3) K(3, 2, 2, 3) K(5, 1, 1, ROWS_OF_5) K(5, 1, 2, ROWS_OF_5) \
  K(5, 2, 1, ROWS_OF_5) K(5, 2, 2, ROWS_OF_5)

typedef void StripKernel(int64_t kernel_rows, const Strip *s, const REAL *x, const REAL *g, REAL *sum);

#define DEFINE(columns, stride, dilation, most)                                                                \
  static void strip_##columns##stride##dilation(int64_t kernel_rows, const Strip *s, const REAL *x,            \
                                                const REAL *g, REAL *sum) {                                    \
    int64_t p = 0;                                                                                             \
    for (; p + most <= kernel_rows; p += most)                                                                 \
      weigh_strip(most, columns, stride, dilation, s, x + p * s->row_step, g, sum + p * s->sum_row);           \
    if (most > 2 && p + 2 <= kernel_rows) {                                                                    \
      weigh_strip(2, columns, stride, dilation, s, x + p * s->row_step, g, sum + p * s->sum_row);              \
      p += 2;                                                                                                  \
    }                                                                                                          \
    for (; p < kernel_rows; p++)                                                                               \
      weigh_strip(1, columns, stride, dilation, s, x + p * s->row_step, g, sum + p * s->sum_row);              \
  }
STRIP_KERNELS(DEFINE)
#undef DEFINE

/* NULL: there is none. */
static StripKernel *strip_kernel(const Depthwise *k) {
#define CHOOSE(columns, stride, dilation, most)                                         \
  if (k->kw == columns && k->stride_w == stride && k->dilation_w == dilation)           \
    return strip_##columns##stride##dilation;
  STRIP_KERNELS(CHOOSE)
#undef CHOOSE
  return NULL;
}

void FN(depthwise_weight_gradient)(const Depthwise *k, const Plane *plane, int64_t channels, int64_t first,
                                   int64_t rows, int64_t width, const REAL *g, int64_t g_row, int64_t g_step,
                                   REAL *sum) {
  int64_t pitch = plane->width * plane->lanes, slots = slot_count(channels);
  Strip s = { rows, width, k->stride_h * pitch, k->stride_w * plane->lanes, k->dilation_h * pitch,
              k->dilation_w * plane->lanes, g_row, g_step, plane->lanes, k->kw * slots * VLEN, slots * VLEN };
  int64_t y = first * k->stride_h - k->pad_h - plane->origin_h, left = -k->pad_w - plane->origin_w;
  const REAL *x = plane->data + (y * plane->width + left) * plane->lanes;
  StripKernel *kernel = strip_kernel(k);
  for (int slot = 0; slot < slots; slot++) {
    int64_t c = slot_begin(channels, slot);
    if (channels < VLEN) any_strip(k, &s, x, g, slot_lanes(channels), sum);
    else if (kernel != NULL) kernel(k->kh, &s, x + c, g + c, sum + slot * VLEN);
    else any_strip(k, &s, x + c, g + c, VLEN, sum + slot * VLEN);
  }
}
