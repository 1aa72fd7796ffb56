/* test_communicator.c - a process alone is a world of its own; the GPU's module says why it cannot be had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "device/cuda.h"
#include "dist/communicator.h"

static void a_process_alone_is_rank_0_of_1(void **state) {
  const CnWorld *world = NULL;
  (void)state;
  assert_int_equal(cn_world(&world), CN_OK);
  assert_int_equal(world->rank, 0);
  assert_int_equal(world->size, 1);
  assert_int_equal(cn_world_barrier(), CN_OK);
}

static void alone_sums_and_broadcasts_change_nothing(void **state) {
  double x[3] = { 1, -2, 3 };
  (void)state;
  assert_int_equal(cn_world_sum(x, 3, CN_F64), CN_OK);
  assert_int_equal(cn_world_broadcast(x, sizeof x, 0), CN_OK);
  assert_true(x[0] == 1 && x[1] == -2 && x[2] == 3);
}

static void wrong_arguments_are_named(void **state) {
  int64_t x = 1;
  (void)state;
  assert_int_equal(cn_world_sum(&x, 1, CN_I64), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "allreduce: must be f32 or f64, got i64");
  assert_int_equal(cn_world_broadcast(&x, sizeof x, 1), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "broadcast: root must be in 0 ... 0, got 1");
}

/* On a machine with a GPU there is a module; everywhere else one line says why not, and always the same one. */
static void the_gpu_module_is_there_or_says_why_not(void **state) {
  const CnGpu *first = NULL, *second = NULL;
  char message[1024];
  (void)state;
  CnErr e = cn_gpu(&first);
  strcpy(message, cn_error_message());
  assert_int_equal(cn_gpu(&second), e);
  assert_ptr_equal(first, second);
  if (e == CN_OK) {
    assert_true(first->device.count >= 1);
    return;
  }
  assert_int_equal(e, CN_ENOKERNEL);
  assert_null(first);
  assert_non_null(strstr(message, "no device \"cuda\": "));
  assert_null(strchr(message, '\n'));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_process_alone_is_rank_0_of_1),
    cmocka_unit_test(alone_sums_and_broadcasts_change_nothing),
    cmocka_unit_test(wrong_arguments_are_named),
    cmocka_unit_test(the_gpu_module_is_there_or_says_why_not),
  };
  return cmocka_run_group_tests_name("communicator", tests, NULL, NULL);
}
