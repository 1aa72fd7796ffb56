/* block_pointwise.c - rows pointwise_block and pointwise_blocks, and strip by strip the product that reduce_block shares
** with them.
**
** Forward: read a strip, multiply, store z and take its statistics. Backward: read the strip again and z's gradient,
** add their product to the weights' gradient, and take the gradient back through the weights into the sources. Pieces
** are ranges of strips; each has its own sums, which are added up in their order. */
#include "kernels/cpu/block_pointwise.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/shares.h"

#define STRIP 8192       /* elements of the sources in a strip: half of a level-1 cache, where */
#define LEAST 32         /* pixels, at least, */
#define MOST 128         /* and at most, allow */
#define PIECES 48        /* at most, */
#define PIECE_PIXELS 384 /* each of so many pixels: a weight gradient's sums are to be small work beside its product */

/* Elements rounded up to what keeps the next array in a block of memory aligned. */
static size_t aligned(int64_t count) { return (size_t)(CN_CEIL_DIV(count, 16) * 16); }

/* Elements from pixel to pixel of a strip; never a large power of two, which would crowd few sets of the cache. */
static int64_t strip_pitch(int64_t channels) { return channels % 256 == 0 ? channels + 16 : channels; }

static int64_t strip_pixels(const Pointwise *b) {
  return CN_MAX(LEAST, CN_MIN(MOST, STRIP / CN_MAX(1, b->inputs) / 16 * 16));
}

Pointwise FN(pointwise_of)(CnCall *call, int slots, bool split) {
  const int64_t *x = call->in_spec[slots + 2].shape, *z = call->out_spec[0].shape;
  Pointwise b = { .call = call, .slots = slots, .grids = split ? 1 : slots, .sources = call->nin - slots - 2,
                  .h = x[1], .w = x[2], .oh = z[1], .ow = z[2], .pixels = z[0] * z[1] * z[2] };
  for (int i = 0; i < (split ? call->nout / 3 : 1); i++) {
    if (split && call->gout[0] != NULL && (call->reached >> 3 * i & 7) == 0) {
      cn_tensor_unref(call->gin[i]);
      call->gin[i] = NULL;
      continue;
    }
    b.result[b.results++] = (Result){ b.outputs, call->out_spec[3 * i].shape[3], 3 * i, i };
    b.outputs += call->out_spec[3 * i].shape[3];
  }
  b.weights = split ? b.results : slots;
  b.outputs /= b.grids;
  const REAL *scale = block_input(call, slots), *shift = block_input(call, slots + 1);
  for (int i = 0; i < b.sources; i++) {
    int at = slots + 2 + i;
    Reader read = { scale != NULL ? scale + b.inputs : NULL, shift != NULL ? shift + b.inputs : NULL,
                    call->attr[0].i != 0, call->in_spec[at].shape[3] };
    b.source[i] = (Source){ read, DATA(const STORED, call->in[at]),
                            call->gin[at] != NULL ? DATA(STORED, call->gin[at]) : NULL, call->add[at], b.inputs };
    b.inputs += read.channels;
  }
  return b;
}

static int weight_input(const Pointwise *b, int i) { return b->results == b->weights ? b->result[i].weight : i; }
static const REAL *weights_of(const Pointwise *b, int i) { return block_input(b->call, weight_input(b, i)); }
static REAL *weights_wanted(const Pointwise *b, int i) { return block_wanted(b->call, weight_input(b, i)); }

