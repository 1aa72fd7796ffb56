/* peak.c - what this processor does at most: multiply-adds and bytes in a second. Prints one JSON object.
**
**   build/tests/peak [threads [seconds]]
**
** gflops     two for each multiply-add of f32, in vectors of the instruction set that the kernels use (CNAS_ISA), in
**            chains that do not depend on each other: as many as hide the latency, all in registers
** bandwidth  GB/s of all threads that go again and again over memory of their own, together so many bytes: reading,
**            writing, copying (read and written bytes both count). Small ones stay in the caches. Ordinary loads and
**            stores.
**
** Everything is the best of many short tries, which take so many seconds (default 0.3) for each number: what others do
** on the machine can only slow it down. It slows the bandwidth of several threads most: measure it on a machine that
** has nothing else to do. The constants come through volatile variables and the results go to one, so that nothing is
** computed when this is compiled. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/threads.h"
#include "device/cpu.h"

#define TRIES 5           /* at least */
#define TRY_SECONDS 0.003 /* short: between two of what others do */
#define THREADS_MOST 64   /* so that the smallest share is 16 KiB */

typedef struct Buffers {
  char *from, *to;
  size_t bytes; /* of each; a multiple of 1024 */
} Buffers;

/* Goes so many times over the buffers; one that computes has none and makes so many steps. Its result must be used. */
typedef float Loop(const Buffers *b, float factor, long rounds);

/* The loops of one instruction set; lanes: the multiply-adds of a step. */
typedef struct Loops {
  const char *isa;
  double lanes;
  Loop *fma, *move[3]; /* reading, writing, copying */
} Loops;

