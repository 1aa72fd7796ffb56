/* augment.h - what a training image goes through: random crop, flip, normalisation, cutout.
**
** Drawing the chances and applying them are two plain functions. The draws of an image are one block of random numbers
** at the counter (pass, position in the pass), so they depend on nothing else, and a GPU that computes the same block
** makes the same image. The order is torchvision's: the crop pads with black before normalisation, cutout writes zeros
** (the mean colour) after it. */
#ifndef CN_AUGMENT_H
#define CN_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "data/dataset.h"

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

/* Values of every byte in every channel after normalisation: (b / 255 - mean) / std. */
typedef struct CnNormal {
  float value[CN_MAX_CHANNELS][256];
} CnNormal;

void cn_normal_init(CnNormal *normal, const CnImages *images);

/* The draws for one image. `stream` gives seed and stream; position < 2^32. */
CnAugmentDraw cn_augment_draw(const CnAugment *augment, CnRng stream, int64_t pass, int64_t position, int height,
                              int width);

/* One image (H,W,C), bytes to normalised floats. */
void cn_augment_image(float *out, const uint8_t *in, int height, int width, int channels, const CnAugment *augment,
                      const CnAugmentDraw *draw, const CnNormal *normal);

#endif
