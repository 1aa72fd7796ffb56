/* augment.c - see augment.h. A row of the result is at most three runs: black, pixels (perhaps backwards), black. */
#include "data/augment.h"

#include <string.h>

void cn_normal_init(CnNormal *normal, const CnImages *images) {
  for (int c = 0; c < images->channels; c++)
    for (int b = 0; b < 256; b++) normal->value[c][b] = ((float)b / 255.0f - images->mean[c]) / images->std[c];
}

/* 0 … n-1 from the 32 bits of u. */
static int below(uint32_t u, int n) { return (int)(((uint64_t)u * (uint32_t)n) >> 32); }

CnAugmentDraw cn_augment_draw(const CnAugment *augment, CnRng stream, int64_t pass, int64_t position, int height,
                              int width) {
  uint32_t u[4];
  cn_philox(u, stream.seed, stream.stream, ((uint64_t)pass << 32) | (uint64_t)position);
  CnAugmentDraw draw = { 0 };
  if (augment->crop > 0) {
    draw.dy = below(u[0], 2 * augment->crop + 1) - augment->crop;
    draw.dx = below(u[1], 2 * augment->crop + 1) - augment->crop;
  }
  draw.flip = augment->flip && (u[2] & 1);
  draw.cut_y = below(u[3], height);
  draw.cut_x = below(u[2], width); /* decided by the high bits, flip by the lowest */
  return draw;
}

static int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

void cn_augment_image(float *out, const uint8_t *in, int height, int width, int channels, const CnAugment *augment,
                      const CnAugmentDraw *draw, const CnNormal *normal) {
  /* Columns of the crop that lie in the image; in the flipped result they lie mirrored. */
  int left = clamp(-draw->dx, 0, width), right = clamp(width - draw->dx, 0, width);
  for (int y = 0; y < height; y++) {
    float *row = out + (int64_t)y * width * channels;
    int from_y = y + draw->dy;
    bool inside = from_y >= 0 && from_y < height;
    const uint8_t *from = in + (inside ? (int64_t)from_y * width * channels : 0);
    for (int x = 0; x < width; x++) {
      int crop_x = draw->flip ? width - 1 - x : x;
      bool black = !inside || crop_x < left || crop_x >= right;
      for (int c = 0; c < channels; c++)
        row[x * channels + c] = normal->value[c][black ? 0 : from[(crop_x + draw->dx) * channels + c]];
    }
  }
  if (augment->cutout > 0) {
    int y0 = clamp(draw->cut_y - augment->cutout / 2, 0, height);
    int y1 = clamp(draw->cut_y - augment->cutout / 2 + augment->cutout, 0, height);
    int x0 = clamp(draw->cut_x - augment->cutout / 2, 0, width);
    int x1 = clamp(draw->cut_x - augment->cutout / 2 + augment->cutout, 0, width);
    for (int y = y0; y < y1; y++)
      memset(out + ((int64_t)y * width + x0) * channels, 0, (size_t)((x1 - x0) * channels) * sizeof *out);
  }
}