/* Packs each grid's weights (I,O), or their transpose; those that share a grid are joined along O first. */
static CnErr pack_weights(const Pointwise *b, bool transposed, REAL *packed, size_t matrix) {
  int64_t k = transposed ? b->outputs : b->inputs, n = transposed ? b->inputs : b->outputs;
  if (b->grids == b->weights) {
    for (int grid = 0; grid < b->grids; grid++)
      FN(gemm_pack)(packed + (size_t)grid * matrix, weights_of(b, grid), b->outputs, transposed, k, n);
    return CN_OK;
  }
  REAL *joined = cn_alloc((size_t)(b->inputs * b->outputs) * sizeof(REAL));
  if (joined == NULL) return CN_EMEMORY;
  for (int i = 0; i < b->weights; i++)
    for (int64_t row = 0; row < b->inputs; row++)
      memcpy(joined + row * b->outputs + b->result[i].first, weights_of(b, i) + row * b->result[i].channels,
             (size_t)b->result[i].channels * sizeof(REAL));
  FN(gemm_pack)(packed, joined, b->outputs, transposed, k, n);
  cn_free(joined);
  return CN_OK;
}

/* A strip of all sources side by side. */
static void read_strip(const Pointwise *b, int grid, int64_t first, int64_t count, REAL *to, int64_t pitch) {
  for (int i = 0; i < b->sources; i++) b->read(b, &b->source[i], grid, first, count, to + b->source[i].first, pitch);
}

/* What strip first … first+count-1 of z reads of the sources, where that is one stretch of each; what it writes, or
** reads of z's gradients. */
static void ahead_sources(const Pointwise *b, int64_t first, int64_t count, Ahead *ahead) {
  for (int i = 0; b->grids == 1 && i < b->sources; i++) {
    int64_t channels = b->source[i].read.channels;
    ahead_add(ahead, b->source[i].x + first * channels, count * channels * (int64_t)sizeof(STORED));
  }
}

/* ---- forward ---- */

CnErr FN(pointwise_run)(const Pointwise *b) {
  CnCall *call = b->call;
  int64_t channels = b->grids * b->outputs, rows = strip_pixels(b), pitch = strip_pitch(b->inputs);
  int64_t strips = CN_CEIL_DIV(b->pixels, rows), pieces = CN_MAX(1, CN_MIN(PIECES, strips));
  size_t matrix = aligned((int64_t)gemm_packed_count(b->inputs, b->outputs)), taken = aligned(rows * pitch);
  size_t scratch = taken + aligned(rows * channels);
  double *sums = cn_alloc_zeroed((size_t)(2 * pieces * channels) * sizeof(double));
  REAL *packed = cn_alloc(((size_t)b->grids * matrix + (size_t)cn_threads() * scratch) * sizeof(REAL));
  if (sums == NULL || packed == NULL || pack_weights(b, false, packed, matrix) != CN_OK) {
    cn_free(sums);
    cn_free(packed);
    return CN_EMEMORY;
  }
  Shares shares;
  shares_of(&shares, pieces);
  CN_PARALLEL_IF_WORTH(b->pixels * b->inputs * channels)
  for (int64_t piece; (piece = shares_take(&shares)) >= 0;) {
    REAL *x = packed + (size_t)b->grids * matrix + (size_t)thread_index() * scratch, *result = x + taken;
    int64_t begin, end;
    piece_range(strips, pieces, piece, &begin, &end);
    for (int64_t strip = begin; strip < end; strip++) {
      int64_t first = strip * rows, count = CN_MIN(rows, b->pixels - first);
      Ahead ahead = { 0 };
      if (first + count < b->pixels)
        ahead_sources(b, first + count, CN_MIN(rows, b->pixels - first - count), &ahead);
      for (int i = 0; i < b->results; i++) {
        const Result *r = &b->result[i];
        ahead_add(&ahead, DATA(STORED, call->out[r->output]) + first * r->channels,
                  count * r->channels * (int64_t)sizeof(STORED));
      }
      for (int grid = 0; grid < b->grids; grid++) {
        read_strip(b, grid, first, count, x, pitch);
        FN(gemm_tile_rows_ahead)(count, b->outputs, b->inputs, x, pitch, packed + (size_t)grid * matrix, NULL,
                                 result + grid * b->outputs, channels, &ahead);
      }
      for (int i = 0; i < b->results; i++) {
        const Result *r = &b->result[i];
        STORED *z = DATA(STORED, call->out[r->output]) + first * r->channels;
        FN(write_result)(result + r->first, channels, count, r->channels, z,
                         sums + 2 * (pieces * r->first + piece * r->channels));
      }
    }
  }
  for (int i = 0; i < b->results; i++) {
    const Result *r = &b->result[i];
    FN(finish_statistics)(pieces, r->channels, b->pixels, sums + 2 * pieces * r->first,
                          DATA(REAL, call->out[r->output + 1]), DATA(REAL, call->out[r->output + 2]));
  }
  cn_free(packed);
  cn_free(sums);
  return CN_OK;
}

