/* test_genotype.c - genotypes: every published one written and read back, every kind of wrong text refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "nas/genotype.h"
#include "nas/space.h"

static void every_published_genotype_survives_json_and_both_texts(void **state) {
  int count = 0;
  (void)state;
  for (; cn_genotype_published(count) != NULL; count++) {
    const CnGenotype *g = cn_genotype_named(cn_genotype_published(count));
    assert_int_equal(cn_genotype_check(g, NULL), CN_OK);
    for (int form = 0; form < 3; form++) {
      CnGenotype back;
      char *text;
      assert_int_equal(form == 0 ? cn_genotype_json(&text, g) : cn_genotype_text(&text, g, form == 2), CN_OK);
      assert_int_equal(cn_genotype_parse(&back, text, strlen(text)), CN_OK);
      assert_memory_equal(&back, g, sizeof back);
      cn_free(text);
    }
  }
  assert_int_equal(count, 9);
  assert_null(cn_genotype_named("nobody"));
}

static CnErr parse(const char *text) {
  CnGenotype g;
  return cn_genotype_parse(&g, text, strlen(text));
}

static void python_as_it_stands_in_published_sources_is_read(void **state) {
  CnGenotype g;
  const char *text =
    "# found after 50 epochs\n"
    "PC_DARTS_cifar = Genotype(\n"
    "  normal=[('sep_conv_3x3', 1), (\"skip_connect\", 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1),],  # two nodes\n"
    "  normal_concat=range(2, 4),\n"
    "  reduce=[['max_pool_3x3', 0], ['none', 1], ['sep_conv_5x5', 1], ['sep_conv_5x5', 2]],\n"
    "  reduce_concat=list(range(3, 4)),\n"
    ")\n";
  (void)state;
  assert_int_equal(cn_genotype_parse(&g, text, strlen(text)), CN_OK);
  assert_int_equal(g.normal.count, 4);
  assert_int_equal(g.normal.triple[2].to, 3);
  assert_string_equal(g.reduction.triple[1].op, "none");
  assert_int_equal(g.reduction.concat_count, 1);
  assert_int_equal(g.reduction.concat[0], 3);
}

static void records_of_the_published_search_are_read(void **state) {
  CnGenotype g;
  const char *text =
    "{\"named_normal_arch\": [[\"sep_conv_3x3\", 0, 2], [\"none\", 1, 2]],"
    " \"ordinal_normal_arch\": [[0, 0, 2], [4, 1, 2]],"
    " \"normal_concat\": [2], \"named_reduced_arch\": [[\"sep_conv_3x3\", 0, 2], [\"sep_conv_3x3\", 0, 2]],"
    " \"reduced_concat\": null, \"primitives\": [\"sep_conv_3x3\"], \"loose_end\": false}";
  (void)state;
  assert_int_equal(cn_genotype_parse(&g, text, strlen(text)), CN_OK);
  assert_int_equal(g.reduction.concat_count, 1);
}

#define GOOD "\"reduction\":[[\"none\",0,2],[\"none\",1,2]]"
#define CELL(triples) "{\"normal\":[" triples "]," GOOD "}"

static void a_wrong_genotype_is_refused_and_the_message_names_the_place(void **state) {
  static const struct { const char *text, *message; } wrong[] = {
    { "", "empty" },
    { "{", "genotype, line 1, column 2" },
    { "[]", "expected a name" },
    { "{" GOOD ",\"reduce\":[]}", "reduction is given twice" },
    { "{}", "the normal cell is missing" },
    { "{\"normal\":[]," GOOD "}", "normal: has 0 triples" },
    { CELL("[\"none\",0,2],[\"none\",2,2]"), "normal: triple 2 (none, 2, 2): from must be less than to" },
    { CELL("[\"none\",0,2],[\"none\",1,2],[\"none\",4,3],[\"none\",0,3]"), "triple 3 (none, 4, 3): from must be" },
    { CELL("[\"none\",0,2],[\"none\",1,3]"), "normal: triple 2 (none, 1, 3): to must be 2 here" },
    { CELL("[\"none\",0,2],[\"none\",1,2],[\"none\",0,3]"), "normal: has 3 triples" },
    { CELL("[\"none\",0,2],[\"none\",1,2],[\"none\",0,3],[\"none\",1,3]"), "normal has 4; both cells" },
    { CELL("[\"none\",-1,2],[\"none\",1,2]"), "normal: triple 1 (none, -1, 2): from must be 0 or more" },
    { CELL("[\"no ne\",0,2],[\"none\",1,2]"), "letters, digits and _" },
    { CELL("[\"none\",0.5,2],[\"none\",1,2]"), "normal: triple 1 must be [\"operation\", from, to]" },
    { CELL("[\"none\",1e300,2],[\"none\",1,2]"), "normal: triple 1 must be" },
    { CELL("[\"none\",0,2,7],[\"none\",1,2]"), "normal: triple 1 must be" },
    { CELL("[0,0,2],[\"none\",1,2]"), "normal: triple 1 must be" },
    { CELL("[\"an_operation_with_a_name_that_is_much_too_long\",0,2],[\"none\",1,2]"), "at most 31 bytes" },
    { "{\"normal\":7," GOOD "}", "normal must be a list" },
    { "{" GOOD "," GOOD "}", "reduction" },
    { CELL("[\"none\",0,2],[\"none\",1,2]") " x", "genotype, line 1, column" },
    { "{\"normal\":[[\"none\",0,2],[\"none\",1,2]],\"normal_concat\":[3]," GOOD "}", "concat entry 1 is node 3" },
    { "{\"normal\":[[\"none\",0,2],[\"none\",1,2]],\"normal_concat\":[]," GOOD "}", "normal: concat has 0 nodes" },
    { "Genotype(normal=[('none', 0), ('none', 1)], reduce=[('none', 0) ('none', 1)])", "line 1: expected ']'" },
    { "Genotype(normal=[('none', 0), ('none', 1)],\nreduce=[('none', 0), ('none', x)])", "line 2: expected a node's" },
    { "Genotype(normal=[('none', 0), ('none', 1)], reduce=[('none\n', 0)])", "closing quote" },
    { "Genotype(normal=[('none', 99999999), ('none', 1)])", "expected a node's number" },
    { "Genotype(normal=[('none', 0), ('none', 1)], normal_concat=range(0, 999999))", "more than 12 nodes" },
    { "Genotype(normal=[('none', 0), ('none', 1)], width=3)", "unknown argument 'width'" },
    { "Genotype(normal=__import__('os'))", "expected a list of triples" },
    { "Genotype(normal=[('none', 0), ('none', 1)]", "but the text ends" },
    { "Genotype(normal=[('none', 0), ('none', 1)], reduce=[('none', 0), ('none', 1)]) + 1", "the end of the text" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    if (parse(wrong[i].text) != CN_EDATA) fail_msg("accepted: %s", wrong[i].text);
    if (strstr(cn_error_message(), wrong[i].message) == NULL)
      fail_msg("%s\n  gave: %s\n  expected: %s", wrong[i].text, cn_error_message(), wrong[i].message);
  }
}

static void too_many_nodes_and_too_long_a_text_are_refused(void **state) {
  char text[4096] = "Genotype(normal=[";
  (void)state;
  for (int i = 0; i < 2 * CN_MAX_NODES + 1; i++) strcat(text, "('none', 0), ");
  strcat(text, "])");
  assert_int_equal(parse(text), CN_EDATA);
  assert_non_null(strstr(cn_error_message(), "more than 24 triples"));
  CnGenotype g;
  assert_int_equal(cn_genotype_parse(&g, text, (size_t)1 << 40), CN_EDATA); /* refused by its length alone */
}

