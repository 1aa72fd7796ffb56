/* augment.h - what a training image goes through: random crop, flip, normalisation, cutout.
**
** Drawing the chances (data/draw.h) and applying them are two plain functions; a GPU makes the same image, to the bit
** (kernels/cuda/images.cu). The order is torchvision's: the crop pads with black before normalisation, cutout writes zeros
** (the mean colour) after it. */
#ifndef CN_AUGMENT_H
#define CN_AUGMENT_H

#include "data/dataset.h"
#include "data/draw.h"

/* Values of every byte in every channel after normalisation: (b / 255 - mean) / std. */
typedef struct CnNormal {
  float value[CN_MAX_CHANNELS][256];
} CnNormal;

void cn_normal_init(CnNormal *normal, const CnImages *images);

/* One image (H,W,C), bytes to normalised floats. */
void cn_augment_image(float *out, const uint8_t *in, int height, int width, int channels, const CnAugment *augment,
                      const CnAugmentDraw *draw, const CnNormal *normal);

#endif
