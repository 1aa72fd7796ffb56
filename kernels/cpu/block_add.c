/* block_add.c - row add_block: two images added, each through its own scale and shift; the sum of a node's two edges.
**
** The gradient of a term is that of the sum times the term's scale: mostly it is handed on so, with nothing written.
** Images go in pieces, each piece in strips of PIXELS that stay in the cache while both terms' gradients are made. */
#include "kernels/cpu/block.h"
#include "kernels/cpu/shares.h"

#define PIXELS 128

/* One term: x, or (x * scale + shift) * keep[image]. */
typedef struct Term {
  const STORED *x;
  const REAL *scale, *shift, *keep; /* NULL: without; scale and shift go together */
  STORED *gx;
  bool add;
  REAL *gscale, *gshift;
} Term;

typedef struct Sum {
  int64_t n, pixels, channels, pieces; /* pixels of one image */
  Term term[2];
} Sum;

static Sum sum_of(const CnCall *call) {
  const int64_t *shape = call->in_spec[0].shape;
  Sum s = { shape[0], shape[1] * shape[2], shape[3], CN_MAX(1, CN_MIN(48, shape[0])), { { 0 } } };
  for (int i = 0; i < 2; i++) {
    s.term[i] = (Term){ .x = call->in[i] != NULL ? DATA(STORED, call->in[i]) : NULL,
                        .scale = block_input(call, 2 + 2 * i), .shift = block_input(call, 3 + 2 * i),
                        .keep = block_input(call, 6 + i) };
  }
  return s;
}

/* What a term's elements in one slot of channels are multiplied by and moved by, for one image. */
CN_INLINE VREAL term_scale(const Term *t, int64_t image, int64_t c, int lanes) {
  VREAL scale = t->scale != NULL ? vload_some(t->scale + c, lanes) : vsplat(1);
  return t->keep != NULL ? scale * t->keep[image] : scale;
}

CN_INLINE void add_slot(const Sum *s, int64_t image, int64_t first, int64_t pixels, STORED *z, int64_t c, int lanes) {
  VREAL x_scale = term_scale(&s->term[0], image, c, lanes), y_scale = term_scale(&s->term[1], image, c, lanes);
  VREAL shift = { 0 };
  for (int i = 0; i < 2; i++) {
    const Term *t = &s->term[i];
    if (t->shift == NULL) continue;
    VREAL part = vload_some(t->shift + c, lanes);
    shift += t->keep != NULL ? part * t->keep[image] : part;
  }
  int64_t at = (image * s->pixels + first) * s->channels + c;
  for (int64_t p = 0; p < pixels; p++, at += s->channels) {
    VREAL sum = load_stored(s->term[0].x + at, lanes) * x_scale + shift;
    if (s->term[1].x != NULL) sum += load_stored(s->term[1].x + at, lanes) * y_scale;
    store_stored(z + at, sum, lanes);
  }
}

CnErr FN(add_block_forward)(CnCall *call) {
  Sum s = sum_of(call);
  STORED *z = DATA(STORED, call->out[0]);
  int slots = slot_count(s.channels), lanes = slot_lanes(s.channels);
  Shares shares;
  shares_of(&shares, s.n);
  CN_PARALLEL_IF_WORTH(s.n * s.pixels * s.channels)
  for (int64_t image; (image = shares_take(&shares)) >= 0;)
    for (int64_t first = 0; first < s.pixels; first += PIXELS) {
      int64_t pixels = CN_MIN(PIXELS, s.pixels - first);
      for (int slot = 0; slot < slots; slot++) {
        int64_t c = slot_begin(s.channels, slot);
        if (lanes == VLEN) add_slot(&s, image, first, pixels, z, c, VLEN);
        else add_slot(&s, image, first, pixels, z, c, lanes);
      }
    }
  return CN_OK;
}

