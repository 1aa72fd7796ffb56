/* pool.c - rows max_pool2d, avg_pool2d and global_avg_pool2d.
**
** A window is cut at the image's border, so padding is never read: it cannot win a maximum and is not counted in a
** mean. Forward looks along the taps of an output pixel, backward along the windows that hold an input pixel: both
** gather, nothing is written twice. Channels are vector lanes; max_pool2d keeps a byte for each output that says which
** tap won. */
#include "kernels/cpu/conv2d.h"

/* A half-open range of taps, or of windows. */
typedef struct Range {
  int64_t begin, end;
} Range;

typedef struct Pool {
  int64_t n, h, w, c, oh, ow, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  Range *down, *right;               /* by output row and column: taps inside the image */
  Range *down_around, *right_around; /* by input row and column: windows that hold it */
  void *block;
} Pool;

static int64_t length(Range r) { return r.end - r.begin; }

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

/* The caller frees out->block. */
static CnErr pool_new(Pool *out, const CnCall *call, const CnTensor *y) {
  const CnAttr *attr = call->attr;
  const int64_t *x = call->in_spec[0].shape;
  Pool v = { .n = x[0], .h = x[1], .w = x[2], .c = x[3], .oh = y->shape[1], .ow = y->shape[2],
             .kernel_h = attr[0].i, .kernel_w = attr[1].i, .stride_h = attr[2].i, .stride_w = attr[3].i,
             .pad_h = attr[4].i, .pad_w = attr[5].i };
  v.block = cn_alloc((size_t)(v.oh + v.ow + v.h + v.w) * sizeof(Range));
  if (v.block == NULL) return CN_EMEMORY;
  v.down = v.block;
  v.right = v.down + v.oh;
  v.down_around = v.right + v.ow;
  v.right_around = v.down_around + v.h;
  for (int64_t i = 0; i < v.oh; i++) v.down[i] = taps_inside(i, v.h, v.kernel_h, v.stride_h, v.pad_h);
  for (int64_t j = 0; j < v.ow; j++) v.right[j] = taps_inside(j, v.w, v.kernel_w, v.stride_w, v.pad_w);
  for (int64_t i = 0; i < v.h; i++) v.down_around[i] = windows_around(i, v.oh, v.kernel_h, v.stride_h, v.pad_h);
  for (int64_t j = 0; j < v.w; j++) v.right_around[j] = windows_around(j, v.ow, v.kernel_w, v.stride_w, v.pad_w);
  *out = v;
  return CN_OK;
}

/* Integers as wide as REAL, in a vector: masks, and tap numbers to compare and choose. Bytes are widened step by step,
** which compilers turn into a few instructions; a single conversion goes lane by lane. */
#define LANES_OF(type) type __attribute__((vector_size(sizeof(type) * (VBYTES / sizeof(REAL)))))
typedef LANES_OF(uint8_t) VBYTE;
typedef LANES_OF(uint16_t) VHALF;
typedef LANES_OF(int32_t) VWORD;
#if defined(CN_REAL_f32)
typedef int32_t LANE;
typedef VWORD VLANE;
#else
typedef int64_t LANE;
typedef LANES_OF(int64_t) VLANE;
#endif

CN_INLINE void store_bytes(uint8_t *p, VLANE v, int lanes) {
#if defined(__AVX512F__)
  VBYTE bytes = __builtin_convertvector(v, VBYTE);
#else
  VBYTE bytes = __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(v, VWORD), VHALF), VBYTE);
#endif
  memcpy(p, &bytes, (size_t)lanes);
}

CN_INLINE VLANE load_bytes(const uint8_t *p, int lanes) {
  VBYTE bytes = { 0 };
  memcpy(&bytes, p, (size_t)lanes);
  return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(bytes, VHALF), VWORD), VLANE);
}

