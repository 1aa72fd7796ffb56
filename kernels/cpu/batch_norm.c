/* batch_norm.c - row batch_norm: each channel (last dimension) normalised over all other dimensions.
**
** x is M rows of C channels. Sums are taken by piece, a range of rows; inside it strips of a few rows are summed in
** vectors and added to f64. The variance comes from distances to a pivot, the first row, so that a large mean costs no
** digits: var = E[(x-p)^2] - E[x-p]^2. Both backward sums are taken with x - mean.
** Running statistics are inputs 3 and 4, written here in training. */
#include "kernels/cpu/lanes.h"

#define STRIP 32 /* rows summed in REAL */

/* Two sums for each channel over rows: of a and of b, where {a, b} is what the two uses below make of a row. */
typedef struct Sums {
  int64_t rows, channels;
  const REAL *x, *g; /* g: NULL in forward */
  const REAL *pivot; /* forward: the first row; backward: the mean */
} Sums;

/* Adds rows begin … end-1 of one slot to two f64 rows of VLEN. */
CN_INLINE void sum_slot(const Sums *v, bool backward, int64_t begin, int64_t end, int64_t c, int lanes, double *first,
                        double *second) {
  VREAL pivot = vload_some(v->pivot + c, lanes), a[2] = { { 0 } }, b[2] = { { 0 } };
  for (int64_t i = begin; i < end; i++) {
    int64_t at = i * v->channels + c;
    VREAL d = vload_some(v->x + at, lanes) - pivot;
    VREAL g = backward ? vload_some(v->g + at, lanes) : d;
    a[i & 1] += g;
    b[i & 1] += g * d;
  }
  a[0] += a[1];
  b[0] += b[1];
  for (int j = 0; j < VLEN; j++) first[j] += (double)a[0][j];
  for (int j = 0; j < VLEN; j++) second[j] += (double)b[0][j];
}

/* Sums of x-pivot and (x-pivot)^2, or in backward of g and g*(x-pivot), into first and second (C). */
static CnErr sum_channels(const Sums *v, double *first, double *second) {
  bool backward = v->g != NULL;
  int slots = slot_count(v->channels), lanes = slot_lanes(v->channels);
  int64_t pieces = CN_MAX(1, CN_MIN(48, v->rows / 64)), count = (int64_t)slots * VLEN;
  double *partial = cn_alloc_zeroed((size_t)(2 * pieces * count) * sizeof(double));
  if (partial == NULL) return CN_EMEMORY;
  CN_PARALLEL_FOR_IF_WORTH(2 * v->rows * v->channels)
  for (int64_t piece = 0; piece < pieces; piece++) {
    int64_t begin, end;
    double *sums = partial + 2 * piece * count;
    piece_range(v->rows, pieces, piece, &begin, &end);
    for (; begin < end; begin += STRIP)
      for (int slot = 0; slot < slots; slot++) {
        int64_t stop = CN_MIN(begin + STRIP, end), c = slot_begin(v->channels, slot);
        double *a = sums + slot * VLEN, *b = a + count;
        if (lanes < VLEN) sum_slot(v, backward, begin, stop, c, lanes, a, b);
        else if (backward) sum_slot(v, true, begin, stop, c, VLEN, a, b);
        else sum_slot(v, false, begin, stop, c, VLEN, a, b);
      }
  }
  for (int64_t piece = 1; piece < pieces; piece++)
    for (int64_t j = 0; j < 2 * count; j++) partial[j] += partial[2 * piece * count + j];
  for (int slot = 0; slot < slots; slot++) {
    memcpy(first + slot_begin(v->channels, slot), partial + slot * VLEN, (size_t)lanes * sizeof(double));
    memcpy(second + slot_begin(v->channels, slot), partial + count + slot * VLEN, (size_t)lanes * sizeof(double));
  }
  cn_free(partial);
  return CN_OK;
}

/* out = (x - center) * by_x + g * by_g + shift, each factor for a channel. */
typedef struct Affine {
  int64_t rows, channels;
  const REAL *x, *g;
  const REAL *center, *by_x, *by_g, *shift;
  REAL *out;
} Affine;

CN_INLINE void apply_slot(const Affine *v, bool with_x, bool with_g, int64_t begin, int64_t end, int64_t c, int lanes) {
  VREAL center = vload_some(v->center + c, lanes), by_x = vload_some(v->by_x + c, lanes),
        by_g = vload_some(v->by_g + c, lanes), shift = vload_some(v->shift + c, lanes);
  for (int64_t i = begin; i < end; i++) {
    int64_t at = i * v->channels + c;
    VREAL y = shift;
    if (with_x) y += (vload_some(v->x + at, lanes) - center) * by_x;
    if (with_g) y += vload_some(v->g + at, lanes) * by_g;
    vstore_some(v->out + at, y, lanes);
  }
}

static void apply_channels(const Affine *v) {
  bool with_x = v->x != NULL, with_g = v->g != NULL;
  int slots = slot_count(v->channels), lanes = slot_lanes(v->channels);
  int64_t rows = 64, pieces = CN_CEIL_DIV(v->rows, 4 * rows);
  CN_PARALLEL_FOR_IF_WORTH(2 * v->rows * v->channels)
  for (int64_t piece = 0; piece < pieces; piece++) {
    int64_t last = CN_MIN((piece + 1) * 4 * rows, v->rows);
    for (int64_t begin = piece * 4 * rows; begin < last; begin += rows)
      for (int slot = 0; slot < slots; slot++) {
        int64_t end = CN_MIN(begin + rows, last), c = slot_begin(v->channels, slot);
        if (lanes < VLEN) apply_slot(v, with_x, with_g, begin, end, c, lanes);
        else if (!with_g) apply_slot(v, true, false, begin, end, c, VLEN);
        else if (!with_x) apply_slot(v, false, true, begin, end, c, VLEN);
        else apply_slot(v, true, true, begin, end, c, VLEN);
      }
  }
}

