/* test_module.c - modules: names, sizes and costs of published networks, what a path computes, failed allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "nas/network.h"
#include "tensor/autograd.h"

static CnModule *supernet(CnSupernetOptions o, CnRng *rng) {
  CnModule *m;
  assert_int_equal(cn_space_darts(&o.space), CN_OK);
  assert_int_equal(cn_supernet_new(&m, o, rng), CN_OK);
  cn_space_unref(o.space);
  return m;
}

static void the_default_supernet_has_1930618_parameters(void **state) {
  (void)state;
  CnModule *m = supernet((CnSupernetOptions){ .channels = 16, .layers = 8, .nodes = 4, .classes = 10 }, NULL);
  assert_int_equal(cn_module_parameter_count(m), 1930618);
  cn_module_unref(m);
}

static void network_costs(CnNetworkOptions o, int64_t size, int64_t parameters, int64_t conv, int64_t linear) {
  CnModule *m;
  CnCost cost = { 0 };
  o.genotype = cn_genotype_named("CNAS");
  assert_int_equal(cn_network_new(&m, o, NULL), CN_OK);
  assert_int_equal(cn_network_cost(&cost, m, size, size), CN_OK);
  assert_int_equal(cost.parameters, parameters);
  assert_int_equal(cost.conv_macs, conv);
  assert_int_equal(cost.linear_macs, linear);
  if (!o.auxiliary) assert_int_equal(cn_module_parameter_count(m), parameters);
  cn_module_unref(m);
}

static void the_published_cell_for_cifar_costs_what_was_published(void **state) {
  (void)state;
  CnNetworkOptions o = { .channels = 36, .layers = 20, .classes = 10 };
  network_costs(o, 32, 3695374, 564019200, 5760);
  o.auxiliary = true; /* not counted */
  network_costs(o, 32, 3695374, 564019200, 5760);
}

static void the_published_cell_for_imagenet_costs_what_was_published(void **state) {
  (void)state;
  network_costs((CnNetworkOptions){ .channels = 48, .layers = 14, .classes = 1000, .imagenet = true }, 224, 5318368,
                576390528, 768000);
}

/* With the auxiliary head: the released ImageNet weights have 1,292 entries. They count batches too, one entry for each
** BN with running statistics. */
static CnErr count_entry(void *context, const char *name, CnTensor *t, bool buffer) {
  (void)t;
  (void)buffer;
  *(int *)context += strstr(name, "running_mean") != NULL ? 2 : 1;
  return CN_OK;
}

static void the_imagenet_network_has_the_entries_of_the_released_weights(void **state) {
  CnModule *m;
  int entries = 0;
  (void)state;
  CnNetworkOptions o = { .genotype = cn_genotype_named("CNAS"), .channels = 48, .layers = 14, .classes = 1000,
                         .imagenet = true, .auxiliary = true };
  assert_int_equal(cn_network_new(&m, o, NULL), CN_OK);
  assert_int_equal(cn_module_parameter_count(m), 6579144);
  assert_int_equal(cn_module_visit(m, count_entry, &entries), CN_OK);
  assert_int_equal(entries, 1292);
  cn_module_unref(m);
}

/* ---- names ---- */

typedef struct Wanted {
  const char *name;
  int64_t count;
  bool seen;
} Wanted;

static CnErr look(void *context, const char *name, CnTensor *t, bool buffer) {
  (void)buffer;
  for (Wanted *w = context; w->name != NULL; w++)
    if (strcmp(w->name, name) == 0) w->seen = cn_tensor_count(t) == w->count;
  return CN_OK;
}

static void assert_names(CnModule *m, Wanted *wanted) {
  assert_int_equal(cn_module_visit(m, look, wanted), CN_OK);
  for (Wanted *w = wanted; w->name != NULL; w++)
    if (!w->seen) fail_msg("no %s of %d elements", w->name, (int)w->count);
}

