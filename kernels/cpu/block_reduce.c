/* block_reduce.c - row reduce_block: the strips of block_pointwise.c on two grids of every other pixel.
**
** Pixel (i,j) of z owns the 2x2 pixels of the sources from (2i-odd, 2j-odd) on, odd being 1 in a direction whose size is
** odd: the first grid has the upper left one, the second the lower right one, none the other two. Pixels in front of
** the image are zeros, after the ReLU. So the gradient of every source pixel is written once, by the strip that owns
** it. */
#include "kernels/cpu/block_pointwise.h"

/* Pixels of one row of z, from column `from` to before `end`, and row y of the sources beside them. */
typedef struct Run {
  int64_t image, row, from, end;
} Run;

/* The first run of pixels p … end-1 of z. */
static Run run_at(const Pointwise *b, int64_t p, int64_t end) {
  int64_t row = p / b->ow, from = p % b->ow;
  return (Run){ row / b->oh, row % b->oh, from, CN_MIN(b->ow, from + end - p) };
}

/* Element of a source at pixel (y,x) of an image, or -1 outside. */
static int64_t element(const Pointwise *b, const Source *s, int64_t image, int64_t y, int64_t x) {
  return y < 0 || y >= b->h || x < 0 || x >= b->w ? -1 : ((image * b->h + y) * b->w + x) * s->read.channels;
}

/* Pixels of the sources that a strip owns, so many elements of one of them: as far ahead is the next strip. */
static int64_t strip_elements(const Source *s, int64_t count) { return 4 * count * s->read.channels; }

/* Asks for every other one of `pixels` pixels from x on. */
static void ask_spaced(const STORED *x, int64_t channels, int64_t pixels) {
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t c = 0; c < channels; c += 64 / (int64_t)sizeof(STORED))
      __builtin_prefetch(x + 2 * p * channels + c, 0, 2);
}

static void read_grid(const Pointwise *b, const Source *s, int grid, int64_t first, int64_t count, REAL *to,
                      int64_t pitch) {
  int64_t channels = s->read.channels, end = first + count;
  while (first < end) {
    Run r = run_at(b, first, end);
    int64_t y = 2 * r.row - b->h % 2 + grid, shift = grid - b->w % 2, inside = r.from;
    while (inside < r.end && element(b, s, r.image, y, 2 * inside + shift) < 0) inside++;
    for (int64_t j = r.from; j < inside; j++) memset(to + (j - r.from) * pitch, 0, (size_t)channels * sizeof(REAL));
    if (inside < r.end) {
      const STORED *x = s->x + element(b, s, r.image, y, 2 * inside + shift);
      ask_spaced(x + strip_elements(s, count), channels, r.end - inside);
      FN(read_spaced)(&s->read, x, 2 * channels, r.end - inside, to + (inside - r.from) * pitch, pitch);
    }
    to += (r.end - r.from) * pitch;
    first += r.end - r.from;
  }
}

static void write_grid(const Pointwise *b, const Source *s, int grid, int64_t first, int64_t count, const REAL *g,
                       int64_t pitch, double *sums) {
  int64_t channels = s->read.channels, end = first + count;
  while (first < end) {
    Run r = run_at(b, first, end);
    int64_t y = 2 * r.row - b->h % 2 + grid, shift = grid - b->w % 2, inside = r.from;
    while (inside < r.end && element(b, s, r.image, y, 2 * inside + shift) < 0) inside++;
    if (inside < r.end) {
      int64_t at = element(b, s, r.image, y, 2 * inside + shift);
      FN(write_spaced)(&s->read, s->x + at, 2 * channels, strip_elements(s, count), g + (inside - r.from) * pitch, pitch,
                       r.end - inside, s->gx != NULL ? s->gx + at : NULL, s->add, sums);
    }
    for (int64_t j = r.from; s->gx != NULL && !s->add && j < r.end; j++) { /* the pixel of no grid in this row */
      int64_t at = element(b, s, r.image, y, 2 * j - b->w % 2 + 1 - grid);
      if (at >= 0) memset(s->gx + at, 0, (size_t)channels * sizeof(STORED));
    }
    g += (r.end - r.from) * pitch;
    first += r.end - r.from;
  }
}

static Pointwise reduce_block_of(CnCall *call) {
  Pointwise b = FN(pointwise_of)(call, 2, false);
  b.read = read_grid;
  b.write = write_grid;
  return b;
}

CnErr FN(reduce_block_forward)(CnCall *call) {
  Pointwise b = reduce_block_of(call);
  return FN(pointwise_run)(&b);
}

CnErr FN(reduce_block_backward)(CnCall *call) {
  Pointwise b = reduce_block_of(call);
  return FN(pointwise_run_back)(&b);
}