static const REAL *given(const CnCall *call, int i) {
  return i < call->nin && call->in[i] != NULL ? DATA(const REAL, call->in[i]) : NULL;
}

static REAL *wanted(const CnCall *call, int i) {
  return i < call->nin && call->gin[i] != NULL ? DATA(REAL, call->gin[i]) : NULL;
}

static void sizes_of(const CnCall *call, int64_t *rows, int64_t *channels) {
  const CnSpec *x = &call->in_spec[0];
  *channels = x->shape[x->ndim - 1];
  *rows = 1;
  for (int d = 0; d < x->ndim - 1; d++) *rows *= x->shape[d];
}

/* The batch's mean and variance (biased) of each channel. */
static CnErr statistics(int64_t rows, int64_t channels, const REAL *x, double *mean, double *var) {
  Sums sums = { rows, channels, x, NULL, x };
  CN_TRY(sum_channels(&sums, mean, var));
  for (int64_t c = 0; c < channels; c++) {
    double distance = mean[c] / (double)rows;
    var[c] = CN_MAX(var[c] / (double)rows - distance * distance, 0);
    mean[c] = (double)x[c] + distance;
  }
  return CN_OK;
}

CnErr FN(batch_norm_forward)(CnCall *call) {
  int64_t rows, channels;
  sizes_of(call, &rows, &channels);
  bool training = call->attr[0].i != 0;
  double momentum = call->attr[1].f, eps = call->attr[2].f;
  const REAL *x = DATA(REAL, call->in[0]), *weight = given(call, 1), *bias = given(call, 2);
  REAL *running_mean = (REAL *)given(call, 3), *running_var = (REAL *)given(call, 4);
  REAL *mean = DATA(REAL, call->out[1]), *rstd = DATA(REAL, call->out[2]);
  if (rows == 0 || channels == 0) return CN_OK;
  double *batch = cn_alloc((size_t)(2 * channels) * sizeof(double));
  REAL *factor = cn_alloc((size_t)(2 * channels) * sizeof(REAL)), *shift = factor + channels;
  CnErr err = batch == NULL || factor == NULL ? CN_EMEMORY : CN_OK;
  if (err == CN_OK && training) err = statistics(rows, channels, x, batch, batch + channels);
  if (err == CN_OK) {
    double unbiased = rows > 1 ? (double)rows / (double)(rows - 1) : 1;
    for (int64_t c = 0; c < channels; c++) {
      double m = training ? batch[c] : (double)running_mean[c];
      double var = training ? batch[channels + c] : (double)running_var[c];
      mean[c] = (REAL)m;
      rstd[c] = (REAL)(1 / sqrt(var + eps));
      factor[c] = weight != NULL ? weight[c] * rstd[c] : rstd[c];
      shift[c] = bias != NULL ? bias[c] : 0;
      if (training && running_mean != NULL) running_mean[c] += (REAL)(momentum * (m - (double)running_mean[c]));
      if (training && running_var != NULL)
        running_var[c] += (REAL)(momentum * (var * unbiased - (double)running_var[c]));
    }
    Affine affine = { rows, channels, x, NULL, mean, factor, factor, shift, DATA(REAL, call->out[0]) };
    apply_channels(&affine);
  }
  cn_free(factor);
  cn_free(batch);
  return err;
}

/* With the sums s1 of gy and s2 of gy*(x-mean) over the n rows: gbias = s1, gweight = s2*rstd, and
** gx = weight*rstd * (gy - s1/n - (x-mean)*rstd^2*s2/n); in evaluation, where statistics are constants, only the first
** term. */
CnErr FN(batch_norm_backward)(CnCall *call) {
  int64_t rows, channels;
  sizes_of(call, &rows, &channels);
  bool training = call->attr[0].i != 0;
  const REAL *x = DATA(REAL, call->in[0]), *weight = given(call, 1), *gy = DATA(REAL, call->gout[0]);
  const REAL *mean = DATA(REAL, call->out[1]), *rstd = DATA(REAL, call->out[2]);
  REAL *gx = wanted(call, 0), *gweight = wanted(call, 1), *gbias = wanted(call, 2);
  double *sums = cn_alloc_zeroed((size_t)(2 * channels) * sizeof(double));
  REAL *factor = cn_alloc((size_t)(3 * channels) * sizeof(REAL));
  CnErr err = sums == NULL || factor == NULL ? CN_EMEMORY : CN_OK;
  if (err == CN_OK && rows > 0 && channels > 0 && (training || gweight != NULL || gbias != NULL)) {
    Sums what = { rows, channels, x, gy, mean };
    err = sum_channels(&what, sums, sums + channels);
  }
  if (err == CN_OK) {
    REAL *by_g = factor, *by_x = factor + channels, *shift = factor + 2 * channels;
    for (int64_t c = 0; c < channels; c++) {
      double r = (double)rstd[c], scale = weight != NULL ? (double)weight[c] * r : r;
      if (gweight != NULL) gweight[c] = (REAL)(sums[channels + c] * r);
      if (gbias != NULL) gbias[c] = (REAL)sums[c];
      by_g[c] = (REAL)scale;
      by_x[c] = training ? (REAL)(-scale * r * r * sums[channels + c] / (double)rows) : 0;
      shift[c] = training ? (REAL)(-scale * sums[c] / (double)rows) : 0;
    }
    Affine affine = { rows, channels, training ? x : NULL, gy, mean, by_x, by_g, shift, gx };
    if (gx != NULL && rows > 0) apply_channels(&affine);
  }
  cn_free(factor);
  cn_free(sums);
  return err;
}