static void parameters_have_the_names_of_published_checkpoints(void **state) {
  CnModule *m = supernet((CnSupernetOptions){ .channels = 4, .layers = 4, .nodes = 3, .classes = 10 }, NULL);
  (void)state;
  assert_names(m, (Wanted[]){ { "stem.0.weight", 3 * 3 * 3 * 12, false },
                              { "stem.1.bias", 12, false },
                              { "cells.0.preprocess0.op.1.weight", 12 * 4, false },
                              { "cells.2.preprocess0.conv_2.weight", 12 * 8, false },
                              { "cells.2._ops.8._ops.7.op.1.weight", 25 * 16, false },
                              { "cells.1._ops.0._ops.5.conv_1.weight", 8 * 4, false },
                              { "classifier.weight", 480, false },
                              { NULL, 0, false } });
  cn_module_unref(m);
  CnNetworkOptions o = { .genotype = cn_genotype_named("AmoebaNet"), .channels = 4, .layers = 3, .classes = 10,
                         .auxiliary = true };
  assert_int_equal(cn_network_new(&m, o, NULL), CN_OK);
  assert_names(m, (Wanted[]){ { "cells.0.preprocess1.op.2.running_var", 4, false },
                              { "cells.1._ops.8.1.weight", 7 * 8 * 8, false }, /* conv_7x1_1x7: no op in its names */
                              { "cells.2._ops.9.op.7.weight", 16, false },
                              { "auxiliary_head.features.5.weight", 4 * 128 * 768, false },
                              { "auxiliary_head.classifier.bias", 10, false },
                              { NULL, 0, false } });
  cn_module_unref(m);
}

/* ---- what a path computes ---- */

static CnTensor *images(int64_t size) {
  CnTensor *x;
  CnRng rng = cn_rng_named(1, "images");
  assert_int_equal(cn_tensor_new(&x, CN_F32, CN_DEVICE_CPU, 4, (int64_t[]){ 2, size, size, 3 }), CN_OK);
  float *v = cn_tensor_data(x);
  for (int64_t i = 0; i < cn_tensor_count(x); i++) v[i] = (float)cn_rng_normal(&rng);
  return x;
}

static CnGenotype path_of(const char *text) {
  CnGenotype g;
  assert_int_equal(cn_genotype_parse(&g, text, strlen(text)), CN_OK);
  return g;
}

/* Logits of two images into out[4]. */
static void logits(CnModule *m, const CnGenotype *path, int64_t size, float out[4]) {
  CnTensor *x = images(size), *y;
  assert_int_equal(cn_supernet_forward(m, &y, x, path), CN_OK);
  assert_int_equal(cn_tensor_count(y), 4);
  assert_int_equal(cn_tensor_read(y, out, 4 * sizeof *out), CN_OK);
  cn_tensor_unref(x);
  cn_tensor_unref(y);
}

#define OPENED "('sep_conv_3x3', 0), ('skip_connect', 1)"
#define NONE "('none', 0), ('none', 1)"

/* A node that the curriculum has not opened is what a node of two "none" is: zeros; at even and odd sizes. */
static void a_node_not_opened_is_zeros(void **state) {
  CnRng rng = cn_rng_named(3, "weights");
  CnModule *m = supernet((CnSupernetOptions){ .channels = 4, .layers = 3, .nodes = 2, .classes = 2 }, &rng);
  CnGenotype fewer = path_of("Genotype(normal=[" OPENED "], reduce=[" OPENED "])");
  CnGenotype whole = path_of("Genotype(normal=[" OPENED ", " NONE "], reduce=[" OPENED ", " NONE "])");
  (void)state;
  for (int64_t size = 7; size <= 8; size++) {
    float a[4], b[4];
    logits(m, &fewer, size, a);
    logits(m, &whole, size, b);
    assert_memory_equal(a, b, sizeof a);
    assert_true(a[0] != a[2]);
  }
  cn_module_unref(m);
}

