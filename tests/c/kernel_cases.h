/* kernel_cases.h - a row of the engine against arrays that a test has worked out in f64.
**
** Every case runs forward and backward through the engine, in f32 and f64, with each instruction set of this machine
** and with 1, 2 and 3 threads: close to what is expected, and the same bits whatever the threads. */
#ifndef KERNEL_CASES_H
#define KERNEL_CASES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/threads.h"
#include "device/cpu.h"
#include "tensor/autograd.h"

#define MAX_ARRAYS 64

typedef struct Array {
  int ndim;
  int64_t shape[4], count;
  double *v;
} Array;

/* Arrays of one test, given back together. */
static Array pool[MAX_ARRAYS];
static int used;

static inline Array *zeros(int ndim, int64_t a, int64_t b, int64_t c, int64_t d) {
  assert_true(used < MAX_ARRAYS);
  Array *x = &pool[used++];
  *x = (Array){ .ndim = ndim, .shape = { a, b, c, d } };
  x->count = 1;
  for (int i = 0; i < ndim; i++) x->count *= x->shape[i];
  x->v = calloc((size_t)x->count + 1, sizeof(double));
  assert_non_null(x->v);
  return x;
}

static inline void drop_arrays(void) {
  while (used > 0) free(pool[--used].v);
}

static uint64_t seed = 1;

/* Uniform in [-1,1), exact in f32. */
static inline double draw(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (double)(int32_t)(seed >> 40) / 8388608.0 - 1;
}

static inline Array *fill_random(Array *x) {
  for (int64_t i = 0; i < x->count; i++) x->v[i] = draw();
  return x;
}

#define IMAGE(n, h, w, c) fill_random(zeros(4, n, h, w, c))
#define MATRIX(m, n) fill_random(zeros(2, m, n, 1, 1))
#define VECTOR(n) fill_random(zeros(1, n, 1, 1, 1))

static inline void ok(CnErr err) {
  if (err != CN_OK) fail_msg("%s", cn_error_message());
}

static inline CnTensor *tensor_of(const Array *x, CnDtype dtype) {
  CnTensor *t;
  ok(cn_tensor_new(&t, dtype, CN_DEVICE_CPU, x->ndim, x->shape));
  for (int64_t i = 0; i < x->count; i++)
    if (dtype == CN_F32) ((float *)cn_tensor_data(t))[i] = (float)x->v[i];
    else ((double *)cn_tensor_data(t))[i] = x->v[i];
  return t;
}

static inline void near(const char *what, const CnTensor *t, const Array *expected, double tolerance) {
  double difference = 0, norm = 0;
  assert_int_equal(cn_tensor_count(t), expected->count);
  for (int64_t i = 0; i < expected->count; i++) {
    double x = t->dtype == CN_F32 ? (double)((float *)cn_tensor_data(t))[i] : ((double *)cn_tensor_data(t))[i];
    if (isnan(x) && isnan(expected->v[i])) continue;
    difference += (x - expected->v[i]) * (x - expected->v[i]);
    norm += expected->v[i] * expected->v[i];
  }
  if (!(sqrt(difference) <= tolerance * sqrt(norm) + 1e-30))
    fail_msg("%s: relative difference %g, allowed %g (%s, %s, %d threads)", what, sqrt(difference / norm), tolerance,
             cn_dtype_name(t->dtype), cn_cpu_isa(), cn_threads());
}

/* One application and what it must give. Entries of `in` and `gin` may be NULL: not given, or no gradient expected. */
typedef struct Case {
  const char *name;
  CnOpId op;
  CnAttr attr[CN_MAX_ATTRS];
  int nin, nout;
  Array *in[5], *gin[5];
  Array *out[2], *gout[2];
  Array *after[5]; /* what an input that forward writes must be afterwards */
} Case;

#define MAX_BYTES (4 << 20)

/* Runs a case with the present settings; appends every result's bytes to `bytes`. */
static inline size_t run_case(const Case *c, CnDtype dtype, double tolerance, unsigned char *bytes) {
  CnTensor *in[5] = { NULL }, *out[2] = { NULL };
  size_t size = 0;
  char what[160];
  for (int i = 0; i < c->nin; i++)
    if (c->in[i] != NULL) {
      in[i] = tensor_of(c->in[i], dtype);
      in[i]->requires_grad = c->gin[i] != NULL;
    }
  ok(cn_apply(out, c->op, in, c->nin, c->attr));
  for (int i = 0; i < c->nout; i++) {
    snprintf(what, sizeof what, "%s output %d", c->name, i);
    near(what, out[i], c->out[i], tolerance);
    assert_true(size + cn_tensor_bytes(out[i]) <= MAX_BYTES);
    memcpy(bytes + size, cn_tensor_data(out[i]), cn_tensor_bytes(out[i]));
    size += cn_tensor_bytes(out[i]);
  }
  for (int i = 0; i < c->nout; i++)
    if (c->gout[i] != NULL) {
      CnTensor *gout = tensor_of(c->gout[i], dtype);
      ok(cn_backward(out[i], gout, i < c->nout - 1));
      cn_tensor_unref(gout);
    }
  for (int i = 0; i < c->nin; i++) {
    snprintf(what, sizeof what, "%s input %d", c->name, i);
    if (c->gin[i] != NULL) {
      assert_non_null(in[i]->grad);
      near(what, in[i]->grad, c->gin[i], tolerance);
      assert_true(size + cn_tensor_bytes(in[i]) <= MAX_BYTES);
      memcpy(bytes + size, cn_tensor_data(in[i]->grad), cn_tensor_bytes(in[i]));
      size += cn_tensor_bytes(in[i]);
    }
    if (c->after[i] != NULL) near(what, in[i], c->after[i], tolerance);
    cn_tensor_unref(in[i]);
  }
  for (int i = 0; i < c->nout; i++) cn_tensor_unref(out[i]);
  return size;
}

static inline void check_within(const Case *c, double f32, double f64) {
  static const char *const isa[] = { "portable", "avx2", "avx512" };
  unsigned char *first = malloc(MAX_BYTES), *other = malloc(MAX_BYTES);
  assert_non_null(first);
  assert_non_null(other);
  const char *start = cn_cpu_isa();
  int threads = cn_threads();
  int64_t live = cn_tensor_live();
  for (int i = 0; i < 3; i++) {
    if (cn_cpu_use(isa[i]) != CN_OK) continue;
    for (int dtype = CN_F32; dtype <= CN_F64; dtype++)
      for (int t = 1; t <= 3; t++) {
        cn_threads_set(t);
        size_t size = run_case(c, (CnDtype)dtype, dtype == CN_F32 ? f32 : f64, t == 1 ? first : other);
        if (t > 1 && memcmp(first, other, size) != 0)
          fail_msg("%s: other bits with %d threads (%s, %s)", c->name, t, cn_dtype_name((CnDtype)dtype), isa[i]);
      }
  }
  assert_int_equal(cn_tensor_live(), live);
  cn_threads_set(threads);
  ok(cn_cpu_use(start));
  free(first);
  free(other);
}

static inline void check(const Case *c) { check_within(c, 2e-6, 1e-13); }

#endif
