/* stream.cuh - streams of random numbers: the numbers of base/random.h, drawn by any thread. */
#ifndef CN_CUDA_STREAM_CUH
#define CN_CUDA_STREAM_CUH

#include "kernels/cuda/kernel.cuh"

/* The rng attribute whose first slot is `slot`. */
inline CnRng stream_of(const CnCall *call, int slot) {
  const CnAttr *attr = &call->attr[slot];
  return CnRng{ static_cast<uint64_t>(attr[0].i), static_cast<uint64_t>(attr[1].i), static_cast<uint64_t>(attr[2].i) };
}

/* Words 4 * block … 4 * block + 3 of a stream. */
__device__ inline void draw_block(uint32_t (&word)[4], const CnRng &rng, int64_t block) {
  cn_philox(word, rng.seed, rng.stream, rng.counter + static_cast<uint64_t>(block));
}

#endif
