/* block_separable.c - row separable_block: ReLU, depthwise and 1x1 convolution in one pass over an image.
**
** An image goes through in strips of output rows that stay in the nearest cache: the input rows that a strip reads are
** put into a padded plane, convolved by channel into `inner`, multiplied by the 1x1 weights and stored. Backward makes
** `inner` again rather than read it from memory, and follows with the gradient: that of `inner` goes into a padded
** plane too, from which the gradients of the input rows that no later strip touches are made and written at once. In
** scratch memory pixels have whole vectors of channels, those that there are not being 0.
**
** Units of work are images, or blocks of rows of them where there are few images or large ones: then what neighbouring
** blocks both need is made twice. Sums belong to pieces, ranges of units. */
#include "kernels/cpu/depthwise.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/shares.h"

#define PIECES 32                 /* at most; */
#define LEAST_PIECES 16           /* in backward so few where weights are large, whose sums are work too: */
#define PARTIAL (64 << 10)        /* elements of all pieces' sums together */
#define STRIP 4096                /* elements of a strip after the depthwise convolution, */
#define STRIP_PIXELS 128          /* at least so many pixels unless a row is longer */
#define LARGEST_PLANE (512 << 10) /* bytes, for a part of the second cache */

typedef struct Separable {
  int64_t n, h, w, c, oh, ow, o;
  int64_t lanes, out_lanes; /* elements of a pixel in scratch memory: c and o, rounded up */
  int64_t blocks;           /* units of an image */
  int64_t units, pieces;
  int64_t weight_count;     /* elements of both weights' gradients: (c,out_lanes) and (kh,kw,lanes) */
  int64_t strip, in_strip;  /* rows of the output and of the input */
  Depthwise kernel;
  Reader reader;
  const STORED *x;
  const REAL *depthwise, *pointwise;
  /* Backward: what is wanted, NULL where it is not. */
  STORED *gx;
  bool add;
  REAL *gdepthwise, *gpointwise, *gscale, *gshift;
} Separable;

/* Rows of one unit: output rows begin … end-1 belong to it, and input rows in_begin … in_end-1 in backward. The input's
** gradient needs that of output rows need_begin … need_end-1. */
typedef struct Unit {
  int64_t image, begin, end, in_begin, in_end, need_begin, need_end;
  Plane input, gradient;
} Unit;

static Unit unit_of(const Separable *s, int64_t unit) {
  const Depthwise *k = &s->kernel;
  int64_t block = unit % s->blocks;
  Unit u = { .image = unit / s->blocks };
  piece_range(s->oh, s->blocks, block, &u.begin, &u.end);
  piece_range(s->h, s->blocks, block, &u.in_begin, &u.in_end);
  u.input = FN(plane_of_input)(k, s->h, s->w, s->lanes, u.begin, u.end, s->ow);
  u.gradient = FN(plane_of_gradient)(k, s->oh, s->ow, s->lanes, u.begin, u.end, u.in_begin, u.in_end, s->w);
  u.need_begin = CN_MAX(u.gradient.origin_h, 0);
  u.need_end = CN_MIN(u.gradient.origin_h + u.gradient.height, s->oh);
  return u;
}

