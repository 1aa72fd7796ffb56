/* test_steer.c - a running search on a terminal: what Ctrl-C offers, the loop inside the run, a second terminal that is
** attached, and what is left of it when the run goes on. */
#include "terminal.h"

#include "scratch.h"

#define ENTER "\r"
#define CONTROL(letter) ((char[]){ (letter) & 31, 0 })
#define MENU "(s)ave and stop, (c)ontinue, (l)ook inside? "

static char run_folder[4200], log_file[4300];

/* Starts the program with these arguments, NULL at the end. */
static void start(Terminal *t, const char *const arguments[]) {
  static char home[4200];
  const char *argv[32] = { CNAS_PROGRAM };
  snprintf(home, sizeof home, "HOME=%s", scratch_folder);
  char *environment[] = { home,       "TERM=xterm",   "OMP_WAIT_POLICY=passive", "LC_ALL=C.UTF-8", "NO_COLOR=1",
                          "CNAS_HISTORY=", "CNAS_THREADS=1", NULL };
  for (int i = 0; arguments[i] != NULL; i++) argv[i + 1] = arguments[i];
  terminal_open(t, (char **)argv, environment);
}

/* A small search in the test's folder: short epochs, so many of them. */
static void search_for(Terminal *t, const char *epochs, const char *samples) {
  snprintf(run_folder, sizeof run_folder, "%s/run", scratch_folder);
  snprintf(log_file, sizeof log_file, "%s/run/metrics.jsonl", scratch_folder);
  start(t, (const char *[]){ "recipes/curriculum_search.lua", "--preset", "quick", "--train-images", "600", "--channels",
                             "3", "--layers", "3", "--batch", "12", "--epochs", epochs, "--derive-samples", samples,
                             "--derive-images", "24", "-o", run_folder, NULL });
  terminal_wait(t, "warm-up 1/1");
}

static void search(Terminal *t) { search_for(t, "10", "10"); }

static void interrupt(Terminal *t) {
  terminal_type(t, CONTROL('C'));
  terminal_wait(t, MENU);
}

static void answer(Terminal *t, const char *letter) {
  terminal_type(t, letter);
  terminal_type(t, ENTER);
}

static void stop(Terminal *t) {
  interrupt(t);
  answer(t, "s");
  terminal_wait(t, "go on with: cnas recipes/curriculum_search.lua -o");
  assert_int_equal(terminal_close(t), 5);
}

/* Types a line and waits for the prompt behind its result. */
static void enter(Terminal *t, const char *line, const char *result) {
  terminal_type(t, line);
  terminal_type(t, ENTER);
  terminal_wait(t, "\n");
  terminal_wait(t, result);
  terminal_wait(t, "> ");
}

static void assert_logged(const char *text, bool expected) {
  static char log[1 << 16];
  FILE *file = fopen(log_file, "r");
  assert_non_null(file);
  log[fread(log, 1, sizeof log - 1, file)] = '\0';
  fclose(file);
  if ((strstr(log, text) != NULL) != expected) fail_msg("%s %s:\n%s", text, expected ? "not in" : "in", log);
}

static void control_c_asks_and_the_run_goes_on_or_stops(void **state) {
  Terminal t;
  (void)state;
  search(&t);
  terminal_type(&t, "s" ENTER); /* in front of the question: no answer to it */
  interrupt(&t);
  answer(&t, "what?");
  terminal_wait(&t, MENU);
  answer(&t, "c");
  terminal_wait(&t, "search 2/10");
  stop(&t);
  assert_logged("change", false);
}

static void a_second_control_c_saves_and_stops(void **state) {
  Terminal t;
  (void)state;
  search(&t);
  interrupt(&t);
  terminal_type(&t, CONTROL('C'));
  terminal_wait(&t, "go on with: cnas");
  assert_int_equal(terminal_close(&t), 5);
  start(&t, (const char *[]){ "recipes/curriculum_search.lua", "--resume", "-o", run_folder, NULL });
  terminal_wait(&t, "resuming");
  terminal_wait(&t, "search 1/10");
  stop(&t);
}

