/* simt.h - the language of CUDA kernels in plain C++, for a GPU that the CPU plays.
**
** kernels/cuda, compiled by g++ with this folder in front of the toolkit's, becomes a complete module of the GPU
** (libcnas_simt.so) that needs none. Every thread of a block is a fiber (fiber.h); one runs until it waits, at a barrier
** or for the lanes of its warp, then the next (scheduler.cpp). So kernels run in one order of many, the same each time:
** forwards, or backwards where CNAS_SIMT says `reversed`. What it is strict about, beside what the sanitizers see:
**
**   a __syncthreads that threads of a block reach at different places, or that some never reach
**   a warp's operation whose lanes disagree about mask or place, or that names a lane that has left the kernel
**   a shuffle from a lane that the mask does not name
**   device memory and shared memory that was never written: filled with NaN, or -1, before a kernel sees it
**   launches beyond a GPU's limits, and more than 48 KiB of dynamic shared memory without having asked
**   results that were not waited for, where CNAS_SIMT says `lazy`: work is done only when something waits for it
**
** A kernel that breaks a rule ends the program with one line and an abort. Not seen: what depends on the order in which
** blocks or warps run, beyond the two that are tried; the order of atomics on floats. */
#ifndef SIMT_H
#define SIMT_H

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>

#include "cuda_runtime_api.h"

#define CNAS_SIMT 1

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
#define __constant__ static
#define __grid_constant__
/* One block runs at a time. In a section of their own, so that all can be filled in front of each block; functions that
** have such variables must be local to their file. */
#define __shared__ static __attribute__((section("simt_shared")))

#pragma GCC visibility push(default) /* users' kernels, in shared objects of their own (user.h), see these */

extern uint3 threadIdx, blockIdx; /* of the thread that runs */
extern dim3 blockDim, gridDim;

namespace simt {

/* Of the running thread and its block. */
extern unsigned lane;
extern void *dynamic_shared;

enum class Meeting { shuffle, ballot, nothing }; /* what the lanes of a warp meet for */

/* The running lane meets those that `mask` names: for a shuffle it brings a value and gets that of lane `source`; for a
** ballot, a bit, and gets those of all. */
uint64_t meet(Meeting what, unsigned mask, uint64_t value, unsigned source, const char *file, int line);
/* The running thread waits for all of its block, and gets the number of those that brought `value` not 0. */
int barrier(int value, const char *file, int line);

#pragma GCC visibility pop

cudaError_t launch(const cudaLaunchConfig_t &config, const void *kernel, std::function<void()> body);

template <class T> uint64_t bits(T v) {
  static_assert(sizeof(T) <= 8, "a shuffle carries at most 8 bytes");
  uint64_t r = 0;
  memcpy(&r, &v, sizeof v);
  return r;
}
template <class To, class From> To same_bits(From v) {
  To to;
  memcpy(&to, &v, sizeof to);
  return to;
}

/* A shuffle within groups of `width` lanes; where the source would lie outside, a lane keeps its own value. */
template <class T> T shuffle(unsigned mask, T v, int source, int width, bool within, const char *file, int line) {
  unsigned group = lane & ~static_cast<unsigned>(width - 1);
  unsigned from = within ? group | (static_cast<unsigned>(source) & static_cast<unsigned>(width - 1)) : lane;
  return same_bits<T>(meet(Meeting::shuffle, mask, bits(v), from, file, line));
}

/* Where in its group of `width` lanes the running one is. */
inline int position(int width) { return static_cast<int>(lane & static_cast<unsigned>(width - 1)); }

} // namespace simt

constexpr int warpSize = 32;

#define DYNAMIC_SHARED(T, name) T *name = static_cast<T *>(simt::dynamic_shared)

/* The place of a call, found where it is written. */
#define SIMT_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(SIMT_PLACE) { simt::barrier(0, file, line); }
inline int __syncthreads_count(int p, SIMT_PLACE) { return simt::barrier(p, file, line); }
inline int __syncthreads_or(int p, SIMT_PLACE) { return simt::barrier(p, file, line) > 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_PLACE) {
  simt::meet(simt::Meeting::nothing, mask, 0, 0, file, line);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32, SIMT_PLACE) {
  return simt::shuffle(mask, v, source, width, true, file, line);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, SIMT_PLACE) {
  int source = simt::position(width) + static_cast<int>(by);
  return simt::shuffle(mask, v, source, width, source < width, file, line);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, SIMT_PLACE) {
  int source = simt::position(width) - static_cast<int>(by);
  return simt::shuffle(mask, v, source, width, source >= 0, file, line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int with, int width = 32, SIMT_PLACE) {
  int source = simt::position(width) ^ with;
  return simt::shuffle(mask, v, source, width, source < width, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int p, SIMT_PLACE) {
  return static_cast<unsigned>(simt::meet(simt::Meeting::ballot, mask, p != 0, 0, file, line));
}
inline int __any_sync(unsigned mask, int p, SIMT_PLACE) {
  return simt::meet(simt::Meeting::ballot, mask, p != 0, 0, file, line) != 0;
}
inline int __all_sync(unsigned mask, int p, SIMT_PLACE) {
  return simt::meet(simt::Meeting::ballot, mask, p != 0, 0, file, line) == mask;
}

#ifndef SIMT_FLOAT_SUMS /* users may */
#define SIMT_FLOAT_SUMS false
#endif
template <class T> T atomicAdd(T *p, T v) {
  static_assert(std::is_integral<T>::value || SIMT_FLOAT_SUMS, "sums of floats would depend on the order of threads");
  T old = *p;
  *p = static_cast<T>(old + v);
  return old;
}
template <class T> T atomicMax(T *p, T v) {
  T old = *p;
  if (v > old) *p = v;
  return old;
}
template <class T> T atomicMin(T *p, T v) {
  T old = *p;
  if (v < old) *p = v;
  return old;
}
template <class T> T atomicMin_system(T *p, T v) { return atomicMin(p, v); }
template <class T> T atomicExch(T *p, T v) {
  T old = *p;
  *p = v;
  return old;
}
template <class T> T atomicCAS(T *p, T expected, T v) {
  T old = *p;
  if (old == expected) *p = v;
  return old;
}
/* Counts up to `limit`, then from 0 again. */
inline unsigned atomicInc(unsigned *p, unsigned limit) {
  unsigned old = *p;
  *p = old >= limit ? 0 : old + 1;
  return old;
}

template <class T> T __ldg(const T *p) { return *p; }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>((uint64_t{ a } * b) >> 32); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz(static_cast<unsigned>(v)); }
inline int __float_as_int(float v) { return simt::same_bits<int>(v); }
inline float __int_as_float(int v) { return simt::same_bits<float>(v); }
inline unsigned __float_as_uint(float v) { return simt::same_bits<unsigned>(v); }
inline float __uint_as_float(unsigned v) { return simt::same_bits<float>(v); }
inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
inline double rsqrt(double v) { return 1.0 / sqrt(v); }
using std::max;
using std::min;

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Parameters...), Arguments &&...args) {
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "a kernel's parameters have at most 4096 bytes");
  std::tuple<Parameters...> values(args...);
  return simt::launch(*config, reinterpret_cast<const void *>(kernel), [kernel, values] { std::apply(kernel, values); });
}

#endif
