/* block.c - reading and writing strips of pixels on behalf of the blocks: see block.h. */
#include "kernels/cpu/block.h"

/* Strips follow each other in memory: while one is computed with, the next is on its way into the level-2 cache. */
#define AHEAD(pointer) __builtin_prefetch(pointer, 0, 2)
#define AHEAD_WRITE(pointer) __builtin_prefetch(pointer, 1, 2)

/* Calls `routine(…, channel, lanes)` for each slot, with whole vectors as a constant. */
#define FOR_SLOTS(channels, call)                                      \
  for (int slot = 0; slot < slot_count(channels); slot++) {            \
    int64_t c = slot_begin(channels, slot);                            \
    if ((channels) >= VLEN) call(c, VLEN);                             \
    else call(c, slot_lanes(channels));                                \
  }

CN_INLINE VREAL factor(const REAL *factors, int64_t c, int lanes) {
  return factors != NULL ? vload_some(factors + c, lanes) : (VREAL){ 0 };
}

CN_INLINE void read_slot(const Reader *r, const STORED *x, int64_t step, int64_t pixels, REAL *to, int64_t pitch,
                         int64_t c, int lanes) {
  VREAL scale = factor(r->scale, c, lanes), shift = factor(r->shift, c, lanes);
  for (int64_t p = 0; p < pixels; p++) {
    AHEAD(x + (p + pixels) * step + c);
    vstore_some(to + p * pitch + c, read_vector(r, load_stored(x + p * step + c, lanes), scale, shift), lanes);
  }
}

void FN(read_spaced)(const Reader *r, const STORED *x, int64_t step, int64_t pixels, REAL *to, int64_t pitch) {
#define READ(c, lanes) read_slot(r, x, step, pixels, to, pitch, c, lanes)
  FOR_SLOTS(r->channels, READ)
#undef READ
}

void FN(read_pixels)(const Reader *r, const STORED *x, int64_t pixels, REAL *to, int64_t pitch) {
  FN(read_spaced)(r, x, r->channels, pixels, to, pitch);
}

/* Adds the lanes of two sums that no slot before this one holds. */
CN_INLINE void add_lanes(double *sums, int64_t channels, int slot, int64_t c, VREAL first, VREAL second) {
  for (int64_t j = (int64_t)slot * VLEN - c; j < CN_MIN((int64_t)VLEN, channels - c); j++) {
    sums[c + j] += (double)first[j];
    sums[channels + c + j] += (double)second[j];
  }
}

/* Sums of one slot over a strip, of distances to its first pixel: a large mean costs the squares no digits. */
typedef struct Spread {
  VREAL pivot, first[2], second[2];
} Spread;

CN_INLINE void spread_add(Spread *s, int i, VREAL value) {
  VREAL d = value - s->pivot;
  s->first[i] += d;
  s->second[i] += d * d;
}

/* Adds the lanes that no slot before this one holds. */
CN_INLINE void spread_finish(const Spread *s, int64_t pixels, int64_t channels, double *sums, int slot, int64_t c) {
  VREAL first = s->first[0] + s->first[1], second = s->second[0] + s->second[1];
  for (int64_t j = (int64_t)slot * VLEN - c; j < CN_MIN((int64_t)VLEN, channels - c); j++) {
    double from = (double)s->pivot[j], sum = (double)first[j], n = (double)pixels;
    sums[c + j] += sum + n * from;
    sums[channels + c + j] += (double)second[j] + 2 * from * sum + n * from * from;
  }
}

CN_INLINE void statistics_slot(const STORED *z, int64_t pixels, int64_t channels, double *sums, int slot, int64_t c,
                               int lanes) {
  Spread s = { load_stored(z + c, lanes), { { 0 } }, { { 0 } } };
  int64_t p = 0;
  for (; p + 2 <= pixels; p += 2)
    CN_UNROLL(2) for (int i = 0; i < 2; i++) spread_add(&s, i, load_stored(z + (p + i) * channels + c, lanes));
  if (p < pixels) spread_add(&s, 0, load_stored(z + p * channels + c, lanes));
  spread_finish(&s, pixels, channels, sums, slot, c);
}

void FN(add_statistics)(const STORED *z, int64_t pixels, int64_t channels, double *sums) {
#define ADD(c, lanes) statistics_slot(z, pixels, channels, sums, slot, c, lanes)
  if (pixels > 0) FOR_SLOTS(channels, ADD)
#undef ADD
}

CN_INLINE void result_slot(const REAL *from, int64_t pitch, int64_t pixels, int64_t channels, STORED *z, double *sums,
                           int slot, int64_t c, int lanes) {
  Spread s = { vload_some(from + c, lanes), { { 0 } }, { { 0 } } };
  int64_t p = 0;
  for (; p + 2 <= pixels; p += 2)
    CN_UNROLL(2) for (int i = 0; i < 2; i++) {
      VREAL value = vload_some(from + (p + i) * pitch + c, lanes);
      AHEAD_WRITE(z + (p + i + pixels) * channels + c);
      store_stored(z + (p + i) * channels + c, value, lanes);
      spread_add(&s, i, value);
    }
  if (p < pixels) {
    VREAL value = vload_some(from + p * pitch + c, lanes);
    store_stored(z + p * channels + c, value, lanes);
    spread_add(&s, 0, value);
  }
  spread_finish(&s, pixels, channels, sums, slot, c);
}

void FN(write_result)(const REAL *from, int64_t pitch, int64_t pixels, int64_t channels, STORED *z, double *sums) {
#define WRITE(c, lanes) result_slot(from, pitch, pixels, channels, z, sums, slot, c, lanes)
  if (pixels > 0) FOR_SLOTS(channels, WRITE)
#undef WRITE
}

