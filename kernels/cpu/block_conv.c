/* block_conv.c - row conv_block: a convolution with its statistics, taken in a pass of their own; for stems and other
** convolutions that are no block by themselves. */
#include "kernels/cpu/block.h"
#include "kernels/cpu/conv2d.h"

#define PIXELS 256 /* of a strip */

CnErr FN(conv_block_forward)(CnCall *call) {
  Conv v = FN(conv_of)(call, NULL);
  v.y = DATA(REAL, call->out[0]);
  CN_TRY(FN(conv_forward)(&v));
  int64_t pixels = v.n * v.oh * v.ow, pieces = CN_MAX(1, CN_MIN(48, pixels / PIXELS));
  double *sums = cn_alloc_zeroed((size_t)(2 * pieces * v.o) * sizeof(double));
  if (sums == NULL) return CN_EMEMORY;
  CN_PARALLEL_FOR_IF_WORTH(pixels * v.o)
  for (int64_t piece = 0; piece < pieces; piece++) {
    int64_t begin, end;
    piece_range(pixels, pieces, piece, &begin, &end);
    for (; begin < end; begin += PIXELS)
      FN(add_statistics)(v.y + begin * v.o, CN_MIN(PIXELS, end - begin), v.o, sums + 2 * piece * v.o);
  }
  FN(finish_statistics)(pieces, v.o, pixels, sums, DATA(REAL, call->out[1]), DATA(REAL, call->out[2]));
  cn_free(sums);
  return CN_OK;
}

CnErr FN(conv_block_backward)(CnCall *call) {
  Conv v = FN(conv_of)(call, call->gout[0]);
  v.gx = block_wanted(call, 0);
  v.gweight = block_wanted(call, 1);
  if (v.gx == NULL && v.gweight == NULL) return CN_OK;
  int64_t pixels = v.n * v.oh * v.ow, strips = CN_CEIL_DIV(pixels, PIXELS);
  Incoming incoming;
  CN_TRY(FN(incoming_new)(&incoming, call));
  if (FN(conv_takes_incoming)(&v)) {
    v.incoming = &incoming;
    CnErr err = FN(conv_backward)(&v);
    cn_free(incoming.by_z);
    return err;
  }
  REAL *gz = cn_alloc((size_t)CN_MAX(pixels * v.o, 1) * sizeof(REAL));
  CnErr e = gz != NULL ? CN_OK : CN_EMEMORY;
  if (e == CN_OK) {
    CN_PARALLEL_FOR_IF_WORTH(pixels * v.o)
    for (int64_t strip = 0; strip < strips; strip++)
      FN(read_gradient)(&incoming, strip * PIXELS, CN_MIN(PIXELS, pixels - strip * PIXELS), gz + strip * PIXELS * v.o,
                        v.o);
    v.gy = gz;
    e = FN(conv_backward)(&v);
  }
  cn_free(gz);
  cn_free(incoming.by_z);
  return e;
}
