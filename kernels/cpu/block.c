/* block.c - reading and writing strips of pixels on behalf of the blocks: see block.h. */
#include "kernels/cpu/block.h"

/* Strips follow each other in memory: while one is computed with, the next is on its way into the level-2 cache. */
#define AHEAD(pointer) __builtin_prefetch(pointer, 0, 2)
#define AHEAD_WRITE(pointer) __builtin_prefetch(pointer, 1, 2)

/* Slots go in groups, pixel by pixel, so that memory is walked once and in order and a group's factors and sums stay in
** registers. When slots overlap the last two are in one group: what is added to is read for the whole group before any
** of it is written. */
#if defined(__AVX512F__)
#define MOST_SLOTS 4
#else
#define MOST_SLOTS 2
#endif

/* Calls `routine(group, slot, lanes)`, group and whole lanes being constants. */
#define FOR_GROUPS(channels, routine)                                                             \
  for (int slot = 0, left = slot_count(channels), group; left > 0; slot += group, left -= group) { \
    group = left <= MOST_SLOTS ? left : left == MOST_SLOTS + 1 ? MOST_SLOTS - 1 : MOST_SLOTS;      \
    if ((channels) < VLEN) routine(1, 0, slot_lanes(channels));                                    \
    else if (group == 1) routine(1, slot, VLEN);                                                   \
    else if (group == 2) routine(2, slot, VLEN);                                                   \
    else if (MOST_SLOTS > 2 && group == 3) routine(3, slot, VLEN);                                 \
    else if (MOST_SLOTS > 2) routine(4, slot, VLEN);                                               \
  }

#define EACH(i, count) CN_UNROLL(4) for (int i = 0; i < count; i++)

/* Where the slots of a group begin. */
CN_INLINE void group_begin(int group, int64_t channels, int slot, int64_t *c) {
  EACH(s, group) c[s] = slot_begin(channels, slot + s);
}

/* NULL factors are `otherwise`. */
CN_INLINE void load_factors(int group, const REAL *factors, REAL otherwise, const int64_t *c, int lanes, VREAL *to) {
  EACH(s, group) to[s] = factors != NULL ? vload_some(factors + c[s], lanes) : vsplat(otherwise);
}

/* x, or 0 where x is below `floor`; NaN stays NaN. A floor of minus infinity leaves x alone. */
CN_INLINE VREAL rectify_below(VREAL x, VREAL floor) {
#if defined(__AVX512F__) && defined(CN_REAL_f64)
  return (VREAL)_mm512_max_pd((__m512d)floor, (__m512d)x);
#elif defined(__AVX512F__)
  return (VREAL)_mm512_max_ps((__m512)floor, (__m512)x);
#else
  VMASK below = x < floor;
  return (VREAL)(~below & (VMASK)x);
#endif
}

/* Steps in elements from pixel to pixel and from row to row. */
typedef struct Steps {
  int64_t x, x_row, to, to_row;
} Steps;

CN_INLINE void read_group(int group, const Reader *r, const STORED *x, int64_t rows, int64_t pixels, REAL *to,
                          const Steps *steps, int slot, int lanes) {
  const Steps step = *steps;
  const int64_t ahead = rows > 1 ? rows * step.x_row : pixels * step.x;
  int64_t c[MOST_SLOTS];
  VREAL scale[MOST_SLOTS], shift[MOST_SLOTS], floor = vsplat(r->relu ? 0 : -(REAL)INFINITY);
  group_begin(group, r->channels, slot, c);
  load_factors(group, r->scale, 1, c, lanes, scale);
  load_factors(group, r->shift, 0, c, lanes, shift);
  for (int64_t row = 0; row < rows; row++) {
    const STORED *from = x + row * step.x_row;
    REAL *at = to + row * step.to_row;
    for (int64_t p = 0; p < pixels; p++, from += step.x, at += step.to)
      EACH(s, group) {
        AHEAD(from + ahead + c[s]);
        VREAL value = load_stored(from + c[s], lanes) * scale[s] + shift[s];
        vstore_some(at + c[s], rectify_below(value, floor), lanes);
      }
  }
}

