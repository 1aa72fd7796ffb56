/* pool_window.c - pooling, forward and backward: see pool.h.
**
** Rows are worked on as flat runs of elements: channels are just the distance between taps, so every count of them
** fills whole vectors. Forward goes along the rows first (the maximum or the sum of each row of a window, once for each
** input row) and then down: the first of equals stays the first. Backward of a mean is the same the other way round, of
** the gradients divided by the windows' sizes; backward of a maximum looks at all windows around a pixel. Rows that
** are in use are kept in a ring of as many as a window has, which stays in the nearest cache. */
#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/shares.h"

#define STRIP 256 /* pixels worked on together: the most that sums are taken of, see block.h */

/* Rows of `width` pixels that are worked on together. */
static int64_t strip_rows(int64_t width) { return CN_MAX(1, STRIP / width); }

/* ---- geometry ---- */

static int64_t length(Range r) { return r.end - r.begin; }

/* Taps of output index `i` that are inside the image. */
static Range taps_inside(int64_t i, int64_t size, int64_t kernel, int64_t stride, int64_t pad) {
  int64_t first = i * stride - pad;
  return (Range){ CN_MAX(0, -first), CN_MIN(kernel, size - first) };
}

/* Output indices whose windows hold input index `i`. */
static Range windows_around(int64_t i, int64_t outputs, int64_t kernel, int64_t stride, int64_t pad) {
  int64_t below = i + pad - kernel + 1, end = CN_MIN(outputs, (i + pad) / stride + 1);
  return (Range){ below <= 0 ? 0 : CN_MIN(CN_CEIL_DIV(below, stride), end), end };
}

/* One more pixel of a row; it joins the run before it where that sees the same taps, one pixel on. */
static void add_pixel(Run *runs, int64_t *count, Run pixel) {
  Run *last = runs + *count - 1;
  if (*count > 0 && last->taps == pixel.taps && last->first == pixel.first && last->from + last->count == pixel.from)
    last->count += pixel.count;
  else runs[(*count)++] = pixel;
}

CnErr FN(pool_new)(Pool *out, const CnCall *call, bool max) {
  const CnAttr *attr = call->attr;
  const int64_t *x = call->in_spec[0].shape, *z = call->out_spec[0].shape;
  Pool v = { .n = x[0], .h = x[1], .w = x[2], .c = x[3], .oh = z[1], .ow = z[2],
             .kernel_h = attr[0].i, .kernel_w = attr[1].i, .stride_h = attr[2].i, .stride_w = attr[3].i,
             .pad_h = attr[4].i, .pad_w = attr[5].i, .max = max };
  v.block = cn_alloc((size_t)(v.oh + v.h) * sizeof(Range) + (size_t)(v.ow + v.w) * sizeof(Run));
  if (v.block == NULL) return CN_EMEMORY;
  v.forth = v.block;
  v.back = v.forth + v.ow;
  v.down = (Range *)(v.back + v.w);
  v.around = v.down + v.oh;
  for (int64_t i = 0; i < v.oh; i++) v.down[i] = taps_inside(i, v.h, v.kernel_h, v.stride_h, v.pad_h);
  for (int64_t i = 0; i < v.h; i++) v.around[i] = windows_around(i, v.oh, v.kernel_h, v.stride_h, v.pad_h);
  for (int64_t j = 0; j < v.ow; j++) {
    Range taps = taps_inside(j, v.w, v.kernel_w, v.stride_w, v.pad_w);
    int64_t from = j * v.stride_w - v.pad_w + taps.begin;
    add_pixel(v.forth, &v.forth_count, (Run){ j * v.c, from * v.c, v.c, length(taps), taps.begin });
  }
  for (int64_t j = 0; j < v.w; j++) {
    Range windows = windows_around(j, v.ow, v.kernel_w, v.stride_w, v.pad_w);
    int64_t first = j + v.pad_w - windows.begin * v.stride_w;
    add_pixel(v.back, &v.back_count, (Run){ j * v.c, windows.begin * v.c, v.c, length(windows), first });
  }
  v.blocks = row_blocks(v.n, CN_MIN(v.h, v.oh));
  v.pieces = CN_MAX(1, CN_MIN(48, v.n * v.blocks));
  *out = v;
  return CN_OK;
}

