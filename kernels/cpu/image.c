/* image.c - see image.h. Compiled once for each CN_ISA, without fused multiply-adds: PIL's builds have none, and a
** colour that is cut off must be cut off on the same side. Colours are worked on in blocks, a plane for each channel,
** so that plain loops become vectors. */
#include "kernels/cpu/image.h"

#include <math.h>
#include <string.h>

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define K(name) JOIN(cn_image_##name, CN_ISA)

#define BITS 22 /* of a weight */
#define BLOCK 256

/* ---- Resizing ---- */

typedef uint32_t Words4 __attribute__((vector_size(16)));
typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef int16_t Shorts16 __attribute__((vector_size(32)));
typedef int32_t Ints16 __attribute__((vector_size(64)));

/* By way of 16 bits: compilers make of each step one instruction. */
static inline Ints16 widen(const uint8_t *from) {
  Bytes16 bytes;
  memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(__builtin_convertvector(bytes, Shorts16), Ints16);
}

static inline Bytes16 narrow(Ints16 sums) {
  return __builtin_convertvector(__builtin_convertvector(sums >> BITS, Shorts16), Bytes16);
}

static inline uint32_t load_word(const uint8_t *from) {
  uint32_t word;
  memcpy(&word, from, 4);
  return word;
}

/* Four rows at a time: a pixel of each, with the byte behind it, makes one vector. These are put side by side first,
** since an input pixel is used for several output pixels. */
static void across_four(uint8_t *out, ptrdiff_t out_stride, const uint8_t *in, ptrdiff_t stride, uint8_t *fours,
                        const CnTaps *taps) {
  for (int x = 0; x < taps->columns; x++, in += 3) {
    Words4 words = { load_word(in), load_word(in + stride), load_word(in + 2 * stride), load_word(in + 3 * stride) };
    memcpy(fours + 16 * (ptrdiff_t)x, &words, 16);
  }
  const int32_t *weight = taps->weight;
  for (int i = 0; i < taps->count; i++, weight += taps->most, out += 3) {
    const uint8_t *from = fours + 16 * (ptrdiff_t)taps->start[i];
    Ints16 sum = { 0 };
    sum += 1 << (BITS - 1);
    for (int k = 0; k < taps->number[i]; k++, from += 16) sum += widen(from) * weight[k];
    Bytes16 words = narrow(sum);
    if (i + 1 < taps->count) /* the fourth byte is the next pixel's, which comes after */
      for (int r = 0; r < 4; r++) memcpy(out + out_stride * r, (char *)&words + 4 * r, 4);
    else
      for (int r = 0; r < 4; r++) memcpy(out + out_stride * r, (char *)&words + 4 * r, 3);
  }
}

static void across_one(uint8_t *out, const uint8_t *in, const CnTaps *taps) {
  const int32_t *weight = taps->weight;
  for (int i = 0; i < taps->count; i++, weight += taps->most) {
    const uint8_t *from = in + 3 * (ptrdiff_t)taps->start[i];
    for (int c = 0; c < 3; c++) {
      int32_t sum = 1 << (BITS - 1);
      for (int k = 0; k < taps->number[i]; k++) sum += from[3 * k + c] * weight[k];
      out[3 * i + c] = (uint8_t)(sum >> BITS);
    }
  }
}

static void K(across)(uint8_t *out, ptrdiff_t out_stride, const uint8_t *in, ptrdiff_t stride, int rows,
                      uint8_t *scratch, const CnTaps *taps) {
  int r = 0;
  for (; r + 4 <= rows; r += 4) across_four(out + out_stride * r, out_stride, in + stride * r, stride, scratch, taps);
  for (; r < rows; r++) across_one(out + out_stride * r, in + stride * r, taps);
}

static void K(down)(uint8_t *out, const uint8_t *in, ptrdiff_t stride, int bytes, const CnTaps *taps, int i) {
  const int32_t *weight = taps->weight + (ptrdiff_t)taps->most * i;
  const uint8_t *from = in + stride * taps->start[i];
  int number = taps->number[i];
  for (int x = 0; x < bytes; x += 16) {
    Ints16 sum = { 0 };
    sum += 1 << (BITS - 1);
    for (int k = 0; k < number; k++) sum += widen(from + stride * k + x) * weight[k];
    Bytes16 result = narrow(sum);
    memcpy(out + x, &result, sizeof result);
  }
}

/* ---- Colours ---- */

typedef struct Planes {
  uint8_t r[BLOCK], g[BLOCK], b[BLOCK];
} Planes;

static inline void split(Planes *p, const uint8_t *rgb, int n) {
  for (int i = 0; i < n; i++) {
    p->r[i] = rgb[3 * i];
    p->g[i] = rgb[3 * i + 1];
    p->b[i] = rgb[3 * i + 2];
  }
}

static inline void join(uint8_t *rgb, const Planes *p, int n) {
  for (int i = 0; i < n; i++) {
    rgb[3 * i] = p->r[i];
    rgb[3 * i + 1] = p->g[i];
    rgb[3 * i + 2] = p->b[i];
  }
}

static inline int grey(int r, int g, int b) { return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; }

static inline int block_size(int64_t left) { return left < BLOCK ? (int)left : BLOCK; }

static int64_t K(grey_sum)(const uint8_t *rgb, int64_t pixels) {
  Planes p;
  int64_t total = 0;
  for (int64_t at = 0; at < pixels; at += BLOCK) {
    int n = block_size(pixels - at), sum = 0;
    split(&p, rgb + 3 * at, n);
    for (int i = 0; i < n; i++) sum += grey(p.r[i], p.g[i], p.b[i]);
    total += sum;
  }
  return total;
}

/* Cut off towards 0, and to the range of a byte. */
static inline uint8_t mix(int other, int value, float factor) {
  float mixed = (float)other + factor * (float)(value - other);
  mixed = mixed > 0.0f ? mixed : 0.0f;
  mixed = mixed < 255.0f ? mixed : 255.0f;
  return (uint8_t)(int)mixed;
}

static void K(blend)(uint8_t *rgb, int64_t bytes, int other, float factor) {
  uint8_t table[256];
  for (int v = 0; v < 256; v++) table[v] = mix(other, v, factor);
  for (int64_t i = 0; i < bytes; i++) rgb[i] = table[rgb[i]];
}

static void K(saturate)(uint8_t *rgb, int64_t pixels, float factor) {
  Planes p;
  for (int64_t at = 0; at < pixels; at += BLOCK) {
    int n = block_size(pixels - at);
    split(&p, rgb + 3 * at, n);
    for (int i = 0; i < n; i++) {
      int l = grey(p.r[i], p.g[i], p.b[i]);
      p.r[i] = mix(l, p.r[i], factor);
      p.g[i] = mix(l, p.g[i], factor);
      p.b[i] = mix(l, p.b[i], factor);
    }
    join(rgb + 3 * at, &p, n);
  }
}

static inline int larger(int a, int b) { return a > b ? a : b; }
static inline int smaller(int a, int b) { return a < b ? a : b; }

/* Hue from the hexcone, in 256 steps: the largest channel says which third of the circle, the smallest which half of
** that, and the middle one where in it. PIL computes in single precision, but for the sixth part of the circle. */
static inline uint8_t hue_of(int r, int g, int b, int most, int least) {
  float range = (float)(most > least ? most - least : 1), u = (float)(2 * most + least - r - g - b) / range;
  float base = r == most ? (b == least ? 1.0f : -1.0f) : g == most ? (b == least ? 1.0f : 3.0f)
                                                                   : r == least ? 3.0f : 5.0f;
  int falls = r == most ? b == least : g == most ? b != least : r != least;
  double turned = (double)(falls ? base - u : base + u) * (1.0 / 6.0) + 1.0;
  float h = (float)(turned >= 1.0 ? turned - 1.0 : turned);
  return (uint8_t)(most > least ? (int)((double)h * 255.0) : 0);
}

static inline uint8_t saturation_of(int most, int least) {
  float s = (float)(most - least) / (float)(most > 0 ? most : 1);
  return (uint8_t)(int)(s * 255.0f);
}

static inline int rounded(float v) { return (int)(v + 0.5f); }

static void K(turn_hue)(uint8_t *rgb, int64_t pixels, uint8_t steps) {
  Planes p;
  for (int64_t at = 0; at < pixels; at += BLOCK) {
    int n = block_size(pixels - at);
    uint8_t hue[BLOCK], saturation[BLOCK], value[BLOCK];
    split(&p, rgb + 3 * at, n);
    for (int i = 0; i < n; i++) {
      int r = p.r[i], g = p.g[i], b = p.b[i], most = larger(r, larger(g, b)), least = smaller(r, smaller(g, b));
      hue[i] = (uint8_t)(hue_of(r, g, b, most, least) + steps);
      saturation[i] = saturation_of(most, least);
      value[i] = (uint8_t)most;
    }
    for (int i = 0; i < n; i++) {
      int v = value[i];
      float fv = (float)v, fs = (float)saturation[i] * (1.0f / 255.0f), h = (float)hue[i] * (6.0f / 255.0f);
      int sector = (int)h;
      float f = h - (float)sector;
      int low = rounded(fv * (1.0f - fs)), falling = rounded(fv * (1.0f - fs * f));
      int rising = rounded(fv * (1.0f - fs * (1.0f - f)));
      sector = sector == 6 ? 0 : sector;
      p.r[i] = (uint8_t)(sector == 0 || sector == 5 ? v : sector == 1 ? falling : sector == 4 ? rising : low);
      p.g[i] = (uint8_t)(sector == 1 || sector == 2 ? v : sector == 3 ? falling : sector == 0 ? rising : low);
      p.b[i] = (uint8_t)(sector == 3 || sector == 4 ? v : sector == 5 ? falling : sector == 2 ? rising : low);
    }
    join(rgb + 3 * at, &p, n);
  }
}

extern const CnImageKernels K(kernels);

const CnImageKernels K(kernels) = { .across = K(across), .down = K(down), .grey_sum = K(grey_sum), .blend = K(blend),
                                    .saturate = K(saturate), .turn_hue = K(turn_hue) };