#define LOOPS(name, width, chains, target)                                                                    \
  typedef float Vec_##name __attribute__((vector_size(width)));                                               \
  target static float fma_##name(const Buffers *b, float factor, long rounds) {                               \
    Vec_##name sum[chains], total = { 0 }, x = total + factor, y = total + factor * factor;                   \
    (void)b;                                                                                                  \
    for (int k = 0; k < chains; k++) sum[k] = total + (float)k;                                               \
    for (long i = 0; i < rounds; i++)                                                                         \
      for (int k = 0; k < chains; k++) sum[k] = sum[k] * x + y;                                               \
    for (int k = 0; k < chains; k++) total += sum[k];                                                         \
    return total[0];                                                                                          \
  }                                                                                                           \
  target static float read_##name(const Buffers *b, float factor, long rounds) {                              \
    Vec_##name sum[8] = { { factor } };                                                                       \
    for (long i = 0; i < rounds; i++)                                                                         \
      for (size_t at = 0; at < b->bytes; at += sizeof sum)                                                    \
        for (int k = 0; k < 8; k++) sum[k] += ((const Vec_##name *)(b->from + at))[k];                        \
    for (int k = 1; k < 8; k++) sum[0] += sum[k];                                                             \
    return sum[0][0];                                                                                         \
  }                                                                                                           \
  target static float write_##name(const Buffers *b, float factor, long rounds) {                             \
    Vec_##name value = (Vec_##name){ 0 } + factor;                                                            \
    for (long i = 0; i < rounds; i++) {                                                                       \
      for (size_t at = 0; at < b->bytes; at += 8 * sizeof value)                                              \
        for (int k = 0; k < 8; k++) ((Vec_##name *)(b->to + at))[k] = value;                                  \
      value += factor;                                                                                        \
    }                                                                                                         \
    return *(float *)b->to;                                                                                   \
  }                                                                                                           \
  target static float copy_##name(const Buffers *b, float factor, long rounds) {                              \
    Vec_##name value = (Vec_##name){ 0 } + factor;                                                            \
    for (long i = 0; i < rounds; i++) {                                                                       \
      for (size_t at = 0; at < b->bytes; at += 8 * sizeof value)                                              \
        for (int k = 0; k < 8; k++)                                                                           \
          ((Vec_##name *)(b->to + at))[k] = ((const Vec_##name *)(b->from + at))[k] + value;                  \
      value += factor;                                                                                        \
    }                                                                                                         \
    return *(float *)b->to;                                                                                   \
  }

/* Two registers are for the factors; where multiply and add are two instructions, each chain needs one more. */
LOOPS(portable, 16, 7, )
#ifdef __x86_64__
LOOPS(avx2, 32, 14, __attribute__((target("avx2,fma"))))
LOOPS(avx512, 64, 16, __attribute__((target("avx512f"))))
#endif

#define ROW(name, width, chains) \
  { #name, width / 4.0 * chains, fma_##name, { read_##name, write_##name, copy_##name } }
static const Loops loops[] = {
  ROW(portable, 16, 7),
#ifdef __x86_64__
  ROW(avx2, 32, 14),
  ROW(avx512, 64, 16),
#endif
};

static volatile float small = 1e-4f, sink;
static double seconds_each = 0.3;

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* How many rounds take a thread TRY_SECONDS of processor time. */
static long rounds_of_a_try(Loop *loop, const Buffers *b) {
  for (long rounds = 1;; rounds *= 2) {
    double start = now(CLOCK_THREAD_CPUTIME_ID);
    sink = loop(b, small, rounds);
    if (now(CLOCK_THREAD_CPUTIME_ID) - start >= TRY_SECONDS * 0.6) return rounds;
  }
}

/* Seconds of one round of the loop when all threads run it at once, at best. */
static double round_seconds(Loop *loop, const Buffers *of, int threads) {
  double best = 1e30, spent = 0;
  long rounds = rounds_of_a_try(loop, of);
  for (int tries = 0; tries < TRIES || spent < seconds_each; tries++) {
    double seconds = 0;
#pragma omp parallel num_threads(threads) reduction(max : seconds)
    {
#pragma omp barrier
      double start = now(CLOCK_MONOTONIC);
      sink = loop(&of[omp_get_thread_num()], small, rounds);
#pragma omp barrier
      seconds = now(CLOCK_MONOTONIC) - start;
    }
    if (seconds < best) best = seconds;
    spent += seconds;
  }
  return best / (double)rounds;
}

/* Steps per second of all threads, each by its own processor time, in which nobody else is: at best. */
static double steps_per_second(Loop *loop, int threads) {
  static const Buffers none = { 0 };
  double best = 0, spent = 0;
  long rounds = rounds_of_a_try(loop, &none);
  for (int tries = 0; tries < TRIES || spent < seconds_each * threads; tries++) {
    double sum = 0, seconds = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum, seconds)
    {
#pragma omp barrier
      double start = now(CLOCK_THREAD_CPUTIME_ID);
      sink = loop(&none, small, rounds);
      seconds = now(CLOCK_THREAD_CPUTIME_ID) - start;
      sum = (double)rounds / seconds;
    }
    if (sum > best) best = sum;
    spent += seconds;
  }
  return best;
}

/* Two buffers of `bytes` for each thread, touched first by the thread that uses them. */
static void allocate(Buffers *of, int threads, size_t bytes) {
#pragma omp parallel num_threads(threads)
  {
    Buffers *b = &of[omp_get_thread_num()];
    b->bytes = bytes / 1024 * 1024;
    b->from = aligned_alloc(1024, b->bytes);
    b->to = aligned_alloc(1024, b->bytes);
    if (b->from == NULL || b->to == NULL) {
      fprintf(stderr, "peak: no memory for %zu bytes\n", 2 * b->bytes);
      exit(1);
    }
    memset(b->from, 1, b->bytes);
    memset(b->to, 1, b->bytes);
  }
}

/* GB/s of the three loops over `bytes` in all; a copy reads one half and writes the other. */
static void bandwidth(const Loops *l, int threads, size_t bytes) {
  static const char *const kinds[] = { "read", "write", "copy" };
  Buffers *of = calloc((size_t)threads, sizeof *of);
  if (of == NULL) exit(1);
  printf("{\"bytes\":%zu", bytes);
  for (int kind = 0; kind < 3; kind++) {
    int buffers = kind == 2 ? 2 : 1;
    allocate(of, threads, bytes / (size_t)(threads * buffers));
    double moved = (double)of->bytes * threads * buffers;
    printf(",\"%s\":%.2f", kinds[kind], moved / round_seconds(l->move[kind], of, threads) * 1e-9);
    for (int i = 0; i < threads; i++) free(of[i].from), free(of[i].to);
  }
  putchar('}');
  free(of);
}

int main(int argc, char **argv) {
  static const size_t sizes[] = { 1, 2, 4, 8, 16, 32, 64, 256 }; /* MiB */
  int threads = argc > 1 ? atoi(argv[1]) : cn_threads();
  if (threads < 1 || threads > THREADS_MOST) {
    fprintf(stderr, "peak: expected 1 to %d threads, got %s\n", THREADS_MOST, argv[1]);
    return 2;
  }
  if (argc > 2) seconds_each = atof(argv[2]);
  const Loops *l = &loops[0];
  for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
    if (!strncmp(loops[i].isa, cn_cpu_isa(), strlen(loops[i].isa))) l = &loops[i]; /* avx512_bf16 is avx512 too */
  printf("{\"isa\":\"%s\",\"threads\":%d,", l->isa, threads);
  printf("\"gflops\":{\"one\":%.2f,", 2 * l->lanes * steps_per_second(l->fma, 1) * 1e-9);
  printf("\"all\":%.2f},", 2 * l->lanes * steps_per_second(l->fma, threads) * 1e-9);
  printf("\"bandwidth\":[");
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    if (i > 0) putchar(',');
    bandwidth(l, threads, sizes[i] << 20);
  }
  puts("]}");
  return 0;
}
