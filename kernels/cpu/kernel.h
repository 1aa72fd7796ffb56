/* kernel.h - what every CPU kernel file begins with.
**
** A kernel file is compiled once for each element type and instruction set: REAL is the type, FN(name) the name with
** both in it (relu_forward_f32_avx512). CMakeLists.txt beside this file sets
**   CN_REAL_f32 | _f64 | _i64 | _u8 | _bf16   which type
**   CN_ISA                                    portable, avx2 or avx512
** An element in memory is STORED: a REAL, but in bf16 its 16 bits, and REAL is float. What may be kept in bf16 is read
** and written through real_of and stored_of; everything else of a bf16 call (weights, sums, scratch) is REAL.
** Kernels trust their arguments: shape rules ran before. Work is cut into pieces by shape only (see base/threads.h). */
#ifndef CN_KERNEL_H
#define CN_KERNEL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "tensor/bf16.h"
#include "tensor/op.h"

#if defined(CN_REAL_f32)
typedef float REAL;
#define CN_TYPE f32
#elif defined(CN_REAL_f64)
typedef double REAL;
#define CN_TYPE f64
#elif defined(CN_REAL_i64)
typedef int64_t REAL;
#define CN_TYPE i64
#elif defined(CN_REAL_u8)
typedef uint8_t REAL;
#define CN_TYPE u8
#elif defined(CN_REAL_bf16)
typedef float REAL;
#define CN_TYPE bf16
#endif

#define CN_JOIN3_(a, b, c) a##_##b##_##c
#define CN_JOIN3(a, b, c) CN_JOIN3_(a, b, c)
#define FN(name) CN_JOIN3(name, CN_TYPE, CN_ISA)

#if defined(CN_REAL_f32) || defined(CN_REAL_f64) || defined(CN_REAL_bf16)
#define CN_REAL_IS_FLOAT 1
#endif

#if defined(CN_REAL_bf16)
typedef CnBf16 STORED;
static inline REAL real_of(STORED x) { return cn_bf16_to_float(x); }
static inline STORED stored_of(REAL x) { return cn_bf16_of_float(x); }
#else
typedef REAL STORED;
static inline REAL real_of(STORED x) { return x; }
static inline STORED stored_of(REAL x) { return x; }
#endif

/* The kernels of every row for this type; those that a row does not have are defined nowhere. */
#define CN_OP(kind, id, inputs, attrs, outputs, types, saves, shape, doc) \
  CnErr FN(id##_forward)(CnCall *call); \
  CnErr FN(id##_backward)(CnCall *call);
#include "tensor/ops.def"
#undef CN_OP

#define DATA(type, tensor) ((type *)cn_tensor_data(tensor))

/* A vector register's worth of REAL, for files that vectorise by hand (GCC vector extensions: + - * and compare work
** on it; portable builds get 16 bytes). Load and store through VLOAD and VSTORE: no alignment needed. */
#if defined(__AVX512F__)
#define VBYTES 64
#elif defined(__AVX2__)
#define VBYTES 32
#else
#define VBYTES 16
#endif
#if CN_REAL_IS_FLOAT
#define VLEN ((int)(VBYTES / sizeof(REAL)))
typedef REAL VREAL __attribute__((vector_size(VBYTES)));
typedef REAL VREAL_UNALIGNED __attribute__((vector_size(VBYTES), aligned(sizeof(REAL)), may_alias));
#define VLOAD(p) ((VREAL) * (const VREAL_UNALIGNED *)(p))
#define VSTORE(p, v) (*(VREAL_UNALIGNED *)(p) = (VREAL_UNALIGNED)(v))
#endif

#define CN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CN_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