/* The slots below see `rows` by `columns` neighbouring pixels from x on; `tap` is the number of the first. */
CN_INLINE void max_slot(const Pool *v, const REAL *x, int64_t rows, int64_t columns, int64_t tap, REAL *y,
                        uint8_t *index, int lanes) {
  VREAL best = vsplat(-(REAL)INFINITY);
  VLANE won = (VLANE){ 0 } + (LANE)tap;
  CN_UNROLL(3) for (int64_t p = 0; p < rows; p++)
    CN_UNROLL(3) for (int64_t q = 0; q < columns; q++) {
      VREAL value = vload_some(x + (p * v->w + q) * v->c, lanes);
      VLANE better = (value > best) | (value != value);
      best = (VREAL)((better & (VLANE)value) | (~better & (VLANE)best));
      won = (better & (LANE)(tap + p * v->kernel_w + q)) | (~better & won);
    }
  vstore_some(y, best, lanes);
  store_bytes(index, won, lanes);
}

CN_INLINE void mean_slot(const Pool *v, const REAL *x, int64_t rows, int64_t columns, REAL *y, int lanes) {
  VREAL sum = { 0 };
  CN_UNROLL(3) for (int64_t p = 0; p < rows; p++)
    CN_UNROLL(3) for (int64_t q = 0; q < columns; q++) sum += vload_some(x + (p * v->w + q) * v->c, lanes);
  vstore_some(y, sum / (REAL)(rows * columns), lanes);
}

/* `slot(rows, columns, lanes)` with these as constants where that pays: whole 3x3 windows, whole vectors. */
#define CALL_SLOT(slot, rows, columns, lanes)                              \
  do {                                                                     \
    if (lanes < VLEN) slot(rows, columns, lanes);                          \
    else if (rows == 3 && columns == 3) slot(3, 3, VLEN);                  \
    else slot(rows, columns, VLEN);                                        \
  } while (0)

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
        Range down = v->down[i], right = v->right[j];
        int64_t rows = length(down), columns = length(right), tap = down.begin * v->kernel_w + right.begin;
        int64_t top = i * v->stride_h - v->pad_h + down.begin, left = j * v->stride_w - v->pad_w + right.begin;
        const REAL *from = x + ((n * v->h + top) * v->w + left) * v->c;
        int64_t to = ((n * v->oh + i) * v->ow + j) * v->c;
        for (int slot = 0; slot < slots; slot++) {
          int64_t c = slot_begin(v->c, slot);
#define MAX_SLOT(tall, wide, some) max_slot(v, from + c, tall, wide, tap, y + to + c, index + to + c, some)
#define MEAN_SLOT(tall, wide, some) mean_slot(v, from + c, tall, wide, y + to + c, some)
          if (index != NULL) CALL_SLOT(MAX_SLOT, rows, columns, lanes);
          else CALL_SLOT(MEAN_SLOT, rows, columns, lanes);
        }
      }
  }
}

/* One input pixel: `rows` by `columns` windows hold it, the first of which sees it as tap number `tap`. */
CN_INLINE void max_gradient_slot(const Pool *v, const REAL *gy, const uint8_t *index, int64_t rows, int64_t columns,
                                 int64_t tap, REAL *gx, int lanes) {
  VREAL sum = { 0 };
  CN_UNROLL(3) for (int64_t p = 0; p < rows; p++)
    CN_UNROLL(3) for (int64_t q = 0; q < columns; q++) {
      int64_t at = (p * v->ow + q) * v->c;
      VLANE number = (VLANE){ 0 } + (LANE)(tap - p * v->stride_h * v->kernel_w - q * v->stride_w);
      VLANE mine = load_bytes(index + at, lanes) == number;
      sum += (VREAL)(mine & (VLANE)vload_some(gy + at, lanes));
    }
  vstore_some(gx, sum, lanes);
}

