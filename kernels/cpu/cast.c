/* cast.c - values of one type as another (see kernels/convert.h). Kernels: cast_forward of any type, cast_backward of floats.
**
** The row's type is that of the input. */
#include "kernels/convert.h"
#include "pieces.h"

#if CN_REAL_IS_FLOAT
#define TO_F32(x) (float)real_of(x)
#define TO_F64(x) (double)real_of(x)
#define TO_I64(x) i64_of_double((double)real_of(x))
#define TO_U8(x) u8_of_double((double)real_of(x))
#else
#define TO_F32(x) (float)(x)
#define TO_F64(x) (double)(x)
#define TO_I64(x) i64_of_i64((int64_t)(x))
#define TO_U8(x) u8_of_i64((int64_t)(x))
#endif
#if defined(CN_REAL_f64)
#define TO_BF16(x) cn_bf16_of_double(x)
#elif defined(CN_REAL_i64)
#define TO_BF16(x) cn_bf16_of_i64(x)
#elif defined(CN_REAL_bf16)
#define TO_BF16(x) (x)
#else
#define TO_BF16(x) cn_bf16_of_float((float)(x))
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
CAST_LOOP(to_f32, float, STORED, TO_F32)
CAST_LOOP(to_f64, double, STORED, TO_F64)
CAST_LOOP(to_i64, int64_t, STORED, TO_I64)
CAST_LOOP(to_u8, uint8_t, STORED, TO_U8)
CAST_LOOP(to_bf16, CnBf16, STORED, TO_BF16)

CnErr FN(cast_forward)(CnCall *call) {
  static PieceWork *const loops[CN_DTYPES] = { to_f32, to_f64, to_i64, to_u8, to_bf16 };
  Cast c = { DATA(void, call->out[0]), DATA(void, call->in[0]) };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, loops[call->out_spec[0].dtype], &c);
  return CN_OK;
}

#if CN_REAL_IS_FLOAT
#if defined(CN_REAL_bf16)
#define OF_F32(x) cn_bf16_of_float(x)
#define OF_F64(x) cn_bf16_of_double(x)
#define OF_BF16(x) (x)
#else
#define OF_F32(x) (REAL)(x)
#define OF_F64(x) (REAL)(x)
#define OF_BF16(x) (REAL)cn_bf16_to_float(x)
#endif
CAST_LOOP(from_f32, STORED, float, OF_F32)
CAST_LOOP(from_f64, STORED, double, OF_F64)
CAST_LOOP(from_bf16, STORED, CnBf16, OF_BF16)

CnErr FN(cast_backward)(CnCall *call) {
  static PieceWork *const loops[CN_DTYPES] = { [CN_F32] = from_f32, [CN_F64] = from_f64, [CN_BF16] = from_bf16 };
  if (!call->gin[0]) return CN_OK;
  if (!call->gout[0]) { /* to an integer: no gradient comes back */
    memset(DATA(void, call->gin[0]), 0, (size_t)count_of(&call->in_spec[0]) * sizeof(STORED));
    return CN_OK;
  }
  Cast c = { DATA(void, call->gin[0]), DATA(void, call->gout[0]) };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, loops[call->out_spec[0].dtype], &c);
  return CN_OK;
}
#endif
