/* photo.c - see photo.h. Rows go from the decoder into the resizer as they come; what is left is a square of bytes. */
#include "data/photo.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/resize.h"

const CnPhotoSettings cn_photo_training = { .size = 224, .random = true, .resize = 256, .scale = { 0.08, 1.0 },
                                            .ratio = { 3.0 / 4.0, 4.0 / 3.0 }, .flip = true,
                                            .jitter = { 0.4, 0.4, 0.4, 0.2 } };
const CnPhotoSettings cn_photo_evaluation = { .size = 224, .resize = 256, .scale = { 0.08, 1.0 },
                                              .ratio = { 3.0 / 4.0, 4.0 / 3.0 } };

CnErr cn_photo_check(const CnPhotoSettings *s) {
  if (s->size < 1 || s->size > CN_PHOTO_MOST)
    return cn_fail(CN_EUSAGE, "augment: size must be from 1 to %d, got %d", CN_PHOTO_MOST, s->size);
  if (!s->random && (s->resize < s->size || s->resize > CN_PHOTO_MOST))
    return cn_fail(CN_EUSAGE, "augment: resize must be from size (%d) to %d, got %d", s->size, CN_PHOTO_MOST,
                   s->resize);
  if (!(s->scale[0] > 0 && s->scale[0] <= s->scale[1] && s->scale[1] <= 1))
    return cn_fail(CN_EUSAGE, "augment: scale must be two numbers with 0 < first <= second <= 1, got %g and %g",
                   s->scale[0], s->scale[1]);
  if (!(s->ratio[0] >= 0.01 && s->ratio[0] <= s->ratio[1] && s->ratio[1] <= 100))
    return cn_fail(CN_EUSAGE, "augment: ratio must be two numbers with 0.01 <= first <= second <= 100, got %g and %g",
                   s->ratio[0], s->ratio[1]);
  for (int j = 0; j < CN_JITTERS; j++)
    if (!(s->jitter[j] >= 0 && s->jitter[j] <= (j == CN_HUE ? 0.5 : 1e3)))
      return cn_fail(CN_EUSAGE, "augment: jitter must be four numbers from 0 on, the fourth up to 0.5; number %d is %g",
                     j + 1, s->jitter[j]);
  if (s->cutout < 0 || s->cutout > 2 * s->size)
    return cn_fail(CN_EUSAGE, "augment: cutout must be from 0 to %d, got %d", 2 * s->size, s->cutout);
  return CN_OK;
}

/* ---- Draws ---- */

/* Block number `block` of the random numbers of an image; block 0 is that of small images. */
static void draw_block(uint32_t u[4], CnRng stream, uint64_t counter, uint64_t block) {
  cn_philox(u, stream.seed, stream.stream + block * 0x9E3779B97F4A7C15u, counter);
}

static double between(uint32_t u, double low, double high) { return low + (high - low) * ((double)u * 0x1p-32); }

/* 0 … n-1. */
static int below(uint32_t u, int n) { return (int)(((uint64_t)u * (uint32_t)n) >> 32); }

/* The largest part in the middle that has a legal ratio. */
static CnBox middle_part(const CnPhotoSettings *s, int width, int height) {
  CnBox part = { .width = width, .height = height };
  double ratio = (double)width / height;
  if (ratio < s->ratio[0]) part.height = (int)rint(width / s->ratio[0]);
  else if (ratio > s->ratio[1]) part.width = (int)rint(height * s->ratio[1]);
  if (part.width < 1) part.width = 1;
  if (part.height < 1) part.height = 1;
  part.x = (width - part.width) / 2;
  part.y = (height - part.height) / 2;
  return part;
}

/* Area and logarithm of the ratio are drawn evenly, ten times at most until the part fits. */
static CnBox draw_part(const CnPhotoSettings *s, CnRng stream, uint64_t counter, int width, int height) {
  double area = (double)width * height, low = log(s->ratio[0]), high = log(s->ratio[1]);
  for (uint64_t attempt = 0; attempt < 10; attempt++) {
    uint32_t u[4];
    draw_block(u, stream, counter, 3 + attempt);
    double wanted = area * between(u[0], s->scale[0], s->scale[1]), ratio = exp(between(u[1], low, high));
    double w = rint(sqrt(wanted * ratio)), h = rint(sqrt(wanted / ratio));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    return (CnBox){ below(u[3], width - (int)w + 1), below(u[2], height - (int)h + 1), (int)w, (int)h };
  }
  return middle_part(s, width, height);
}

