/* picture_codec.h - what picture.c asks of the reader of each format. Each keeps the libraries' longjmp to itself. */
#ifndef CN_PICTURE_CODEC_H
#define CN_PICTURE_CODEC_H

#include "io/picture.h"

/* Bytes of a file that is being read, and the strip of rows it is decoded through. */
typedef struct CnPictureFile {
  const uint8_t *data;
  size_t size;
  const char *name;
  CnPictureInfo info;
  CnBuffer strip;
  int64_t warnings;
} CnPictureFile;

/* CN_EDATA that says how many pixels are too many. */
CnErr cn_picture_check_size(const CnPictureFile *file, uint64_t width, uint64_t height, uint64_t least_bytes);

typedef struct CnJpeg CnJpeg;
CnErr cn_jpeg_new(CnJpeg **out);
void cn_jpeg_free(CnJpeg *jpeg); /* NULL is allowed */
CnErr cn_jpeg_open(CnJpeg *jpeg, CnPictureFile *file);
CnErr cn_jpeg_decode(CnJpeg *jpeg, CnPictureFile *file, int shrink, const CnBox *box, CnRowSink sink, void *to);

/* PNG keeps nothing: header and pixels are read in two runs. */
CnErr cn_png_open(CnPictureFile *file);
CnErr cn_png_rows(CnPictureFile *file, const CnBox *box, CnRowSink sink, void *to);

#endif