static void a_path_of_none_alone_still_gives_logits(void **state) {
  CnModule *m = supernet((CnSupernetOptions){ .channels = 2, .layers = 3, .nodes = 1, .classes = 2 }, NULL);
  CnGenotype none = path_of("Genotype(normal=[" NONE "], reduce=[" NONE "])");
  float y[4];
  (void)state;
  logits(m, &none, 5, y);
  assert_memory_equal(y, ((float[4]){ 0 }), sizeof y);
  cn_module_unref(m);
}

static void a_path_that_does_not_fit_is_refused(void **state) {
  CnModule *m = supernet((CnSupernetOptions){ .channels = 2, .layers = 3, .nodes = 1, .classes = 2 }, NULL);
  CnTensor *x = images(8), *y;
  (void)state;
  assert_int_equal(cn_supernet_forward(m, &y, x, cn_genotype_named("CNAS")), CN_EDATA);
  assert_non_null(strstr(cn_error_message(), "4 inner nodes, its cells have 1"));
  CnGenotype other = path_of("Genotype(normal=[('conv_1x1', 0), ('none', 1)], reduce=[" NONE "])");
  assert_int_equal(cn_supernet_forward(m, &y, x, &other), CN_EDATA);
  assert_non_null(strstr(cn_error_message(), "normal: triple 1 (conv_1x1, 0, 2)"));
  cn_tensor_unref(x);
  cn_module_unref(m);
}

/* An operation chosen twice for a node has its parameters once, its multiply-adds twice. */
static void shared_parameters_of_a_path_count_once(void **state) {
  CnModule *m = supernet((CnSupernetOptions){ .channels = 4, .layers = 3, .nodes = 1, .classes = 2 }, NULL);
  CnGenotype once = path_of("Genotype(normal=[('sep_conv_3x3', 1), ('none', 0)], reduce=[" NONE "])");
  CnGenotype twice = path_of("Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 1)], reduce=[" NONE "])");
  CnCost a = { 0 }, b = { 0 };
  (void)state;
  assert_int_equal(cn_supernet_cost(&a, m, &once, 8, 8), CN_OK);
  assert_int_equal(cn_supernet_cost(&b, m, &twice, 8, 8), CN_OK);
  assert_int_equal(a.parameters, b.parameters);
  assert_int_equal(b.conv_macs - a.conv_macs, 2 * 8 * 8 * (9 * 4 + 4 * 4));
  cn_module_unref(m);
}

/* With recording off a forward pass holds a few maps at a time, whatever the depth. */
static void without_recording_memory_does_not_grow_with_depth(void **state) {
  int64_t extra[2];
  (void)state;
  bool recorded = cn_grad_enable(false);
  for (int i = 0; i < 2; i++) {
    CnModule *m = supernet((CnSupernetOptions){ .channels = 8, .layers = i == 0 ? 6 : 18, .nodes = 1, .classes = 2 },
                           NULL);
    CnGenotype g = path_of("Genotype(normal=[" OPENED "], reduce=[" OPENED "])");
    float y[4];
    int64_t before = cn_memory_stats().bytes_live;
    cn_memory_reset_peak();
    logits(m, &g, 32, y);
    extra[i] = cn_memory_stats().bytes_peak - before;
    assert_int_equal(cn_memory_stats().bytes_live, before);
    cn_module_unref(m);
  }
  cn_grad_enable(recorded);
  assert_true(extra[1] <= extra[0] + (64 << 10));
}

/* ---- failures ---- */