/* Which colours are changed, in random order, and by how much. */
static void draw_changes(CnPhotoDraw *draw, const CnPhotoSettings *s, CnRng stream, uint64_t counter) {
  uint32_t u[4], order[4];
  draw_block(u, stream, counter, 1);
  draw_block(order, stream, counter, 2);
  for (int j = 0; j < CN_JITTERS; j++) {
    if (s->jitter[j] <= 0) continue;
    double least = j == CN_HUE ? -s->jitter[j] : s->jitter[j] < 1 ? 1 - s->jitter[j] : 0;
    int at = below(order[j], draw->changes + 1); /* changes place with one that is there already, or with itself */
    draw->change[draw->changes] = draw->change[at];
    draw->factor[draw->changes] = draw->factor[at];
    draw->change[at] = (CnJitter)j;
    draw->factor[at] = between(u[j], least, j == CN_HUE ? s->jitter[j] : 1 + s->jitter[j]);
    draw->changes++;
  }
}

CnPhotoDraw cn_photo_draw(const CnPhotoSettings *s, CnRng stream, int64_t pass, int64_t position, int width,
                          int height) {
  uint64_t counter = (uint64_t)pass << 32 | (uint64_t)position;
  CnAugment small = { .flip = s->flip, .cutout = s->cutout };
  CnPhotoDraw draw = { .rest = cn_augment_draw(&small, stream, pass, position, s->size, s->size) };
  if (s->random) draw.part = draw_part(s, stream, counter, width, height);
  draw_changes(&draw, s, stream, counter);
  return draw;
}

/* ---- Pixels ---- */

struct CnPhoto {
  CnPicture *picture;
  CnPictureInfo info;
  CnResize resize;
  CnBuffer square;
};

CnErr cn_photo_new(CnPhoto **out) {
  CnPhoto *p = cn_alloc_zeroed(sizeof *p);
  if (!p) return CN_EMEMORY;
  CnErr e = cn_picture_new(&p->picture);
  if (e != CN_OK) cn_photo_free(p);
  else *out = p;
  return e;
}

void cn_photo_free(CnPhoto *p) {
  if (!p) return;
  cn_picture_free(p->picture);
  cn_resize_free(&p->resize);
  cn_buffer_free(&p->square);
  cn_free(p);
}

CnErr cn_photo_open(CnPhoto *p, CnPictureInfo *info, const void *data, size_t size, const char *name) {
  CN_TRY(cn_picture_open(p->picture, &p->info, data, size, name));
  *info = p->info;
  return CN_OK;
}

static void into_resize(void *to, const uint8_t *rows, ptrdiff_t stride, int y, int count) {
  cn_resize_rows(to, rows, stride, y, count);
}

/* Resizes a part of the picture, which was made `shrink` times smaller, to what the axes say; they count from (x,y). */
static CnErr resize_part(CnPhoto *p, int shrink, int x, int y, const CnAxis *across, const CnAxis *down) {
  CnResize *r = &p->resize;
  CN_TRY(cn_resize_begin(r, across, down));
  CnBox box = { x + r->left, y + r->top, r->right - r->left, r->bottom - r->top };
  CN_TRY(cn_picture_decode(p->picture, shrink, &box, into_resize, r));
  CN_TRY(cn_buffer_room(&p->square, 3 * (size_t)across->count * (size_t)down->count + CN_IMAGE_SLACK));
  cn_resize_end(r, p->square.data);
  return CN_OK;
}

/* The shorter side made `resize`, the longer in proportion, and of that the middle. */
static CnErr evaluate(CnPhoto *p, const CnPhotoSettings *s) {
  int width = p->info.width, height = p->info.height, shorter = width < height ? width : height;
  CnAxis axis[2];
  for (int d = 0; d < 2; d++) {
    int size = d == 0 ? width : height;
    double longer = (double)s->resize * size / shorter;
    int result = size == shorter ? s->resize : (int)longer;
    axis[d] = (CnAxis){ .size = size, .to = size, .result = result, .first = (int)rint((result - s->size) / 2.0),
                        .count = s->size };
  }
  return resize_part(p, 1, 0, 0, &axis[0], &axis[1]);
}

