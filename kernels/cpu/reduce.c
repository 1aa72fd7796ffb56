/* reduce.c - sums and means over any dimensions. Kernels: sum (any type), mean (floats), _forward and _backward.
**
** Neighbouring dimensions of one kind, kept or summed, are merged, so that an array is seen as (kept outer) x (summed)
** x maybe (kept inner), the summed part perhaps strided. For each kept outer entry the summed range is cut into slices
** of a length fixed by the shape; a slice gives one partial sum (or a row of them), taken in f64, and the partial sums
** are added in the order of the slices. Hence the result has the accuracy of f64 and never depends on the threads. */
#include "reduce.h"

#include "nest.h"

#define LANES 16  /* independent sums along a contiguous row */
#define BLOCK 256 /* columns of a slice when the innermost dimension is kept */

/* Merged dimensions of one kind, outermost first. */
typedef struct Loops {
  int n;
  int64_t count;
  int64_t size[CN_MAX_DIMS], stride[CN_MAX_DIMS];
} Loops;

typedef struct Reduction {
  const STORED *x;
  Loops kept;        /* without the innermost dimension when that is kept */
  Loops summed;      /* without the innermost dimension when that is summed */
  int64_t columns;   /* the innermost dimension when it is kept, else 1 … */
  int64_t row;       /* … or when it is summed, else 1 */
  int64_t blocks;    /* of columns */
  int64_t slices;    /* of summed.count * row, each of `slice` */
  int64_t slice;
  ACC *partial;      /* (kept, slices, columns) */
  SUM *out;          /* (kept, columns) */
  double factor;
} Reduction;

static int64_t loops_offset(const Loops *loops, int64_t index) {
  int64_t offset = 0;
  for (int d = loops->n - 1; d > 0; d--) {
    offset += index % loops->size[d] * loops->stride[d];
    index /= loops->size[d];
  }
  return loops->n > 0 ? offset + index * loops->stride[0] : 0;
}

static ACC row_sum(const STORED *x, int64_t n) {
  ACC lane[LANES] = { 0 }, total = 0;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) lane[l] += real_of(x[i + l]);
  for (; i < n; i++) total += real_of(x[i]);
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int l = 0; l < width; l++) lane[l] += lane[l + width];
  return total + lane[0];
}

/* The partial sum of one slice whose innermost dimension is summed. */
static ACC slice_sum(const Reduction *r, const STORED *x, int64_t begin, int64_t end) {
  ACC total = 0;
  while (begin < end) {
    int64_t outer = begin / r->row, within = begin % r->row;
    int64_t n = CN_MIN(r->row - within, end - begin);
    total += row_sum(x + loops_offset(&r->summed, outer) + within, n);
    begin += n;
  }
  return total;
}

/* The partial sums of one slice for columns first … first+n-1. */
static void slice_sum_columns(const Reduction *r, const STORED *x, int64_t begin, int64_t end, int64_t first, int64_t n,
                              ACC *restrict out) {
  ACC total[BLOCK] = { 0 };
  for (int64_t q = begin; q < end; q++) {
    const STORED *restrict row = x + loops_offset(&r->summed, q) + first;
    for (int64_t c = 0; c < n; c++) total[c] += real_of(row[c]);
  }
  memcpy(out, total, (size_t)n * sizeof(ACC));
}

/* Units are (kept, block, slice). */
static void sum_units(void *context, int64_t begin, int64_t end) {
  const Reduction *r = context;
  for (int64_t unit = begin; unit < end; unit++) {
    int64_t s = unit % r->slices, block = unit / r->slices % r->blocks, k = unit / r->slices / r->blocks;
    int64_t from = s * r->slice, to = CN_MIN(from + r->slice, r->summed.count * r->row), first = block * BLOCK;
    const STORED *x = r->x + loops_offset(&r->kept, k);
    ACC *partial = r->partial + (k * r->slices + s) * r->columns + first;
    if (r->columns == 1) *partial = slice_sum(r, x, from, to);
    else slice_sum_columns(r, x, from, to, first, CN_MIN(BLOCK, r->columns - first), partial);
  }
}

/* Output elements begin … end-1 from the partial sums. */
static void add_slices(void *context, int64_t begin, int64_t end) {
  const Reduction *r = context;
  for (int64_t i = begin; i < end; i++) {
    const ACC *partial = r->partial + i / r->columns * r->slices * r->columns + i % r->columns;
    ACC total = 0;
    for (int64_t s = 0; s < r->slices; s++) total += partial[s * r->columns];
#if CN_REAL_IS_FLOAT
    r->out[i] = stored_of((REAL)(total * r->factor));
#else
    r->out[i] = total;
#endif
  }
}

static void loops_add(Loops *loops, int64_t size, int64_t stride) {
  int last = loops->n - 1;
  loops->count *= size;
  if (last >= 0 && loops->stride[last] == stride * size) {
    loops->size[last] *= size;
    loops->stride[last] = stride;
  } else {
    loops->size[loops->n] = size;
    loops->stride[loops->n++] = stride;
  }
}

/* Takes the innermost loop away and returns its size. */
static int64_t loops_pop(Loops *loops) {
  int64_t size = loops->size[--loops->n];
  if (size > 0) {
    loops->count /= size;
  } else {
    loops->count = 1;
    for (int d = 0; d < loops->n; d++) loops->count *= loops->size[d];
  }
  return size;
}

