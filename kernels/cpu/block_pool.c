/* block_pool.c - row pool_block: pooling (see pool.h) of an image that is read through scale, shift and ReLU, with the
** statistics of the result. */
#include "kernels/cpu/pool.h"

static Reader reader_of(const CnCall *call) {
  return (Reader){ .scale = block_input(call, 1), .shift = block_input(call, 2), .relu = call->attr[7].i != 0,
                   .channels = call->in_spec[0].shape[3] };
}

/* Zeros: 2 * channels sums for each piece. */
static double *sums_new(const Pool *v) {
  return cn_alloc_zeroed((size_t)CN_MAX(2 * v->pieces * v->c, 1) * sizeof(double));
}

CnErr FN(pool_block_forward)(CnCall *call) {
  Pool v;
  Reader reader = reader_of(call);
  CN_TRY(FN(pool_new)(&v, call, call->attr[6].i != 0));
  double *sums = sums_new(&v);
  CnErr e = sums != NULL ? CN_OK : CN_EMEMORY;
  if (e == CN_OK)
    e = FN(pool_forward)(&v, &reader, DATA(STORED, call->in[0]), DATA(STORED, call->out[0]),
                         DATA(uint8_t, call->out[3]), sums);
  if (e == CN_OK)
    FN(finish_statistics)(v.pieces, v.c, v.n * v.oh * v.ow, sums, DATA(REAL, call->out[1]), DATA(REAL, call->out[2]));
  cn_free(sums);
  cn_free(v.block);
  return e;
}

static CnErr backward(const CnCall *call, const Pool *v, const Incoming *g) {
  Reader reader = reader_of(call);
  REAL *gscale = block_wanted(call, 1), *gshift = block_wanted(call, 2);
  double *sums = NULL;
  if (gscale != NULL || gshift != NULL) {
    sums = sums_new(v);
    if (sums == NULL) return CN_EMEMORY;
  }
  STORED *gx = call->gin[0] != NULL ? DATA(STORED, call->gin[0]) : NULL;
  CnErr e = FN(pool_backward)(v, g, v->max ? DATA(uint8_t, call->out[3]) : NULL, &reader, DATA(STORED, call->in[0]), gx,
                              call->add[0], sums);
  if (e == CN_OK && sums != NULL) FN(finish_factors)(v->pieces, v->c, sums, gscale, gshift);
  cn_free(sums);
  return e;
}

CnErr FN(pool_block_backward)(CnCall *call) {
  Pool v;
  Incoming g;
  CN_TRY(FN(pool_new)(&v, call, call->attr[6].i != 0));
  CnErr e = FN(incoming_new)(&g, call);
  if (e == CN_OK) {
    e = backward(call, &v, &g);
    cn_free(g.by_z);
  }
  cn_free(v.block);
  return e;
}