/* ---- backward ---- */

/* What one backward works with: memory in one block at `packed`. */
typedef struct Back {
  const Pointwise *b;
  Incoming incoming[CN_MAX_OUTPUTS / 3]; /* by result */
  bool weights, sources, factors; /* what is wanted: of the weights, of what is read, of scale or shift */
  bool turned;    /* the weights' gradients are summed up as (O,I), which fills vectors better */
  int64_t channels, rows, pitch, strips, pieces;
  size_t matrix;  /* elements of one grid's packed weights (O,I) */
  size_t weight;  /* elements of one grid's weights (I,O) */
  size_t scratch; /* elements that a thread has: a strip of the sources, one of z's gradient, a vector to read beyond */
  REAL *packed;   /* [grids][matrix] */
  REAL *memory;   /* [threads][scratch] */
  REAL *partial;  /* [grids][pieces][weight] */
  double *sums;   /* [sources][pieces][2 * its channels] */
} Back;

static void back_free(Back *k) {
  for (int i = 0; i < k->b->results; i++) cn_free(k->incoming[i].by_z);
  cn_free(k->packed);
  cn_free(k->sums);
}

/* Vectors that a product whose rows have `n` elements takes for `rows` of them; single ones load more than they
** multiply. */
static int64_t vectors(int64_t rows, int64_t n) {
  return 16 * rows * CN_CEIL_DIV(n, VLEN) + (n <= VLEN ? rows : 0);
}

static CnErr back_new(Back *out, const Pointwise *b) {
  const CnCall *call = b->call;
  Back k = { .b = b, .channels = b->grids * b->outputs, .rows = strip_pixels(b), .pitch = strip_pitch(b->inputs) };
  for (int i = 0; i < b->weights; i++) k.weights |= weights_wanted(b, i) != NULL;
  for (int i = b->slots; i < b->slots + 2; i++) k.factors |= block_wanted(call, i) != NULL;
  k.sources = k.factors;
  for (int i = 0; i < b->sources; i++) k.sources |= b->source[i].gx != NULL;
  k.strips = CN_CEIL_DIV(b->pixels, k.rows);
  k.pieces = CN_MAX(1, CN_MIN(CN_MIN(PIECES, k.strips), b->pixels / PIECE_PIXELS));
  k.matrix = aligned((int64_t)gemm_packed_count(b->outputs, b->inputs));
  k.weight = (size_t)(b->inputs * b->outputs);
  k.turned = vectors(b->outputs, b->inputs) < vectors(b->inputs, b->outputs);
  k.scratch = aligned(k.rows * k.pitch) + aligned(k.rows * k.channels + VLEN);
  size_t all = (size_t)b->grids * k.matrix + (size_t)cn_threads() * k.scratch;
  size_t partial = k.weights ? (size_t)(b->grids * k.pieces) * k.weight : 0;
  CnErr e = CN_OK;
  for (int i = 0; i < b->results && e == CN_OK; i++) e = FN(incoming_of)(&k.incoming[i], call, b->result[i].output);
  k.packed = cn_alloc((all + partial) * sizeof(REAL));
  k.sums = cn_alloc_zeroed(k.factors ? (size_t)(2 * k.pieces * b->inputs) * sizeof(double) : 0);
  if (e == CN_OK) e = k.packed == NULL || k.sums == NULL ? CN_EMEMORY : pack_weights(b, true, k.packed, k.matrix);
  k.memory = k.packed + (size_t)b->grids * k.matrix;
  k.partial = k.packed + all;
  if (e == CN_OK) *out = k;
  else back_free(&k);
  return e;
}

