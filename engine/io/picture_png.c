/* picture_png.c - PNG through libpng, with the samples that PIL's convert("RGB") makes of them. Files that are not
** interlaced go through a strip of one row. libpng reports errors by longjmp: everything that must be freed is in the
** job. */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/picture_codec.h"

#define CHUNK_LIMIT (8u << 20) /* bytes that one ancillary chunk may unpack to */

typedef struct Job {
  jmp_buf landing;
  char reason[160];
  bool memory;
  const uint8_t *in;
  size_t left;
  CnPictureFile *file;
  const CnBox *box; /* NULL: the header alone */
  CnRowSink sink;
  void *to;
  png_bytep *rows; /* of the whole picture, when it is interlaced */
} Job;

static void on_error(png_structp png, png_const_charp reason) {
  Job *job = png_get_error_ptr(png);
  snprintf(job->reason, sizeof job->reason, "%s", reason);
  longjmp(job->landing, 1);
}

static void on_warning(png_structp png, png_const_charp reason) {
  Job *job = png_get_error_ptr(png);
  job->file->warnings++;
  (void)reason;
}

static void on_read(png_structp png, png_bytep to, size_t size) {
  Job *job = png_get_io_ptr(png);
  if (size > job->left) png_error(png, "the file ends too early");
  memcpy(to, job->in, size);
  job->in += size;
  job->left -= size;
}

static void describe(CnPictureInfo *info, png_structp png, png_infop header) {
  int type = png_get_color_type(png, header);
  info->width = (int)png_get_image_width(png, header);
  info->height = (int)png_get_image_height(png, header);
  info->bits = png_get_bit_depth(png, header);
  info->alpha = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, header, PNG_INFO_tRNS) != 0;
  info->progressive = png_get_interlace_type(png, header) != PNG_INTERLACE_NONE;
  info->colour = type == PNG_COLOR_TYPE_PALETTE ? CN_PICTURE_PALETTE
                 : (type & PNG_COLOR_MASK_COLOR) ? CN_PICTURE_RGB : CN_PICTURE_GREY;
}

/* Grey of 16 bits without alpha is the one kind that libpng does not turn into what PIL shows. */
static bool is_deep_grey(const CnPictureInfo *info, int type) {
  return info->bits == 16 && type == PNG_COLOR_TYPE_GRAY;
}

static void ask_rgb(png_structp png, png_infop header, const CnPictureInfo *info) {
  int type = png_get_color_type(png, header);
  if (is_deep_grey(info, type)) return;
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (type == PNG_COLOR_TYPE_GRAY && info->bits < 8) png_set_expand_gray_1_2_4_to_8(png);
  if (info->bits == 16) png_set_strip_16(png);
  if (!(type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
}

/* A row of big-endian 16-bit grey to RGB: cut off at 255. Backwards, so that it may be in the same place. */
static void deep_grey_to_rgb(uint8_t *to, const uint8_t *from, int width) {
  for (int x = width - 1; x >= 0; x--) {
    uint8_t v = from[2 * x] ? 255 : from[2 * x + 1];
    to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = v;
  }
}

/* Room for `rows` rows of RGB, and their addresses when there are several. */
static bool make_room(Job *job, int rows, size_t row_bytes) {
  if (cn_buffer_room(&job->file->strip, row_bytes * (size_t)rows + 64) != CN_OK) return false;
  if (rows == 1) return true;
  if (!(job->rows = cn_alloc((size_t)rows * sizeof *job->rows))) return false;
  for (int y = 0; y < rows; y++) job->rows[y] = (png_bytep)job->file->strip.data + row_bytes * (size_t)y;
  return true;
}

static void give(Job *job, uint8_t *row, int y, bool deep_grey) {
  const CnBox *box = job->box;
  if (deep_grey) deep_grey_to_rgb(row, row, job->file->info.width);
  if (y >= box->y && y < box->y + box->height) job->sink(job->to, row + 3 * box->x, 0, y - box->y, 1);
}

static CnErr read_jumping(Job *job, png_structp png, png_infop header) {
  if (setjmp(job->landing)) return job->memory ? CN_EMEMORY : CN_EDATA;
  CnPictureInfo *info = &job->file->info;
  png_set_read_fn(png, job, on_read);
  png_set_user_limits(png, 0x7fffffff, 0x7fffffff); /* sizes are checked when the header is known */
  png_set_chunk_malloc_max(png, CHUNK_LIMIT);
  png_read_info(png, header);
  describe(info, png, header);
  if (!job->box) return CN_OK;
  bool deep_grey = is_deep_grey(info, png_get_color_type(png, header));
  ask_rgb(png, header, info);
  int passes = png_set_interlace_handling(png);
  png_read_update_info(png, header);
  size_t row_bytes = 3 * (size_t)info->width;
  if (png_get_rowbytes(png, header) > row_bytes) png_error(png, "its rows are longer than expected");
  job->memory = !make_room(job, passes > 1 ? info->height : 1, row_bytes);
  if (job->memory) png_error(png, "out of memory");
  if (passes > 1) png_read_image(png, job->rows);
  for (int y = 0; y < info->height; y++) {
    uint8_t *row = job->rows ? job->rows[y] : job->file->strip.data;
    if (passes == 1) png_read_row(png, row, NULL);
    give(job, row, y, deep_grey);
  }
  png_read_end(png, NULL);
  return CN_OK;
}

static CnErr read(Job *job) {
  CnPictureFile *file = job->file;
  job->in = file->data;
  job->left = file->size;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, job, on_error, on_warning);
  png_infop header = png ? png_create_info_struct(png) : NULL;
  if (!header) {
    png_destroy_read_struct(&png, NULL, NULL);
    return cn_fail(CN_EMEMORY, "%s: out of memory in libpng", file->name);
  }
  CnErr e = read_jumping(job, png, header);
  png_destroy_read_struct(&png, &header, NULL);
  cn_free(job->rows);
  return e == CN_EDATA ? cn_fail(e, "%s: damaged or unusable PNG file: %s", file->name, job->reason) : e;
}

CnErr cn_png_open(CnPictureFile *file) {
  Job job = { .file = file };
  CN_TRY(read(&job));
  /* Deflate makes at most 1032 bytes of one. */
  uint64_t pixels = (uint64_t)file->info.width * (uint64_t)file->info.height;
  return cn_picture_check_size(file, (uint64_t)file->info.width, (uint64_t)file->info.height,
                               pixels * (uint64_t)file->info.bits / 8 / 1032);
}

CnErr cn_png_rows(CnPictureFile *file, const CnBox *box, CnRowSink sink, void *to) {
  Job job = { .file = file, .box = box, .sink = sink, .to = to };
  file->warnings = 0;
  return read(&job);
}