/* ---- vectors ---- */

/* `step(at, lanes)` for all of `count` elements, whole vectors as a constant; the last may overlap the one before it.
** Stores through a vector may change anything that has an address: what a step uses must be a local variable. */
#define FOR_FLAT(count, step)                                                \
  do {                                                                       \
    const int64_t flat_count = (count), flat_last = flat_count - VLEN;       \
    if (flat_count < VLEN) step((int64_t)0, (int)flat_count);                \
    else                                                                     \
      for (int64_t flat_at = 0; flat_at < flat_count; flat_at += VLEN)       \
        step(CN_MIN(flat_at, flat_last), VLEN);                              \
  } while (0)

/* Tap numbers, one to a lane: bytes where the machine compares and chooses bytes by a mask register, else integers as
** wide as REAL. Bytes are widened step by step, which compilers turn into a few instructions; a single conversion goes
** lane by lane. */
#if defined(__AVX512F__)
typedef __m128i VTAP;

CN_INLINE VTAP tap_splat(int64_t tap) { return _mm_set1_epi8((char)tap); }
CN_INLINE VTAP tap_load(const uint8_t *p, int lanes) {
  if (lanes == 16) return _mm_loadu_si128((const void *)p);
  if (lanes == 8) return _mm_loadl_epi64((const void *)p);
  uint8_t bytes[16] = { 0 };
  for (int j = 0; j < lanes; j++) bytes[j] = p[j];
  return _mm_loadu_si128((const void *)bytes);
}
CN_INLINE void tap_store(uint8_t *p, VTAP tap, int lanes) {
  uint8_t bytes[16];
  if (lanes == 16) _mm_storeu_si128((void *)p, tap);
  else if (lanes == 8) _mm_storel_epi64((void *)p, tap);
  else {
    _mm_storeu_si128((void *)bytes, tap);
    for (int j = 0; j < lanes; j++) p[j] = bytes[j];
  }
}
CN_INLINE VTAP tap_add(VTAP a, VTAP b) { return _mm_add_epi8(a, b); }
CN_INLINE VTAP tap_choose(VTEST test, VTAP yes, VTAP no) { return _mm_mask_mov_epi8(no, test, yes); }
CN_INLINE VTEST tap_equal(VTAP a, VTAP b) { return (VTEST)_mm_cmpeq_epi8_mask(a, b); }
#else
#define LANES_OF(type) type __attribute__((vector_size(sizeof(type) * (VBYTES / sizeof(REAL)))))
typedef LANES_OF(uint8_t) VBYTE;
typedef LANES_OF(uint16_t) VHALF;
typedef LANES_OF(int32_t) VWORD;
#if defined(CN_REAL_f32) || defined(CN_REAL_bf16)
typedef int32_t LANE;
typedef VWORD VTAP;
#else
typedef int64_t LANE;
typedef LANES_OF(int64_t) VTAP;
#endif

CN_INLINE VTAP tap_splat(int64_t tap) { return (VTAP){ 0 } + (LANE)tap; }
CN_INLINE VTAP tap_load(const uint8_t *p, int lanes) {
  VBYTE bytes = { 0 };
  if (lanes == VLEN) memcpy(&bytes, p, sizeof bytes);
  else for (int j = 0; j < lanes; j++) bytes[j] = p[j];
  return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(bytes, VHALF), VWORD), VTAP);
}
CN_INLINE void tap_store(uint8_t *p, VTAP tap, int lanes) {
  VBYTE bytes = __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(tap, VWORD), VHALF), VBYTE);
  if (lanes == VLEN) memcpy(p, &bytes, sizeof bytes);
  else for (int j = 0; j < lanes; j++) p[j] = bytes[j];
}
CN_INLINE VTAP tap_add(VTAP a, VTAP b) { return a + b; }
CN_INLINE VTAP tap_choose(VTEST test, VTAP yes, VTAP no) { return (test & yes) | (~test & no); }
CN_INLINE VTEST tap_equal(VTAP a, VTAP b) { return a == b; }
#endif

