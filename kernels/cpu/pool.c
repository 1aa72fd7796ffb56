/* pool.c - rows max_pool2d, avg_pool2d and global_avg_pool2d.
**
** A window is cut at the image's border, so padding is never read: it cannot win a maximum and is not counted in a mean.
** Forward looks along the taps of an output pixel, backward along the windows that hold an input pixel: both gather,
** nothing is written twice. Channels are vector lanes; max_pool2d keeps a byte for each output that says which tap won. */
#include "kernels/cpu/conv2d.h"

typedef struct Pool {
  int64_t n, h, w, c, oh, ow, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
} Pool;

static Pool pool_of(const CnCall *call, const CnTensor *y) {
  const CnAttr *attr = call->attr;
  const int64_t *x = call->in_spec[0].shape;
  return (Pool){ x[0], x[1], x[2], x[3], y->shape[1], y->shape[2],
                 attr[0].i, attr[1].i, attr[2].i, attr[3].i, attr[4].i, attr[5].i };
}

/* A half-open range. */
typedef struct Range {
  int64_t begin, end;
} Range;

/* Taps of output index `i` that are inside the image. */
static Range taps_inside(int64_t i, int64_t size, int64_t kernel, int64_t stride, int64_t pad) {
  int64_t first = i * stride - pad;
  return (Range){ CN_MAX(0, -first), CN_MIN(kernel, size - first) };
}

/* Output indices whose windows hold input index `i`. */
static Range windows_around(int64_t i, int64_t outputs, int64_t kernel, int64_t stride, int64_t pad) {
  int64_t below = i + pad - kernel + 1;
  return (Range){ below <= 0 ? 0 : CN_CEIL_DIV(below, stride), CN_MIN(outputs, (i + pad) / stride + 1) };
}

/* Integers as wide as REAL, in a vector: masks, and tap numbers to compare and choose. */
#if defined(CN_REAL_f32)
typedef int32_t LANE;
#else
typedef int64_t LANE;
#endif
typedef LANE VLANE __attribute__((vector_size(VBYTES)));
typedef uint8_t VBYTE __attribute__((vector_size(VBYTES / sizeof(REAL))));

CN_INLINE VREAL vchoose(VLANE mask, VREAL yes, VREAL no) {
  return (VREAL)((mask & (VLANE)yes) | (~mask & (VLANE)no));
}

CN_INLINE void store_bytes(uint8_t *p, VLANE v, int lanes) {
  VBYTE bytes = __builtin_convertvector(v, VBYTE);
  memcpy(p, &bytes, (size_t)lanes);
}

CN_INLINE VLANE load_bytes(const uint8_t *p, int lanes) {
  VBYTE bytes = { 0 };
  memcpy(&bytes, p, (size_t)lanes);
  return __builtin_convertvector(bytes, VLANE);
}

/* One output pixel, one slot; `x` is the pixel that tap (0,0) reads, inside or not. */
CN_INLINE void max_slot(const Pool *v, const REAL *x, Range down, Range right, REAL *y, uint8_t *index, int lanes) {
  VREAL best = vsplat(-(REAL)INFINITY);
  VLANE won = (VLANE){ 0 } + (LANE)(down.begin * v->kernel_w + right.begin);
  for (int64_t p = down.begin; p < down.end; p++)
    for (int64_t q = right.begin; q < right.end; q++) {
      VREAL value = vload_some(x + (p * v->w + q) * v->c, lanes);
      VLANE better = (value > best) | (value != value);
      best = vchoose(better, value, best);
      won = (better & (LANE)(p * v->kernel_w + q)) | (~better & won);
    }
  vstore_some(y, best, lanes);
  store_bytes(index, won, lanes);
}

CN_INLINE void mean_slot(const Pool *v, const REAL *x, Range down, Range right, REAL *y, int lanes) {
  VREAL sum = { 0 };
  for (int64_t p = down.begin; p < down.end; p++)
    for (int64_t q = right.begin; q < right.end; q++) sum += vload_some(x + (p * v->w + q) * v->c, lanes);
  vstore_some(y, sum / (REAL)((down.end - down.begin) * (right.end - right.begin)), lanes);
}