static void a_signal_at_the_question_saves_and_stops(void **state) {
  Terminal t;
  (void)state;
  search(&t);
  interrupt(&t);
  kill(t.pid, SIGTERM);
  terminal_wait(&t, "go on with: cnas");
  assert_int_equal(terminal_close(&t), 5);
}

/* Between the epochs of two stages nothing can be saved: there is nothing to be changed. */
static void a_cell_is_derived_or_not(void **state) {
  Terminal t;
  (void)state;
  search_for(&t, "0", "400");
  terminal_wait(&t, "deriving: ");
  terminal_type(&t, CONTROL('C'));
  terminal_wait(&t, "(s)top, (c)ontinue? ");
  answer(&t, "l");
  terminal_wait(&t, "(s)top, (c)ontinue? ");
  answer(&t, "c");
  terminal_wait(&t, "deriving: ");
  terminal_type(&t, CONTROL('C'));
  terminal_wait(&t, "(s)top, (c)ontinue? ");
  answer(&t, "s");
  terminal_wait(&t, "go on with: cnas");
  assert_int_equal(terminal_close(&t), 5);
}

static void the_end_of_the_input_goes_on(void **state) {
  Terminal t;
  (void)state;
  search(&t);
  interrupt(&t);
  terminal_type(&t, CONTROL('D'));
  terminal_wait(&t, "search 1/10");
  stop(&t);
}

/* Code that does not look for the wish is interrupted at once by the second Ctrl-C, as without a terminal. */
static void a_second_control_c_within_a_batch_interrupts_at_once(void **state) {
  Terminal t;
  (void)state;
  start(&t, (const char *[]){ "-e", "print 'begun' local cnas = require 'cnas' cnas.interrupted() while true do end",
                              NULL });
  terminal_wait(&t, "begun");
  terminal_type(&t, CONTROL('C'));
  (void)terminal_shows(&t, "", 0.5);
  terminal_type(&t, CONTROL('C'));
  assert_true(terminal_wait(&t, "interrupted") < 1.5);
  assert_int_equal(terminal_close(&t), 5);
}

static void what_is_changed_inside_is_kept(void **state) {
  Terminal t;
  (void)state;
  search(&t);
  interrupt(&t);
  answer(&t, "l");
  terminal_wait(&t, "inside the run: ");
  terminal_wait(&t, "controller");
  terminal_wait(&t, "> ");
  enter(&t, "weights.lr", "0.02");
  enter(&t, "nowhere.to = 1", "attempt to index a nil value (global 'nowhere')");
  enter(&t, "net(train_weights)", "net");
  terminal_type(&t, "while true do end" ENTER);
  (void)terminal_shows(&t, "", 0.3);
  terminal_type(&t, CONTROL('C'));
  terminal_wait(&t, "interrupted");
  enter(&t, "opt.entropy", "0.005");
  enter(&t, "weights.lr = 0.001", "");
  terminal_type(&t, "reward = function(accuracy)" ENTER);
  terminal_wait(&t, "... ");
  enter(&t, "return accuracy + bonus end", "");
  enter(&t, "bonus = 2", "bonus is new");
  enter(&t, ":changes", "weights.lr = 0.001");
  enter(&t, ":who", "train_controller");
  terminal_type(&t, CONTROL('D'));
  terminal_wait(&t, "3 changes by hand, saved; the run goes on");
  terminal_wait(&t, "search 2/10"); /* the reward of its first epoch is about 2.1 */
  terminal_wait(&t, "reward 2.");
  stop(&t);
  assert_logged("\"text\":\"weights.lr = 0.001\"", true);
  assert_logged("\"text\":\"reward = function(accuracy)\\nreturn accuracy + bonus end\"", true);
  assert_logged("nowhere", false);

  start(&t, (const char *[]){ "recipes/curriculum_search.lua", "--resume", "-o", run_folder, NULL });
  terminal_wait(&t, "3 changes by hand, listed in");
  terminal_wait(&t, "by terminal: bonus = 2");
  terminal_wait(&t, "(y)es, (n)o? ");
  answer(&t, "y");
  terminal_wait(&t, "3 changes by hand made again");
  terminal_wait(&t, "/10  loss");
  interrupt(&t);
  answer(&t, "l");
  terminal_wait(&t, "> ");
  enter(&t, "weights.lr, reward(1)", "0.001");
  terminal_type(&t, ":stop" ENTER);
  terminal_wait(&t, "go on with: cnas");
  assert_int_equal(terminal_close(&t), 5);

  start(&t, (const char *[]){ "recipes/curriculum_search.lua", "--resume", "-o", run_folder, NULL });
  terminal_wait(&t, "(y)es, (n)o? ");
  answer(&t, "n");
  terminal_wait(&t, "own definitions and options are in force again");
  terminal_wait(&t, "/10  loss");
  stop(&t);
  assert_logged("\"by\":\"resume\"", true);
}

