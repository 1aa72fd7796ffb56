/* augment.c - see augment.h. A row of the result is at most three runs: black, pixels (perhaps backwards), black. */
#include "data/augment.h"

#include <string.h>

void cn_normal_init(CnNormal *normal, const CnImages *images) {
  for (int c = 0; c < images->channels; c++)
    for (int b = 0; b < 256; b++) normal->value[c][b] = ((float)b / 255.0f - images->mean[c]) / images->std[c];
}

static int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

/* `count` pixels from `in` on, or, backwards, from `in` down, through the tables. Three channels are worth a loop of
** their own: it is where the loader spends its time. */
static void put_pixels(float *out, const uint8_t *in, int count, int channels, bool backwards, const CnNormal *normal) {
  int step = backwards ? -channels : channels;
  if (channels == 3) {
    for (int x = 0; x < count; x++, in += step, out += 3) {
      out[0] = normal->value[0][in[0]];
      out[1] = normal->value[1][in[1]];
      out[2] = normal->value[2][in[2]];
    }
    return;
  }
  for (int x = 0; x < count; x++, in += step, out += channels)
    for (int c = 0; c < channels; c++) out[c] = normal->value[c][in[c]];
}

static void put_black(float *out, int count, int channels, const CnNormal *normal) {
  for (int x = 0; x < count; x++, out += channels)
    for (int c = 0; c < channels; c++) out[c] = normal->value[c][0];
}

void cn_augment_image(float *out, const uint8_t *in, int height, int width, int channels, const CnAugment *augment,
                      const CnAugmentDraw *draw, const CnNormal *normal) {
  /* Columns of the crop that lie in the image: [left, left + count), in the flipped result [first, first + count). */
  int left = clamp(-draw->dx, 0, width), count = clamp(width - draw->dx, 0, width) - left;
  int first = draw->flip ? width - left - count : left;
  for (int y = 0; y < height; y++) {
    float *row = out + (int64_t)y * width * channels;
    int from_y = y + draw->dy;
    if (from_y < 0 || from_y >= height || count == 0) {
      put_black(row, width, channels, normal);
      continue;
    }
    int from_x = left + draw->dx + (draw->flip ? count - 1 : 0);
    const uint8_t *from = in + ((int64_t)from_y * width + from_x) * channels;
    put_black(row, first, channels, normal);
    put_pixels(row + (int64_t)first * channels, from, count, channels, draw->flip, normal);
    put_black(row + (int64_t)(first + count) * channels, width - first - count, channels, normal);
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
