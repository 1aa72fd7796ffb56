/* test_json.c - what the strict parser takes and refuses, and where it says the fault is. */
#include "scratch.h"

#include "io/json.h"

static CnErr parse(const char *text, CnJsonNumbers numbers) {
  cJSON *tree = NULL;
  CnErr e = cn_json_parse(&tree, text, strlen(text), "text", numbers);
  assert_true((e == CN_OK) == (tree != NULL));
  cJSON_Delete(tree);
  return e;
}

static void test_accepted(void **state) {
  (void)state;
  static const char *const texts[] = { "null", " [1, -2.5e-3, 0, \"\\u00e9\\n\\ud83d\\ude00\"] \n", "{}",
                                       "{\"a\":{\"a\":[]}}", "\"é\xf0\x9f\x98\x80\"", "123456789012345678901234567890", "-0" };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) assert_ok(parse(texts[i], CN_JSON_ANY_NUMBER));
  assert_ok(parse("[0, 9007199254740992]", CN_JSON_COUNTS));
}

static void test_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
    { "", "text, line 1, column 1: no JSON value, the text is empty" },
    { " \n ", "text, line 2, column 2: no JSON value" },
    { "{\"a\":1,\n \"é\": 01}", "text, line 2, column 7: not a number" },
    { "[1,2,,3]", "text, line 1, column 6: not JSON" },
    { "[1,2", "text, line 1, column 5: the text ends inside a value" },
    { "\"abc", "the text ends inside a string" },
    { "\"abc\\", "the text ends inside a string" },
    { "[1] 2", "text, line 1, column 5: more text after the value" },
    { "{\"a\":1,\"b\":2,\"a\":3}", "an object has the key 'a' twice" },
    { "[{\"b\":{\"x\":1,\"\\u0078\":1}}]", "an object has the key 'x' twice" },
    { "\"\\u0000\"", "\\u0000 in a string is not supported" },
    { "\"a\nb\"", "a control character" },
    { "\"\xc0\x80\"", "not UTF-8" },
    { "\"\xed\xa0\x80\"", "not UTF-8" },
    { "\"\xf4\x90\x80\x80\"", "not UTF-8" },
    { "\"\xe2\x82\"", "not UTF-8" },
    { "\"\\ud800\"", "not JSON" },
    { "\"\\x\"", "not JSON" },
    { "1e999", "too large for a double" },
    { "1.", "not a number" },
    { ".5", "does not belong here" },
    { "-", "not a number" },
    { "NaN", "does not belong here" },
    { "{'a':1}", "does not belong here" },
    { "{\"a\" 1}", "not JSON" },
    { "{1:1}", "not JSON" },
    { "tru", "not JSON" },
    { "[1,]", "not JSON" },
    { "[1}", "not JSON" },
    { "{\"a\":[1}", "the text ends inside a value" },
    { "[1]]", "text, line 1, column 4: a closing bracket without its opening one" },
    { "\xef\xbb\xbf{}", "does not belong here" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_fails(CN_EDATA, cases[i].message, parse(cases[i].text, CN_JSON_ANY_NUMBER));
  static const char *const not_counts[] = { "1.0", "1e2", "-1", "9007199254740993" };
  for (size_t i = 0; i < 4; i++) assert_fails(CN_EDATA, "whole number", parse(not_counts[i], CN_JSON_COUNTS));
}

static void test_depth(void **state) {
  (void)state;
  char text[100001] = { 0 };
  memset(text, '[', 100);
  memset(text + 100, ']', 100);
  assert_ok(parse(text, CN_JSON_ANY_NUMBER));
  memset(text, '[', 100000);
  assert_fails(CN_EDATA, "column 101: nested too deeply", parse(text, CN_JSON_ANY_NUMBER));
}

static void test_zero_byte(void **state) {
  (void)state;
  cJSON *tree;
  assert_fails(CN_EDATA, "column 3: a character that does not belong", cn_json_parse(&tree, "[]\0", 3, "text", 0));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused), cmocka_unit_test(test_depth),
    cmocka_unit_test(test_zero_byte),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
