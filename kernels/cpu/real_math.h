/* real_math.h - the C library's functions for REAL: M(exp) is expf or exp. */
#ifndef CN_REAL_MATH_H
#define CN_REAL_MATH_H

#include "kernel.h"

#if defined(CN_REAL_f32)
#define M(name) name##f
#else
#define M(name) name
#endif

#endif
