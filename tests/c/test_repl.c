/* test_repl.c - cnas -i on a terminal: editing, completion, history, unfinished lines, interrupts, errors. */
#include "terminal.h"

#include "scratch.h"

#define ENTER "\r"
#define CONTROL(letter) ((char[]){ (letter) & 31, 0 })
#define UP "\033[A"

static char state_home[4200], history_file[4300], term[64] = "TERM=xterm";

/* A session with its own history, in the test's folder. */
static void begin(Terminal *t) {
  static char home[4200];
  snprintf(state_home, sizeof state_home, "XDG_STATE_HOME=%s", scratch_folder);
  snprintf(history_file, sizeof history_file, "%s/cnas/history", scratch_folder);
  snprintf(home, sizeof home, "HOME=%s", scratch_folder);
  char *argv[] = { CNAS_PROGRAM, "-i", NULL };
  char *environment[] = { state_home, home, term, "OMP_WAIT_POLICY=passive", "LC_ALL=C.UTF-8", "NO_COLOR=1", NULL };
  unsetenv("CNAS_HISTORY");
  terminal_open(t, argv, environment);
  terminal_wait(t, "Ctrl-D leaves.");
  terminal_wait(t, "> ");
}

/* Waits for a result and the prompt behind it: between the two the terminal is not yet the editor's. */
static void answered(Terminal *t, const char *result) {
  terminal_wait(t, result);
  terminal_wait(t, "> ");
}

static void enter(Terminal *t, const char *line, const char *result) {
  terminal_type(t, line);
  terminal_type(t, ENTER);
  terminal_wait(t, "\n");
  answered(t, result);
}

/* At a prompt: a Ctrl-D typed ahead of one is not the editor's, and is lost. */
static void leave(Terminal *t) {
  terminal_type(t, CONTROL('D'));
  assert_int_equal(terminal_close(t), 0);
}

static void expressions_are_printed_and_control_d_leaves(void **state) {
  Terminal t;
  (void)state;
  begin(&t);
  enter(&t, "1 + 1", "2");
  enter(&t, "_ * 21", "42");
  enter(&t, "cnas.zeros(2, 3)", "f32 (2,3) on cpu");
  enter(&t, "{ b = 2, a = 1 }", "{ a = 1, b = 2 }");
  enter(&t, "local gone = 1", "leave 'local' out");
  leave(&t);
}

static void an_unfinished_line_goes_on(void **state) {
  Terminal t;
  (void)state;
  begin(&t);
  terminal_type(&t, "for i = 1, 2 do" ENTER);
  terminal_wait(&t, "... ");
  terminal_type(&t, "print(i * 11)" ENTER);
  terminal_wait(&t, "... ");
  terminal_type(&t, "end" ENTER);
  answered(&t, "11\n22\n");
  terminal_type(&t, "{ 1," ENTER); /* an expression too */
  terminal_wait(&t, "... ");
  terminal_type(&t, "2 }" ENTER);
  answered(&t, "{ 1, 2 }");
  leave(&t);
}

static void errors_are_short_and_the_session_goes_on(void **state) {
  Terminal t;
  (void)state;
  begin(&t);
  terminal_type(&t, "nothing.field" ENTER);
  terminal_wait(&t, "input:1: attempt to index a nil value (global 'nothing')");
  assert_false(terminal_shows(&t, "traceback", 0.3));
  enter(&t, "cnas.zeros(2):reshape(3)", "reshape");
  enter(&t, "function f() error 'deep' end", "");
  terminal_type(&t, "f()" ENTER);
  terminal_wait(&t, "input:1: deep");
  terminal_wait(&t, "in function 'f'");
  assert_false(terminal_shows(&t, "main chunk", 0.3));
  enter(&t, "x = )", "unexpected symbol");
  enter(&t, "3", "3");
  leave(&t);
}

