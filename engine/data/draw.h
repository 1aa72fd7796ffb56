/* draw.h - the chances of a training image, the same function on the CPU and on a GPU.
**
** The draws of an image are one block of random numbers at the counter (pass, position in the pass), so they depend on
** nothing else. */
#ifndef CN_DATA_DRAW_H
#define CN_DATA_DRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"

typedef struct CnAugment { /* all zeros: none */
  int crop;                /* black pixels added on each side before a crop of the old size; 0: none */
  bool flip;               /* left to right for every second image */
  int cutout;              /* side of a square of zeros, which may reach over the border; 0: none */
} CnAugment;

typedef struct CnAugmentDraw {
  int dy, dx;       /* the crop's corner, in -crop … crop */
  bool flip;
  int cut_y, cut_x; /* the middle of the cutout, in 0 … height-1, width-1 */
} CnAugmentDraw;

/* 0 … n-1 from the 32 bits of u. */
CN_EVERYWHERE int cn_u32_below(uint32_t u, int n) { return (int)(((uint64_t)u * (uint32_t)n) >> 32); }

/* The draws for one image. `stream` gives seed and stream; position < 2^32. */
CN_EVERYWHERE CnAugmentDraw cn_augment_draw(const CnAugment *augment, CnRng stream, int64_t pass, int64_t position,
                                            int height, int width) {
  uint32_t u[4];
  CnAugmentDraw draw = { 0, 0, false, 0, 0 };
  cn_philox(u, stream.seed, stream.stream, ((uint64_t)pass << 32) | (uint64_t)position);
  if (augment->crop > 0) {
    draw.dy = cn_u32_below(u[0], 2 * augment->crop + 1) - augment->crop;
    draw.dx = cn_u32_below(u[1], 2 * augment->crop + 1) - augment->crop;
  }
  draw.flip = augment->flip && (u[2] & 1);
  draw.cut_y = cn_u32_below(u[3], height);
  draw.cut_x = cn_u32_below(u[2], width); /* decided by the high bits, flip by the lowest */
  return draw;
}

#endif
