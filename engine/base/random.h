/* random.h - counter-based random numbers: a draw is a pure function of (seed, stream, counter).
**
** Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. There is no hidden
** state: saving a stream means saving its counter, threads may draw any counters in any order, and a GPU that computes
** the same function draws the same numbers. One counter value gives one block of four 32-bit numbers. */
#ifndef CN_RANDOM_H
#define CN_RANDOM_H

#include <stdint.h>

#include "base/everywhere.h"

typedef struct CnRng {
  uint64_t seed;
  uint64_t stream;  /* which use: see cn_rng_named */
  uint64_t counter; /* the next block to draw */
} CnRng;

/* The block of four numbers at (seed, stream, counter): ten rounds of two 32x32 -> 64 multiplications. */
CN_EVERYWHERE void cn_philox(uint32_t out[4], uint64_t seed, uint64_t stream, uint64_t counter) {
  uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
  uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/* The stream with this name ("weights", "sampling", …), at counter 0. Different names are independent. */
CnRng cn_rng_named(uint64_t seed, const char *name);

/* Each draw below uses one block and moves the counter on by one (a permutation by n). */
uint64_t cn_rng_u64(CnRng *rng);
double cn_rng_uniform(CnRng *rng);              /* in [0, 1), 53 bits */
int64_t cn_rng_integer(CnRng *rng, int64_t n);  /* in 0 … n-1, n >= 1; bias below 2^-40 for n < 2^24 */
double cn_rng_normal(CnRng *rng);               /* mean 0, deviation 1 */
void cn_rng_permutation(CnRng *rng, int64_t *out, int64_t n); /* of 0 … n-1 */

/* 24 random bits as a float in [0, 1): what kernels make of one 32-bit number. */
CN_EVERYWHERE float cn_u32_to_unit(uint32_t u) { return (float)(u >> 8) * 0x1p-24f; }

#endif
