/* arithmetic_float.c - broadcasting arithmetic of floats: kernels div, maximum, minimum, _forward and _backward.
**
** maximum and minimum are NaN where either input is; there, both inputs get the gradient. */
#include "binary.h"

static inline REAL quotient(REAL g, REAL x, REAL y) { (void)g; return x / y; }
static inline REAL quotient_gradient_x(REAL g, REAL x, REAL y) { (void)x; return g / y; }
static inline REAL quotient_gradient_y(REAL g, REAL x, REAL y) { return -g * (x / y) / y; }

static inline REAL larger(REAL g, REAL x, REAL y) { (void)g; return x > y || x != x ? x : y; }
static inline REAL larger_gradient_x(REAL g, REAL x, REAL y) { return x < y ? 0 : x == y ? g / 2 : g; }
static inline REAL larger_gradient_y(REAL g, REAL x, REAL y) { return larger_gradient_x(g, y, x); }

static inline REAL smaller(REAL g, REAL x, REAL y) { (void)g; return x < y || x != x ? x : y; }
static inline REAL smaller_gradient_x(REAL g, REAL x, REAL y) { return x > y ? 0 : x == y ? g / 2 : g; }
static inline REAL smaller_gradient_y(REAL g, REAL x, REAL y) { return smaller_gradient_x(g, y, x); }

BINARY_LOOPS(quotient)
BINARY_LOOPS(quotient_gradient_x)
BINARY_LOOPS(quotient_gradient_y)
BINARY_LOOPS(larger)
BINARY_LOOPS(larger_gradient_x)
BINARY_LOOPS(larger_gradient_y)
BINARY_LOOPS(smaller)
BINARY_LOOPS(smaller_gradient_x)
BINARY_LOOPS(smaller_gradient_y)

CnErr FN(div_forward)(CnCall *call) { return binary_forward(call, quotient_pieces); }
CnErr FN(div_backward)(CnCall *call) {
  CN_TRY(binary_gradient(call, 0, quotient_gradient_x_pieces));
  return binary_gradient(call, 1, quotient_gradient_y_pieces);
}

CnErr FN(maximum_forward)(CnCall *call) { return binary_forward(call, larger_pieces); }
CnErr FN(maximum_backward)(CnCall *call) {
  CN_TRY(binary_gradient(call, 0, larger_gradient_x_pieces));
  return binary_gradient(call, 1, larger_gradient_y_pieces);
}

CnErr FN(minimum_forward)(CnCall *call) { return binary_forward(call, smaller_pieces); }
CnErr FN(minimum_backward)(CnCall *call) {
  CN_TRY(binary_gradient(call, 0, smaller_gradient_x_pieces));
  return binary_gradient(call, 1, smaller_gradient_y_pieces);
}