/* `share` holds one over the number of taps of each window. */
CN_INLINE void mean_gradient_slot(const Pool *v, const REAL *gy, const REAL *share, int64_t rows, int64_t columns,
                                  REAL *gx, int lanes) {
  VREAL sum = { 0 };
  CN_UNROLL(3) for (int64_t p = 0; p < rows; p++)
    CN_UNROLL(3) for (int64_t q = 0; q < columns; q++)
      sum += vload_some(gy + (p * v->ow + q) * v->c, lanes) * share[p * v->ow + q];
  vstore_some(gx, sum, lanes);
}

/* Every input pixel: of a maximum where `index` is given, else of a mean with these shares (oh,ow). */
static void pool_backward(const Pool *v, const REAL *gy, const uint8_t *index, const REAL *share, REAL *gx) {
  int slots = slot_count(v->c), lanes = slot_lanes(v->c);
  int64_t blocks = row_blocks(v->n, v->h);
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < v->n * blocks; piece++) {
    int64_t n = piece / blocks, begin, end;
    piece_range(v->h, blocks, piece % blocks, &begin, &end);
    for (int64_t i = begin; i < end; i++)
      for (int64_t j = 0; j < v->w; j++) {
        Range down = v->down_around[i], right = v->right_around[j];
        int64_t rows = length(down), columns = length(right), window = down.begin * v->ow + right.begin;
        int64_t p = i + v->pad_h - down.begin * v->stride_h, q = j + v->pad_w - right.begin * v->stride_w;
        int64_t tap = p * v->kernel_w + q;
        int64_t from = (n * v->oh * v->ow + window) * v->c, to = ((n * v->h + i) * v->w + j) * v->c;
        for (int slot = 0; slot < slots; slot++) {
          int64_t c = slot_begin(v->c, slot);
#define MAX_GRADIENT(tall, wide, some) \
  max_gradient_slot(v, gy + from + c, index + from + c, tall, wide, tap, gx + to + c, some)
#define MEAN_GRADIENT(tall, wide, some) \
  mean_gradient_slot(v, gy + from + c, share + window, tall, wide, gx + to + c, some)
          if (index != NULL) CALL_SLOT(MAX_GRADIENT, rows, columns, lanes);
          else CALL_SLOT(MEAN_GRADIENT, rows, columns, lanes);
        }
      }
  }
}

CnErr FN(max_pool2d_forward)(CnCall *call) {
  Pool v;
  CN_TRY(pool_new(&v, call, call->out[0]));
  pool_forward(&v, DATA(REAL, call->in[0]), DATA(REAL, call->out[0]), DATA(uint8_t, call->out[1]));
  cn_free(v.block);
  return CN_OK;
}

CnErr FN(max_pool2d_backward)(CnCall *call) {
  Pool v;
  if (call->gin[0] == NULL) return CN_OK;
  CN_TRY(pool_new(&v, call, call->gout[0]));
  pool_backward(&v, DATA(REAL, call->gout[0]), DATA(uint8_t, call->out[1]), NULL, DATA(REAL, call->gin[0]));
  cn_free(v.block);
  return CN_OK;
}

CnErr FN(avg_pool2d_forward)(CnCall *call) {
  Pool v;
  CN_TRY(pool_new(&v, call, call->out[0]));
  pool_forward(&v, DATA(REAL, call->in[0]), DATA(REAL, call->out[0]), NULL);
  cn_free(v.block);
  return CN_OK;
}

CnErr FN(avg_pool2d_backward)(CnCall *call) {
  Pool v;
  if (call->gin[0] == NULL) return CN_OK;
  CN_TRY(pool_new(&v, call, call->gout[0]));
  REAL *share = cn_alloc((size_t)(v.oh * v.ow) * sizeof(REAL));
  if (share != NULL) {
    for (int64_t p = 0; p < v.oh; p++)
      for (int64_t q = 0; q < v.ow; q++) share[p * v.ow + q] = 1 / (REAL)(length(v.down[p]) * length(v.right[q]));
    pool_backward(&v, DATA(REAL, call->gout[0]), NULL, share, DATA(REAL, call->gin[0]));
  }
  cn_free(share);
  cn_free(v.block);
  return share != NULL ? CN_OK : CN_EMEMORY;
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
