/* lanes.h - channels as vector lanes: what the dense and image kernels share.
**
** Images are (N,H,W,C): a vector register holds neighbouring channels of one pixel. A channel count that is no multiple
** of VLEN is covered by slots: when C >= VLEN the last slot starts at C - VLEN and overlaps the one before it (the
** shared lanes are computed twice, to the same bits); when C < VLEN there is one slot of C lanes. A slot is written by
** exactly one statement, so kernels that accumulate keep their sums by slot and store them at the end. */
#ifndef CN_LANES_H
#define CN_LANES_H

#include <omp.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernels/cpu/kernel.h"
#define CN_INLINE static inline __attribute__((always_inline))
#ifndef CN_UNROLL
#define CN_UNROLL(n) CN_PRAGMA_(GCC unroll n)
#endif
/* Which of the threads of a CN_PARALLEL_FOR this is: chooses scratch memory, never results. */
CN_INLINE int thread_index(void) { return omp_get_thread_num(); }

#define CN_CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
/* `n` rounded up to whole vectors. */
#define CN_LANES(n) (CN_CEIL_DIV((int64_t)(n), VLEN) * VLEN)

#if defined(__AVX2__) && !defined(__AVX512F__)
#if defined(CN_REAL_f64)
#define FIRST_LANES(lanes) _mm256_cmpgt_epi64(_mm256_set1_epi64x(lanes), _mm256_setr_epi64x(0, 1, 2, 3))
#else
#define FIRST_LANES(lanes) _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#endif
#endif

/* The first `lanes` (1 … VLEN) elements at p, zeros after them; when `lanes` is the constant VLEN, a plain load. */
CN_INLINE VREAL vload_some(const REAL *p, int lanes) {
  if (__builtin_constant_p(lanes) && lanes == VLEN) return VLOAD(p);
#if defined(__AVX512F__) && defined(CN_REAL_f64)
  return (VREAL)_mm512_maskz_loadu_pd((__mmask8)((1u << lanes) - 1), p);
#elif defined(__AVX512F__)
  return (VREAL)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), p);
#elif defined(__AVX2__) && defined(CN_REAL_f64)
  return (VREAL)_mm256_maskload_pd(p, FIRST_LANES(lanes));
#elif defined(__AVX2__)
  return (VREAL)_mm256_maskload_ps(p, FIRST_LANES(lanes));
#else
  REAL part[VBYTES / sizeof(REAL)] = { 0 };
  for (int j = 0; j < lanes; j++) part[j] = p[j];
  return VLOAD(part);
#endif
}

CN_INLINE void vstore_some(REAL *p, VREAL v, int lanes) {
  if (__builtin_constant_p(lanes) && lanes == VLEN) {
    VSTORE(p, v);
    return;
  }
#if defined(__AVX512F__) && defined(CN_REAL_f64)
  _mm512_mask_storeu_pd(p, (__mmask8)((1u << lanes) - 1), (__m512d)v);
#elif defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << lanes) - 1), (__m512)v);
#elif defined(__AVX2__) && defined(CN_REAL_f64)
  _mm256_maskstore_pd(p, FIRST_LANES(lanes), (__m256d)v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, FIRST_LANES(lanes), (__m256)v);
#else
  REAL part[VBYTES / sizeof(REAL)];
  VSTORE(part, v);
  for (int j = 0; j < lanes; j++) p[j] = part[j];
#endif
}

/* x in every lane. The compiler may leave x - 0 out, but not x + 0, which turns -0 into 0. */
CN_INLINE VREAL vsplat(REAL x) { return x - (VREAL){ 0 }; }

/* Makes the compiler keep a pointer, or a vector, in a register of its own. Left alone, it gives every row of a tile
** and every tap a pointer, and there are not that many registers; and it loads a vector again for each use. */
#define HOLD(pointer) __asm__("" : "+r"(pointer))
#if defined(__x86_64__)
#define HOLD_VECTOR(v) __asm__("" : "+v"(v))
#else
#define HOLD_VECTOR(v) (void)(v)
#endif