static Separable separable_of(const CnCall *call, bool backward) {
  const int64_t *x = call->in_spec[0].shape, *z = call->out_spec[0].shape, *weight = call->in_spec[1].shape;
  const CnAttr *a = call->attr;
  Separable s = {
    .n = x[0], .h = x[1], .w = x[2], .c = x[3], .oh = z[1], .ow = z[2], .o = z[3],
    .lanes = CN_LANES(x[3]), .out_lanes = CN_LANES(z[3]),
    .kernel = { weight[0], weight[1], a[0].i, a[1].i, a[2].i, a[3].i, a[4].i, a[5].i, NULL, 0, 0, NULL },
    .reader = { block_input(call, 3), block_input(call, 4), a[6].i != 0, x[3] },
    .x = DATA(STORED, call->in[0]), .depthwise = DATA(REAL, call->in[1]), .pointwise = DATA(REAL, call->in[2]),
  };
  s.kernel.weight_step = s.lanes;
  s.kernel.weight_row = s.kernel.kw * s.lanes;
  int64_t row = reach(s.ow, s.kernel.stride_w, s.kernel.kw, s.kernel.dilation_w) * s.lanes * (int64_t)sizeof(REAL);
  int64_t parts = CN_CEIL_DIV(s.h * row, LARGEST_PLANE);
  s.blocks = CN_MAX(CN_CEIL_DIV(32, CN_MAX(s.n, 1)), parts);
  s.blocks = CN_MAX(1, CN_MIN(s.blocks, CN_MIN(s.oh, s.h) / 4));
  s.units = s.n * s.blocks;
  s.weight_count = s.c * s.out_lanes + s.kernel.kh * s.kernel.kw * s.lanes;
  int64_t pieces = backward ? CN_MAX(LEAST_PIECES, PARTIAL / s.weight_count) : PIECES;
  s.pieces = CN_MIN(s.units, CN_MIN(pieces, PIECES));
  int64_t strip = CN_MAX(STRIP / s.lanes, STRIP_PIXELS);
  s.strip = CN_MAX(1, CN_MIN(strip / s.ow, s.oh));
  s.in_strip = CN_MAX(1, CN_MIN(strip / CN_MAX(s.w, 1), s.h));
  return s;
}

/* ---- memory ---- */

/* A thread's. */
typedef struct Scratch {
  Plane input, gradient;
  REAL *inner;  /* a strip after the depthwise convolution */
  REAL *outer;  /* a strip of z or of its gradient */
  REAL *result; /* a strip of the input's gradient */
} Scratch;

typedef struct Work {
  Scratch *scratch;         /* one for each thread */
  REAL *weight;             /* (kh,kw,lanes) */
  REAL *packed;             /* pointwise, or its transpose in backward */
  double *sums;             /* (pieces, 2, channels): of z, or of scale and shift */
  REAL *partial, *total;    /* (pieces, weight_count) and their sum */
  void *block;
} Work;

/* `bytes` of what is laid out from `at` on; moves it on. With a base of NULL this measures. */
static void *take(char *base, size_t *at, int64_t bytes) {
  void *here = base == NULL ? NULL : base + *at;
  *at += (size_t)CN_CEIL_DIV(bytes, CN_ALIGNMENT) * CN_ALIGNMENT;
  return here;
}

static size_t lay_out(Work *work, const Separable *s, bool backward, char *base) {
  const int64_t real = sizeof(REAL), taps = s->kernel.kh * s->kernel.kw, threads = cn_threads();
  size_t at = 0;
  int64_t input = 0, gradient = 0, pixels = s->strip * s->ow, in_pixels = s->in_strip * s->w;
  for (int64_t i = 0; i < s->blocks; i++) {
    Unit u = unit_of(s, i);
    input = CN_MAX(input, plane_count(&u.input));
    gradient = CN_MAX(gradient, plane_count(&u.gradient));
  }
  work->scratch = take(base, &at, threads * (int64_t)sizeof(Scratch));
  work->weight = take(base, &at, taps * s->lanes * real);
  work->packed = take(base, &at, (int64_t)(backward ? gemm_packed_count(s->o, s->c) : gemm_packed_count(s->c, s->o)) *
                                   real);
  work->sums = take(base, &at, s->pieces * 2 * (backward ? s->c : s->o) * (int64_t)sizeof(double));
  if (backward) {
    work->partial = take(base, &at, s->pieces * s->weight_count * real);
    work->total = take(base, &at, s->weight_count * real);
  }
  for (int64_t i = 0; i < threads; i++) {
    Scratch mine = { { 0 }, { 0 }, NULL, NULL, NULL };
    mine.input.data = take(base, &at, input * real);
    mine.inner = take(base, &at, pixels * s->lanes * real);
    mine.outer = take(base, &at, pixels * s->out_lanes * real);
    if (backward) {
      mine.gradient.data = take(base, &at, gradient * real);
      mine.result = take(base, &at, in_pixels * s->lanes * real);
    }
    if (base != NULL) work->scratch[i] = mine;
  }
  return at;
}

