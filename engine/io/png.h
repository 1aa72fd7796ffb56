/* png.h - PNG images to and from tensors of bytes, (H,W,C) with C = 1 grey, 3 RGB or 4 RGBA.
**
** Every PNG can be read: 16-bit samples are rounded to 8, palettes become colours, grey with transparency becomes RGBA.
** Values are taken as they stand; gamma and colour profiles are ignored, as data sets expect. */
#ifndef CN_PNG_H
#define CN_PNG_H

#include "tensor/tensor.h"

#define CN_PNG_PIXELS (64u << 20) /* the largest image that is read or written */

CnErr cn_png_load(CnTensor **out, const char *path);
/* `name` is used in messages. Failures are CN_EDATA. */
CnErr cn_png_decode(CnTensor **out, const void *data, size_t size, const char *name);
CnErr cn_png_save(const char *path, const CnTensor *image);
/* A whole PNG file in a new block (cn_free). The same image gives the same bytes. */
CnErr cn_png_encode(char **out, size_t *size, const CnTensor *image);

#endif