/* Rows in memory that are read soon after the one that is worked on, element for element. Asking for a line of each
** with every vector hides how far away they are; asking for whole rows at once does not. */
typedef struct Upcoming {
  const STORED *row[3];
} Upcoming;

CN_INLINE void fetch_ahead(const Upcoming *ahead, int rows, int64_t at) {
  CN_UNROLL(3) for (int k = 0; k < rows; k++) __builtin_prefetch(ahead->row[k] + at);
}

/* `call(taps)` with the counts that 3x3 windows have as constants. */
#define CONSTANT_TAPS(taps, call)  \
  switch (taps) {                  \
  case 1: call(1); break;          \
  case 2: call(2); break;          \
  case 3: call(3); break;          \
  default: call(taps); break;      \
  }

/* ---- along a row ---- */

CN_INLINE void max_run(const Run *run, int64_t taps, int64_t step, const REAL *x, Upcoming ahead, REAL *best,
                       uint8_t *won) {
  const int64_t first = run->first, from = run->from;
  x += run->from;
  best += run->to;
  won += run->to;
#define MAX_STEP(at, lanes)                                            \
  do {                                                                 \
    VREAL top = vload_some(x + (at), lanes);                           \
    fetch_ahead(&ahead, 1, from + (at));                               \
    VTAP tap = tap_splat(first);                                       \
    CN_UNROLL(2) for (int64_t q = 1; q < taps; q++) {                  \
      VREAL value = vload_some(x + (at) + q * step, lanes);            \
      VTEST better = vexceeds(value, top);                             \
      top = vchoose(better, value, top);                               \
      tap = tap_choose(better, tap_splat(first + q), tap);             \
    }                                                                  \
    vstore_some(best + (at), top, lanes);                              \
    tap_store(won + (at), tap, lanes);                                 \
  } while (0)
  FOR_FLAT(run->count, MAX_STEP);
#undef MAX_STEP
}

static void max_along(const Pool *v, const REAL *x, Upcoming ahead, REAL *best, uint8_t *won) {
  for (int64_t k = 0; k < v->forth_count; k++) {
    const Run *run = v->forth + k;
#define RUN(taps) max_run(run, taps, v->c, x, ahead, best, won)
    CONSTANT_TAPS(run->taps, RUN)
#undef RUN
  }
}

CN_INLINE void sum_run(const Run *run, int64_t taps, int64_t step, const REAL *x, Upcoming ahead, int fetched,
                       REAL *sum) {
  const int64_t from = run->from;
  x += run->from;
  sum += run->to;
#define SUM_STEP(at, lanes)                                            \
  do {                                                                 \
    fetch_ahead(&ahead, fetched, from + (at));                         \
    VREAL all = taps > 0 ? vload_some(x + (at), lanes) : (VREAL){ 0 }; \
    CN_UNROLL(2) for (int64_t q = 1; q < taps; q++) all += vload_some(x + (at) + q * step, lanes); \
    vstore_some(sum + (at), all, lanes);                               \
  } while (0)
  FOR_FLAT(run->count, SUM_STEP);
#undef SUM_STEP
}

/* `fetched` rows of `ahead`. */
CN_INLINE void sum_along(const Run *runs, int64_t count, int64_t step, const REAL *x, Upcoming ahead, int fetched,
                         REAL *sum) {
  for (int64_t k = 0; k < count; k++) {
    const Run *run = runs + k;
#define RUN(taps) sum_run(run, taps, step, x, ahead, fetched, sum)
    CONSTANT_TAPS(run->taps, RUN)
#undef RUN
  }
}

