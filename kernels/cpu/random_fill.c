/* random_fill.c - a tensor filled with random numbers. Kernels: fill_uniform_forward, fill_normal_forward, f32 and f64.
**
** Element i comes from word i % 4 of block counter + i / 4 (see base/random.h), whatever the type: f32 and f64 tensors
** get the same numbers, as far as f32 goes. Normal numbers are made in pairs (Box and Muller, "A note on the generation
** of random normal deviates", 1958): words 0 and 1 give elements 0 and 1, words 2 and 3 give 2 and 3. */
#include "words.h"

typedef struct Draw {
  CnRng rng;
  REAL *x;
  double first, second; /* low and high, or mean and deviation */
} Draw;

/* Elements begin … end-1; begin is a multiple of 4. */
static void draw_uniform(void *context, int64_t begin, int64_t end) {
  const Draw *d = context;
  REAL low = (REAL)d->first, high = (REAL)d->second, below = (REAL)nextafterf((float)high, (float)low);
  if (sizeof(REAL) == sizeof(double)) below = (REAL)nextafter((double)high, (double)low);
  for (int64_t from = begin; from < end; from += WORDS) {
    int64_t n = CN_MIN(WORDS, end - from);
    uint32_t word[WORDS];
    draw_words(word, d->rng, from / 4);
    for (int64_t i = 0; i < n; i++) {
      REAL value = (REAL)(d->first + (d->second - d->first) * (double)cn_u32_to_unit(word[i]));
      d->x[from + i] = value < high ? value : below; /* rounding must not reach the open end */
    }
  }
}

/* Two independent normal numbers from two words; the first is in (0, 1] before its logarithm is taken. */
static void normal_pair(double out[2], const uint32_t word[2]) {
  double radius = sqrt(-2 * log(((double)word[0] + 1) * 0x1p-32));
  double angle = 6.283185307179586 * ((double)word[1] * 0x1p-32);
  out[0] = radius * cos(angle);
  out[1] = radius * sin(angle);
}

static void draw_normal(void *context, int64_t begin, int64_t end) {
  const Draw *d = context;
  for (int64_t from = begin; from < end; from += WORDS) {
    int64_t n = CN_MIN(WORDS, end - from);
    uint32_t word[WORDS];
    double normal[WORDS];
    draw_words(word, d->rng, from / 4);
    for (int64_t i = 0; i < n; i += 2) normal_pair(normal + i, word + i);
    for (int64_t i = 0; i < n; i++) d->x[from + i] = (REAL)(d->first + d->second * normal[i]);
  }
}

/* Attributes: two numbers, and a stream of three slots. */
static CnErr draw(CnCall *call, PieceWork *work) {
  Draw d = { .rng = { (uint64_t)call->attr[2].i, (uint64_t)call->attr[3].i, (uint64_t)call->attr[4].i },
             .x = DATA(REAL, call->in[0]), .first = call->attr[0].f, .second = call->attr[1].f };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, work, &d);
  return CN_OK;
}

CnErr FN(fill_uniform_forward)(CnCall *call) {
  double low = call->attr[0].f, high = call->attr[1].f;
  if (!(low <= high)) return cn_fail(CN_EUSAGE, "fill_uniform: low %g must not be above high %g", low, high);
  return draw(call, draw_uniform);
}

CnErr FN(fill_normal_forward)(CnCall *call) { return draw(call, draw_normal); }
