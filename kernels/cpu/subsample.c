/* subsample.c - row subsample2d: pixel (stride*i + offset) of the image, zero outside it. */
#include "kernels/cpu/conv2d.h"

typedef struct Grid {
  int64_t n, h, w, c, oh, ow, stride, down, right;
  size_t pixel; /* bytes */
} Grid;

static Grid grid_of(const CnCall *call) {
  const int64_t *x = call->in_spec[0].shape;
  int64_t stride = call->attr[0].i;
  return (Grid){ x[0], x[1], x[2], x[3], CN_CEIL_DIV(x[1], stride), CN_CEIL_DIV(x[2], stride), stride, call->attr[1].i,
                 call->attr[2].i, (size_t)x[3] * sizeof(REAL) };
}

/* The pixel that output pixel (i,j) of image n is, or -1 outside. */
static int64_t source_pixel(const Grid *g, int64_t n, int64_t i, int64_t j) {
  int64_t y = i * g->stride + g->down, x = j * g->stride + g->right;
  return y < 0 || y >= g->h || x < 0 || x >= g->w ? -1 : (n * g->h + y) * g->w + x;
}

CnErr FN(subsample2d_forward)(CnCall *call) {
  Grid g = grid_of(call);
  const REAL *x = DATA(REAL, call->in[0]);
  REAL *y = DATA(REAL, call->out[0]);
  CN_PARALLEL_FOR
  for (int64_t n = 0; n < g.n; n++)
    for (int64_t i = 0; i < g.oh; i++)
      for (int64_t j = 0; j < g.ow; j++) {
        int64_t from = source_pixel(&g, n, i, j);
        REAL *to = y + ((n * g.oh + i) * g.ow + j) * g.c;
        if (from < 0) memset(to, 0, g.pixel);
        else memcpy(to, x + from * g.c, g.pixel);
      }
  return CN_OK;
}

CnErr FN(subsample2d_backward)(CnCall *call) {
  Grid g = grid_of(call);
  const REAL *gy = DATA(REAL, call->gout[0]);
  if (call->gin[0] == NULL) return CN_OK;
  REAL *gx = DATA(REAL, call->gin[0]);
  CN_PARALLEL_FOR
  for (int64_t n = 0; n < g.n; n++) {
    memset(gx + n * g.h * g.w * g.c, 0, (size_t)(g.h * g.w) * g.pixel);
    for (int64_t i = 0; i < g.oh; i++)
      for (int64_t j = 0; j < g.ow; j++) {
        int64_t to = source_pixel(&g, n, i, j);
        if (to >= 0) memcpy(gx + to * g.c, gy + ((n * g.oh + i) * g.ow + j) * g.c, g.pixel);
      }
  }
  return CN_OK;
}
