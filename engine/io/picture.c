/* picture.c - see picture.h. What is common to the formats; each has a file of its own. */
#include "io/picture.h"

#include <string.h>

#include "base/memory.h"
#include "io/picture_codec.h"

struct CnPicture {
  CnJpeg *jpeg;
  CnPictureFile file;
};

CnErr cn_picture_new(CnPicture **out) {
  CnPicture *p = cn_alloc_zeroed(sizeof *p);
  if (!p) return CN_EMEMORY;
  CnErr e = cn_jpeg_new(&p->jpeg);
  if (e != CN_OK) cn_picture_free(p);
  else *out = p;
  return e;
}

void cn_picture_free(CnPicture *p) {
  if (!p) return;
  cn_jpeg_free(p->jpeg);
  cn_buffer_free(&p->file.strip);
  cn_free(p);
}

CnPictureFormat cn_picture_format(const void *data, size_t size) {
  if (size >= 3 && !memcmp(data, "\xFF\xD8\xFF", 3)) return CN_PICTURE_JPEG;
  if (size >= 8 && !memcmp(data, "\x89PNG\r\n\x1A\n", 8)) return CN_PICTURE_PNG;
  return CN_PICTURE_OTHER;
}

/* The file's first bytes as text, for a message: letters as they are, others in hexadecimal. */
static const char *first_bytes(const uint8_t *data, size_t size, char text[32]) {
  static const char digits[] = "0123456789abcdef";
  char *to = text;
  for (size_t i = 0; i < size && i < 6; i++) {
    if (data[i] > ' ' && data[i] < 127 && data[i] != '\\') {
      *to++ = (char)data[i];
      continue;
    }
    *to++ = '\\';
    *to++ = 'x';
    *to++ = digits[data[i] >> 4];
    *to++ = digits[data[i] & 15];
  }
  *to = 0;
  return text;
}

CnErr cn_picture_check_size(const CnPictureFile *file, uint64_t width, uint64_t height, uint64_t least_bytes) {
  if (width > CN_PICTURE_PIXELS / height)
    return cn_fail(CN_EDATA, "%s: it declares %llux%llu pixels; the limit is %d million", file->name,
                   (unsigned long long)width, (unsigned long long)height, CN_PICTURE_PIXELS >> 20);
  if (least_bytes > file->size)
    return cn_fail(CN_EDATA, "%s: it declares %llux%llu pixels, which take at least %llu bytes, but it has %zu; the "
                   "file is damaged", file->name, (unsigned long long)width, (unsigned long long)height,
                   (unsigned long long)least_bytes, file->size);
  return CN_OK;
}

CnErr cn_picture_open(CnPicture *p, CnPictureInfo *info, const void *data, size_t size, const char *name) {
  CnPictureFile *file = &p->file;
  CnPictureFormat format = cn_picture_format(data, size);
  *file = (CnPictureFile){ .data = data, .size = size, .name = name, .info.format = format, .strip = file->strip };
  char text[32];
  switch (format) {
    case CN_PICTURE_JPEG: CN_TRY(cn_jpeg_open(p->jpeg, file)); break;
    case CN_PICTURE_PNG: CN_TRY(cn_png_open(file)); break;
    default:
      if (size == 0) return cn_fail(CN_EDATA, "%s: expected a JPEG or PNG file, this one is empty", name);
      return cn_fail(CN_EDATA, "%s: expected a JPEG or PNG file, this one begins with '%s'", name,
                     first_bytes(data, size, text));
  }
  *info = file->info;
  return CN_OK;
}

CnErr cn_picture_decode(CnPicture *p, int shrink, const CnBox *box, CnRowSink sink, void *to) {
  CnPictureFile *file = &p->file;
  int width = (file->info.width + shrink - 1) / shrink, height = (file->info.height + shrink - 1) / shrink;
  if (box->x < 0 || box->y < 0 || box->width < 1 || box->height < 1 || box->width > width - box->x ||
      box->height > height - box->y)
    return cn_fail(CN_EUSAGE, "%s: the box %dx%d at (%d,%d) is not in the picture of %dx%d", file->name, box->width,
                   box->height, box->x, box->y, width, height);
  if (file->info.format == CN_PICTURE_JPEG) return cn_jpeg_decode(p->jpeg, file, shrink, box, sink, to);
  if (shrink != 1) return cn_fail(CN_EUSAGE, "%s: only a JPEG can be decoded at 1/%d", file->name, shrink);
  return cn_png_rows(file, box, sink, to);
}

int64_t cn_picture_warnings(const CnPicture *p) { return p->file.warnings; }

/* ---- EXIF ---- */

static unsigned number(const uint8_t *at, int bytes, bool big) {
  unsigned value = 0;
  for (int i = 0; i < bytes; i++) value |= (unsigned)at[i] << 8 * (big ? bytes - 1 - i : i);
  return value;
}

/* The orientation in a TIFF structure; 1 when there is none. */
static int tiff_orientation(const uint8_t *tiff, size_t size) {
  if (size < 8) return 1;
  bool big = tiff[0] == 'M';
  size_t at = number(tiff + 4, 4, big);
  if (at > size - 2) return 1;
  unsigned entries = number(tiff + at, 2, big);
  at += 2;
  for (unsigned i = 0; i < entries && size - at >= 12; i++, at += 12) {
    if (number(tiff + at, 2, big) != 0x0112) continue;
    unsigned value = number(tiff + at + 8, 2, big);
    return value >= 1 && value <= 8 ? (int)value : 1;
  }
  return 1;
}

int cn_picture_orientation(const void *data, size_t size) {
  const uint8_t *bytes = data;
  if (cn_picture_format(data, size) != CN_PICTURE_JPEG) return 1;
  for (size_t at = 2; size - at >= 4 && bytes[at] == 0xFF && bytes[at + 1] != 0xDA;) {
    size_t length = number(bytes + at + 2, 2, true);
    if (length < 2 || length > size - at - 2) return 1;
    if (bytes[at + 1] == 0xE1 && length >= 8 && !memcmp(bytes + at + 4, "Exif\0\0", 6))
      return tiff_orientation(bytes + at + 10, length - 8);
    at += 2 + length;
  }
  return 1;
}