static void reduction_make(Reduction *r, const CnSpec *spec, uint32_t dims) {
  *r = (Reduction){ .kept.count = 1, .summed.count = 1, .columns = 1, .row = 1, .blocks = 1 };
  int64_t stride[CN_MAX_DIMS], row_major = 1;
  for (int d = spec->ndim - 1; d >= 0; d--) {
    stride[d] = row_major;
    row_major *= spec->shape[d];
  }
  for (int d = 0; d < spec->ndim; d++)
    if (spec->shape[d] != 1) loops_add(dims >> d & 1 ? &r->summed : &r->kept, spec->shape[d], stride[d]);
  int innermost = spec->ndim - 1;
  while (innermost >= 0 && spec->shape[innermost] == 1) innermost--;
  int64_t work;
  if (innermost < 0 || dims >> innermost & 1) {
    if (r->summed.n > 0) r->row = loops_pop(&r->summed);
    r->slice = GRAIN;
    work = r->summed.count * r->row;
  } else {
    r->columns = loops_pop(&r->kept);
    r->blocks = piece_count(r->columns, BLOCK);
    r->slice = CN_MAX(64, GRAIN / CN_MAX(1, r->columns));
    work = r->summed.count;
  }
  r->slices = CN_MAX(1, piece_count(work, r->slice));
}

typedef struct Copy {
  SUM *out;
  const STORED *x;
  double factor;
} Copy;

static void copy_scaled(void *context, int64_t begin, int64_t end) {
  const Copy *c = context;
#if CN_REAL_IS_FLOAT
  REAL factor = (REAL)c->factor;
  for (int64_t i = begin; i < end; i++) c->out[i] = stored_of(real_of(c->x[i]) * factor);
#else
  for (int64_t i = begin; i < end; i++) c->out[i] = c->x[i];
#endif
}

CnErr FN(cn_reduce_sum)(SUM *out, const STORED *x, const CnSpec *spec, uint32_t dims, double factor) {
  if (dims == 0) {
    Copy copy = { out, x, factor };
    in_pieces(count_of(spec), GRAIN, copy_scaled, &copy);
    return CN_OK;
  }
  Reduction r;
  reduction_make(&r, spec, dims);
  r.x = x;
  r.out = out;
  r.factor = factor;
  int64_t outputs = r.kept.count * r.columns;
  if (outputs == 0) return CN_OK;
  r.partial = cn_alloc((size_t)(outputs * r.slices) * sizeof(ACC));
  if (!r.partial) return CN_EMEMORY;
  int64_t unit = CN_MIN(r.slice, r.summed.count * r.row) * CN_MIN(BLOCK, r.columns); /* elements */
  in_pieces(r.kept.count * r.blocks * r.slices, rows_in_piece(unit), sum_units, &r);
  in_pieces(outputs, rows_in_piece(r.slices), add_slices, &r);
  cn_free(r.partial);
  return CN_OK;
}

/* Attributes: dims, keepdim. */
static uint32_t call_dims(const CnCall *call) {
  uint32_t all = (1u << call->in_spec[0].ndim) - 1, dims = (uint32_t)call->attr[0].i;
  return dims == 0 ? all : dims;
}

CnErr FN(sum_forward)(CnCall *call) {
  return FN(cn_reduce_sum)(DATA(SUM, call->out[0]), DATA(STORED, call->in[0]), &call->in_spec[0], call_dims(call), 1);
}

#if CN_REAL_IS_FLOAT
static int64_t summed_count(const CnCall *call) {
  int64_t n = 1;
  for (int d = 0; d < call->in_spec[0].ndim; d++)
    if (call_dims(call) >> d & 1) n *= call->in_spec[0].shape[d];
  return n;
}

typedef struct Spread {
  Nest nest;
  STORED *out;
  const STORED *g;
  REAL factor;
} Spread;

static void spread_row(void *context, const Nest *nest, int64_t at, const int64_t offset[NEST_OPERANDS], int64_t n) {
  const Spread *s = context;
  STORED *restrict out = s->out + at;
  const STORED *restrict g = s->g + offset[0];
  REAL factor = s->factor;
  if (nest->stride[nest->ndim - 1][0] == 0) {
    STORED value = stored_of(real_of(*g) * factor);
    for (int64_t i = 0; i < n; i++) out[i] = value;
  } else {
    for (int64_t i = 0; i < n; i++) out[i] = stored_of(real_of(g[i]) * factor); /* g is row-major: the innermost stride is 1 */
  }
}

static void spread(void *context, int64_t begin, int64_t end) {
  const Spread *s = context;
  nest_walk(&s->nest, begin, end, spread_row, context);
}

/* gin = factor * gout, repeated along the dimensions that were summed. */
static CnErr spread_gradient(CnCall *call, double factor) {
  if (!call->gin[0]) return CN_OK;
  CnSpec kept = call->in_spec[0]; /* gout's shape, as if keepdim */
  for (int d = 0; d < kept.ndim; d++)
    if (call_dims(call) >> d & 1) kept.shape[d] = 1;
  Spread s = { .out = DATA(STORED, call->gin[0]), .g = DATA(STORED, call->gout[0]), .factor = (REAL)factor };
  NestOperand operand = operand_of_spec(&kept);
  nest_make(&s.nest, &call->in_spec[0], &operand, 1);
  in_pieces(s.nest.count, GRAIN, spread, &s);
  return CN_OK;
}

CnErr FN(sum_backward)(CnCall *call) { return spread_gradient(call, 1); }

CnErr FN(mean_forward)(CnCall *call) {
  return FN(cn_reduce_sum)(DATA(SUM, call->out[0]), DATA(STORED, call->in[0]), &call->in_spec[0], call_dims(call),
                           1.0 / (double)summed_count(call));
}

CnErr FN(mean_backward)(CnCall *call) { return spread_gradient(call, 1.0 / (double)summed_count(call)); }
#endif
