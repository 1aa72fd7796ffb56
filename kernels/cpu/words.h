/* words.h - many random words at once: blocks of cn_philox (base/random.h), several side by side in vector lanes. */
#ifndef CN_WORDS_H
#define CN_WORDS_H

#include "pieces.h"

#define BLOCKS 16 /* side by side */
#define WORDS (4 * BLOCKS)

/* Left as a loop, it becomes vectors; unrolled first, it would not. */
#define FOR_EACH_BLOCK CN_PRAGMA_(GCC unroll 1) for (int b = 0; b < BLOCKS; b++)

/* Words 0 … WORDS-1 of the stream from block rng.counter + block on. */
static inline void draw_words(uint32_t *restrict word, CnRng rng, int64_t block) {
  uint32_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
  uint32_t k0 = (uint32_t)rng.seed, k1 = (uint32_t)(rng.seed >> 32);
  FOR_EACH_BLOCK {
    uint64_t counter = rng.counter + (uint64_t)(block + b);
    c0[b] = (uint32_t)counter;
    c1[b] = (uint32_t)(counter >> 32);
    c2[b] = (uint32_t)rng.stream;
    c3[b] = (uint32_t)(rng.stream >> 32);
  }
  for (int round = 0; round < 10; round++) {
    FOR_EACH_BLOCK {
      uint64_t p0 = (uint64_t)0xD2511F53u * c0[b], p1 = (uint64_t)0xCD9E8D57u * c2[b];
      c0[b] = (uint32_t)(p1 >> 32) ^ c1[b] ^ k0;
      c2[b] = (uint32_t)(p0 >> 32) ^ c3[b] ^ k1;
      c1[b] = (uint32_t)p1;
      c3[b] = (uint32_t)p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  FOR_EACH_BLOCK {
    word[4 * b] = c0[b];
    word[4 * b + 1] = c1[b];
    word[4 * b + 2] = c2[b];
    word[4 * b + 3] = c3[b];
  }
}

#endif