/* to = from / (taps * rows), the taps being those of each output pixel's row; two arrays. */
static void share_along(const Pool *v, const REAL *from, int64_t rows, REAL *to) {
  for (int64_t k = 0; k < v->forth_count; k++) {
    const Run *run = v->forth + k;
    const VREAL share = vsplat(1 / (REAL)(rows * run->taps));
    const int64_t begin = run->to;
#define SHARE_STEP(at, lanes) \
  vstore_some(to + begin + (at), vload_some(from + begin + (at), lanes) * share, lanes)
    FOR_FLAT(run->count, SHARE_STEP);
#undef SHARE_STEP
  }
}

/* ---- down the rows of a window ---- */

/* What a window's rows hold at one place; `near` and `far` are row[1] and row[2] where these are. */
#define ROW(row, near, far, p) ((p) == 1 ? near : (p) == 2 ? far : row[p])

/* `count` elements of a row of outputs; the first of the rows is number `first` of the kernel's. */
CN_INLINE void max_down(int64_t rows, const REAL *const *row, const uint8_t *const *taps, int64_t first,
                        int64_t kernel_w, int64_t count, STORED *z, uint8_t *argmax) {
  const REAL *top_row = row[0], *near = rows > 1 ? row[1] : NULL, *far = rows > 2 ? row[2] : NULL;
  const uint8_t *top_tap = taps[0], *near_tap = rows > 1 ? taps[1] : NULL, *far_tap = rows > 2 ? taps[2] : NULL;
#define MAX_STEP(at, lanes)                                                                 \
  do {                                                                                      \
    VREAL top = vload_some(top_row + (at), lanes);                                          \
    VTAP tap = tap_add(tap_load(top_tap + (at), lanes), tap_splat(first * kernel_w));       \
    CN_UNROLL(2) for (int64_t p = 1; p < rows; p++) {                                       \
      VREAL value = vload_some(ROW(row, near, far, p) + (at), lanes);                       \
      VTAP along = tap_load(ROW(taps, near_tap, far_tap, p) + (at), lanes);                 \
      VTAP other = tap_add(along, tap_splat((first + p) * kernel_w));                       \
      VTEST better = vexceeds(value, top);                                                  \
      top = vchoose(better, value, top);                                                    \
      tap = tap_choose(better, other, tap);                                                 \
    }                                                                                       \
    store_stored(z + (at), top, lanes);                                                     \
    tap_store(argmax + (at), tap, lanes);                                                   \
  } while (0)
  FOR_FLAT(count, MAX_STEP);
#undef MAX_STEP
}

CN_INLINE VREAL sum_rows(int64_t rows, const REAL *const *row, const REAL *near, const REAL *far, int64_t at,
                         int lanes) {
  VREAL sum = rows > 0 ? vload_some(row[0] + at, lanes) : (VREAL){ 0 };
  CN_UNROLL(2) for (int64_t p = 1; p < rows; p++) sum += vload_some(ROW(row, near, far, p) + at, lanes);
  return sum;
}

/* A row of means: the rows' sums over each window's size. */
CN_INLINE void mean_down(const Pool *v, int64_t rows, const REAL *const *row, STORED *z) {
  const REAL *near = rows > 1 ? row[1] : NULL, *far = rows > 2 ? row[2] : NULL;
  for (int64_t k = 0; k < v->forth_count; k++) {
    const Run *run = v->forth + k;
    const VREAL share = vsplat(1 / (REAL)(rows * run->taps));
    const int64_t begin = run->to;
#define MEAN_STEP(at, lanes) \
  store_stored(z + begin + (at), sum_rows(rows, row, near, far, begin + (at), lanes) * share, lanes)
    FOR_FLAT(run->count, MEAN_STEP);
#undef MEAN_STEP
  }
}

