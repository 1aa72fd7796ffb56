/* kernel_calls.h - calling kernels without the operations above them: tensors made by hand, a CnCall filled in, and
** every instruction set this processor has. For the tests of kernels/cpu.
**
** Tensors live until reset(). Values go in and out as doubles, whatever the type. */
#ifndef KERNEL_CALLS_H
#define KERNEL_CALLS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "tensor/bf16.h"
#include "tensor/op.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define SHAPE(...) (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (const int64_t[]){ __VA_ARGS__ }
#define SCALAR 0, NULL

extern const CnKernelRow cn_cpu_column_portable[CN_OPS];
#if defined(__x86_64__)
extern const CnKernelRow cn_cpu_column_avx2[CN_OPS], cn_cpu_column_avx512[CN_OPS];
#endif

/* The column that the calls below use. */
static const CnKernelRow *column = cn_cpu_column_portable;

/* Runs a group of tests once for each instruction set. */
#define RUN_FOR_EACH_COLUMN(failed, tests) do { \
    column = cn_cpu_column_portable; \
    failed += cmocka_run_group_tests_name("portable", tests, NULL, NULL); \
    RUN_FOR_X86(failed, tests); \
  } while (0)
#if defined(__x86_64__)
#define RUN_FOR_X86(failed, tests) do { \
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) { \
      column = cn_cpu_column_avx2; \
      failed += cmocka_run_group_tests_name("avx2", tests, NULL, NULL); \
    } \
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && \
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) { \
      column = cn_cpu_column_avx512; \
      failed += cmocka_run_group_tests_name("avx512", tests, NULL, NULL); \
    } \
  } while (0)
#else
#define RUN_FOR_X86(failed, tests) ((void)0)
#endif

#define MAX_TENSORS 4096
static CnTensor tensors[MAX_TENSORS];
static CnStorage storages[MAX_TENSORS];
static int made;

static inline void reset(void) {
  while (made > 0) free(storages[--made].data);
  cn_threads_set(2);
}

static const size_t element_size[CN_DTYPES] = { 4, 8, 8, 1, 2 };

static inline int64_t count_shape(int ndim, const int64_t *shape) {
  int64_t n = 1;
  for (int d = 0; d < ndim; d++) n *= shape[d];
  return n;
}

static inline int64_t count(const CnTensor *t) { return count_shape(t->ndim, t->shape); }

static inline void put(CnTensor *t, int64_t element, double value) {
  void *data = t->storage->data;
  switch (t->dtype) {
    case CN_F32: ((float *)data)[element] = (float)value; break;
    case CN_F64: ((double *)data)[element] = value; break;
    case CN_I64: ((int64_t *)data)[element] = (int64_t)value; break;
    case CN_BF16: ((CnBf16 *)data)[element] = cn_bf16_of_double(value); break;
    default: ((uint8_t *)data)[element] = (uint8_t)value; break;
  }
}

static inline double stored(const CnTensor *t, int64_t element) {
  const void *data = t->storage->data;
  switch (t->dtype) {
    case CN_F32: return ((const float *)data)[element];
    case CN_F64: return ((const double *)data)[element];
    case CN_I64: return (double)((const int64_t *)data)[element];
    case CN_BF16: return (double)cn_bf16_to_float(((const CnBf16 *)data)[element]);
    default: return ((const uint8_t *)data)[element];
  }
}

/* A contiguous tensor of rubbish: kernels must write every element. */
static inline CnTensor *empty(CnDtype dtype, int ndim, const int64_t *shape) {
  assert_true(made < MAX_TENSORS);
  CnTensor *t = &tensors[made];
  CnStorage *storage = &storages[made++];
  size_t bytes = (size_t)count_shape(ndim, shape) * element_size[dtype];
  *storage = (CnStorage){ .refs = 1, .bytes = bytes, .data = malloc(bytes + 1) };
  memset(storage->data, 0xa5, bytes + 1);
  *t = (CnTensor){ .refs = 1, .dtype = dtype, .ndim = ndim, .storage = storage };
  int64_t stride = 1;
  for (int d = ndim - 1; d >= 0; d--) {
    t->shape[d] = shape[d];
    t->stride[d] = stride;
    stride *= shape[d];
  }
  return t;
}

static inline CnTensor *tensor(CnDtype dtype, const double *values, int ndim, const int64_t *shape) {
  CnTensor *t = empty(dtype, ndim, shape);
  for (int64_t i = 0; i < count(t); i++) put(t, i, values[i]);
  return t;
}

/* What rounding to a type may be off by, relative to 1 + |value|. */
static inline double rounding(CnDtype dtype) { return dtype == CN_F64 ? 1e-15 : dtype == CN_BF16 ? 0x1p-8 : 1e-6; }