static void commands_and_help_answer(void **state) {
  Terminal t;
  (void)state;
  begin(&t);
  enter(&t, "?conv2d", "weight (KH,KW,C/groups,O)");
  enter(&t, "help(cnas.optim.sgd)", "weight_decay");
  enter(&t, "x = cnas.ones(4)", "");
  enter(&t, ":who", "f32 (4)");
  enter(&t, ":time on", "timing is on");
  enter(&t, "1", "us");
  enter(&t, ":tmie", "did you mean 'time'");
  terminal_type(&t, ":leave" ENTER);
  assert_int_equal(terminal_close(&t), 0);
}

static void control_c_interrupts_a_loop_and_keeps_variables(void **state) {
  Terminal t;
  (void)state;
  begin(&t);
  enter(&t, "x = 7", "");
  terminal_type(&t, "while true do end" ENTER);
  assert_false(terminal_shows(&t, "> ", 0.5) && strstr(t.text, "\n> ") != NULL);
  terminal_type(&t, CONTROL('C'));
  assert_true(terminal_wait(&t, "interrupted") < 1.0);
  enter(&t, "x", "7");
  terminal_type(&t, "for i = 1,\003");
  terminal_wait(&t, "^C");
  terminal_type(&t, "function f(" ENTER);
  terminal_wait(&t, "... ");
  terminal_type(&t, CONTROL('C'));
  terminal_wait(&t, "> "); /* the lines are forgotten */
  enter(&t, "x + 1", "8");
  leave(&t);
}

/* A convolution of 10^12 multiply-adds takes ten seconds or more; a busy machine is given three to notice. */
static void control_c_interrupts_a_long_operation(void **state) {
  Terminal t;
  (void)state;
  begin(&t);
  enter(&t, "x, w = cnas.full({ 1, 512, 512, 64 }, 0.5), cnas.zeros(15, 15, 64, 256)", "");
  terminal_type(&t, "y = x:conv2d(w, { padding = 7 })" ENTER);
  (void)terminal_shows(&t, "", 1.0);
  terminal_type(&t, CONTROL('C'));
  assert_true(terminal_wait(&t, "conv2d: interrupted") < 3.0);
  enter(&t, "y", "nil");
  enter(&t, "x:mean():item()", "0.5");
  enter(&t, "cnas.ones(1, 3):matmul(cnas.ones(3, 1)):item()", "3"); /* and operations run as before */
  leave(&t);
}

#ifdef CNAS_EDIT
static void tab_completes(void **state) {
  Terminal t;
  (void)state;
  begin(&t);
  terminal_type(&t, "cnas.superne\t");
  terminal_wait(&t, "cnas.supernet");
  terminal_type(&t, " { sp\t");
  terminal_wait(&t, "space = ");
  terminal_type(&t, CONTROL('U'));
  enter(&t, "tensor = cnas.zeros(2, 2)", "");
  terminal_type(&t, "tens\t");
  terminal_wait(&t, "tensor");
  terminal_type(&t, ":is_c\t()" ENTER);
  answered(&t, "true");
  terminal_type(&t, "tensor:re\t"); /* several: they are listed */
  terminal_wait(&t, "relu");
  terminal_wait(&t, "reshape");
  terminal_type(&t, CONTROL('U'));
  FILE *file = fopen(scratch_path("measured numbers.txt"), "w");
  assert_non_null(file);
  fclose(file);
  terminal_type(&t, "#\"");
  terminal_type(&t, scratch_folder);
  terminal_type(&t, "/measu\t" ENTER);
  terminal_wait(&t, "measured numbers.txt\"");
  char length[16];
  snprintf(length, sizeof length, "%d", (int)strlen(scratch_folder) + 21);
  answered(&t, length);
  leave(&t);
}