CN_INLINE void sum_down(int64_t rows, const REAL *const *row, int64_t count, REAL *to) {
  const REAL *near = rows > 1 ? row[1] : NULL, *far = rows > 2 ? row[2] : NULL;
#define SUM_STEP(at, lanes) vstore_some(to + (at), sum_rows(rows, row, near, far, at, lanes), lanes)
  FOR_FLAT(count, SUM_STEP);
#undef SUM_STEP
}

/* ---- around a pixel ---- */

/* The gradient that a run of input pixels gets from `rows` rows of windows, the first window of which sees it as tap
** number `tap` + run->first. */
CN_INLINE void gather_run(const Pool *v, const Run *run, int64_t rows, int64_t columns, const REAL *const *row,
                          const uint8_t *argmax, Upcoming ahead, int64_t tap, REAL *to) {
  const int64_t step = v->c, pitch = v->ow * step, down = v->stride_h * v->kernel_w, right = v->stride_w;
  const int64_t first = tap + run->first, from = run->from;
  const REAL *top = rows > 0 ? row[0] : NULL, *near = rows > 1 ? row[1] : NULL, *far = rows > 2 ? row[2] : NULL;
  const bool few = rows <= 3 && columns <= 3;
  VTAP number[9]; /* in registers, where there are few */
  CN_UNROLL(9) for (int64_t k = 0; few && k < 9; k++) number[k] = tap_splat(first - k / 3 * down - k % 3 * right);
  argmax += from;
  to += run->to;
#define GATHER_STEP(at, lanes)                                                                            \
  do {                                                                                                    \
    VREAL sum = { 0 };                                                                                    \
    fetch_ahead(&ahead, 3, from + (at));                                                                  \
    __builtin_prefetch(argmax + rows * pitch + (at));                                                     \
    CN_UNROLL(3) for (int64_t p = 0; p < rows; p++) {                                                     \
      const REAL *g = (p == 0 ? top : ROW(row, near, far, p)) + from + (at);                              \
      const uint8_t *won = argmax + p * pitch + (at);                                                     \
      CN_UNROLL(3) for (int64_t q = 0; q < columns; q++) {                                                \
        VTAP mine = few ? number[3 * p + q] : tap_splat(first - p * down - q * right);                    \
        VTEST is_mine = tap_equal(tap_load(won + q * step, lanes), mine);                                 \
        sum = vadd_where(is_mine, sum, vload_some(g + q * step, lanes));                                  \
      }                                                                                                   \
    }                                                                                                     \
    vstore_some(to + (at), sum, lanes);                                                                   \
  } while (0)
  FOR_FLAT(run->count, GATHER_STEP);
#undef GATHER_STEP
}

static void gather_row(const Pool *v, int64_t rows, const REAL *const *row, const uint8_t *argmax, int64_t tap,
                       Upcoming ahead, REAL *to) {
  for (int64_t k = 0; k < v->back_count; k++) {
    const Run *run = v->back + k;
#define GATHER(tall, wide) gather_run(v, run, tall, wide, row, argmax, ahead, tap, to)
#define GATHER_1(wide) GATHER(1, wide)
#define GATHER_2(wide) GATHER(2, wide)
#define GATHER_3(wide) GATHER(3, wide)
#define GATHER_ANY(wide) GATHER(rows, wide)
    switch (rows) {
    case 1: CONSTANT_TAPS(run->taps, GATHER_1) break;
    case 2: CONSTANT_TAPS(run->taps, GATHER_2) break;
    case 3: CONSTANT_TAPS(run->taps, GATHER_3) break;
    default: GATHER_ANY(run->taps); break;
    }
  }
}

/* ---- scratch memory of a thread ---- */

