/* photo.h - what a photograph goes through on its way to a network, from the bytes of its file: torchvision's
** transforms on PIL images.
**
** Training: a random part, resized to a square (RandomResizedCrop), left and right exchanged for every second image,
** brightness, contrast, saturation and hue changed at random in random order (ColorJitter), normalised, cutout.
** Evaluation: the shorter side resized, the middle cut out. As for small images (augment.h), drawing and applying are
** two functions, and the draws depend on seed, stream, pass and position alone.
** Bytes equal PIL's, with one exception: in training a JPEG of whose part at least CN_PHOTO_SHRINK times more pixels
** than needed would come, in both directions, is decoded at 1/2, 1/4 or 1/8 (unless `exact`), by which about one byte
** in a hundred is off by more than a grey level or two. */
#ifndef CN_PHOTO_H
#define CN_PHOTO_H

#include "data/augment.h"
#include "io/picture.h"

#define CN_PHOTO_SHRINK 2
#define CN_PHOTO_MOST 4096 /* the largest size */

typedef enum CnJitter { CN_BRIGHTNESS, CN_CONTRAST, CN_SATURATION, CN_HUE, CN_JITTERS } CnJitter;

typedef struct CnPhotoSettings {
  int size;         /* height and width of the result */
  bool random;      /* a random part; else the middle, after the shorter side was made `resize` */
  int resize;       /* at least `size` */
  double scale[2];  /* the random part's area, of the picture's: from, to */
  double ratio[2];  /* its width, of its height */
  bool flip;
  double jitter[CN_JITTERS]; /* factors from 1 - j to 1 + j; hue is turned by -h … h of the circle; 0: left alone */
  int cutout;       /* side of a square of zeros; 0: none */
  bool exact;
} CnPhotoSettings;

extern const CnPhotoSettings cn_photo_training;   /* the published one for ImageNet, without cutout */
extern const CnPhotoSettings cn_photo_evaluation; /* 256, 224 */

/* CN_EUSAGE when they cannot be. */
CnErr cn_photo_check(const CnPhotoSettings *settings);

typedef struct CnPhotoDraw {
  CnBox part; /* of the picture; only when random */
  CnAugmentDraw rest; /* flip and cutout */
  int changes;        /* of colours */
  CnJitter change[CN_JITTERS];
  double factor[CN_JITTERS]; /* by change */
} CnPhotoDraw;

/* The draws for one image of this size. `stream` gives seed and stream; position < 2^32. */
CnPhotoDraw cn_photo_draw(const CnPhotoSettings *settings, CnRng stream, int64_t pass, int64_t position, int width,
                          int height);

/* A thread's decoder and buffers. */
typedef struct CnPhoto CnPhoto;
CnErr cn_photo_new(CnPhoto **out);
void cn_photo_free(CnPhoto *photo); /* NULL is allowed */

/* Opens a file's bytes, which must stay: its size is needed for the draws. */
CnErr cn_photo_open(CnPhoto *photo, CnPictureInfo *info, const void *data, size_t size, const char *name);
/* The open picture as (size,size,3) bytes, neither flipped nor cut out, which the next call overwrites. */
CnErr cn_photo_pixels(const uint8_t **out, CnPhoto *photo, const CnPhotoSettings *settings, const CnPhotoDraw *draw);
/* The whole open picture, (height,width,3). */
CnErr cn_photo_whole(uint8_t *out, CnPhoto *photo);
/* Decodes all of the open picture and keeps nothing; how many faults were passed over. */
CnErr cn_photo_try(int64_t *warnings, CnPhoto *photo);

#endif
