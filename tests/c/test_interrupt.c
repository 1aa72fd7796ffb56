/* test_interrupt.c - the wish to stop: noted, counted, seen, cleared. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/interrupt.h"

static int clear(void **state) {
  (void)state;
  cn_interrupt_clear();
  return 0;
}

static void nothing_stands_at_first(void **state) {
  (void)state;
  assert_int_equal(cn_interrupt_requested(), 0);
  assert_int_equal(cn_interrupt_state().count, 0);
}

static void pause_between_wishes(void) { nanosleep(&(struct timespec){ 0, 350000000 }, NULL); }

static void the_first_signal_is_kept_and_all_are_counted(void **state) {
  (void)state;
  assert_int_equal(cn_interrupt_note(SIGTERM), 1);
  assert_int_equal(cn_interrupt_note(SIGTERM), 1); /* sent twice by one kill of the group */
  pause_between_wishes();
  assert_int_equal(cn_interrupt_note(SIGINT), 2);
  CnInterrupt now = cn_interrupt_state();
  assert_int_equal(now.signal, SIGTERM);
  assert_int_equal(now.count, 2);
  assert_true(now.seconds >= 0 && now.seconds < 60);
}

static void looking_marks_it_as_seen(void **state) {
  (void)state;
  cn_interrupt_note(SIGINT);
  assert_false(cn_interrupt_state().seen);
  assert_int_equal(cn_interrupt_requested(), SIGINT);
  assert_true(cn_interrupt_state().seen);
}

static void the_longest_gap_between_looks_is_known(void **state) {
  (void)state;
  cn_interrupt_requested();
  pause_between_wishes();
  cn_interrupt_requested();
  cn_interrupt_requested();
  assert_true(cn_interrupt_state().count == 0 && cn_interrupt_note(SIGINT) == 1);
  assert_true(cn_interrupt_state().patience >= 0.35);
}

static void clearing_forgets_everything(void **state) {
  (void)state;
  cn_interrupt_note(SIGINT);
  cn_interrupt_requested();
  cn_interrupt_clear();
  assert_int_equal(cn_interrupt_requested(), 0);
  cn_interrupt_note(SIGTERM);
  assert_false(cn_interrupt_state().seen);
  assert_int_equal(cn_interrupt_state().signal, SIGTERM);
}

static void signals_have_names(void **state) {
  (void)state;
  assert_string_equal(cn_interrupt_name(SIGINT), "SIGINT");
  assert_string_equal(cn_interrupt_name(SIGTERM), "SIGTERM");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(nothing_stands_at_first, clear),
    cmocka_unit_test_setup(the_first_signal_is_kept_and_all_are_counted, clear),
    cmocka_unit_test_setup(looking_marks_it_as_seen, clear),
    cmocka_unit_test_setup(the_longest_gap_between_looks_is_known, clear),
    cmocka_unit_test_setup(clearing_forgets_everything, clear),
    cmocka_unit_test_setup(signals_have_names, clear),
  };
  return cmocka_run_group_tests_name("interrupt", tests, NULL, NULL);
}