/* Distinct, irregular values: multiples of 1/8 in about -6 … 6 for floats, whole numbers for integers. */
static inline CnTensor *varied(CnDtype dtype, uint32_t seed, int ndim, const int64_t *shape) {
  CnTensor *t = empty(dtype, ndim, shape);
  for (int64_t i = 0; i < count(t); i++) {
    seed = seed * 1664525u + 1013904223u;
    int k = (int)(seed >> 16) % 97;
    put(t, i, dtype == CN_U8 ? k : dtype == CN_I64 ? k - 48 : (k - 48.5) / 8);
  }
  return t;
}

/* The same storage with its dimensions in another order. */
static inline CnTensor *permuted(const CnTensor *t, const int *order) {
  assert_true(made < MAX_TENSORS);
  CnTensor *view = &tensors[made];
  storages[made++] = (CnStorage){ .data = NULL };
  *view = *t;
  for (int d = 0; d < t->ndim; d++) {
    view->shape[d] = t->shape[order[d]];
    view->stride[d] = t->stride[order[d]];
  }
  return view;
}

/* Every `step`-th entry along a dimension. */
static inline CnTensor *stepped(const CnTensor *t, int dim, int64_t step) {
  int order[CN_MAX_DIMS] = { 0, 1, 2, 3, 4, 5 };
  CnTensor *view = permuted(t, order);
  view->shape[dim] = (t->shape[dim] + step - 1) / step;
  view->stride[dim] *= step;
  return view;
}

/* The element of t that meets element `flat` (row-major) of an output shape, by right-aligned broadcasting. */
static inline double broadcast_at(const CnTensor *t, int64_t flat, int ndim, const int64_t *shape) {
  int64_t element = t->offset;
  for (int d = ndim - 1; d >= 0; d--) {
    int own = d - (ndim - t->ndim);
    if (own >= 0 && t->shape[own] != 1) element += flat % shape[d] * t->stride[own];
    flat /= shape[d];
  }
  return stored(t, element);
}

static inline double at(const CnTensor *t, int64_t flat) { return broadcast_at(t, flat, t->ndim, t->shape); }

/* Adds value to the element of `sums` (contiguous, of t's shape) that broadcast to `flat`. */
static inline void add_broadcast(double *sums, const CnTensor *t, int64_t flat, int ndim, const int64_t *shape,
                                 double value) {
  int64_t element = 0, stride = 1;
  for (int d = ndim - 1; d >= 0; d--) {
    int own = d - (ndim - t->ndim);
    if (own >= 0) {
      if (t->shape[own] != 1) element += flat % shape[d] * stride;
      stride *= t->shape[own];
    }
    flat /= shape[d];
  }
  sums[element] += value;
}

/* A call: inputs and outputs end with NULL. The specs are those of the tensors. */
static inline CnCall call_of(CnDtype dtype, CnTensor *const *in, CnTensor *const *out) {
  CnCall call = { .dtype = dtype };
  for (; in && in[call.nin]; call.nin++) {
    const CnTensor *t = call.in[call.nin] = in[call.nin];
    call.in_spec[call.nin] = (CnSpec){ .dtype = t->dtype, .ndim = t->ndim };
    memcpy(call.in_spec[call.nin].shape, t->shape, sizeof t->shape);
  }
  for (; out && out[call.nout]; call.nout++) {
    const CnTensor *t = call.out[call.nout] = out[call.nout];
    call.out_spec[call.nout] = (CnSpec){ .dtype = t->dtype, .ndim = t->ndim };
    memcpy(call.out_spec[call.nout].shape, t->shape, sizeof t->shape);
  }
  return call;
}
#define TENSORS(...) (CnTensor *const[]){ __VA_ARGS__, NULL }

#define FORWARD(id, call) assert_int_equal(column[CN_OP_##id].forward[(call).dtype](&(call)), CN_OK)
#define BACKWARD(id, call) assert_int_equal(column[CN_OP_##id].backward[(call).dtype](&(call)), CN_OK)

static inline bool near(double a, double b, double tolerance) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (isinf(a) || isinf(b)) return a == b;
  return fabs(a - b) <= tolerance * (1 + fabs(b));
}

#define ASSERT_NEAR(a, b, tolerance) do { \
    double a_ = (a), b_ = (b); \
    if (!near(a_, b_, tolerance)) fail_msg("%s = %.17g, expected %s = %.17g", #a, a_, #b, b_); \
  } while (0)

static inline void assert_values(const CnTensor *t, const double *expected, int64_t n, double tolerance) {
  assert_int_equal(count(t), n);
  for (int64_t i = 0; i < n; i++)
    if (!near(at(t, i), expected[i], tolerance))
      fail_msg("element %lld is %.17g, expected %.17g", (long long)i, at(t, i), expected[i]);
}
#define ASSERT_VALUES(t, tolerance, ...) \
  assert_values(t, (const double[]){ __VA_ARGS__ }, COUNT(((double[]){ __VA_ARGS__ })), tolerance)

#endif