static void read_steps(const Reader *r, const STORED *x, int64_t rows, int64_t pixels, REAL *to, const Steps *steps) {
#define READ(group, slot, lanes) read_group(group, r, x, rows, pixels, to, steps, slot, lanes)
  FOR_GROUPS(r->channels, READ)
#undef READ
}

void FN(read_spaced)(const Reader *r, const STORED *x, int64_t step, int64_t pixels, REAL *to, int64_t pitch) {
  read_steps(r, x, 1, pixels, to, &(Steps){ step, 0, pitch, 0 });
}

void FN(read_pixels)(const Reader *r, const STORED *x, int64_t pixels, REAL *to, int64_t pitch) {
  read_steps(r, x, 1, pixels, to, &(Steps){ r->channels, 0, pitch, 0 });
}

void FN(read_rows)(const Reader *r, const STORED *x, int64_t x_row, int64_t rows, int64_t pixels, REAL *to,
                   int64_t to_row, int64_t pitch) {
  read_steps(r, x, rows, pixels, to, &(Steps){ r->channels, x_row, pitch, to_row });
}

/* Adds the lanes of two vectors that no slot before this one holds. */
CN_INLINE void add_lanes(double *sums, int64_t channels, int slot, int64_t c, VREAL first, VREAL second) {
  REAL a[VBYTES / sizeof(REAL)], b[VBYTES / sizeof(REAL)];
  VSTORE(a, first);
  VSTORE(b, second);
  for (int64_t j = (int64_t)slot * VLEN - c; j < CN_MIN((int64_t)VLEN, channels - c); j++) {
    sums[c + j] += (double)a[j];
    sums[channels + c + j] += (double)b[j];
  }
}

/* The same for sums of distances to `pivot` and of their squares over n values. */
CN_INLINE void add_distances(double *sums, int64_t channels, int slot, int64_t c, double n, VREAL pivot, VREAL first,
                             VREAL second) {
  REAL from[VBYTES / sizeof(REAL)], a[VBYTES / sizeof(REAL)], b[VBYTES / sizeof(REAL)];
  VSTORE(from, pivot);
  VSTORE(a, first);
  VSTORE(b, second);
  for (int64_t j = (int64_t)slot * VLEN - c; j < CN_MIN((int64_t)VLEN, channels - c); j++) {
    double f = (double)from[j], sum = (double)a[j];
    sums[c + j] += sum + n * f;
    sums[channels + c + j] += (double)b[j] + 2 * f * sum + n * f * f;
  }
}

/* Sums are taken of so many pixels side by side that additions need not wait for each other. */
#define COPIES(group) (4 / (group))

/* `count` pixels of z, one to each copy of the sums; with `from` they are stored first. */
CN_INLINE void statistics_pixels(int count, int group, const REAL *from, int64_t pitch, STORED *z, int64_t channels,
                                 int64_t ahead, const int64_t *c, int lanes, const VREAL *pivot,
                                 VREAL first[][MOST_SLOTS], VREAL second[][MOST_SLOTS]) {
  EACH(i, count)
    EACH(s, group) {
      if (from != NULL) AHEAD_WRITE(z + ahead + i * channels + c[s]);
      STORED *to = z + i * channels + c[s];
      VREAL d = (from != NULL ? vload_some(from + i * pitch + c[s], lanes) : load_stored(to, lanes)) - pivot[s];
      if (from != NULL) store_stored(to, vload_some(from + i * pitch + c[s], lanes), lanes);
      first[i][s] += d;
      second[i][s] += d * d;
    }
}

