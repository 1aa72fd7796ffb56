/* fuzz_jpeg.c - any bytes as a photograph, JPEG above all: its middle, a part of it at a fraction of its size, and all
** of it. */
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"
#include "data/photo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(CnErr e) {
  if (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  int64_t blocks = cn_memory_stats().blocks_live, warnings;
  CnPhotoSettings random = cn_photo_training, middle = cn_photo_evaluation;
  random.size = middle.size = 16;
  middle.resize = 20;
  CnPhoto *photo;
  CnPictureInfo info;
  const uint8_t *pixels;
  if (cn_photo_new(&photo) != CN_OK) return 0;
  for (int way = 0; way < 3; way++) {
    CnErr e = cn_photo_open(photo, &info, data, size, "input");
    check(e);
    if (e != CN_OK) break;
    if ((int64_t)info.width * info.height > 1 << 20) break; /* slow, not wrong */
    const CnPhotoSettings *s = way ? &random : &middle;
    CnPhotoDraw draw = cn_photo_draw(s, cn_rng_named(size, "fuzz"), 1, 1, info.width, info.height);
    check(way < 2 ? cn_photo_pixels(&pixels, photo, s, &draw) : cn_photo_try(&warnings, photo));
  }
  if (cn_picture_orientation(data, size) < 1) abort();
  cn_photo_free(photo);
  if (cn_memory_stats().blocks_live != blocks) abort();
  return 0;
}