/* A line of pixels as they are read; a strip of pixels before they are written; and the ring of rows with the taps that
** won in them: image row r is at slot[r % rows]. row[] and taps[] are those that a window sees. */
typedef struct Scratch {
  int64_t line_count, strip_count, rows, pitch; /* elements, elements, rows, elements of a row */
  int64_t filled;                               /* rows in front of this one have been in the ring */
  REAL *line, *strip, *ring;
  uint8_t *ring_taps;
  const REAL **slot, **row;
  const uint8_t **taps;
} Scratch;

static size_t scratch_part(size_t *size, int64_t count, size_t each) {
  size_t begin = *size;
  *size += ((size_t)count * each + 63) / 64 * 64;
  return begin;
}

/* Sets the pointers for scratch memory that begins at `block`; returns how much there is. */
static size_t scratch_lay(Scratch *s, char *block) {
  size_t size = 0, line = scratch_part(&size, s->line_count, sizeof(REAL));
  size_t strip = scratch_part(&size, s->strip_count, sizeof(REAL));
  size_t ring = scratch_part(&size, s->rows * s->pitch, sizeof(REAL));
  size_t ring_taps = scratch_part(&size, s->rows * s->pitch, 1);
  size_t slot = scratch_part(&size, 2 * s->rows, sizeof *s->slot);
  size_t taps = scratch_part(&size, s->rows, sizeof *s->taps);
  if (block == NULL) return size;
  s->line = (REAL *)(block + line);
  s->strip = (REAL *)(block + strip);
  s->ring = (REAL *)(block + ring);
  s->ring_taps = (uint8_t *)(block + ring_taps);
  s->slot = (const REAL **)(void *)(block + slot);
  s->row = s->slot + s->rows;
  s->taps = (const uint8_t **)(void *)(block + taps);
  for (int64_t k = 0; k < s->rows; k++) s->slot[k] = s->ring + k * s->pitch;
  return size;
}

static REAL *ring_row(const Scratch *s, int64_t row) { return s->ring + row % s->rows * s->pitch; }
static uint8_t *ring_taps(const Scratch *s, int64_t row) { return s->ring_taps + row % s->rows * s->pitch; }

static void see_rows(Scratch *s, int64_t first, int64_t rows) {
  for (int64_t p = 0; p < rows; p++) {
    s->row[p] = s->slot[(first + p) % s->rows];
    s->taps[p] = ring_taps(s, first + p);
  }
}

/* ---- forward ---- */

/* Pixels in memory that are what their reader makes of them: no copy is needed. */
static bool reads_as_it_is(const Reader *r) {
  return r->scale == NULL && !r->relu && sizeof(STORED) == sizeof(REAL);
}

typedef struct Forward {
  const Pool *pool;
  const Reader *reader;
  const STORED *x; /* these three of one image */
  STORED *z;
  uint8_t *argmax;
} Forward;

static void fill_forward(const Forward *f, Scratch *s, int64_t row) {
  const Pool *v = f->pool;
  const STORED *x = f->x + row * v->w * v->c, *next = x + v->w * v->c;
  const Upcoming ahead = { { next } };
  const REAL *line = s->line;
  if (reads_as_it_is(f->reader)) line = (const REAL *)x;
  else FN(read_pixels)(f->reader, x, v->w, s->line, v->c);
  if (v->max) max_along(v, line, ahead, ring_row(s, row), ring_taps(s, row));
  else sum_along(v->forth, v->forth_count, v->c, line, ahead, 1, ring_row(s, row));
}

static void forward_row(const Forward *f, Scratch *s, int64_t i) {
  const Pool *v = f->pool;
  Range down = v->down[i];
  int64_t pitch = v->ow * v->c, top = i * v->stride_h - v->pad_h + down.begin, rows = length(down);
  STORED *z = f->z + i * pitch;
  for (s->filled = CN_MAX(s->filled, top); s->filled < top + rows; s->filled++) fill_forward(f, s, s->filled);
  see_rows(s, top, rows);
#define MAX_DOWN(tall) max_down(tall, s->row, s->taps, down.begin, v->kernel_w, pitch, z, f->argmax + i * pitch)
#define MEAN_DOWN(tall) mean_down(v, tall, s->row, z)
  if (v->max) CONSTANT_TAPS(rows, MAX_DOWN)
  else CONSTANT_TAPS(rows, MEAN_DOWN)
#undef MAX_DOWN
#undef MEAN_DOWN
}

