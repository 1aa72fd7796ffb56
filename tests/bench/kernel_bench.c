/* kernel_bench.c - how fast the dense and image kernels are, at the sizes of the default supernet.
**
**   build/tests/kernel_bench [threads [batch [part of a name]]]
**
** For each row of the table: milliseconds of forward and of backward (all gradients), the best of several, and
** multiply-adds per second. With one thread times are processor time, so that other programs disturb them less. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/threads.h"
#include "device/cpu.h"
#include "tensor/autograd.h"

#define REPEATS 7

typedef struct Bench {
  const char *name;
  CnOpId op;
  int size, c, o, kernel, stride, pad, dilation, groups;
} Bench;

static const Bench benches[] = {
  { "stem 3x3", CN_OP_conv2d, 32, 3, 48, 3, 1, 1, 1, 1 },
#define CELL(size, c)                                                       \
  { "depthwise 3x3", CN_OP_conv2d, size, c, c, 3, 1, 1, 1, c },              \
  { "depthwise 5x5", CN_OP_conv2d, size, c, c, 5, 1, 2, 1, c },              \
  { "depthwise 3x3 dilated", CN_OP_conv2d, size, c, c, 3, 1, 2, 2, c },      \
  { "depthwise 5x5 dilated", CN_OP_conv2d, size, c, c, 5, 1, 4, 2, c },      \
  { "depthwise 5x5 stride 2", CN_OP_conv2d, size, c, c, 5, 2, 2, 1, c },     \
  { "pointwise", CN_OP_conv2d, size, c, c, 1, 1, 0, 1, 1 },                  \
  { "preprocess", CN_OP_conv2d, size, 4 * c, c, 1, 1, 0, 1, 1 },             \
  { "factorized reduce", CN_OP_conv2d, size, 2 * c, c, 1, 2, 0, 1, 1 },      \
  { "max pool", CN_OP_max_pool2d, size, c, c, 3, 1, 1, 1, 1 },               \
  { "avg pool", CN_OP_avg_pool2d, size, c, c, 3, 1, 1, 1, 1 },               \
  { "batch norm", CN_OP_batch_norm, size, c, c, 1, 1, 0, 1, 1 },             \
  { "relu", CN_OP_relu, size, c, c, 1, 1, 0, 1, 1 }
  CELL(32, 16), CELL(16, 32), CELL(8, 64), CELL(32, 36),
};

static void ok(CnErr err) {
  if (err == CN_OK) return;
  fprintf(stderr, "kernel_bench: %s\n", cn_error_message());
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(cn_threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static CnTensor *random_tensor(int ndim, const int64_t *shape) {
  CnTensor *t;
  ok(cn_tensor_new(&t, CN_F32, CN_DEVICE_CPU, ndim, shape));
  float *v = cn_tensor_data(t);
  uint32_t state = 1;
  for (int64_t i = 0; i < cn_tensor_count(t); i++) {
    state = state * 1664525u + 1013904223u;
    v[i] = (float)(int32_t)state * 0x1p-31f;
  }
  return t;
}

static void measure(const Bench *b, int64_t batch) {
  CnTensor *in[2] = { random_tensor(4, (int64_t[]){ batch, b->size, b->size, b->c }), NULL }, *gout = NULL;
  CnAttr attr[CN_MAX_ATTRS] = { { 1 }, { .f = 0.1 }, { .f = 1e-5 } }; /* batch_norm's */
  bool conv = b->op == CN_OP_conv2d;
  if (conv) {
    in[1] = random_tensor(4, (int64_t[]){ b->kernel, b->kernel, b->c / b->groups, b->o });
    CnAttr set[7] = { { b->stride },   { b->stride },   { b->pad },   { b->pad },
                      { b->dilation }, { b->dilation }, { b->groups } };
    memcpy(attr, set, sizeof set);
    in[1]->requires_grad = true;
  } else if (b->kernel > 1) {
    CnAttr set[6] = { { b->kernel }, { b->kernel }, { b->stride }, { b->stride }, { b->pad }, { b->pad } };
    memcpy(attr, set, sizeof set);
  }
  in[0]->requires_grad = true;
  double forward = 1e30, backward = 1e30, macs = 0;
  for (int i = 0; i < REPEATS; i++) {
    CnTensor *y;
    double start = now();
    ok(cn_apply(&y, b->op, in, conv ? 2 : 1, attr));
    forward = fmin(forward, now() - start);
    if (gout == NULL) gout = random_tensor(4, y->shape);
    macs = conv ? (double)cn_tensor_count(y) * b->kernel * b->kernel * b->c / b->groups : 0;
    start = now();
    ok(cn_backward(y, gout, false));
    backward = fmin(backward, now() - start);
    cn_tensor_unref(y);
  }
  printf("%-24s %2dx%-2d %3d->%-3d  forward %8.2f ms", b->name, b->size, b->size, b->c, b->o, forward);
  if (macs > 0) printf(" %6.1f GMAC/s", macs / forward * 1e-6);
  else printf("              ");
  printf("   backward %8.2f ms", backward);
  if (macs > 0) printf(" %6.1f GMAC/s", 2 * macs / backward * 1e-6);
  putchar('\n');
  cn_tensor_unref(gout);
  cn_tensor_unref(in[0]);
  cn_tensor_unref(in[1]);
}

int main(int argc, char **argv) {
  if (argc > 1) cn_threads_set(atoi(argv[1]));
  int64_t batch = argc > 2 ? atoi(argv[2]) : 96;
  printf("%s, %d threads, batch %d, f32\n", cn_cpu_isa(), cn_threads(), (int)batch);
  for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
    if (argc <= 3 || strstr(benches[i].name, argv[3]) != NULL) measure(&benches[i], batch);
  return 0;
}