/* Every output pixel: a maximum where `index` is given, else a mean. */
static void pool_forward(const Pool *v, const REAL *x, REAL *y, uint8_t *index) {
  int slots = slot_count(v->c), lanes = slot_lanes(v->c);
  int64_t blocks = row_blocks(v->n, v->oh);
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < v->n * blocks; piece++) {
    int64_t n = piece / blocks, begin, end;
    piece_range(v->oh, blocks, piece % blocks, &begin, &end);
    for (int64_t i = begin; i < end; i++)
      for (int64_t j = 0; j < v->ow; j++) {
        Range down = taps_inside(i, v->h, v->kernel_h, v->stride_h, v->pad_h);
        Range right = taps_inside(j, v->w, v->kernel_w, v->stride_w, v->pad_w);
        int64_t from = ((n * v->h + i * v->stride_h - v->pad_h) * v->w + j * v->stride_w - v->pad_w) * v->c;
        int64_t to = ((n * v->oh + i) * v->ow + j) * v->c;
        for (int slot = 0; slot < slots; slot++) {
          int64_t c = slot_begin(v->c, slot);
          if (index == NULL) {
            if (lanes == VLEN) mean_slot(v, x + from + c, down, right, y + to + c, VLEN);
            else mean_slot(v, x + from + c, down, right, y + to + c, lanes);
          } else {
            if (lanes == VLEN) max_slot(v, x + from + c, down, right, y + to + c, index + to + c, VLEN);
            else max_slot(v, x + from + c, down, right, y + to + c, index + to + c, lanes);
          }
        }
      }
  }
}

/* One input pixel (i,j), one slot; gy and index point at the image's output pixel (0,0). */
CN_INLINE void max_gradient_slot(const Pool *v, int64_t i, int64_t j, Range down, Range right, const REAL *gy,
                                 const uint8_t *index, REAL *gx, int lanes) {
  VREAL sum = { 0 };
  for (int64_t p = down.begin; p < down.end; p++)
    for (int64_t q = right.begin; q < right.end; q++) {
      LANE tap = (LANE)((i + v->pad_h - p * v->stride_h) * v->kernel_w + j + v->pad_w - q * v->stride_w);
      int64_t at = (p * v->ow + q) * v->c;
      VLANE mine = load_bytes(index + at, lanes) == (VLANE){ 0 } + tap;
      sum += (VREAL)(mine & (VLANE)vload_some(gy + at, lanes));
    }
  vstore_some(gx, sum, lanes);
}

CN_INLINE void mean_gradient_slot(const Pool *v, Range down, Range right, const REAL *gy, REAL *gx, int lanes) {
  VREAL sum = { 0 };
  for (int64_t p = down.begin; p < down.end; p++) {
    Range tall = taps_inside(p, v->h, v->kernel_h, v->stride_h, v->pad_h);
    for (int64_t q = right.begin; q < right.end; q++) {
      Range wide = taps_inside(q, v->w, v->kernel_w, v->stride_w, v->pad_w);
      sum += vload_some(gy + (p * v->ow + q) * v->c, lanes) / (REAL)((tall.end - tall.begin) * (wide.end - wide.begin));
    }
  }
  vstore_some(gx, sum, lanes);
}