CnErr FN(pool_forward)(const Pool *v, const Reader *reader, const STORED *x, STORED *z, uint8_t *argmax, double *sums) {
  int64_t units = v->n * v->blocks, pitch = v->ow * v->c, strip = strip_rows(v->ow);
  Scratch layout = { .line_count = reads_as_it_is(reader) ? 0 : v->w * v->c, .rows = CN_MIN(v->kernel_h, v->h),
                     .pitch = pitch };
  if (units * v->c == 0) return CN_OK;
  size_t size = scratch_lay(&layout, NULL);
  char *block = cn_alloc((size_t)cn_threads() * size);
  if (block == NULL) return CN_EMEMORY;
  Shares shares;
  shares_of(&shares, v->pieces);
  CN_PARALLEL_IF_WORTH(v->n * v->oh * pitch)
  for (int64_t piece; (piece = shares_take(&shares)) >= 0;) {
    Scratch s = layout;
    int64_t first_unit, last_unit;
    scratch_lay(&s, block + (size_t)thread_index() * size);
    piece_range(units, v->pieces, piece, &first_unit, &last_unit);
    for (int64_t unit = first_unit; unit < last_unit; unit++) {
      int64_t image = unit / v->blocks, begin, end;
      Forward f = { v, reader, x + image * v->h * v->w * v->c, z + image * v->oh * pitch,
                    v->max ? argmax + image * v->oh * pitch : NULL };
      piece_range(v->oh, v->blocks, unit % v->blocks, &begin, &end);
      s.filled = 0;
      for (int64_t first = begin; first < end; first += strip) {
        int64_t last = CN_MIN(end, first + strip), pixels = (last - first) * v->ow;
        for (int64_t i = first; i < last; i++) forward_row(&f, &s, i);
        for (int64_t p = 0; sums != NULL && p < pixels; p += STRIP)
          FN(add_statistics)(f.z + first * pitch + p * v->c, CN_MIN(STRIP, pixels - p), v->c,
                             sums + 2 * piece * v->c);
      }
    }
  }
  cn_free(block);
  return CN_OK;
}

/* ---- backward ---- */

typedef struct Backward {
  const Pool *pool;
  const Incoming *g;
  const STORED *x;       /* NULL: not read */
  const uint8_t *argmax; /* of one image */
  int64_t image;
} Backward;

/* The rows that are read after what input row `i` needs: row `row` of the outputs, and the input itself. */
static Upcoming ahead_of(const Backward *b, int64_t row, int64_t i) {
  const Pool *v = b->pool;
  int64_t at = (b->image * v->oh + row) * v->ow * v->c;
  const STORED *g = b->g->g + at, *z = b->g->by_z != NULL ? b->g->z + at : g;
  return (Upcoming){ { g, z, b->x != NULL ? b->x + (b->image * v->h + i) * v->w * v->c : g } };
}

/* The gradient of one row of outputs; in memory where it is there as it is, else in `to`. */
static const REAL *incoming_row(const Backward *b, int64_t row, REAL *to) {
  const Pool *v = b->pool;
  int64_t first = (b->image * v->oh + row) * v->ow;
  if (b->g->by_z == NULL && sizeof(STORED) == sizeof(REAL)) return (const REAL *)(b->g->g + first * v->c);
  FN(read_gradient)(b->g, first, v->ow, to, v->c);
  return to;
}