static void a_zero_byte_in_a_name_is_refused(void **state) {
  CnGenotype g;
  static const char text[] = "Genotype(normal=[('none\0x', 0), ('none', 1)], reduce=[('none', 0), ('none', 1)])";
  (void)state;
  assert_int_equal(cn_genotype_parse(&g, text, sizeof text - 1), CN_EDATA);
  assert_non_null(strstr(cn_error_message(), "normal: triple 1 (none…)"));
}

/* Every beginning of a good text, and every text with one byte changed, is read without harm: run with sanitizers. */
static void cut_and_spoiled_texts_do_no_harm(void **state) {
  static const char bytes[] = "\"'([{9,-"; /* and the final 0 */
  (void)state;
  for (int form = 0; form < 3; form++) {
    CnGenotype g;
    char *text, spoiled[2048];
    const CnGenotype *cnas = cn_genotype_named("CNAS");
    assert_int_equal(form == 0 ? cn_genotype_json(&text, cnas) : cn_genotype_text(&text, cnas, form == 2), CN_OK);
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(cn_genotype_parse(&g, text, i), CN_EDATA);
      memcpy(spoiled, text, n);
      for (size_t k = 0; k < sizeof bytes; k++) {
        spoiled[i] = bytes[k];
        if (cn_genotype_parse(&g, spoiled, n) == CN_OK) assert_int_equal(cn_genotype_check(&g, NULL), CN_OK);
      }
    }
    cn_free(text);
  }
}

static void a_space_names_the_operation_it_does_not_have(void **state) {
  CnSpace *space;
  CnGenotype g = *cn_genotype_named("CNAS");
  (void)state;
  assert_int_equal(cn_space_darts(&space), CN_OK);
  assert_int_equal(space->count, 8);
  assert_string_equal(space->candidate[4].name, "none");
  assert_int_equal(cn_genotype_check(&g, space), CN_OK);
  strcpy(g.reduction.triple[2].op, "dil_conv_5x6");
  assert_int_equal(cn_genotype_check(&g, space), CN_EDATA);
  assert_string_equal(cn_error_message(), "genotype: reduction: triple 3 (dil_conv_5x6, 2, 3): the space has no such "
                                          "operation (did you mean 'dil_conv_5x5'?)");
  assert_int_equal(cn_space_add(space, "sep_conv_9x9"), CN_EUSAGE);
  assert_non_null(strstr(cn_error_message(), "did you mean"));
  assert_int_equal(cn_space_add(space, "none"), CN_EUSAGE);
  cn_space_unref(space);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_published_genotype_survives_json_and_both_texts),
    cmocka_unit_test(python_as_it_stands_in_published_sources_is_read),
    cmocka_unit_test(records_of_the_published_search_are_read),
    cmocka_unit_test(a_wrong_genotype_is_refused_and_the_message_names_the_place),
    cmocka_unit_test(too_many_nodes_and_too_long_a_text_are_refused),
    cmocka_unit_test(a_zero_byte_in_a_name_is_refused),
    cmocka_unit_test(cut_and_spoiled_texts_do_no_harm),
    cmocka_unit_test(a_space_names_the_operation_it_does_not_have),
  };
  return cmocka_run_group_tests_name("genotype", tests, NULL, NULL);
}
