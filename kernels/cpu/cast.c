/* cast.c - values of one type as another (see convert.h). Kernels: cast_forward of any type, cast_backward of floats.
**
** The row's type is that of the input. */
#include "convert.h"
#include "pieces.h"

#if CN_REAL_IS_FLOAT
#define TO_I64(x) i64_of_double((double)(x))
#define TO_U8(x) u8_of_double((double)(x))
#else
#define TO_I64(x) i64_of_i64((int64_t)(x))
#define TO_U8(x) u8_of_i64((int64_t)(x))
#endif

typedef struct Cast {
  void *out;
  const void *x;
} Cast;

/* Elements of `from` to elements of `to`, each by `convert`. */
#define CAST_LOOP(name, to, from, convert) \
  static void name(void *context, int64_t begin, int64_t end) { \
    const Cast *c = context; \
    to *restrict out = c->out; \
    const from *restrict x = c->x; \
    for (int64_t i = begin; i < end; i++) out[i] = convert(x[i]); \
  }
CAST_LOOP(to_f32, float, REAL, (float))
CAST_LOOP(to_f64, double, REAL, (double))
CAST_LOOP(to_i64, int64_t, REAL, TO_I64)
CAST_LOOP(to_u8, uint8_t, REAL, TO_U8)

CnErr FN(cast_forward)(CnCall *call) {
  static PieceWork *const loops[CN_DTYPES] = { to_f32, to_f64, to_i64, to_u8 };
  Cast c = { DATA(void, call->out[0]), DATA(void, call->in[0]) };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, loops[call->out_spec[0].dtype], &c);
  return CN_OK;
}

#if CN_REAL_IS_FLOAT
CAST_LOOP(from_f32, REAL, float, (REAL))
CAST_LOOP(from_f64, REAL, double, (REAL))

CnErr FN(cast_backward)(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  if (!call->gout[0]) { /* to an integer: no gradient comes back */
    memset(DATA(void, call->gin[0]), 0, (size_t)count_of(&call->in_spec[0]) * sizeof(REAL));
    return CN_OK;
  }
  Cast c = { DATA(void, call->gin[0]), DATA(void, call->gout[0]) };
  PieceWork *loop = call->out_spec[0].dtype == CN_F32 ? from_f32 : from_f64;
  in_pieces(count_of(&call->in_spec[0]), GRAIN, loop, &c);
  return CN_OK;
}
#endif
