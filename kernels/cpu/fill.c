/* fill.c - one value everywhere. Kernel: fill_forward of any type; the value is converted as in cast. */
#include "kernels/convert.h"
#include "pieces.h"

typedef struct Fill {
  STORED *x;
  STORED value;
} Fill;

static void fill(void *context, int64_t begin, int64_t end) {
  const Fill *f = context;
  STORED value = f->value;
  for (int64_t i = begin; i < end; i++) f->x[i] = value;
}

CnErr FN(fill_forward)(CnCall *call) {
  Fill f = { .x = DATA(STORED, call->in[0]) };
#if defined(CN_REAL_i64)
  f.value = i64_of_double(call->attr[0].f);
#elif defined(CN_REAL_u8)
  f.value = u8_of_double(call->attr[0].f);
#elif defined(CN_REAL_bf16)
  f.value = cn_bf16_of_double(call->attr[0].f);
#else
  f.value = (REAL)call->attr[0].f;
#endif
  in_pieces(count_of(&call->in_spec[0]), GRAIN, fill, &f);
  return CN_OK;
}