static REAL *partial_sums(const Back *k, int grid, int64_t piece) {
  return k->partial + (size_t)(grid * k->pieces + piece) * k->weight;
}

static double *factor_sums(const Back *k, int source, int64_t piece) {
  const Source *s = &k->b->source[source];
  return k->factors ? k->sums + 2 * (k->pieces * s->first + piece * s->read.channels) : NULL;
}

/* What the end of this strip writes, then what the next one reads. */
static Ahead ahead_of(const Back *k, int64_t first, int64_t count) {
  const Pointwise *b = k->b;
  int64_t next = first + count, more = CN_MIN(k->rows, b->pixels - next);
  Ahead ahead = { 0 };
  for (int i = 0; b->grids == 1 && i < b->sources; i++) {
    int64_t channels = b->source[i].read.channels;
    if (b->source[i].gx != NULL)
      ahead_add(&ahead, b->source[i].gx + first * channels, count * channels * (int64_t)sizeof(STORED));
  }
  for (int i = 0; i < b->results && more > 0; i++) {
    int64_t channels = b->result[i].channels;
    ahead_add(&ahead, k->incoming[i].g + next * channels, more * channels * (int64_t)sizeof(STORED));
    ahead_add(&ahead, k->incoming[i].z + next * channels, more * channels * (int64_t)sizeof(STORED));
  }
  if (more > 0) ahead_sources(b, next, more, &ahead);
  return ahead;
}

/* Adds a strip's product to the weights' gradient of one grid. */
static void add_product(const Back *k, int64_t count, const REAL *x, const REAL *g, REAL *sum, Ahead *ahead) {
  int64_t inputs = k->b->inputs, outputs = k->b->outputs;
  if (k->turned) FN(gemm_add_outer_ahead)(count, outputs, inputs, g, k->channels, x, k->pitch, sum, inputs, ahead);
  else FN(gemm_add_outer_ahead)(count, inputs, outputs, x, k->pitch, g, k->channels, sum, outputs, ahead);
}

/* One strip: `x` holds what is read, then its gradient; `g` is that of z. */
static void strip_back(const Back *k, int64_t piece, int64_t first, int64_t count, REAL *x, REAL *g) {
  const Pointwise *b = k->b;
  Ahead ahead = ahead_of(k, first, count);
  for (int i = 0; i < b->results; i++)
    FN(read_gradient)(&k->incoming[i], first, count, g + b->result[i].first, k->channels);
  for (int grid = 0; grid < b->grids; grid++) {
    const REAL *from = g + grid * b->outputs;
    if (b->grids == 1 ? k->weights : weights_wanted(b, grid) != NULL) {
      read_strip(b, grid, first, count, x, k->pitch);
      add_product(k, count, x, from, partial_sums(k, grid, piece), &ahead);
    }
    if (!k->sources) continue;
    FN(gemm_tile_rows_ahead)(count, b->inputs, b->outputs, from, k->channels, k->packed + (size_t)grid * k->matrix,
                             NULL, x, k->pitch, &ahead);
    for (int i = 0; i < b->sources; i++)
      if (k->factors || b->source[i].gx != NULL)
        b->write(b, &b->source[i], grid, first, count, x + b->source[i].first, k->pitch, factor_sums(k, i, piece));
  }
}

