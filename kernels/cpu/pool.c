/* pool.c - rows max_pool2d, avg_pool2d (see pool.h) and global_avg_pool2d. */
#include "kernels/cpu/pool.h"

static CnErr forward(const CnCall *call, bool max) {
  Pool v;
  Reader reader = { .channels = call->in_spec[0].shape[3] };
  CN_TRY(FN(pool_new)(&v, call, max));
  CnErr e = FN(pool_forward)(&v, &reader, DATA(STORED, call->in[0]), DATA(STORED, call->out[0]),
                             max ? DATA(uint8_t, call->out[1]) : NULL, NULL);
  cn_free(v.block);
  return e;
}

static CnErr backward(const CnCall *call, bool max) {
  Pool v;
  Reader reader = { .channels = call->in_spec[0].shape[3] };
  Incoming g = { .g = DATA(STORED, call->gout[0]), .channels = reader.channels };
  if (call->gin[0] == NULL) return CN_OK;
  CN_TRY(FN(pool_new)(&v, call, max));
  CnErr e = FN(pool_backward)(&v, &g, max ? DATA(uint8_t, call->out[1]) : NULL, &reader, NULL,
                              DATA(STORED, call->gin[0]), false, NULL);
  cn_free(v.block);
  return e;
}

CnErr FN(max_pool2d_forward)(CnCall *call) { return forward(call, true); }
CnErr FN(max_pool2d_backward)(CnCall *call) { return backward(call, true); }
CnErr FN(avg_pool2d_forward)(CnCall *call) { return forward(call, false); }
CnErr FN(avg_pool2d_backward)(CnCall *call) { return backward(call, false); }

/* Sums of a channel: each row of the image in REAL, rows in f64. */
CnErr FN(global_avg_pool2d_forward)(CnCall *call) {
  const int64_t *shape = call->in_spec[0].shape;
  int64_t h = shape[1], w = shape[2], c = shape[3];
  const REAL *x = DATA(REAL, call->in[0]);
  REAL *y = DATA(REAL, call->out[0]);
  int lanes = slot_lanes(c);
  CN_PARALLEL_FOR
  for (int64_t n = 0; n < shape[0]; n++)
    for (int slot = 0; slot < slot_count(c); slot++) {
      int64_t begin = slot_begin(c, slot);
      double total[VBYTES / sizeof(REAL)] = { 0 };
      for (int64_t i = 0; i < h; i++) {
        VREAL sum = { 0 };
        const REAL *row = x + (n * h + i) * w * c + begin;
        for (int64_t j = 0; j < w; j++) sum += vload_some(row + j * c, lanes);
        for (int k = 0; k < VLEN; k++) total[k] += (double)sum[k];
      }
      for (int k = 0; k < lanes; k++) y[n * c + begin + k] = (REAL)(total[k] / (double)(h * w));
    }
  return CN_OK;
}

CnErr FN(global_avg_pool2d_backward)(CnCall *call) {
  const int64_t *shape = call->in_spec[0].shape;
  int64_t pixels = shape[1] * shape[2], c = shape[3];
  if (call->gin[0] == NULL) return CN_OK;
  const REAL *gy = DATA(REAL, call->gout[0]);
  REAL *gx = DATA(REAL, call->gin[0]);
  CN_PARALLEL_FOR
  for (int64_t n = 0; n < shape[0]; n++) {
    REAL *to = gx + n * pixels * c;
    if (pixels == 0) continue;
    for (int64_t j = 0; j < c; j++) to[j] = gy[n * c + j] / (REAL)pixels;
    for (int64_t p = 1; p < pixels; p++) memcpy(to + p * c, to, (size_t)c * sizeof(REAL));
  }
  return CN_OK;
}