static void lines_are_edited_and_kept_for_other_sessions(void **state) {
  Terminal one, two;
  (void)state;
  begin(&one);
  begin(&two);
  enter(&one, "first = 11", "");
  enter(&two, "second = 22", "");
  enter(&one, " secret = 33", ""); /* a space in front: not kept */
  terminal_type(&one, UP ENTER);   /* its own line, not the other session's */
  terminal_wait(&one, "first = 11");
  terminal_wait(&one, "> ");
  terminal_type(&one, "12\033[D3" ENTER); /* a step to the left: 132 */
  answered(&one, "132");
  leave(&one);
  leave(&two);
  begin(&two);
  terminal_type(&two, CONTROL('R'));
  terminal_type(&two, "sec");
  terminal_wait(&two, "second = 22");
  terminal_type(&two, ENTER);
  terminal_wait(&two, "> ");
  enter(&two, "second", "22");
  leave(&two);
  FILE *file = fopen(history_file, "r");
  assert_non_null(file);
  char text[4096] = "";
  size_t n = fread(text, 1, sizeof text - 1, file);
  text[n] = '\0';
  fclose(file);
  assert_non_null(strstr(text, "first = 11\n"));
  assert_non_null(strstr(text, "second = 22\n"));
  assert_null(strstr(text, "secret"));
}

static void a_large_history_is_cut_to_its_newest_half(void **state) {
  Terminal t;
  (void)state;
  begin(&t);
  enter(&t, "1", "1");
  leave(&t);
  FILE *file = fopen(history_file, "w");
  assert_non_null(file);
  for (int i = 0; i < 40000; i++) fprintf(file, "line_%05d = %d\n", i, i);
  long before = ftell(file);
  fclose(file);
  begin(&t);
  terminal_type(&t, UP);
  terminal_wait(&t, "line_39999 = 39999");
  terminal_type(&t, ENTER);
  terminal_wait(&t, "> ");
  leave(&t);
  file = fopen(history_file, "r");
  assert_non_null(file);
  char first[64] = "";
  assert_non_null(fgets(first, sizeof first, file));
  assert_int_equal(strncmp(first, "line_", 5), 0);
  fseek(file, 0, SEEK_END);
  assert_true(ftell(file) < before / 2);
  fclose(file);
}

static void keys_of_vi_are_chosen_in_editrc(void **state) {
  Terminal t;
  (void)state;
  FILE *file = fopen(scratch_path(".editrc"), "w");
  assert_non_null(file);
  fputs("bind -v\n", file);
  fclose(file);
  begin(&t);
  terminal_type(&t, "cnas.superne\t");
  terminal_wait(&t, "cnas.supernet");
  terminal_type(&t, CONTROL('U'));
  terminal_type(&t, "129\033");
  (void)terminal_shows(&t, "", 0.3);
  terminal_type(&t, "hr3" ENTER); /* left, replace: 139 */
  answered(&t, "139");
  leave(&t);
}
#endif

static void a_dumb_terminal_has_prompts_and_no_editor(void **state) {
  Terminal t;
  (void)state;
  strcpy(term, "TERM=dumb");
  begin(&t);
  strcpy(term, "TERM=xterm");
  enter(&t, "6 * 7", "42");
  terminal_type(&t, "do" ENTER);
  terminal_wait(&t, "... ");
  terminal_type(&t, CONTROL('C'));
  terminal_wait(&t, "> ");
  enter(&t, "6 * 8", "48");
  leave(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
    TEST(expressions_are_printed_and_control_d_leaves),
    TEST(an_unfinished_line_goes_on),
    TEST(errors_are_short_and_the_session_goes_on),
    TEST(commands_and_help_answer),
    TEST(control_c_interrupts_a_loop_and_keeps_variables),
    TEST(control_c_interrupts_a_long_operation),
#ifdef CNAS_EDIT
    TEST(tab_completes),
    TEST(lines_are_edited_and_kept_for_other_sessions),
    TEST(a_large_history_is_cut_to_its_newest_half),
    TEST(keys_of_vi_are_chosen_in_editrc),
#endif
    TEST(a_dumb_terminal_has_prompts_and_no_editor),
  };
  signal(SIGPIPE, SIG_IGN);
  cmocka_set_test_filter(getenv("CNAS_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