static void pool_backward(const Pool *v, const REAL *gy, const uint8_t *index, REAL *gx) {
  int slots = slot_count(v->c), lanes = slot_lanes(v->c);
  int64_t blocks = row_blocks(v->n, v->h);
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < v->n * blocks; piece++) {
    int64_t n = piece / blocks, begin, end, image = n * v->oh * v->ow * v->c;
    piece_range(v->h, blocks, piece % blocks, &begin, &end);
    for (int64_t i = begin; i < end; i++)
      for (int64_t j = 0; j < v->w; j++) {
        Range down = windows_around(i, v->oh, v->kernel_h, v->stride_h, v->pad_h);
        Range right = windows_around(j, v->ow, v->kernel_w, v->stride_w, v->pad_w);
        int64_t to = ((n * v->h + i) * v->w + j) * v->c;
        for (int slot = 0; slot < slots; slot++) {
          int64_t c = slot_begin(v->c, slot), from = image + c;
          if (index == NULL) {
            if (lanes == VLEN) mean_gradient_slot(v, down, right, gy + from, gx + to + c, VLEN);
            else mean_gradient_slot(v, down, right, gy + from, gx + to + c, lanes);
          } else {
            if (lanes == VLEN) max_gradient_slot(v, i, j, down, right, gy + from, index + from, gx + to + c, VLEN);
            else max_gradient_slot(v, i, j, down, right, gy + from, index + from, gx + to + c, lanes);
          }
        }
      }
  }
}

CnErr FN(max_pool2d_forward)(CnCall *call) {
  Pool v = pool_of(call, call->out[0]);
  pool_forward(&v, DATA(REAL, call->in[0]), DATA(REAL, call->out[0]), DATA(uint8_t, call->out[1]));
  return CN_OK;
}

CnErr FN(max_pool2d_backward)(CnCall *call) {
  Pool v = pool_of(call, call->gout[0]);
  if (call->gin[0] != NULL)
    pool_backward(&v, DATA(REAL, call->gout[0]), DATA(uint8_t, call->out[1]), DATA(REAL, call->gin[0]));
  return CN_OK;
}

CnErr FN(avg_pool2d_forward)(CnCall *call) {
  Pool v = pool_of(call, call->out[0]);
  pool_forward(&v, DATA(REAL, call->in[0]), DATA(REAL, call->out[0]), NULL);
  return CN_OK;
}

CnErr FN(avg_pool2d_backward)(CnCall *call) {
  Pool v = pool_of(call, call->gout[0]);
  if (call->gin[0] != NULL) pool_backward(&v, DATA(REAL, call->gout[0]), NULL, DATA(REAL, call->gin[0]));
  return CN_OK;
}

/* Sums of a channel: each row of the image in REAL, rows in f64. */
CnErr FN(global_avg_pool2d_forward)(CnCall *call) {
  const int64_t *shape = call->in_spec[0].shape;
  int64_t h = shape[1], w = shape[2], c = shape[3];
  const REAL *x = DATA(REAL, call->in[0]);
  REAL *y = DATA(REAL, call->out[0]);
  int lanes = slot_lanes(c);
  CN_PARALLEL_FOR
  for (int64_t n = 0; n < shape[0]; n++)
    for (int slot = 0; slot < slot_count(c); slot++) {
      int64_t begin = slot_begin(c, slot);
      double total[VBYTES / sizeof(REAL)] = { 0 };
      for (int64_t i = 0; i < h; i++) {
        VREAL sum = { 0 };
        const REAL *row = x + (n * h + i) * w * c + begin;
        for (int64_t j = 0; j < w; j++) sum += vload_some(row + j * c, lanes);
        for (int k = 0; k < VLEN; k++) total[k] += (double)sum[k];
      }
      for (int k = 0; k < lanes; k++) y[n * c + begin + k] = (REAL)(total[k] / (double)(h * w));
    }
  return CN_OK;
}

CnErr FN(global_avg_pool2d_backward)(CnCall *call) {
  const int64_t *shape = call->in_spec[0].shape;
  int64_t pixels = shape[1] * shape[2], c = shape[3];
  if (call->gin[0] == NULL) return CN_OK;
  const REAL *gy = DATA(REAL, call->gout[0]);
  REAL *gx = DATA(REAL, call->gin[0]);
  CN_PARALLEL_FOR
  for (int64_t n = 0; n < shape[0]; n++) {
    REAL *to = gx + n * pixels * c;
    if (pixels == 0) continue;
    for (int64_t j = 0; j < c; j++) to[j] = gy[n * c + j] / (REAL)pixels;
    for (int64_t p = 1; p < pixels; p++) memcpy(to + p * c, to, (size_t)c * sizeof(REAL));
  }
  return CN_OK;
}
