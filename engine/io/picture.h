/* picture.h - photographs in JPEG and PNG files, told apart by their first bytes, as PIL's convert("RGB") shows them.
**
** That is: CMYK is taken as Adobe writes it, inverted; what EXIF says about turning the camera is not obeyed; alpha is
** dropped; grey of 16 bits is cut off at 255, colour of 16 bits keeps its high byte. Only the part that is wanted is
** decoded, and given away row by row. Damage that PIL takes with a warning is taken too and counted; what PIL refuses
** is refused. So are files that promise more pixels than CN_PICTURE_PIXELS, or than their bytes can hold. */
#ifndef CN_PICTURE_H
#define CN_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define CN_PICTURE_PIXELS (64 << 20) /* the largest picture that is read */

typedef enum CnPictureFormat { CN_PICTURE_OTHER, CN_PICTURE_JPEG, CN_PICTURE_PNG } CnPictureFormat;
typedef enum CnPictureColour { CN_PICTURE_GREY, CN_PICTURE_RGB, CN_PICTURE_CMYK, CN_PICTURE_PALETTE } CnPictureColour;

typedef struct CnPictureInfo {
  CnPictureFormat format;
  CnPictureColour colour;
  int width, height;
  int bits;        /* of a sample */
  bool alpha;
  bool progressive; /* or interlaced: can only be decoded whole */
} CnPictureInfo;

typedef struct CnBox {
  int x, y, width, height;
} CnBox;

/* Takes `count` rows of the box, from its row `y` on, `stride` bytes apart, each of box.width RGB pixels; 64 bytes
** behind the last row are readable. */
typedef void (*CnRowSink)(void *to, const uint8_t *rows, ptrdiff_t stride, int y, int count);

/* A decoder: for one file after the other, by one thread. */
typedef struct CnPicture CnPicture;
CnErr cn_picture_new(CnPicture **out);
void cn_picture_free(CnPicture *picture); /* NULL is allowed */

/* Reads the header. The bytes and the name, which messages begin with, must stay until the next call. Failures that
** are the file's are CN_EDATA. */
CnErr cn_picture_open(CnPicture *picture, CnPictureInfo *info, const void *data, size_t size, const char *name);
/* Decodes the rows of a box that lies in the picture; a JPEG at a `shrink`-th of its size, 1, 2, 4 or 8, when box and
** picture are that much smaller (rounded up). Once after each open. */
CnErr cn_picture_decode(CnPicture *picture, int shrink, const CnBox *box, CnRowSink sink, void *to);
/* Faults of the data, since it was opened, that decoding went on after. */
int64_t cn_picture_warnings(const CnPicture *picture);

CnPictureFormat cn_picture_format(const void *data, size_t size); /* by the first bytes */
/* What EXIF says about the camera's orientation, 1 (upright) to 8; 1 when nothing. */
int cn_picture_orientation(const void *data, size_t size);
bool cn_picture_reads_jpeg(void); /* whether this build does */

#endif
