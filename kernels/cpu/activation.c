/* activation.c - elementwise functions of one input, and their gradients.
**
** Kernels: neg, exp, log, sqrt, abs, tanh, sigmoid, relu, pow, scale; _forward and _backward of each, f32 and f64.
** Each function is written once for a scalar; `map` and `map_gradient` are inlined around it and vectorised. */
#include "pieces.h"
#include "real_math.h"

/* One application: y = f(x) or gx = f(g, saved), with up to two constants. */
typedef struct Map {
  REAL *out;
  const REAL *x, *g;
  REAL a, b;
} Map;

typedef REAL Function(REAL x, REAL a, REAL b);
typedef REAL Gradient(REAL g, REAL saved, REAL a, REAL b);

ALWAYS_INLINE void map(void *context, int64_t begin, int64_t end, Function *f) {
  const Map *m = context;
  REAL *restrict out = m->out;
  const REAL *restrict x = m->x;
  REAL a = m->a, b = m->b;
  for (int64_t i = begin; i < end; i++) out[i] = f(x[i], a, b);
}

ALWAYS_INLINE void map_gradient(void *context, int64_t begin, int64_t end, Gradient *f) {
  const Map *m = context;
  REAL *restrict out = m->out;
  const REAL *restrict g = m->g, *restrict saved = m->x;
  REAL a = m->a, b = m->b;
  for (int64_t i = begin; i < end; i++) out[i] = f(g[i], saved[i], a, b);
}

static CnErr forward(CnCall *call, double a, double b, PieceWork *work) {
  Map m = { .out = DATA(REAL, call->out[0]), .x = DATA(REAL, call->in[0]), .a = (REAL)a, .b = (REAL)b };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, work, &m);
  return CN_OK;
}

/* `saved` is the input or output that the row saves; a row that saves none gives gout, which its function ignores. */
static CnErr backward(CnCall *call, const CnTensor *saved, double a, double b, PieceWork *work) {
  if (!call->gin[0]) return CN_OK;
  Map m = { .out = DATA(REAL, call->gin[0]), .x = DATA(REAL, saved), .g = DATA(REAL, call->gout[0]), .a = (REAL)a,
            .b = (REAL)b };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, work, &m);
  return CN_OK;
}

#define UNUSED(a) ((void)(a))

static inline REAL neg(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return -x; }
static inline REAL neg_gradient(REAL g, REAL s, REAL a, REAL b) { UNUSED(s), UNUSED(a), UNUSED(b); return -g; }

static inline REAL exponential(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return M(exp)(x); }
static inline REAL exponential_gradient(REAL g, REAL y, REAL a, REAL b) { UNUSED(a), UNUSED(b); return g * y; }

static inline REAL logarithm(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return M(log)(x); }
static inline REAL logarithm_gradient(REAL g, REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return g / x; }

static inline REAL root(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return M(sqrt)(x); }
static inline REAL root_gradient(REAL g, REAL y, REAL a, REAL b) { UNUSED(a), UNUSED(b); return g / (2 * y); }

static inline REAL absolute(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return M(fabs)(x); }
static inline REAL absolute_gradient(REAL g, REAL x, REAL a, REAL b) {
  UNUSED(a), UNUSED(b);
  return x > 0 ? g : x < 0 ? -g : 0 * x; /* 0 at 0, NaN at NaN */
}

static inline REAL hyperbolic(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return M(tanh)(x); }
static inline REAL hyperbolic_gradient(REAL g, REAL y, REAL a, REAL b) { UNUSED(a), UNUSED(b); return g * (1 - y * y); }

static inline REAL logistic(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return 1 / (1 + M(exp)(-x)); }
static inline REAL logistic_gradient(REAL g, REAL y, REAL a, REAL b) {
  UNUSED(a), UNUSED(b);
  return g * (1 - y) * y;
}

static inline REAL rectified(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return x < 0 ? 0 : x; }
static inline REAL rectified_gradient(REAL g, REAL y, REAL a, REAL b) { UNUSED(a), UNUSED(b); return y <= 0 ? 0 : g; }