void FN(finish_statistics)(int64_t pieces, int64_t channels, int64_t count, const double *sums, REAL *mean, REAL *var) {
  for (int64_t c = 0; c < channels; c++) {
    double sum = 0, square = 0, n = (double)CN_MAX(count, 1);
    for (int64_t piece = 0; piece < pieces; piece++) {
      sum += sums[2 * piece * channels + c];
      square += sums[(2 * piece + 1) * channels + c];
    }
    mean[c] = (REAL)(sum / n);
    var[c] = (REAL)CN_MAX(square / n - sum / n * (sum / n), 0);
  }
}

/* d mean / d z = 1/n, d var / d z = 2 (z - mean) / n. */
CnErr FN(incoming_of)(Incoming *out, const CnCall *call, int z) {
  const int64_t *shape = call->out_spec[z].shape;
  int64_t channels = shape[3];
  double n = (double)(shape[0] * shape[1] * shape[2]);
  const REAL *mean = DATA(REAL, call->out[z + 1]);
  const REAL *gmean = DATA(REAL, call->gout[z + 1]), *gvar = DATA(REAL, call->gout[z + 2]);
  *out = (Incoming){ DATA(STORED, call->gout[z]), DATA(STORED, call->out[z]), channels, NULL, NULL };
  out->by_z = cn_alloc((size_t)CN_MAX(2 * channels, 1) * sizeof(REAL));
  if (out->by_z == NULL) return CN_EMEMORY;
  out->shift = out->by_z + channels;
  for (int64_t c = 0; c < channels; c++) {
    double by_z = 2 * (double)gvar[c] / n;
    out->by_z[c] = (REAL)by_z;
    out->shift[c] = (REAL)((double)gmean[c] / n - by_z * (double)mean[c]);
  }
  return CN_OK;
}

CnErr FN(incoming_new)(Incoming *out, const CnCall *call) { return FN(incoming_of)(out, call, 0); }

CN_INLINE void gradient_slot(const Incoming *v, int64_t first, int64_t pixels, REAL *to, int64_t pitch, int64_t c,
                             int lanes) {
  VREAL by_z = vload_some(v->by_z + c, lanes), shift = vload_some(v->shift + c, lanes);
  const STORED *g = v->g + first * v->channels + c, *z = v->z + first * v->channels + c;
  for (int64_t p = 0; p < pixels; p++) {
    AHEAD(g + (p + pixels) * v->channels);
    AHEAD(z + (p + pixels) * v->channels);
    VREAL sum = load_stored(g + p * v->channels, lanes) + (load_stored(z + p * v->channels, lanes) * by_z + shift);
    vstore_some(to + p * pitch + c, sum, lanes);
  }
}

void FN(read_gradient)(const Incoming *v, int64_t first, int64_t pixels, REAL *to, int64_t pitch) {
#define READ(c, lanes) gradient_slot(v, first, pixels, to, pitch, c, lanes)
  FOR_SLOTS(v->channels, READ)
#undef READ
}

/* Slots overlap when `channels` is no multiple of VLEN: what is added to goes by `held`, the lanes of gx that no slot
** before has added to. */
CN_INLINE void write_slot(const Reader *r, const STORED *x, int64_t step, const REAL *g, int64_t pitch, int64_t pixels,
                          STORED *gx, bool add, double *sums, int slot, int64_t c, int lanes) {
  VREAL scale = r->scale != NULL ? vload_some(r->scale + c, lanes) : vsplat(1), shift = factor(r->shift, c, lanes);
  VREAL by_x = { 0 }, plain = { 0 }, fresh = vsplat(1);
  for (int64_t j = 0; j < (int64_t)slot * VLEN - c; j++) fresh[j] = 0;
  for (int64_t p = 0; p < pixels; p++) {
    VREAL from = load_stored(x + p * step + c, lanes), value = vload_some(g + p * pitch + c, lanes);
    if (r->relu) value = vpass_positive(from * scale + shift, value);
    by_x += value * from;
    plain += value;
    if (gx == NULL) continue;
    AHEAD_WRITE(gx + (p + pixels) * step + c);
    value *= scale;
    if (add) value = load_stored(gx + p * step + c, lanes) + value * fresh;
    store_stored(gx + p * step + c, value, lanes);
  }
  if (sums != NULL) add_lanes(sums, r->channels, slot, c, by_x, plain);
}

void FN(write_spaced)(const Reader *r, const STORED *x, int64_t step, const REAL *g, int64_t pitch, int64_t pixels,
                      STORED *gx, bool add, double *sums) {
#define WRITE(c, lanes) write_slot(r, x, step, g, pitch, pixels, gx, add, sums, slot, c, lanes)
  FOR_SLOTS(r->channels, WRITE)
#undef WRITE
}

void FN(write_gradient)(const Reader *r, const STORED *x, const REAL *g, int64_t pitch, int64_t pixels, STORED *gx,
                        bool add, double *sums) {
  FN(write_spaced)(r, x, r->channels, g, pitch, pixels, gx, add, sums);
}

void FN(finish_factors)(int64_t pieces, int64_t channels, const double *sums, REAL *gscale, REAL *gshift) {
  for (int64_t c = 0; c < channels; c++) {
    double scale = 0, shift = 0;
    for (int64_t piece = 0; piece < pieces; piece++) {
      scale += sums[2 * piece * channels + c];
      shift += sums[(2 * piece + 1) * channels + c];
    }
    if (gscale != NULL) gscale[c] = (REAL)scale;
    if (gshift != NULL) gshift[c] = (REAL)shift;
  }
}