static CnErr work_new(Work *out, const Separable *s, bool backward) {
  Work work = { 0 };
  work.block = cn_alloc(lay_out(&work, s, backward, NULL));
  if (work.block == NULL) return CN_EMEMORY;
  lay_out(&work, s, backward, work.block);
  int64_t taps = s->kernel.kh * s->kernel.kw;
  for (int64_t t = 0; t < taps; t++) {
    memcpy(work.weight + t * s->lanes, s->depthwise + t * s->c, (size_t)s->c * sizeof(REAL));
    memset(work.weight + t * s->lanes + s->c, 0, (size_t)(s->lanes - s->c) * sizeof(REAL));
  }
  if (backward) FN(gemm_pack)(work.packed, s->pointwise, s->o, true, s->o, s->c);
  else FN(gemm_pack)(work.packed, s->pointwise, s->o, false, s->c, s->o);
  for (int64_t i = 0; i < cn_threads(); i++) /* lanes that no channel has stay 0 */
    memset(work.scratch[i].outer, 0, (size_t)(s->strip * s->ow * s->out_lanes) * sizeof(REAL));
  memset(work.sums, 0, (size_t)(s->pieces * 2 * (backward ? s->c : s->o)) * sizeof(double));
  *out = work;
  return CN_OK;
}

/* What the strip from output row `row` on reads of x that no strip before it has read. Behind the unit's last row it is
** the first strip of the next image, where images are units. */
static void ahead_input(const Separable *s, const Unit *u, int64_t row, Ahead *ahead) {
  int64_t image = u->image, pitch = s->w * s->c, from = CN_MAX(reads_until(&s->kernel, row - 1), 0);
  if (row >= u->end) {
    if (s->blocks > 1 || ++image == s->n) return;
    row = from = 0;
  }
  int64_t until = CN_MIN(reads_until(&s->kernel, CN_MIN(row + s->strip, u->end) - 1), s->h);
  ahead_add(ahead, s->x + (image * s->h + from) * pitch, (until - from) * pitch * (int64_t)sizeof(STORED));
}

/* The same of z's gradient, for output rows before `end`. */
static void ahead_gradient(const Separable *s, const Unit *u, const Incoming *incoming, int64_t row, int64_t end,
                           Ahead *ahead) {
  int64_t image = u->image, pitch = s->ow * s->o;
  if (row >= end) {
    if (s->blocks > 1 || ++image == s->n) return;
    row = 0;
  }
  int64_t at = (image * s->oh + row) * pitch, bytes = CN_MIN(s->strip, end - row) * pitch * (int64_t)sizeof(STORED);
  ahead_add(ahead, incoming->g + at, bytes);
  ahead_add(ahead, incoming->z + at, bytes);
}

/* ---- forward ---- */

static void forward_unit(const Separable *s, const Unit *u, Scratch *mine, const REAL *packed, STORED *z,
                         double *sums) {
  plane_lay(&mine->input, &u->input);
  for (int64_t row = u->begin; row < u->end; row += s->strip) {
    int64_t rows = CN_MIN(s->strip, u->end - row), pixels = rows * s->ow;
    FN(plane_fill)(&mine->input, &s->reader, s->x + u->image * s->h * s->w * s->c,
                   reads_until(&s->kernel, row + rows - 1));
    STORED *to = z + (u->image * s->oh + row) * s->ow * s->o;
    Ahead ahead = { 0 };
    ahead_add(&ahead, to, pixels * s->o * (int64_t)sizeof(STORED));
    ahead_input(s, u, row + rows, &ahead);
    Depthwise kernel = s->kernel;
    kernel.ahead = &ahead;
    FN(depthwise_rows)(&kernel, &mine->input, s->lanes, NULL, row, rows, s->ow, mine->inner, s->ow * s->lanes,
                       s->lanes);
    FN(gemm_tile_rows_ahead)(pixels, s->o, s->c, mine->inner, s->lanes, packed, NULL, mine->outer, s->out_lanes,
                             &ahead);
    FN(write_result)(mine->outer, s->out_lanes, pixels, s->o, to, sums);
  }
}

