/* test_arena.c - large blocks: taken, split, joined, given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#define MIB ((size_t)1 << 20)

/* Taken blocks of random sizes, each with its own number at its beginning and its end. */
typedef struct Taken {
  uint64_t *bytes[600];
  size_t words[600];
  int count;
} Taken;

static void take(CnArena *arena, Taken *t, size_t bytes) {
  uint64_t *p = cn_arena_take(arena, bytes);
  assert_non_null(p);
  assert_int_equal((uintptr_t)p % CN_ALIGNMENT, 0);
  assert_true(cn_arena_owns(arena, p));
  assert_true(cn_arena_size(p) >= bytes && cn_arena_size(p) < bytes + 8192);
  t->bytes[t->count] = p;
  t->words[t->count] = cn_arena_size(p) / 8; /* all of a block may be written */
  p[0] = p[t->words[t->count] - 1] = (uint64_t)(uintptr_t)p;
  t->count++;
}

static void give(CnArena *arena, Taken *t, int i) {
  uint64_t *p = t->bytes[i];
  assert_true(p[0] == (uint64_t)(uintptr_t)p);
  assert_true(p[t->words[i] - 1] == (uint64_t)(uintptr_t)p);
  cn_arena_give(arena, p);
  t->bytes[i] = t->bytes[--t->count];
  t->words[i] = t->words[t->count];
}

/* A training step in small: takes on the way forward, gives in a random order on the way back. */
static size_t step(CnArena *arena, CnRng *rng, Taken *t) { /* the most bytes asked for at once */
  size_t asked = 0;
  for (int i = 0; i < 200; i++) {
    size_t bytes = ((size_t)256 << cn_rng_integer(rng, 4)) * (1 + (size_t)cn_rng_integer(rng, 3)) * 1024;
    asked += bytes;
    take(arena, t, bytes);
    if (i % 5 == 0) { /* what is wanted for a moment only */
      asked -= bytes;
      give(arena, t, t->count - 1);
    }
  }
  while (t->count) give(arena, t, (int)cn_rng_integer(rng, t->count));
  return asked;
}

static void test_a_loop_asks_for_nothing_after_its_first_steps(void **state) {
  (void)state;
  CnArena arena = { 0 };
  CnRng rng = cn_rng_named(1, "arena");
  static Taken t;
  size_t most = 0;
  for (int i = 0; i < 30; i++) {
    size_t asked = step(&arena, &rng, &t);
    most = asked > most ? asked : most;
    assert_int_equal(arena.used, 0);
  }
  assert_true((double)arena.held <= 1.1 * (double)most + 2.0 * (double)CN_GRANULE);
  int64_t held = arena.held;
  for (int i = 0; i < 3; i++) { /* the same steps again: another start, the same sizes */
    rng = cn_rng_named(1, "arena");
    for (int k = 0; k < 30; k++) step(&arena, &rng, &t);
    assert_int_equal(arena.held, held);
  }
  cn_arena_trim(&arena);
  assert_int_equal(arena.held, 0);
  assert_null(arena.regions);
  assert_null(arena.free);
}

/* Everything that was taken side by side is one block again, whatever the order in which it came back. */
static void test_neighbours_are_joined(void **state) {
  (void)state;
  CnArena arena = { 0 };
  enum { N = 8 };
  char *block[N];
  for (int order = 0; order < 40; order++) {
    CnRng rng = cn_rng_named((uint64_t)order, "order");
    int64_t turn[N];
    cn_rng_permutation(&rng, turn, N);
    for (int i = 0; i < N; i++) assert_non_null(block[i] = cn_arena_take(&arena, 3 * MIB));
    int64_t held = arena.held;
    for (int i = 0; i < N; i++) cn_arena_give(&arena, block[turn[i]]);
    void *all = cn_arena_take(&arena, N * 3 * MIB);
    assert_ptr_equal(all, block[0]);
    assert_int_equal(arena.held, held);
    cn_arena_give(&arena, all);
  }
  cn_arena_trim(&arena);
}

static void test_the_smallest_block_that_fits_is_taken(void **state) {
  (void)state;
  CnArena arena = { 0 };
  size_t mib[] = { 5, 1, 2, 1, 3, 1, 4, 1 };
  char *block[8];
  for (int i = 0; i < 8; i++) assert_non_null(block[i] = cn_arena_take(&arena, mib[i] * MIB));
  for (int i = 0; i < 8; i += 2) cn_arena_give(&arena, block[i]); /* free: 5, 2, 3 and 4 MiB */
  assert_ptr_equal(cn_arena_take(&arena, 3 * MIB), block[4]);
  assert_ptr_equal(cn_arena_take(&arena, 5 * MIB / 2), block[6]);
  assert_ptr_equal(cn_arena_take(&arena, MIB), block[6] + 5 * MIB / 2 + 17 * CN_ALIGNMENT); /* what is left of 4 */
  assert_ptr_equal(cn_arena_take(&arena, 2 * MIB), block[2]);
  assert_ptr_equal(cn_arena_take(&arena, 2 * MIB), block[0]);
}

/* Tensors are often multiples of a page; read side by side they must not meet in the same sets of a cache. */
static void test_blocks_begin_in_different_cache_sets(void **state) {
  (void)state;
  CnArena arena = { 0 };
  bool seen[64] = { false };
  for (int i = 0; i < 64; i++) {
    uintptr_t p = (uintptr_t)cn_arena_take(&arena, MIB);
    assert_false(seen[p / 64 % 64]);
    seen[p / 64 % 64] = true;
  }
}

