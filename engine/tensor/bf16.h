/* bf16.h - numbers of 16 bits: the upper half of an f32, so the same range with 8 digits of precision.
**
** A number that lies between two is rounded to the nearer, halfway to the even one; NaN stays NaN. Written with whole
** numbers alone: the same bits on every processor, numbers near 0 (denormals) among them, and loops become vectors. */
#ifndef CN_BF16_H
#define CN_BF16_H

#include <stdint.h>
#include <string.h>

#include "base/everywhere.h"

typedef uint16_t CnBf16;

CN_EVERYWHERE float cn_bf16_to_float(CnBf16 x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* The 16 bits that are cut off make the kept ones one larger when they are above half, or half and the kept are odd. */
CN_EVERYWHERE CnBf16 cn_bf16_of_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  uint32_t nan = bits >> 16 | 0x40; /* quiet, and not to become an infinity */
  return (CnBf16)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

/* Rounded once: by way of a float that is cut toward zero and made odd where it is not exact, so that it never seems to
** lie halfway. */
CN_EVERYWHERE CnBf16 cn_bf16_of_double(double x) {
  float near = (float)x;
  if ((double)near != x && x == x) {
    uint32_t bits;
    memcpy(&bits, &near, sizeof bits);
    if ((x < 0 ? -x : x) < (near < 0 ? -(double)near : (double)near)) bits--;
    bits |= 1;
    memcpy(&near, &bits, sizeof near);
  }
  return cn_bf16_of_float(near);
}

/* More than 53 bits are first cut to fewer, odd where that is not exact. */
CN_EVERYWHERE CnBf16 cn_bf16_of_i64(int64_t x) {
  uint64_t size = x < 0 ? -(uint64_t)x : (uint64_t)x;
  if (size >= (uint64_t)1 << 53) size = size >> 16 << 16 | (size & 0xffff ? 0x10000 : 0);
  return cn_bf16_of_double(x < 0 ? -(double)size : (double)size);
}

#endif