/* A mask has all bits of a lane set or none. */
typedef __typeof__((VREAL){ 0 } < (VREAL){ 0 }) VMASK;

/* max(x, 0), NaN stays NaN. */
CN_INLINE VREAL vrectify(VREAL x) {
#if defined(__AVX512F__) && defined(CN_REAL_f64)
  return (VREAL)_mm512_max_pd(_mm512_setzero_pd(), (__m512d)x);
#elif defined(__AVX512F__)
  return (VREAL)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x);
#else
  VMASK below = x < 0;
  return (VREAL)(~below & (VMASK)x);
#endif
}

/* `value` where x is above 0 or NaN, else 0: the gradient of vrectify. */
CN_INLINE VREAL vpass_positive(VREAL x, VREAL value) {
#if defined(__AVX512F__) && defined(CN_REAL_f64)
  return (VREAL)_mm512_maskz_mov_pd(_mm512_cmp_pd_mask((__m512d)x, _mm512_setzero_pd(), _CMP_NLE_UQ), (__m512d)value);
#elif defined(__AVX512F__)
  return (VREAL)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_NLE_UQ), (__m512)value);
#else
  VMASK stopped = x <= 0;
  return (VREAL)(~stopped & (VMASK)value);
#endif
}

/* A test of every lane, in the form that the machine chooses by: a mask register, or a mask. */
#if defined(__AVX512F__) && defined(CN_REAL_f64)
typedef __mmask8 VTEST;
#elif defined(__AVX512F__)
typedef __mmask16 VTEST;
#else
typedef VMASK VTEST;
#endif

/* x > than, or x is NaN. */
CN_INLINE VTEST vexceeds(VREAL x, VREAL than) {
#if defined(__AVX512F__) && defined(CN_REAL_f64)
  __m512d v = (__m512d)x;
  return _mm512_cmp_pd_mask(v, (__m512d)than, _CMP_GT_OQ) | _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q);
#elif defined(__AVX512F__)
  __m512 v = (__m512)x;
  return _mm512_cmp_ps_mask(v, (__m512)than, _CMP_GT_OQ) | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
#else
  return (x > than) | (x != x);
#endif
}

/* `yes` where the test holds, else `no`. */
CN_INLINE VREAL vchoose(VTEST test, VREAL yes, VREAL no) {
#if defined(__AVX512F__) && defined(CN_REAL_f64)
  return (VREAL)_mm512_mask_mov_pd((__m512d)no, test, (__m512d)yes);
#elif defined(__AVX512F__)
  return (VREAL)_mm512_mask_mov_ps((__m512)no, test, (__m512)yes);
#else
  return (VREAL)((test & (VMASK)yes) | (~test & (VMASK)no));
#endif
}

/* sum + x where the test holds, else sum. */
CN_INLINE VREAL vadd_where(VTEST test, VREAL sum, VREAL x) {
#if defined(__AVX512F__) && defined(CN_REAL_f64)
  return (VREAL)_mm512_mask_add_pd((__m512d)sum, test, (__m512d)sum, (__m512d)x);
#elif defined(__AVX512F__)
  return (VREAL)_mm512_mask_add_ps((__m512)sum, test, (__m512)sum, (__m512)x);
#else
  return sum + (VREAL)(test & (VMASK)x);
#endif
}

/* Slots of a channel count: how many, where one begins, how many lanes each has. */
CN_INLINE int slot_count(int64_t channels) { return (int)CN_CEIL_DIV(channels, VLEN); }
CN_INLINE int64_t slot_begin(int64_t channels, int slot) {
  return channels < VLEN ? 0 : CN_MIN((int64_t)slot * VLEN, channels - VLEN);
}
CN_INLINE int slot_lanes(int64_t channels) { return (int)CN_MIN(channels, (int64_t)VLEN); }

/* Rows `begin` … `end`-1 of `total` that belong to `piece` of `pieces`: as equal as can be, fixed by these alone. */
CN_INLINE void piece_range(int64_t total, int64_t pieces, int64_t piece, int64_t *begin, int64_t *end) {
  *begin = total * piece / pieces;
  *end = total * (piece + 1) / pieces;
}

#endif