/* Distances to the first pixel, so that a large mean costs the squares no digits. */
CN_INLINE void statistics_group(int group, const REAL *from, int64_t pitch, int64_t pixels, STORED *z,
                                int64_t channels, double *sums, int slot, int lanes) {
  int64_t c[MOST_SLOTS];
  VREAL pivot[MOST_SLOTS], first[4][MOST_SLOTS], second[4][MOST_SLOTS];
  group_begin(group, channels, slot, c);
  EACH(s, group) pivot[s] = from != NULL ? vload_some(from + c[s], lanes) : load_stored(z + c[s], lanes);
  for (int i = 0; i < COPIES(group); i++)
    for (int s = 0; s < group; s++) first[i][s] = second[i][s] = (VREAL){ 0 };
  int64_t p = 0;
  for (; p + COPIES(group) <= pixels; p += COPIES(group))
    statistics_pixels(COPIES(group), group, from != NULL ? from + p * pitch : NULL, pitch, z + p * channels, channels,
                      pixels * channels, c, lanes, pivot, first, second);
  for (; p < pixels; p++)
    statistics_pixels(1, group, from != NULL ? from + p * pitch : NULL, pitch, z + p * channels, channels,
                      pixels * channels, c, lanes, pivot, first, second);
  EACH(s, group) {
    for (int i = 1; i < COPIES(group); i++) {
      first[0][s] += first[i][s];
      second[0][s] += second[i][s];
    }
    add_distances(sums, channels, slot + s, c[s], (double)pixels, pivot[s], first[0][s], second[0][s]);
  }
}

void FN(add_statistics)(const STORED *z, int64_t pixels, int64_t channels, double *sums) {
#define ADD(group, slot, lanes) \
  statistics_group(group, NULL, 0, pixels, (STORED *)(uintptr_t)z, channels, sums, slot, lanes)
  if (pixels > 0) FOR_GROUPS(channels, ADD)
#undef ADD
}

void FN(write_result)(const REAL *from, int64_t pitch, int64_t pixels, int64_t channels, STORED *z, double *sums) {
#define WRITE(group, slot, lanes) statistics_group(group, from, pitch, pixels, z, channels, sums, slot, lanes)
  if (pixels > 0) FOR_GROUPS(channels, WRITE)
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
  *out = (Incoming){ DATA(STORED, call->gout[z]), DATA(STORED, call->out[z]), channels, NULL, NULL, mean, NULL };
  out->by_z = cn_alloc((size_t)CN_MAX(2 * channels, 1) * sizeof(REAL));
  if (out->by_z == NULL) return CN_EMEMORY;
  out->shift = out->by_z + channels;
  out->by_g = call->gout_factor[z] != NULL ? DATA(const REAL, call->gout_factor[z]) : NULL;
  for (int64_t c = 0; c < channels; c++) {
    double by_z = 2 * (double)gvar[c] / n;
    out->by_z[c] = (REAL)by_z;
    out->shift[c] = (REAL)((double)gmean[c] / n);
  }
  return CN_OK;
}

CnErr FN(incoming_new)(Incoming *out, const CnCall *call) { return FN(incoming_of)(out, call, 0); }

CN_INLINE void gradient_group(int group, const Incoming *v, int64_t first, int64_t pixels, REAL *to, int64_t pitch,
                              int slot, int lanes) {
  const int64_t channels = v->channels;
  const STORED *g = v->g + first * channels, *z = v->z + first * channels;
  int64_t c[MOST_SLOTS];
  VREAL by_z[MOST_SLOTS], shift[MOST_SLOTS], by_g[MOST_SLOTS], mean[MOST_SLOTS];
  group_begin(group, channels, slot, c);
  load_factors(group, v->by_z, 0, c, lanes, by_z);
  load_factors(group, v->shift, 0, c, lanes, shift);
  load_factors(group, v->by_g, 1, c, lanes, by_g);
  load_factors(group, v->mean, 0, c, lanes, mean);
  for (int64_t p = 0; p < pixels; p++, g += channels, z += channels, to += pitch)
    EACH(s, group) {
      AHEAD(g + pixels * channels + c[s]);
      AHEAD(z + pixels * channels + c[s]);
      VREAL distance = load_stored(z + c[s], lanes) - mean[s];
      VREAL sum = load_stored(g + c[s], lanes) * by_g[s] + (distance * by_z[s] + shift[s]);
      vstore_some(to + c[s], sum, lanes);
    }
}

void FN(read_gradient)(const Incoming *v, int64_t first, int64_t pixels, REAL *to, int64_t pitch) {
#define READ(group, slot, lanes) gradient_group(group, v, first, pixels, to, pitch, slot, lanes)
  FOR_GROUPS(v->channels, READ)
#undef READ
}

/* What becomes of the gradient of x. */
typedef enum Target { DROP, PUT, ADD } Target;

