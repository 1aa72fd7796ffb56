/* test_gradients.c - leaves are heard of when their gradients are final; gradients go through buckets and come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "dist/communicator.h"
#include "dist/gradients.h"
#include "tensor/autograd.h"

static CnTensor *new_leaf(CnDtype dtype, int64_t count, double value) {
  CnTensor *t;
  assert_int_equal(cn_tensor_new(&t, dtype, CN_DEVICE_CPU, 1, &count), CN_OK);
  assert_int_equal(cn_apply1(NULL, CN_OP_fill, t, (CnAttr[]){ { .f = value } }), CN_OK);
  t->requires_grad = true;
  return t;
}

/* sum(a * b) */
static CnTensor *dot(CnTensor *a, CnTensor *b) {
  CnTensor *product, *sum;
  assert_int_equal(cn_apply2(&product, CN_OP_mul, a, b, NULL), CN_OK);
  assert_int_equal(cn_apply1(&sum, CN_OP_sum, product, NULL), CN_OK);
  cn_tensor_unref(product);
  return sum;
}

static CnTensor *plus(CnTensor *a, CnTensor *b) {
  CnTensor *sum;
  assert_int_equal(cn_apply2(&sum, CN_OP_add, a, b, NULL), CN_OK);
  cn_tensor_unref(a);
  cn_tensor_unref(b);
  return sum;
}

typedef struct Heard {
  CnTensor *reached[8], *final[8];
  double value[8]; /* first element of the gradient when it was final */
  int n_reached, n_final;
  CnErr answer;
} Heard;

static void on_reached(void *context, CnTensor *leaf) {
  Heard *h = context;
  assert_int_equal(h->n_final, 0);
  h->reached[h->n_reached++] = leaf;
}

static CnErr on_final(void *context, CnTensor *leaf) {
  Heard *h = context;
  h->value[h->n_final] = leaf->grad ? (double)*(float *)cn_tensor_data(leaf->grad) : 0;
  h->final[h->n_final++] = leaf;
  return h->answer;
}

static void every_leaf_is_heard_of_once_and_when_it_is_complete(void **state) {
  (void)state;
  CnTensor *a = new_leaf(CN_F32, 3, 2), *b = new_leaf(CN_F32, 3, 5);
  CnTensor *loss = plus(plus(dot(a, a), dot(a, b)), dot(a, a)); /* da = 4a + b */
  Heard heard = { .answer = CN_OK };
  assert_int_equal(cn_backward_heard(loss, NULL, false, &(CnLeafListener){ &heard, on_reached, on_final }), CN_OK);
  assert_int_equal(heard.n_reached, 2);
  assert_int_equal(heard.n_final, 2);
  for (int i = 0; i < 2; i++) {
    assert_true(heard.value[i] == (heard.final[i] == a ? 13 : 2));
    assert_int_equal(heard.final[i]->awaited, 0);
  }
  cn_tensor_unref(loss);

  loss = plus(dot(a, b), dot(b, b)); /* a listener that fails ends the walk, and leaves nothing behind */
  heard = (Heard){ .answer = CN_EIO };
  assert_int_equal(cn_backward_heard(loss, NULL, false, &(CnLeafListener){ &heard, on_reached, on_final }), CN_EIO);
  assert_int_equal(heard.n_final, 1);
  assert_int_equal(a->awaited + b->awaited, 0);
  cn_tensor_unref(loss);

  heard = (Heard){ .answer = CN_OK }; /* a loss that is a leaf */
  CnTensor *c = new_leaf(CN_F32, 1, 1);
  assert_int_equal(cn_backward_heard(c, NULL, false, &(CnLeafListener){ &heard, on_reached, on_final }), CN_OK);
  assert_true(heard.n_final == 1 && heard.value[0] == 1);
  cn_tensor_unref(a);
  cn_tensor_unref(b);
  cn_tensor_unref(c);
}

static double at(const CnTensor *t, int64_t i) {
  return t->dtype == CN_F32 ? (double)((float *)cn_tensor_data(t))[i] : ((double *)cn_tensor_data(t))[i];
}