/* The gradient of one term in one slot; `fresh` has zeros in the lanes that the slot before has written. The sums are
** those of scale and shift. */
CN_INLINE void term_slot(const Sum *s, const Term *t, const STORED *g, int64_t image, int64_t first, int64_t pixels,
                         double *sums, int slot, int64_t c, int lanes) {
  VREAL scale = term_scale(t, image, c, lanes), by_x = { 0 }, plain = { 0 }, fresh = vsplat(1);
  int64_t at = (image * s->pixels + first) * s->channels + c, skip = (int64_t)slot * VLEN - c;
  for (int64_t j = 0; j < skip; j++) fresh[j] = 0;
  VREAL pivot = sums != NULL ? load_stored(t->x + at, lanes) : by_x; /* a large mean costs the sum no digits */
  for (int64_t p = 0; p < pixels; p++, at += s->channels) {
    VREAL value = load_stored(g + at, lanes);
    if (sums != NULL) {
      by_x += value * (load_stored(t->x + at, lanes) - pivot);
      plain += value;
    }
    if (t->gx == NULL) continue;
    value *= scale;
    if (t->add) value = load_stored(t->gx + at, lanes) + value * fresh;
    store_stored(t->gx + at, value, lanes);
  }
  if (sums == NULL) return;
  double keep = t->keep != NULL ? (double)t->keep[image] : 1;
  for (int64_t j = skip; j < CN_MIN((int64_t)VLEN, s->channels - c); j++) {
    sums[c + j] += keep * ((double)by_x[j] + (double)pivot[j] * (double)plain[j]);
    sums[s->channels + c + j] += keep * (double)plain[j];
  }
}

static void term_strip(const Sum *s, const Term *t, const STORED *g, int64_t image, int64_t first, double *sums) {
  int64_t pixels = CN_MIN(PIXELS, s->pixels - first);
  if (t->gx == NULL && sums == NULL) return;
  for (int slot = 0; slot < slot_count(s->channels); slot++) {
    int64_t c = slot_begin(s->channels, slot);
    if (s->channels >= VLEN) term_slot(s, t, g, image, first, pixels, sums, slot, c, VLEN);
    else term_slot(s, t, g, image, first, pixels, sums, slot, c, slot_lanes(s->channels));
  }
}

CnErr FN(add_block_backward)(CnCall *call) {
  Sum s = sum_of(call);
  const STORED *g = DATA(STORED, call->gout[0]);
  for (int i = 6; i < 8; i++) { /* keep has none, as if it had not been used */
    cn_tensor_unref(call->gin[i]);
    call->gin[i] = NULL;
  }
  for (int i = 0; i < 2; i++) {
    Term *t = &s.term[i];
    t->gx = call->gin[i] != NULL ? DATA(STORED, call->gin[i]) : NULL;
    t->add = call->add[i];
    t->gscale = block_wanted(call, 2 + 2 * i);
    t->gshift = block_wanted(call, 3 + 2 * i);
    if (t->gx == NULL || t->add || t->keep != NULL) continue;
    cn_tensor_unref(call->gin[i]); /* nothing to write: it is that of z, but for the scale */
    call->gin[i] = cn_tensor_ref(call->gout[0]);
    call->gin_factor[i] = call->in[2 + 2 * i];
    t->gx = NULL;
  }
  double *sums = cn_alloc_zeroed((size_t)(4 * s.pieces * s.channels) * sizeof(double));
  if (sums == NULL) return CN_EMEMORY;
  Shares shares;
  shares_of(&shares, s.pieces);
  CN_PARALLEL_IF_WORTH(s.n * s.pixels * s.channels)
  for (int64_t piece; (piece = shares_take(&shares)) >= 0;) {
    int64_t begin, end;
    piece_range(s.n, s.pieces, piece, &begin, &end);
    for (int64_t image = begin; image < end; image++)
      for (int64_t first = 0; first < s.pixels; first += PIXELS)
        for (int i = 0; i < 2; i++) {
          const Term *t = &s.term[i];
          bool factors = t->gscale != NULL || t->gshift != NULL;
          term_strip(&s, t, g, image, first, factors ? sums + 2 * (i * s.pieces + piece) * s.channels : NULL);
        }
  }
  for (int i = 0; i < 2; i++)
    FN(finish_factors)(s.pieces, s.channels, sums + 2 * i * s.pieces * s.channels, s.term[i].gscale, s.term[i].gshift);
  cn_free(sums);
  return CN_OK;
}