/* The pieces' sums into the weights' gradients: columns `first` and on of what was summed up on a grid. */
static void finish_weights(const Back *k) {
  const Pointwise *b = k->b;
  int64_t down = k->turned ? 1 : b->outputs, right = k->turned ? b->inputs : 1;
  for (int grid = 0; k->weights && grid < b->grids; grid++)
    FN(sum_partials)(k->pieces, (int64_t)k->weight, partial_sums(k, grid, 0), partial_sums(k, grid, 0));
  for (int i = 0; k->weights && i < b->weights; i++) {
    bool shared = b->grids < b->weights;
    int64_t columns = shared ? b->result[i].channels : b->outputs;
    const REAL *total = partial_sums(k, shared ? 0 : i, 0) + (shared ? b->result[i].first : 0) * right;
    REAL *to = weights_wanted(b, i);
    for (int64_t row = 0; to != NULL && row < b->inputs; row++)
      for (int64_t c = 0; c < columns; c++) *to++ = total[row * down + c * right];
  }
}

CnErr FN(pointwise_run_back)(const Pointwise *b) {
  Back k;
  CN_TRY(back_new(&k, b));
  Shares shares;
  shares_of(&shares, k.pieces);
  CN_PARALLEL_IF_WORTH(b->pixels * b->inputs * k.channels)
  for (int64_t piece; (piece = shares_take(&shares)) >= 0;) {
    REAL *x = k.memory + (size_t)thread_index() * k.scratch, *g = x + aligned(k.rows * k.pitch);
    int64_t begin, end;
    piece_range(k.strips, k.pieces, piece, &begin, &end);
    for (int grid = 0; k.weights && grid < b->grids; grid++)
      memset(partial_sums(&k, grid, piece), 0, k.weight * sizeof(REAL));
    for (int64_t strip = begin; strip < end; strip++)
      strip_back(&k, piece, strip * k.rows, CN_MIN(k.rows, b->pixels - strip * k.rows), x, g);
  }
  finish_weights(&k);
  REAL *gscale = block_wanted(b->call, b->slots), *gshift = block_wanted(b->call, b->slots + 1);
  for (int i = 0; k.factors && i < b->sources; i++) {
    const Source *s = &b->source[i];
    FN(finish_factors)(k.pieces, s->read.channels, factor_sums(&k, i, 0), gscale != NULL ? gscale + s->first : NULL,
                       gshift != NULL ? gshift + s->first : NULL);
  }
  back_free(&k);
  return CN_OK;
}

/* ---- pointwise_block, pointwise_blocks: pixel p of z has pixel p of the sources ---- */

static void read_same(const Pointwise *b, const Source *s, int grid, int64_t first, int64_t count, REAL *to,
                      int64_t pitch) {
  (void)b, (void)grid;
  FN(read_pixels)(&s->read, s->x + first * s->read.channels, count, to, pitch);
}

static void write_same(const Pointwise *b, const Source *s, int grid, int64_t first, int64_t count, const REAL *g,
                       int64_t pitch, double *sums) {
  int64_t at = first * s->read.channels;
  (void)b, (void)grid;
  FN(write_gradient)(&s->read, s->x + at, g, pitch, count, s->gx != NULL ? s->gx + at : NULL, s->add, sums);
}

static Pointwise same_pixels(CnCall *call, int slots) {
  Pointwise b = FN(pointwise_of)(call, slots, true);
  b.read = read_same;
  b.write = write_same;
  return b;
}

CnErr FN(pointwise_block_forward)(CnCall *call) {
  Pointwise b = same_pixels(call, 1);
  return FN(pointwise_run)(&b);
}

CnErr FN(pointwise_block_backward)(CnCall *call) {
  Pointwise b = same_pixels(call, 1);
  return FN(pointwise_run_back)(&b);
}

CnErr FN(pointwise_blocks_forward)(CnCall *call) {
  Pointwise b = same_pixels(call, 3);
  return FN(pointwise_run)(&b);
}

CnErr FN(pointwise_blocks_backward)(CnCall *call) {
  Pointwise b = same_pixels(call, 3);
  return FN(pointwise_run_back)(&b);
}