/* One process: the mean is what it was, but it has gone through the buckets, here more than one, of two types. */
static void gradients_come_back_as_the_mean(void **state) {
  (void)state;
  const CnWorld *world;
  assert_int_equal(cn_world(&world), CN_OK);
  int64_t live = cn_tensor_live(), large = 300000;
  CnTensor *leaf[5] = { new_leaf(CN_F32, large, 1), new_leaf(CN_F64, 7, 2), new_leaf(CN_F32, large, 3),
                        new_leaf(CN_F32, large, 4), new_leaf(CN_F32, 5, 6) };
  CnGradients *g;
  assert_int_equal(cn_gradients_new(&g, leaf, 5), CN_OK);
  for (int step = 0; step < 3; step++) {
    CnTensor *loss = plus(dot(leaf[0], leaf[2]), dot(leaf[3], leaf[2]));
    cn_world_weigh(step == 2 ? 0.25 : 1);
    double part = step == 2 ? 0.25 : 1;
    assert_int_equal(cn_gradients_backward(g, loss), CN_OK);
    for (int64_t i = 0; i < large; i += 29999) {
      assert_true(at(leaf[0]->grad, i) == 3 * part);
      assert_true(at(leaf[2]->grad, i) == 5 * part);
      assert_true(at(leaf[3]->grad, i) == 3 * part);
    }
    assert_null(leaf[1]->grad); /* no gradient anywhere: none */
    assert_null(leaf[4]->grad);
    cn_tensor_unref(loss);
    for (int i = 0; i < 5; i++) {
      cn_tensor_unref(leaf[i]->grad);
      leaf[i]->grad = NULL;
    }
  }
  /* What was there before is part of it; a gradient that somebody else holds is left to him. */
  CnTensor *loss = dot(leaf[1], leaf[1]), *again = dot(leaf[1], leaf[1]);
  assert_int_equal(cn_backward(loss, NULL, false), CN_OK);
  CnTensor *held = cn_tensor_ref(leaf[1]->grad);
  assert_int_equal(cn_gradients_average(g), CN_OK);
  assert_true(at(held, 6) == 4 && at(leaf[1]->grad, 6) == 1);
  assert_ptr_not_equal(held, leaf[1]->grad);
  assert_int_equal(cn_gradients_backward(g, again), CN_OK);
  assert_true(at(leaf[1]->grad, 0) == 0.25 * (1 + 4));
  cn_world_weigh(1);
  cn_tensor_unref(held);
  cn_tensor_unref(loss);
  cn_tensor_unref(again);
  cn_gradients_free(g);
  for (int i = 0; i < 5; i++) cn_tensor_unref(leaf[i]);
  assert_int_equal(cn_tensor_live(), live);
}

static void failed_allocations_are_errors(void **state) {
  (void)state;
  CnTensor *leaf[2] = { new_leaf(CN_F32, 300000, 1), new_leaf(CN_F64, 7, 2) };
  int64_t live = cn_tensor_live();
  CnErr e = CN_EMEMORY;
  int n = 0;
  for (; e != CN_OK && n < 200; n++) {
    CnGradients *g = NULL;
    CnTensor *one = dot(leaf[0], leaf[0]), *two = dot(leaf[1], leaf[1]);
    assert_int_equal(cn_backward(two, NULL, false), CN_OK);
    cn_memory_fail_after(n);
    e = cn_gradients_new(&g, leaf, 2);
    if (e == CN_OK) e = cn_gradients_backward(g, one);
    cn_memory_fail_after(-1);
    assert_true(e == CN_OK || e == CN_EMEMORY);
    cn_gradients_free(g);
    cn_tensor_unref(one);
    cn_tensor_unref(two);
    for (int i = 0; i < 2; i++) {
      assert_int_equal(leaf[i]->awaited, 0);
      cn_tensor_unref(leaf[i]->grad);
      leaf[i]->grad = NULL;
    }
    assert_int_equal(cn_tensor_live(), live);
  }
  assert_in_range(n, 8, 199);
  cn_tensor_unref(leaf[0]);
  cn_tensor_unref(leaf[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_leaf_is_heard_of_once_and_when_it_is_complete),
    cmocka_unit_test(gradients_come_back_as_the_mean),
    cmocka_unit_test(failed_allocations_are_errors),
  };
  return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
