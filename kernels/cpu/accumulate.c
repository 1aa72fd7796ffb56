/* accumulate.c - a sum in place. Kernel: accumulate_forward of floats, bf16 too. */
#include "pieces.h"

typedef struct Accumulate {
  STORED *x;
  const STORED *y;
  REAL factor;
} Accumulate;

static void accumulate(void *context, int64_t begin, int64_t end) {
  const Accumulate *a = context;
  STORED *x = a->x;
  const STORED *y = a->y; /* may be x itself */
  REAL factor = a->factor;
  for (int64_t i = begin; i < end; i++) x[i] = stored_of(real_of(x[i]) + factor * real_of(y[i]));
}

CnErr FN(accumulate_forward)(CnCall *call) {
  Accumulate a = { DATA(STORED, call->in[0]), DATA(STORED, call->in[1]), (REAL)call->attr[0].f };
  in_pieces(count_of(&call->in_spec[0]), GRAIN, accumulate, &a);
  return CN_OK;
}
