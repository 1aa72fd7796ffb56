/* random.c - named streams, and numbers drawn one at a time. */
#include "base/random.h"

#include <math.h>

CnRng cn_rng_named(uint64_t seed, const char *name) {
  uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a, 64 bits */
  for (const unsigned char *p = (const unsigned char *)name; *p; p++) hash = (hash ^ *p) * 0x100000001B3u;
  return (CnRng){ .seed = seed, .stream = hash, .counter = 0 };
}

uint64_t cn_rng_u64(CnRng *rng) {
  uint32_t word[4];
  cn_philox(word, rng->seed, rng->stream, rng->counter++);
  return (uint64_t)word[1] << 32 | word[0];
}

double cn_rng_uniform(CnRng *rng) { return (double)(cn_rng_u64(rng) >> 11) * 0x1p-53; }

int64_t cn_rng_integer(CnRng *rng, int64_t n) {
  return (int64_t)(((unsigned __int128)cn_rng_u64(rng) * (uint64_t)n) >> 64);
}

double cn_rng_normal(CnRng *rng) { /* Box and Muller, 1958 */
  uint32_t word[4];
  cn_philox(word, rng->seed, rng->stream, rng->counter++);
  double radius = sqrt(-2.0 * log(((double)word[0] + 1.0) * 0x1p-32));
  return radius * cos(6.283185307179586 * ((double)word[1] * 0x1p-32));
}

void cn_rng_permutation(CnRng *rng, int64_t *out, int64_t n) { /* Fisher and Yates */
  for (int64_t i = 0; i < n; i++) {
    int64_t j = cn_rng_integer(rng, i + 1);
    out[i] = out[j];
    out[j] = i;
  }
}