static void max_backward_row(const Backward *b, Scratch *s, int64_t i, REAL *to) {
  const Pool *v = b->pool;
  Range around = v->around[i];
  int64_t rows = length(around), pitch = v->ow * v->c;
  for (s->filled = CN_MAX(s->filled, around.begin); s->filled < around.end; s->filled++)
    s->slot[s->filled % s->rows] = incoming_row(b, s->filled, ring_row(s, s->filled));
  see_rows(s, around.begin, rows);
  gather_row(v, rows, s->row, b->argmax + around.begin * pitch,
             (i + v->pad_h - around.begin * v->stride_h) * v->kernel_w,
             ahead_of(b, around.end, i), to);
}

static void mean_backward_row(const Backward *b, Scratch *s, int64_t i, REAL *to) {
  const Pool *v = b->pool;
  Range around = v->around[i];
  for (s->filled = CN_MAX(s->filled, around.begin); s->filled < around.end; s->filled++) {
    const REAL *g = incoming_row(b, s->filled, s->line);
    REAL *shared = s->line + v->ow * v->c;
    share_along(v, g, length(v->down[s->filled]), shared);
    sum_along(v->back, v->back_count, v->c, shared, ahead_of(b, s->filled + 1, i), 3,
              ring_row(s, s->filled));
  }
  see_rows(s, around.begin, length(around));
#define SUM_DOWN(tall) sum_down(tall, s->row, v->w * v->c, to)
  CONSTANT_TAPS(length(around), SUM_DOWN)
#undef SUM_DOWN
}

CnErr FN(pool_backward)(const Pool *v, const Incoming *g, const uint8_t *argmax, const Reader *reader, const STORED *x,
                        STORED *gx, bool add, double *sums) {
  int64_t units = v->n * v->blocks, pitch = v->ow * v->c, width = v->w * v->c, strip = strip_rows(v->w);
  bool direct = reads_as_it_is(reader) && sums == NULL && !add;
  Scratch layout = { .line_count = v->max ? 0 : 2 * pitch, .strip_count = direct ? 0 : strip * width,
                     .rows = CN_MIN(v->kernel_h, v->oh), .pitch = v->max ? pitch : width };
  if (units * v->c == 0 || (gx == NULL && sums == NULL)) return CN_OK;
  size_t size = scratch_lay(&layout, NULL);
  char *block = cn_alloc((size_t)cn_threads() * size);
  if (block == NULL) return CN_EMEMORY;
  Shares shares;
  shares_of(&shares, v->pieces);
  CN_PARALLEL_IF_WORTH(v->n * v->h * width)
  for (int64_t piece; (piece = shares_take(&shares)) >= 0;) {
    Scratch s = layout;
    int64_t first_unit, last_unit;
    scratch_lay(&s, block + (size_t)thread_index() * size);
    piece_range(units, v->pieces, piece, &first_unit, &last_unit);
    for (int64_t unit = first_unit; unit < last_unit; unit++) {
      int64_t image = unit / v->blocks, begin, end;
      Backward b = { v, g, direct ? NULL : x, v->max ? argmax + image * v->oh * pitch : NULL, image };
      piece_range(v->h, v->blocks, unit % v->blocks, &begin, &end);
      s.filled = 0;
      for (int64_t first = begin; first < end; first += strip) {
        int64_t last = CN_MIN(end, first + strip), pixels = (last - first) * v->w;
        int64_t at = (image * v->h + first) * width;
        REAL *to = direct ? (REAL *)(gx + at) : s.strip;
        for (int64_t i = first; i < last; i++) {
          if (v->max) max_backward_row(&b, &s, i, to + (i - first) * width);
          else mean_backward_row(&b, &s, i, to + (i - first) * width);
        }
        for (int64_t p = 0; !direct && p < pixels; p += STRIP)
          FN(write_gradient)(reader, x + at + p * v->c, to + p * v->c, v->c, CN_MIN(STRIP, pixels - p),
                             gx != NULL ? gx + at + p * v->c : NULL, add,
                             sums != NULL ? sums + 2 * piece * v->c : NULL);
      }
    }
  }
  cn_free(block);
  return CN_OK;
}