typedef struct Factors {
  VREAL scale[MOST_SLOTS], shift[MOST_SLOTS]; /* shift is infinite without ReLU, so that everything passes */
} Factors;

/* `count` pixels, one to each copy of the sums. */
CN_INLINE void write_group_pixels(int count, int group, Target target, const Factors *f, const STORED *x,
                                  const REAL *g, int64_t pitch, STORED *gx, int64_t step, int64_t ahead,
                                  const int64_t *c, int lanes, VREAL by_x[][MOST_SLOTS], VREAL plain[][MOST_SLOTS]) {
  EACH(i, count) {
    VREAL value[MOST_SLOTS];
    EACH(s, group) {
      VREAL from = load_stored(x + i * step + c[s], lanes);
      value[s] = vload_some(g + i * pitch + c[s], lanes);
      value[s] = vpass_positive(from * f->scale[s] + f->shift[s], value[s]);
      by_x[i][s] += value[s] * from;
      plain[i][s] += value[s];
      value[s] *= f->scale[s];
      if (target == ADD) value[s] += load_stored(gx + i * step + c[s], lanes);
    }
    if (target != DROP)
      EACH(s, group) {
        AHEAD_WRITE(gx + ahead + i * step + c[s]);
        store_stored(gx + i * step + c[s], value[s], lanes);
      }
  }
}

CN_INLINE void write_group(int group, Target target, const Reader *r, const STORED *x, int64_t step, int64_t ahead,
                           const REAL *g, int64_t pitch, int64_t pixels, STORED *gx, double *sums, int slot, int lanes) {
  const int64_t channels = r->channels;
  int64_t c[MOST_SLOTS], p = 0;
  Factors f;
  VREAL by_x[4][MOST_SLOTS], plain[4][MOST_SLOTS];
  group_begin(group, channels, slot, c);
  load_factors(group, r->scale, 1, c, lanes, f.scale);
  load_factors(group, r->relu ? r->shift : NULL, r->relu ? 0 : (REAL)INFINITY, c, lanes, f.shift);
  for (int i = 0; i < COPIES(group); i++)
    for (int s = 0; s < group; s++) by_x[i][s] = plain[i][s] = (VREAL){ 0 };
  for (; p + COPIES(group) <= pixels; p += COPIES(group), x += COPIES(group) * step) {
    write_group_pixels(COPIES(group), group, target, &f, x, g + p * pitch, pitch,
                       target == DROP ? NULL : gx + p * step, step, ahead, c, lanes, by_x, plain);
  }
  for (; p < pixels; p++, x += step)
    write_group_pixels(1, group, target, &f, x, g + p * pitch, pitch,
                       target == DROP ? NULL : gx + p * step, step, ahead, c, lanes, by_x, plain);
  if (sums == NULL) return;
  EACH(s, group) {
    for (int i = 1; i < COPIES(group); i++) {
      by_x[0][s] += by_x[i][s];
      plain[0][s] += plain[i][s];
    }
    add_lanes(sums, channels, slot + s, c[s], by_x[0][s], plain[0][s]);
  }
}

void FN(write_spaced)(const Reader *r, const STORED *x, int64_t step, int64_t ahead, const REAL *g, int64_t pitch,
                      int64_t pixels, STORED *gx, bool add, double *sums) {
#define WRITE(target, group, slot, lanes) \
  write_group(group, target, r, x, step, ahead, g, pitch, pixels, gx, sums, slot, lanes)
#define WRITE_DROP(...) WRITE(DROP, __VA_ARGS__)
#define WRITE_PUT(...) WRITE(PUT, __VA_ARGS__)
#define WRITE_ADD(...) WRITE(ADD, __VA_ARGS__)
  if (gx == NULL) FOR_GROUPS(r->channels, WRITE_DROP)
  else if (add) FOR_GROUPS(r->channels, WRITE_ADD)
  else FOR_GROUPS(r->channels, WRITE_PUT)
#undef WRITE
}

void FN(write_gradient)(const Reader *r, const STORED *x, const REAL *g, int64_t pitch, int64_t pixels, STORED *gx,
                        bool add, double *sums) {
  FN(write_spaced)(r, x, r->channels, pixels * r->channels, g, pitch, pixels, gx, add, sums);
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
