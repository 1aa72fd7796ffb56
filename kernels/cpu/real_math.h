/* real_math.h - the C library's functions for REAL: M(exp) is expf or exp.
**
** Where glibc brings vector versions (libmvec; within 4 units in the last place, special values as in the scalar ones),
** loops over M(exp), M(log), M(tanh) and M(pow) use them; the last few elements of a loop go through the scalar ones.
** So the last bits of a result may depend on where in a loop it stands, which shapes alone decide. */
#ifndef CN_REAL_MATH_H
#define CN_REAL_MATH_H

#include "kernel.h"

#if defined(CN_REAL_f32)
#define M(name) name##f
#else
#define M(name) name
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 35)
#define CN_VECTOR_VERSION __attribute__((__simd__("notinbranch")))
CN_VECTOR_VERSION extern REAL M(exp)(REAL x);
CN_VECTOR_VERSION extern REAL M(log)(REAL x);
CN_VECTOR_VERSION extern REAL M(tanh)(REAL x);
CN_VECTOR_VERSION extern REAL M(pow)(REAL x, REAL y);
#endif
#endif

#endif
