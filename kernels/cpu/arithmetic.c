/* arithmetic.c - broadcasting arithmetic of any type: kernels add, sub, mul; their gradients for floats.
**
** Integers wrap as C's unsigned numbers do. */
#include "binary.h"

#if CN_REAL_IS_FLOAT
typedef REAL WRAPPING;
#else
typedef uint64_t WRAPPING; /* overflow is defined, and the low bits are those of the result */
#endif

static inline REAL add(REAL g, REAL x, REAL y) { (void)g; return (REAL)((WRAPPING)x + (WRAPPING)y); }
static inline REAL sub(REAL g, REAL x, REAL y) { (void)g; return (REAL)((WRAPPING)x - (WRAPPING)y); }
static inline REAL mul(REAL g, REAL x, REAL y) { (void)g; return (REAL)((WRAPPING)x * (WRAPPING)y); }
BINARY_LOOPS(add)
BINARY_LOOPS(sub)
BINARY_LOOPS(mul)

CnErr FN(add_forward)(CnCall *call) { return binary_forward(call, add_pieces); }
CnErr FN(sub_forward)(CnCall *call) { return binary_forward(call, sub_pieces); }
CnErr FN(mul_forward)(CnCall *call) { return binary_forward(call, mul_pieces); }

#if CN_REAL_IS_FLOAT
static inline REAL mul_gradient_x(REAL g, REAL x, REAL y) { (void)x; return g * y; }
static inline REAL mul_gradient_y(REAL g, REAL x, REAL y) { (void)y; return g * x; }
BINARY_LOOPS(mul_gradient_x)
BINARY_LOOPS(mul_gradient_y)

CnErr FN(add_backward)(CnCall *call) {
  for (int i = 0; i < 2; i++)
    if (call->gin[i]) CN_TRY(binary_sum_gradient(call, i, DATA(STORED, call->gout[0]), 1));
  return CN_OK;
}

CnErr FN(sub_backward)(CnCall *call) {
  for (int i = 0; i < 2; i++)
    if (call->gin[i]) CN_TRY(binary_sum_gradient(call, i, DATA(STORED, call->gout[0]), i == 0 ? 1 : -1));
  return CN_OK;
}

CnErr FN(mul_backward)(CnCall *call) {
  CN_TRY(binary_gradient(call, 0, mul_gradient_x_pieces));
  return binary_gradient(call, 1, mul_gradient_y_pieces);
}
#endif