static void another_terminal_is_attached(void **state) {
  Terminal t, other;
  (void)state;
  search(&t);
  start(&other, (const char *[]){ "attach", run_folder, NULL });
  terminal_wait(&other, "names: ");
  terminal_wait(&other, "> ");
#ifdef CNAS_EDIT
  terminal_type(&other, "train_co\t"); /* a local of the recipe */
  terminal_wait(&other, "train_controller");
  terminal_type(&other, CONTROL('U'));
  terminal_type(&other, "opt.policy_l\t" ENTER);
  terminal_wait(&other, "0.005");
  terminal_wait(&other, "> ");
#endif
  enter(&other, "nowhere.to = 1", "nil value");
  terminal_type(&other, "reward = function(accuracy)" ENTER);
  terminal_wait(&other, "... ");
  enter(&other, "return accuracy + 3 end", "");
  enter(&other, ":hold", "");
  enter(&other, "held = run.step", "held is new");
  (void)terminal_shows(&other, "", 1.0);
  enter(&other, "run.step - held", "0");
  enter(&other, ":go", "");
  terminal_type(&other, "while true do end" ENTER);
  (void)terminal_shows(&other, "", 0.5);
  terminal_type(&other, CONTROL('C'));
  terminal_wait(&other, "interrupted");
  terminal_wait(&other, "> ");
  enter(&other, "run.step > held", "true");
  terminal_type(&other, CONTROL('D'));
  terminal_wait(&other, "the run goes on");
  assert_int_equal(terminal_close(&other), 0);
  terminal_wait(&t, "reward 3.");

  start(&other, (const char *[]){ "attach", run_folder, NULL });
  terminal_wait(&other, "> ");
  terminal_type(&other, "while true do end" ENTER);
  (void)terminal_shows(&other, "", 0.5);
  kill(other.pid, SIGKILL); /* the text ends with who entered it */
  assert_int_equal(terminal_close(&other), 128 + SIGKILL);
  terminal_wait(&t, "images/s");

  start(&other, (const char *[]){ "attach", run_folder, NULL });
  terminal_wait(&other, "> ");
  terminal_type(&other, ":stop" ENTER);
  terminal_wait(&other, "go on with: cnas");
  assert_int_equal(terminal_close(&other), 0);
  terminal_wait(&t, "go on with: cnas");
  assert_int_equal(terminal_close(&t), 5);
  assert_logged("\"by\":\"attach\"", true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
    TEST(control_c_asks_and_the_run_goes_on_or_stops),
    TEST(a_second_control_c_saves_and_stops),
    TEST(a_signal_at_the_question_saves_and_stops),
    TEST(a_cell_is_derived_or_not),
    TEST(the_end_of_the_input_goes_on),
    TEST(a_second_control_c_within_a_batch_interrupts_at_once),
    TEST(what_is_changed_inside_is_kept),
    TEST(another_terminal_is_attached),
  };
  signal(SIGPIPE, SIG_IGN);
  cmocka_set_test_filter(getenv("CNAS_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
