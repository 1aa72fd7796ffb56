/* kernel_bench.c - how fast the dense and image kernels are, at the sizes of the default supernet.
**
**   build/tests/kernel_bench [threads [batch [part of a name [channels [repeats]]]]]
**
** For each row of the table: milliseconds of forward and of backward (all gradients), the best of several (or of
** `repeats`), and multiply-adds per second; for a block those that backward makes again count too. With one thread times
** are processor time, so that other programs disturb them less. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/threads.h"
#include "device/cpu.h"
#include "tensor/autograd.h"

static int repeats = 9;

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
  { "relu", CN_OP_relu, size, c, c, 1, 1, 0, 1, 1 },                         \
  { "block 3x3", CN_OP_separable_block, size, c, c, 3, 1, 1, 1, c },         \
  { "block 5x5", CN_OP_separable_block, size, c, c, 5, 1, 2, 1, c },         \
  { "block 3x3 dilated", CN_OP_separable_block, size, c, c, 3, 1, 2, 2, c }, \
  { "block 5x5 dilated", CN_OP_separable_block, size, c, c, 5, 1, 4, 2, c }, \
  { "block 3x3 stride 2", CN_OP_separable_block, size, c, c, 3, 2, 1, 1, c }, \
  { "block 5x5 stride 2", CN_OP_separable_block, size, c, c, 5, 2, 2, 1, c }
  CELL(32, 16), CELL(16, 32), CELL(8, 64), CELL(32, 36), CELL(16, 72), CELL(8, 144),
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

/* The inputs and attributes of a row; multiply-adds for each element of its result, in forward and in backward. */
static int prepare(const Bench *b, int64_t batch, CnTensor **in, CnAttr *attr, double *forward, double *backward) {
  CnAttr set[7] = { { b->stride },   { b->stride },   { b->pad },   { b->pad },
                    { b->dilation }, { b->dilation }, { b->groups } };
  double taps = b->kernel * b->kernel, inputs = (double)b->c / b->groups;
  in[0] = random_tensor(4, (int64_t[]){ batch, b->size, b->size, b->c });
  *forward = *backward = 0;
  if (b->op == CN_OP_conv2d) {
    memcpy(attr, set, sizeof set);
    in[1] = random_tensor(4, (int64_t[]){ b->kernel, b->kernel, b->c / b->groups, b->o });
    *forward = taps * inputs;
    *backward = 2 * *forward;
    return 2;
  }
  if (b->op == CN_OP_separable_block) {
    set[6].i = 1;
    memcpy(attr, set, sizeof set);
    in[1] = random_tensor(4, (int64_t[]){ b->kernel, b->kernel, 1, b->c });
    in[2] = random_tensor(4, (int64_t[]){ 1, 1, b->c, b->o });
    in[3] = random_tensor(1, (int64_t[]){ b->c });
    in[4] = random_tensor(1, (int64_t[]){ b->c });
    *forward = taps + b->c;
    *backward = 3 * taps + 2 * b->c; /* the depthwise convolution is made again */
    return 5;
  }
  CnAttr pool[6] = { { b->kernel }, { b->kernel }, { b->stride }, { b->stride }, { b->pad }, { b->pad } };
  CnAttr norm[3] = { { 1 }, { .f = 0.1 }, { .f = 1e-5 } };
  if (b->kernel > 1) memcpy(attr, pool, sizeof pool);
  else memcpy(attr, norm, sizeof norm);
  return 1;
}

static void print_time(const char *what, double ms, double macs) {
  printf("  %s %8.2f ms", what, ms);
  if (macs > 0) printf(" %6.1f GMAC/s", macs / ms * 1e-6);
  else printf("              ");
}

static void measure(const Bench *b, int64_t batch) {
  CnTensor *in[5] = { NULL }, *gout = NULL;
  CnAttr attr[CN_MAX_ATTRS] = { { 0 } };
  double forward = 1e30, backward = 1e30, forward_macs, backward_macs, count = 0;
  int nin = prepare(b, batch, in, attr, &forward_macs, &backward_macs);
  for (int i = 0; i < nin; i++) in[i]->requires_grad = true;
  for (int i = 0; i < repeats; i++) {
    CnTensor *y[CN_MAX_OUTPUTS] = { NULL };
    double start = now();
    ok(cn_apply(y, b->op, in, nin, attr));
    forward = fmin(forward, now() - start);
    if (gout == NULL) gout = random_tensor(4, y[0]->shape);
    count = (double)cn_tensor_count(y[0]);
    start = now();
    ok(cn_backward(y[0], gout, false));
    backward = fmin(backward, now() - start);
    for (int k = 0; k < CN_MAX_OUTPUTS; k++) cn_tensor_unref(y[k]);
    for (int k = 0; k < nin; k++) {
      cn_tensor_unref(in[k]->grad);
      in[k]->grad = NULL;
    }
  }
  printf("%-24s %2dx%-2d %3d->%-3d", b->name, b->size, b->size, b->c, b->o);
  print_time("forward", forward, forward_macs * count);
  print_time("  backward", backward, backward_macs * count);
  putchar('\n');
  cn_tensor_unref(gout);
  for (int i = 0; i < nin; i++) cn_tensor_unref(in[i]);
}

int main(int argc, char **argv) {
  if (argc > 1) cn_threads_set(atoi(argv[1]));
  int64_t batch = argc > 2 ? atoi(argv[2]) : 96;
  int64_t channels = argc > 4 ? atoi(argv[4]) : 0;
  if (argc > 5) repeats = atoi(argv[5]);
  printf("%s, %d threads, batch %d, f32\n", cn_cpu_isa(), cn_threads(), (int)batch);
  for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
    if ((argc <= 3 || strstr(benches[i].name, argv[3]) != NULL) && (channels == 0 || channels == benches[i].c))
      measure(&benches[i], batch);
  return 0;
}