CnErr FN(separable_block_forward)(CnCall *call) {
  Separable s = separable_of(call, false);
  Work work;
  CN_TRY(work_new(&work, &s, false));
  s.kernel.weight = work.weight;
  STORED *z = DATA(STORED, call->out[0]);
  Shares shares;
  shares_of(&shares, s.pieces);
  CN_PARALLEL_IF_WORTH(s.n * s.oh * s.ow * s.c * s.o)
  for (int64_t piece; (piece = shares_take(&shares)) >= 0;) {
    int64_t first, last;
    piece_range(s.units, s.pieces, piece, &first, &last);
    for (int64_t unit = first; unit < last; unit++) {
      Unit u = unit_of(&s, unit);
      forward_unit(&s, &u, &work.scratch[thread_index()], work.packed, z, work.sums + 2 * piece * s.o);
    }
  }
  FN(finish_statistics)(s.pieces, s.o, s.n * s.oh * s.ow, work.sums, DATA(REAL, call->out[1]),
                        DATA(REAL, call->out[2]));
  cn_free(work.block);
  return CN_OK;
}

/* ---- backward ---- */

static bool wants_input(const Separable *s) { return s->gx != NULL || s->gscale != NULL || s->gshift != NULL; }

/* The gradient of output rows row … row+rows-1, and what it gives to the weights if the rows are the unit's own. */
static void backward_strip(const Separable *s, const Unit *u, Scratch *mine, const Work *work, const Incoming *incoming,
                           int64_t row, int64_t rows, bool own, REAL *partial, Ahead *ahead) {
  int64_t pixels = rows * s->ow;
  Depthwise kernel = s->kernel;
  kernel.ahead = ahead;
  FN(read_gradient)(incoming, (u->image * s->oh + row) * s->ow, pixels, mine->outer, s->out_lanes);
  if (own && (s->gpointwise != NULL || s->gdepthwise != NULL))
    FN(plane_fill)(&mine->input, &s->reader, s->x + u->image * s->h * s->w * s->c,
                   reads_until(&s->kernel, row + rows - 1));
  if (own && s->gpointwise != NULL) {
    FN(depthwise_rows)(&kernel, &mine->input, s->lanes, NULL, row, rows, s->ow, mine->inner, s->ow * s->lanes,
                       s->lanes);
    FN(gemm_add_outer_ahead)(pixels, s->c, s->o, mine->inner, s->lanes, mine->outer, s->out_lanes, partial,
                             s->out_lanes, ahead);
  }
  if (!wants_input(s) && s->gdepthwise == NULL) return;
  REAL *gradient = plane_row(&mine->gradient, row);
  int64_t pitch = mine->gradient.width * s->lanes;
  for (int64_t i = 0; i < rows; i++)
    FN(gemm_tile_rows_ahead)(s->ow, s->c, s->o, mine->outer + i * s->ow * s->out_lanes, s->out_lanes, work->packed,
                             NULL, gradient + i * pitch, s->lanes, ahead);
  if (own && s->gdepthwise != NULL)
    FN(depthwise_weight_gradient)(&s->kernel, &mine->input, s->lanes, row, rows, s->ow, gradient, pitch, s->lanes,
                                  partial + s->c * s->out_lanes);
}

/* The gradients of input rows `done` … `until`-1. */
static void write_rows(const Separable *s, const Unit *u, Scratch *mine, int64_t done, int64_t until, double *sums,
                       Ahead *ahead) {
  Depthwise kernel = s->kernel;
  kernel.ahead = ahead;
  for (; done < until; done += s->in_strip) {
    int64_t rows = CN_MIN(s->in_strip, until - done), at = (u->image * s->h + done) * s->w * s->c;
    FN(depthwise_turned_rows)(&kernel, &mine->gradient, s->lanes, done, rows, s->w, mine->result, s->w * s->lanes,
                              s->lanes);
    FN(write_gradient)(&s->reader, s->x + at, mine->result, s->lanes, rows * s->w, s->gx != NULL ? s->gx + at : NULL,
                       s->add, sums);
  }
}

