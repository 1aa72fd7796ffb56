/* test_base.c - errors, the allocator, random streams, the number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"

static void test_messages(void **state) {
  (void)state;
  assert_int_equal(cn_fail(CN_EDATA, "%s: expected %d", "file.bin", 3), CN_EDATA);
  assert_string_equal(cn_error_message(), "file.bin: expected 3");
  cn_fail_within(CN_EDATA, "while loading %s: ", "cifar10");
  assert_string_equal(cn_error_message(), "while loading cifar10: file.bin: expected 3");
  cn_fail(CN_EIO, "again: %s", cn_error_message()); /* an argument that is the present message */
  assert_string_equal(cn_error_message(), "again: while loading cifar10: file.bin: expected 3");
  char longer[3000];
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  cn_fail(CN_EIO, "%s", longer);
  assert_int_equal(strlen(cn_error_message()), 1000);
}

static void test_every_size_is_aligned_and_reused(void **state) {
  (void)state;
  CnMemoryStats before = cn_memory_stats();
  for (size_t bytes = 0; bytes < 5000; bytes++) {
    char *block = cn_alloc(bytes);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % CN_ALIGNMENT, 0);
    memset(block, 1, bytes);
    assert_true((size_t)(cn_memory_stats().bytes_live - before.bytes_live) >= bytes);
    cn_free(block);
  }
  for (size_t bytes = 1000; bytes < (size_t)1 << 32; bytes = bytes * 9 / 8 + 1) { /* lost: an eighth at most */
    void *block = cn_alloc(bytes);
    assert_non_null(block);
    assert_true((double)(cn_memory_stats().bytes_live - before.bytes_live) <= 1.125 * (double)bytes + 64);
    cn_free(block);
    if (bytes > 1 << 24) cn_memory_trim();
  }
  int64_t asked = cn_memory_stats().system_allocations;
  for (size_t bytes = 0; bytes < 5000; bytes++) cn_free(cn_alloc(bytes));
  int64_t after = cn_memory_stats().system_allocations;
  for (size_t bytes = 0; bytes < 5000; bytes++) cn_free(cn_alloc(bytes));
#ifndef __SANITIZE_ADDRESS__ /* with it nothing is reused */
  assert_int_equal(cn_memory_stats().system_allocations, after);
#endif
  assert_true(after >= asked);
  assert_int_equal(cn_memory_stats().bytes_live, before.bytes_live);
  assert_int_equal(cn_memory_stats().blocks_live, before.blocks_live);
  cn_memory_trim();
  assert_int_equal(cn_memory_stats().bytes_cached, 0);
}

static void test_allocations_fail_on_purpose(void **state) {
  (void)state;
  cn_memory_fail_after(2);
  void *first = cn_alloc(10), *second = cn_alloc(10);
  assert_non_null(first);
  assert_non_null(second);
  assert_null(cn_alloc(10));
  assert_non_null(strstr(cn_error_message(), "out of memory"));
  void *third = cn_alloc(10);
  assert_non_null(third);
  cn_free(first);
  cn_free(second);
  cn_free(third);
  assert_null(cn_alloc((size_t)1 << 50)); /* more than there is */
}

/* Known answers of Philox4x32-10, from its authors' test vectors. */
static void test_philox(void **state) {
  (void)state;
  uint32_t word[4];
  cn_philox(word, 0, 0, 0);
  assert_int_equal(word[0], 0x6627e8d5);
  assert_int_equal(word[1], 0xe169c58d);
  assert_int_equal(word[2], 0xbc57ac4c);
  assert_int_equal(word[3], 0x9b00dbd8);
  cn_philox(word, UINT64_MAX, UINT64_MAX, UINT64_MAX);
  assert_int_equal(word[0], 0x408f276d);
  assert_int_equal(word[1], 0x41c83b0e);
  assert_int_equal(word[2], 0xa20bc7c6);
  assert_int_equal(word[3], 0x6d5451fd);
}

static void test_streams(void **state) {
  (void)state;
  CnRng a = cn_rng_named(1, "weights"), b = cn_rng_named(1, "sampling"), again = cn_rng_named(1, "weights");
  assert_true(a.stream != b.stream);
  double mean = 0, square = 0, third = 0;
  enum { N = 100000 };
  for (int i = 0; i < N; i++) {
    double u = cn_rng_uniform(&a);
    assert_true(u >= 0 && u < 1);
    mean += u / N;
  }
  assert_true(fabs(mean - 0.5) < 0.005);
  assert_int_equal(a.counter, N);
  again.counter = N - 1; /* any draw can be had again by its counter */
  uint64_t last = cn_rng_u64(&again);
  a.counter = N - 1;
  assert_true(cn_rng_u64(&a) == last);
  mean = 0;
  for (int i = 0; i < N; i++) {
    double v = cn_rng_normal(&b);
    mean += v / N;
    square += v * v / N;
    third += v * v * v / N;
  }
  assert_true(fabs(mean) < 0.02 && fabs(square - 1) < 0.03 && fabs(third) < 0.06);
  int64_t seen[7] = { 0 };
  for (int i = 0; i < 7000; i++) {
    int64_t k = cn_rng_integer(&b, 7);
    assert_true(k >= 0 && k < 7);
    seen[k]++;
  }
  for (int k = 0; k < 7; k++) assert_true(seen[k] > 850 && seen[k] < 1150);
}

static void test_permutation(void **state) {
  (void)state;
  CnRng rng = cn_rng_named(3, "shuffle");
  int64_t order[1000], moved = 0;
  char seen[1000] = { 0 };
  cn_rng_permutation(&rng, order, 1000);
  for (int i = 0; i < 1000; i++) {
    assert_true(order[i] >= 0 && order[i] < 1000 && !seen[order[i]]);
    seen[order[i]] = 1;
    moved += order[i] != i;
  }
  assert_true(moved > 980);
}

static void test_threads(void **state) {
  (void)state;
  int before = cn_threads();
  assert_true(before >= 1);
  cn_threads_set(3);
  assert_int_equal(cn_threads(), 3);
  int64_t square[100];
  CN_PARALLEL_FOR
  for (int i = 0; i < 100; i++) square[i] = (int64_t)i * i;
  for (int i = 0; i < 100; i++) assert_int_equal(square[i], i * i);
  cn_threads_set(-5);
  assert_int_equal(cn_threads(), 1);
  cn_threads_set(before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_messages),
    cmocka_unit_test(test_every_size_is_aligned_and_reused),
    cmocka_unit_test(test_allocations_fail_on_purpose),
    cmocka_unit_test(test_philox),
    cmocka_unit_test(test_streams),
    cmocka_unit_test(test_permutation),
    cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