static size_t resident(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  assert_non_null(f);
  assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
  fclose(f);
  return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void test_free_granules_go_back_while_others_live(void **state) {
  (void)state;
  CnArena arena = { 0 };
  char *block[3];
  for (int i = 0; i < 3; i++) {
    assert_non_null(block[i] = cn_arena_take(&arena, 64 * MIB));
    memset(block[i], i + 1, 64 * MIB);
  }
  int64_t held = arena.held;
  size_t size = resident();
  cn_arena_give(&arena, block[1]);
  cn_arena_release(&arena, (int64_t)(10 * MIB)); /* only so much */
  assert_int_equal(held - arena.held, 10 * MIB);
  cn_arena_release(&arena, INT64_MAX);
  assert_true((size_t)(held - arena.held) >= 64 * MIB - 2 * CN_GRANULE);
  assert_true(resident() < size - 56 * MIB);
  cn_arena_trim(&arena); /* the region has blocks in use: it stays */
  assert_ptr_equal(cn_arena_take(&arena, 64 * MIB), block[1]); /* and is taken again, empty */
  assert_true(arena.held <= held);
  for (size_t i = 2 * CN_GRANULE; i < 60 * MIB; i += 4096) assert_int_equal(block[1][i], 0);
  for (size_t i = 0; i < 64 * MIB; i += 4096) assert_true(block[0][i] == 1 && block[2][i] == 3);
  for (int i = 0; i < 3; i++) cn_arena_give(&arena, block[i]);
  cn_arena_trim(&arena);
  assert_int_equal(arena.held, 0);
}

/* A process that may have few addresses gets smaller regions, and NULL when there is no more. */
static void test_few_addresses(void **state) {
  (void)state;
#ifdef __SANITIZE_ADDRESS__
  skip(); /* it has terabytes of addresses of its own */
#endif
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  assert_non_null(f);
  assert_int_equal(fscanf(f, "%ld", &pages), 1);
  fclose(f);
  struct rlimit old, few;
  getrlimit(RLIMIT_AS, &old);
  few = old;
  few.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + 400 * MIB;
  assert_int_equal(setrlimit(RLIMIT_AS, &few), 0);
  CnArena arena = { 0 };
  char *block[400];
  int count = 0;
  while (count < 400 && (block[count] = cn_arena_take(&arena, MIB))) block[count++][0] = 1;
  void *refused = cn_alloc((size_t)1 << 30);
  setrlimit(RLIMIT_AS, &old);
  assert_null(refused);
  assert_non_null(strstr(cn_error_message(), "the system has no more"));
  assert_in_range(count, 300, 399);
  while (count) cn_arena_give(&arena, block[--count]);
  cn_arena_trim(&arena);
  assert_int_equal(arena.held, 0);
}

/* Thousands of free blocks of one size, then of many: each step must stay cheap. */
static void test_thousands_of_blocks(void **state) {
  (void)state;
  CnArena arena = { 0 };
  enum { N = 20000 };
  static char *block[N];
  for (int i = 0; i < N; i++) {
    size_t bytes = i % 4 ? 4096 : 4096 + 64 * (size_t)(i % 999);
    assert_non_null(block[i] = cn_arena_take(&arena, bytes));
  }
  for (int i = 0; i < N; i += 2) cn_arena_give(&arena, block[i]);
  for (int i = 1; i < N; i += 2) cn_arena_give(&arena, block[i]);
  assert_int_equal(arena.used, 0);
  assert_ptr_equal(cn_arena_take(&arena, N * 4096), block[0]);
}

/* Through cn_alloc: free blocks of sizes not asked for any more are given back as others are asked for. */
static void test_what_is_held_is_bounded(void **state) {
  (void)state;
#ifdef __SANITIZE_ADDRESS__
  skip(); /* each block is the C library's own */
#endif
  cn_memory_trim();
  int64_t before = cn_memory_stats().bytes_live;
  for (size_t mib = 1; mib < 300; mib += 7) {
    enum { N = 8 };
    char *block[N];
    for (int i = 0; i < N; i++) assert_non_null(block[i] = cn_alloc(mib * MIB / N + 4096 * (size_t)i));
    for (int i = 0; i < N; i += 2) cn_free(block[i]);
    for (int i = 0; i < N; i += 2) assert_non_null(block[i] = cn_alloc(mib * MIB / N / 2 + 1));
    for (int i = 0; i < N; i++) cn_free(block[i]);
    CnMemoryStats s = cn_memory_stats();
    assert_int_equal(s.bytes_live, before);
    assert_true(s.bytes_cached + s.bytes_live <= s.bytes_peak + s.bytes_peak / 8 + (int64_t)(64 * MIB));
  }
  cn_memory_trim();
  assert_true(cn_memory_stats().bytes_cached <= (int64_t)CN_GRANULE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_loop_asks_for_nothing_after_its_first_steps),
    cmocka_unit_test(test_neighbours_are_joined),
    cmocka_unit_test(test_the_smallest_block_that_fits_is_taken),
    cmocka_unit_test(test_blocks_begin_in_different_cache_sets),
    cmocka_unit_test(test_free_granules_go_back_while_others_live),
    cmocka_unit_test(test_few_addresses),
    cmocka_unit_test(test_thousands_of_blocks),
    cmocka_unit_test(test_what_is_held_is_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