/* a is the exponent. Its gradient takes exponent and exponent - 1. */
static inline REAL power(REAL x, REAL a, REAL b) { UNUSED(b); return M(pow)(x, a); }
static inline REAL power_gradient(REAL g, REAL x, REAL a, REAL b) { return g * a * M(pow)(x, b); }
static inline REAL square(REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return x * x; }
static inline REAL square_gradient(REAL g, REAL x, REAL a, REAL b) { UNUSED(a), UNUSED(b); return g * 2 * x; }

static inline REAL scaled(REAL x, REAL a, REAL b) { return a * x + b; }
static inline REAL scaled_gradient(REAL g, REAL s, REAL a, REAL b) { UNUSED(s), UNUSED(b); return a * g; }

/* The loops: f_map and f_map_gradient for a function f. */
#define LOOPS(f) \
  static void f##_map(void *context, int64_t begin, int64_t end) { map(context, begin, end, f); } \
  static void f##_map_gradient(void *context, int64_t begin, int64_t end) { \
    map_gradient(context, begin, end, f##_gradient); \
  }
LOOPS(neg)
LOOPS(exponential)
LOOPS(logarithm)
LOOPS(root)
LOOPS(absolute)
LOOPS(hyperbolic)
LOOPS(logistic)
LOOPS(rectified)
LOOPS(power)
LOOPS(square)
LOOPS(scaled)

CnErr FN(neg_forward)(CnCall *call) { return forward(call, 0, 0, neg_map); }
CnErr FN(neg_backward)(CnCall *call) { return backward(call, call->gout[0], 0, 0, neg_map_gradient); }

CnErr FN(exp_forward)(CnCall *call) { return forward(call, 0, 0, exponential_map); }
CnErr FN(exp_backward)(CnCall *call) { return backward(call, call->out[0], 0, 0, exponential_map_gradient); }

CnErr FN(log_forward)(CnCall *call) { return forward(call, 0, 0, logarithm_map); }
CnErr FN(log_backward)(CnCall *call) { return backward(call, call->in[0], 0, 0, logarithm_map_gradient); }

CnErr FN(sqrt_forward)(CnCall *call) { return forward(call, 0, 0, root_map); }
CnErr FN(sqrt_backward)(CnCall *call) { return backward(call, call->out[0], 0, 0, root_map_gradient); }

CnErr FN(abs_forward)(CnCall *call) { return forward(call, 0, 0, absolute_map); }
CnErr FN(abs_backward)(CnCall *call) { return backward(call, call->in[0], 0, 0, absolute_map_gradient); }

CnErr FN(tanh_forward)(CnCall *call) { return forward(call, 0, 0, hyperbolic_map); }
CnErr FN(tanh_backward)(CnCall *call) { return backward(call, call->out[0], 0, 0, hyperbolic_map_gradient); }

CnErr FN(sigmoid_forward)(CnCall *call) { return forward(call, 0, 0, logistic_map); }
CnErr FN(sigmoid_backward)(CnCall *call) { return backward(call, call->out[0], 0, 0, logistic_map_gradient); }

CnErr FN(relu_forward)(CnCall *call) { return forward(call, 0, 0, rectified_map); }
CnErr FN(relu_backward)(CnCall *call) { return backward(call, call->out[0], 0, 0, rectified_map_gradient); }

CnErr FN(pow_forward)(CnCall *call) {
  double exponent = call->attr[0].f;
  return forward(call, exponent, 0, exponent == 2 ? square_map : power_map);
}

CnErr FN(pow_backward)(CnCall *call) {
  double exponent = call->attr[0].f;
  if (exponent == 2) return backward(call, call->in[0], 0, 0, square_map_gradient);
  /* x^0 is 1 everywhere: 0 * x^0, not 0 * x^-1, which is NaN at 0. */
  return backward(call, call->in[0], exponent, exponent == 0 ? 0 : exponent - 1, power_map_gradient);
}

CnErr FN(scale_forward)(CnCall *call) { return forward(call, call->attr[0].f, call->attr[1].f, scaled_map); }
CnErr FN(scale_backward)(CnCall *call) {
  return backward(call, call->gout[0], call->attr[0].f, 0, scaled_map_gradient);
}