static void backward_unit(const Separable *s, const Unit *u, Scratch *mine, const Work *work, const Incoming *incoming,
                          REAL *partial, double *sums) {
  bool halo = wants_input(s);
  int64_t row = halo ? u->need_begin : u->begin, end = halo ? u->need_end : u->end, done = u->in_begin;
  plane_lay(&mine->input, &u->input);
  plane_lay(&mine->gradient, &u->gradient);
  while (row < end) {
    /* A strip lies before the unit's own rows, in them or behind. */
    int64_t edge = row < u->begin ? u->begin : row < u->end ? u->end : end, rows = CN_MIN(s->strip, edge - row);
    bool own = row >= u->begin && row < u->end;
    /* Input row y has its last reader in output row (y + pad) / stride. */
    int64_t last = (row + rows) * s->kernel.stride_h - s->kernel.pad_h;
    int64_t until = row + rows == end ? u->in_end : CN_MIN(u->in_end, last), pitch = s->w * s->c;
    Ahead ahead = { 0 };
    if (s->gx != NULL && until > done)
      ahead_add(&ahead, s->gx + (u->image * s->h + done) * pitch, (until - done) * pitch * (int64_t)sizeof(STORED));
    ahead_gradient(s, u, incoming, row + rows, end, &ahead);
    if (own) ahead_input(s, u, row + rows, &ahead);
    backward_strip(s, u, mine, work, incoming, row, rows, own, partial, &ahead);
    row += rows;
    if (!halo || until <= done) continue;
    write_rows(s, u, mine, done, until, sums, &ahead);
    done = until;
  }
}

CnErr FN(separable_block_backward)(CnCall *call) {
  Separable s = separable_of(call, true);
  s.gx = call->gin[0] != NULL ? DATA(STORED, call->gin[0]) : NULL;
  s.add = call->add[0];
  s.gdepthwise = block_wanted(call, 1);
  s.gpointwise = block_wanted(call, 2);
  s.gscale = block_wanted(call, 3);
  s.gshift = block_wanted(call, 4);
  bool factors = s.gscale != NULL || s.gshift != NULL;
  Incoming incoming;
  Work work;
  CN_TRY(FN(incoming_new)(&incoming, call));
  CnErr err = work_new(&work, &s, true);
  if (err != CN_OK) {
    cn_free(incoming.by_z);
    return err;
  }
  s.kernel.weight = work.weight;
  Shares shares;
  shares_of(&shares, s.pieces);
  CN_PARALLEL_IF_WORTH(s.n * s.oh * s.ow * s.c * s.o)
  for (int64_t piece; (piece = shares_take(&shares)) >= 0;) {
    int64_t first, last;
    REAL *partial = work.partial + piece * s.weight_count;
    memset(partial, 0, (size_t)s.weight_count * sizeof(REAL));
    piece_range(s.units, s.pieces, piece, &first, &last);
    for (int64_t unit = first; unit < last; unit++) {
      Unit u = unit_of(&s, unit);
      backward_unit(&s, &u, &work.scratch[thread_index()], &work, &incoming, partial,
                    factors ? work.sums + 2 * piece * s.c : NULL);
    }
  }
  if (s.gpointwise != NULL || s.gdepthwise != NULL)
    FN(sum_partials)(s.pieces, s.weight_count, work.partial, work.total);
  if (s.gpointwise != NULL)
    for (int64_t c = 0; c < s.c; c++)
      memcpy(s.gpointwise + c * s.o, work.total + c * s.out_lanes, (size_t)s.o * sizeof(REAL));
  if (s.gdepthwise != NULL)
    for (int64_t t = 0; t < s.kernel.kh * s.kernel.kw; t++)
      memcpy(s.gdepthwise + t * s.c, work.total + s.c * s.out_lanes + t * s.lanes, (size_t)s.c * sizeof(REAL));
  if (factors) FN(finish_factors)(s.pieces, s.c, work.sums, s.gscale, s.gshift);
  cn_free(work.block);
  cn_free(incoming.by_z);
  return CN_OK;
}