/* Builds a network and runs a step of it; what fails must leave nothing behind. */
static CnErr build_and_run(void) {
  CnRng rng = cn_rng_named(3, "weights"), noise = cn_rng_named(3, "drop-path");
  CnModule *m;
  CnTensor *x, *y, *auxiliary;
  CnNetworkOptions o = { .genotype = cn_genotype_named("CNAS"), .channels = 2, .layers = 3, .classes = 2,
                         .auxiliary = true, .drop_path = 0.5, .noise = &noise };
  CN_TRY(cn_network_new(&m, o, &rng));
  CnErr e = cn_tensor_zeros(&x, CN_F32, CN_DEVICE_CPU, 4, (int64_t[]){ 2, 32, 32, 3 });
  if (e == CN_OK) {
    e = cn_network_forward(m, &y, &auxiliary, x);
    cn_tensor_unref(x);
  }
  if (e == CN_OK) {
    assert_non_null(auxiliary);
    cn_tensor_unref(y);
    cn_tensor_unref(auxiliary);
  }
  cn_module_unref(m);
  return e;
}

static void every_failed_allocation_is_an_error_that_leaves_nothing(void **state) {
  int64_t failures = 0;
  (void)state;
  assert_int_equal(build_and_run(), CN_OK);
  int64_t blocks = cn_memory_stats().blocks_live, tensors = cn_tensor_live();
  for (int64_t n = 0;; n += n < 60 ? 1 : 61) { /* the building repeats itself */
    cn_memory_fail_after(n);
    CnErr e = build_and_run();
    cn_memory_fail_after(-1);
    assert_int_equal(cn_memory_stats().blocks_live, blocks);
    assert_int_equal(cn_tensor_live(), tensors);
    if (e == CN_OK) break;
    assert_int_equal(e, CN_EMEMORY);
    failures++;
  }
  assert_true(failures > 80);
}

static CnErr child_cost(CnModule *m, CnSpec x) {
  CnCost cost = { 0 };
  return cn_module_cost(m, &cost, &x);
}

static void settings_out_of_range_are_refused(void **state) {
  CnModule *m;
  (void)state;
  assert_int_equal(cn_conv2d_new(&m, (CnConv2dOptions){ .inp = 3, .out = 4, .groups = 2 }, NULL), CN_EUSAGE);
  assert_string_equal(cn_error_message(), "conv2d: groups must divide inp and out, got 2 with 3 -> 4");
  assert_int_equal(cn_conv2d_new(&m, (CnConv2dOptions){ .inp = 3, .out = 4, .stride = { -1, 1 } }, NULL), CN_EUSAGE);
  assert_int_equal(cn_factorized_reduce_new(&m, 4, 5, true, true, NULL), CN_EUSAGE);
  assert_int_equal(cn_max_pool_new(&m, 3, 1, 2), CN_EUSAGE);
  assert_int_equal(cn_dropout_new(&m, 1, NULL), CN_EUSAGE);
  assert_int_equal(cn_max_pool_new(&m, 3, 1, 0), CN_OK);
  assert_int_equal(child_cost(m, (CnSpec){ .ndim = 4, .shape = { 1, 2, 8, 4 } }), CN_EUSAGE);
  cn_module_unref(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_default_supernet_has_1930618_parameters),
    cmocka_unit_test(the_published_cell_for_cifar_costs_what_was_published),
    cmocka_unit_test(the_published_cell_for_imagenet_costs_what_was_published),
    cmocka_unit_test(the_imagenet_network_has_the_entries_of_the_released_weights),
    cmocka_unit_test(parameters_have_the_names_of_published_checkpoints),
    cmocka_unit_test(a_node_not_opened_is_zeros),
    cmocka_unit_test(a_path_of_none_alone_still_gives_logits),
    cmocka_unit_test(a_path_that_does_not_fit_is_refused),
    cmocka_unit_test(shared_parameters_of_a_path_count_once),
    cmocka_unit_test(without_recording_memory_does_not_grow_with_depth),
    cmocka_unit_test(every_failed_allocation_is_an_error_that_leaves_nothing),
    cmocka_unit_test(settings_out_of_range_are_refused),
  };
  return cmocka_run_group_tests_name("module", tests, NULL, NULL);
}