/* How much smaller than it is a JPEG may be decoded for a part. */
static int shrink_for(const CnPhoto *p, const CnPhotoSettings *s, const CnBox *part) {
  int shrink = 1, least = part->width < part->height ? part->width : part->height;
  if (s->exact || p->info.format != CN_PICTURE_JPEG) return 1;
  while (shrink < 8 && least >= s->size * 2 * shrink * CN_PHOTO_SHRINK) shrink *= 2;
  return shrink;
}

/* A stretch of `length` pixels from `start` on, in a picture of `size` that is made `shrink` times smaller. *first is
** where the axis begins. */
static CnAxis shrunk_axis(int start, int length, int size, int shrink, int result, int *first) {
  double from = (double)start / shrink, to = (double)(start + length) / shrink;
  int low = (int)floor(from), high = (int)ceil(to), most = (size + shrink - 1) / shrink;
  if (high > most) high = most;
  *first = low;
  return (CnAxis){ .size = high - low, .from = from - low, .to = to - low, .result = result, .count = result };
}

static CnErr resize_random(CnPhoto *p, const CnPhotoSettings *s, const CnBox *part) {
  int shrink = shrink_for(p, s, part), x, y;
  CnAxis across = shrunk_axis(part->x, part->width, p->info.width, shrink, s->size, &x);
  CnAxis down = shrunk_axis(part->y, part->height, p->info.height, shrink, s->size, &y);
  return resize_part(p, shrink, x, y, &across, &down);
}

static void change_colour(uint8_t *rgb, int64_t pixels, CnJitter change, double factor) {
  const CnImageKernels *kernels = cn_image_kernels();
  switch (change) {
    case CN_BRIGHTNESS: kernels->blend(rgb, 3 * pixels, 0, (float)factor); break;
    case CN_CONTRAST: {
      double mean = (double)kernels->grey_sum(rgb, pixels) / (double)pixels;
      kernels->blend(rgb, 3 * pixels, (int)(mean + 0.5), (float)factor);
      break;
    }
    case CN_SATURATION: kernels->saturate(rgb, pixels, (float)factor); break;
    default: kernels->turn_hue(rgb, pixels, (uint8_t)(int)(factor * 255)); break;
  }
}

CnErr cn_photo_pixels(const uint8_t **out, CnPhoto *p, const CnPhotoSettings *s, const CnPhotoDraw *draw) {
  CN_TRY(s->random ? resize_random(p, s, &draw->part) : evaluate(p, s));
  for (int j = 0; j < draw->changes; j++)
    change_colour(p->square.data, (int64_t)s->size * s->size, draw->change[j], draw->factor[j]);
  *out = p->square.data;
  return CN_OK;
}

typedef struct Whole {
  uint8_t *out;
  size_t row_bytes;
} Whole;

static void into_whole(void *to, const uint8_t *rows, ptrdiff_t stride, int y, int count) {
  Whole *w = to;
  for (int i = 0; i < count; i++) memcpy(w->out + w->row_bytes * (size_t)(y + i), rows + stride * i, w->row_bytes);
}

CnErr cn_photo_whole(uint8_t *out, CnPhoto *p) {
  Whole w = { out, 3 * (size_t)p->info.width };
  CnBox box = { .width = p->info.width, .height = p->info.height };
  return cn_picture_decode(p->picture, 1, &box, into_whole, &w);
}

static void into_nothing(void *to, const uint8_t *rows, ptrdiff_t stride, int y, int count) {
  (void)to, (void)rows, (void)stride, (void)y, (void)count;
}

CnErr cn_photo_try(int64_t *warnings, CnPhoto *p) {
  CnBox box = { .width = p->info.width, .height = p->info.height };
  CN_TRY(cn_picture_decode(p->picture, 1, &box, into_nothing, NULL));
  *warnings = cn_picture_warnings(p->picture);
  return CN_OK;
}
