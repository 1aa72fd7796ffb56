/* block.h - what the blocks share: an image read through scale, shift and ReLU, the statistics of a result, and both
** backwards.
**
** Images in memory are STORED and dense: pixel after pixel, `channels` elements each. Scratch memory is REAL, its
** pixels `pitch` elements apart. All these routines run on the calling thread over a strip of pixels, so that a block
** calls them while the strip is in the cache; strips of at most 256 pixels keep the digits of f32 sums. Sums belong to
** pieces of work, which are cut by shape alone, and are added up in the order of the pieces. */
#ifndef CN_BLOCK_H
#define CN_BLOCK_H

#include "kernels/cpu/lanes.h"

/* The first `lanes` (1 … VLEN) elements of an image at p, zeros after them. */
#if defined(CN_REAL_bf16)
typedef STORED VSTORED __attribute__((vector_size(VBYTES / 2)));
typedef STORED VSTORED_UNALIGNED __attribute__((vector_size(VBYTES / 2), aligned(sizeof(STORED)), may_alias));
typedef uint32_t VBITS __attribute__((vector_size(VBYTES)));

CN_INLINE VREAL load_stored(const STORED *p, int lanes) {
  VSTORED v = { 0 };
  if (lanes == VLEN) v = *(const VSTORED_UNALIGNED *)p;
#if defined(__AVX512F__)
  else v = (VSTORED)_mm256_maskz_loadu_epi16((__mmask16)((1u << lanes) - 1), p);
#else
  else for (int j = 0; j < lanes; j++) v[j] = p[j];
#endif
  return (VREAL)(__builtin_convertvector(v, VBITS) << 16);
}
/* cn_bf16_of_float, lane by lane. */
CN_INLINE void store_stored(STORED *p, VREAL v, int lanes) {
  VBITS bits = (VBITS)v, high = bits >> 16, nan = (VBITS)(v != v), rounded = (bits + 0x7fff + (high & 1)) >> 16;
  VSTORED narrow = __builtin_convertvector((rounded & ~nan) | ((high | 0x40) & nan), VSTORED);
  if (lanes == VLEN) *(VSTORED_UNALIGNED *)p = narrow;
#if defined(__AVX512F__)
  else _mm256_mask_storeu_epi16(p, (__mmask16)((1u << lanes) - 1), (__m256i)narrow);
#else
  else for (int j = 0; j < lanes; j++) p[j] = narrow[j];
#endif
}
#else
CN_INLINE VREAL load_stored(const STORED *p, int lanes) { return vload_some(p, lanes); }
CN_INLINE void store_stored(STORED *p, VREAL v, int lanes) { vstore_some(p, v, lanes); }
#endif

/* ---- forward ---- */

/* How a block reads an image: f(x * scale + shift), f being ReLU, which keeps NaN as row relu does, or nothing. */
typedef struct Reader {
  const REAL *scale, *shift; /* (channels); NULL: x as it is */
  bool relu;
  int64_t channels;
} Reader;

/* `pixels` pixels from x on into `to`. */
void FN(read_pixels)(const Reader *r, const STORED *x, int64_t pixels, REAL *to, int64_t pitch);

/* The same for pixels that lie `step` elements apart: every so many of a row. */
void FN(read_spaced)(const Reader *r, const STORED *x, int64_t step, int64_t pixels, REAL *to, int64_t pitch);

/* The same for rows of pixels, x_row and to_row elements apart. */
void FN(read_rows)(const Reader *r, const STORED *x, int64_t x_row, int64_t rows, int64_t pixels, REAL *to,
                   int64_t to_row, int64_t pitch);

/* Adds the sums of z and of its squares over the pixels to sums[0 … channels-1] and to those behind. */
void FN(add_statistics)(const STORED *z, int64_t pixels, int64_t channels, double *sums);

/* Stores results from scratch memory as pixels of z and adds their statistics to `sums`, as add_statistics does. */
void FN(write_result)(const REAL *from, int64_t pitch, int64_t pixels, int64_t channels, STORED *z, double *sums);

/* Mean and biased variance of `count` values from the sums (2 * channels) of each piece. */
void FN(finish_statistics)(int64_t pieces, int64_t channels, int64_t count, const double *sums, REAL *mean, REAL *var);

/* ---- backward ---- */

/* The gradient of z when its mean and variance have gradients too: g * by_g + (z - mean) * by_z + shift. */
typedef struct Incoming {
  const STORED *g, *z;
  int64_t channels;
  REAL *by_z, *shift; /* (channels), one block of memory at by_z */
  const REAL *mean, *by_g; /* (channels); by_g NULL: 1 */
} Incoming;

/* Outputs 0, 1, 2 of the call are z, mean, var, saved and with gradients. cn_free(out->by_z) when done. */
CnErr FN(incoming_new)(Incoming *out, const CnCall *call);
CnErr FN(incoming_of)(Incoming *out, const CnCall *call, int z); /* outputs z, z+1, z+2 */

/* Pixels first … first+pixels-1 into `to`. */
void FN(read_gradient)(const Incoming *v, int64_t first, int64_t pixels, REAL *to, int64_t pitch);

/* `g` is the gradient of what was read from x. Writes that of x to gx, or adds it (`add`); gx NULL: not wanted. Adds
** those of scale and shift to sums[0 … channels-1] and to those behind; sums NULL: not wanted. */
void FN(write_gradient)(const Reader *r, const STORED *x, const REAL *g, int64_t pitch, int64_t pixels, STORED *gx,
                        bool add, double *sums);

/* The same for pixels of x and gx that lie `step` elements apart; gx `ahead` elements on is asked for. */
void FN(write_spaced)(const Reader *r, const STORED *x, int64_t step, int64_t ahead, const REAL *g, int64_t pitch,
                      int64_t pixels, STORED *gx, bool add, double *sums);

/* The sums (2 * channels) of the pieces added up, where they are wanted (not NULL). */
void FN(finish_factors)(int64_t pieces, int64_t channels, const double *sums, REAL *gscale, REAL *gshift);

/* ---- calls ---- */

CN_INLINE const REAL *block_input(const CnCall *call, int i) {
  return i < call->nin && call->in[i] != NULL ? DATA(const REAL, call->in[i]) : NULL;
}
CN_INLINE REAL *block_wanted(const CnCall *call, int i) {
  return i < call->nin && call->gin[i] != NULL ? DATA(REAL, call->gin[i]) : NULL;
}

#endif
