/* png.c - see png.h. libpng reports errors by longjmp: the functions that set the jump keep everything that must be
** freed in a structure of their caller, so that nothing is lost between a jump and its landing. */
#include "io/png.h"

#include <png.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/file.h"

#define CHUNK_LIMIT (8u << 20) /* bytes that one ancillary chunk may unpack to */
#define FILE_LIMIT (1u << 30)

/* What libpng's callbacks reach through its error and io pointers. */
typedef struct Job {
  jmp_buf landing;
  char reason[160];
  const char *in; /* reading: the file's bytes that are left */
  size_t left;
  char *out; /* writing: a block that grows */
  size_t size, room;
  bool memory; /* an allocation failed, and its message stands */
  CnTensor *image;
  png_bytep *rows;
} Job;

static void on_error(png_structp png, png_const_charp reason) {
  Job *job = png_get_error_ptr(png);
  snprintf(job->reason, sizeof job->reason, "%s", reason);
  longjmp(job->landing, 1);
}

static void on_warning(png_structp png, png_const_charp reason) { (void)png, (void)reason; }

static void on_read(png_structp png, png_bytep to, size_t size) {
  Job *job = png_get_io_ptr(png);
  if (size > job->left) png_error(png, "the file ends too early");
  memcpy(to, job->in, size);
  job->in += size;
  job->left -= size;
}

static void on_write(png_structp png, png_bytep from, size_t size) {
  Job *job = png_get_io_ptr(png);
  if (size > job->room - job->size) {
    size_t room = 2 * job->room + size + 4096;
    char *grown = cn_alloc(room);
    if (!grown) {
      job->memory = true;
      png_error(png, "out of memory");
    }
    if (job->size) memcpy(grown, job->out, job->size);
    cn_free(job->out);
    job->out = grown;
    job->room = room;
  }
  memcpy(job->out + job->size, from, size);
  job->size += size;
}

static void on_flush(png_structp png) { (void)png; }

/* Addresses of the image's rows, `row_bytes` apart. */
static CnErr make_rows(Job *job, size_t height, size_t row_bytes) {
  job->rows = cn_alloc(height * sizeof *job->rows);
  if (!job->rows) return CN_EMEMORY;
  png_bytep first = cn_tensor_data(job->image);
  for (size_t i = 0; i < height; i++) job->rows[i] = first + i * row_bytes;
  return CN_OK;
}

/* ---- reading ---- */

/* Asks for 8-bit grey, RGB or RGBA whatever the file holds. */
static void ask_bytes(png_structp png, png_infop info) {
  int type = png_get_color_type(png, info);
  bool transparent = png_get_valid(png, info, PNG_INFO_tRNS) != 0 || (type & PNG_COLOR_MASK_ALPHA);
  png_set_expand(png);
  png_set_scale_16(png);
  if (transparent && !(type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
}

static CnErr read_jumping(Job *job, png_structp png, png_infop info) {
  if (setjmp(job->landing)) return job->memory ? CN_EMEMORY : CN_EDATA;
  png_set_read_fn(png, job, on_read);
  png_set_user_limits(png, CN_PNG_PIXELS, CN_PNG_PIXELS);
  png_set_chunk_malloc_max(png, CHUNK_LIMIT);
  png_read_info(png, info);
  size_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  if (width > CN_PNG_PIXELS / height) png_error(png, "more than 64 million pixels");
  ask_bytes(png, info);
  int64_t shape[3] = { (int64_t)height, (int64_t)width, png_get_channels(png, info) };
  job->memory = cn_tensor_new(&job->image, CN_U8, CN_DEVICE_CPU, 3, shape) != CN_OK ||
                make_rows(job, height, png_get_rowbytes(png, info)) != CN_OK;
  if (job->memory) png_error(png, "out of memory");
  png_read_image(png, job->rows);
  png_read_end(png, NULL);
  return CN_OK;
}

CnErr cn_png_decode(CnTensor **out, const void *data, size_t size, const char *name) {
  Job job = { .in = data, .left = size };
  if (size < 8 || png_sig_cmp(data, 0, 8)) return cn_fail(CN_EDATA, "%s: not a PNG file", name);
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) {
    png_destroy_read_struct(&png, NULL, NULL);
    return cn_fail(CN_EMEMORY, "%s: out of memory in libpng", name);
  }
  CnErr e = read_jumping(&job, png, info);
  png_destroy_read_struct(&png, &info, NULL);
  cn_free(job.rows);
  if (e == CN_OK) {
    *out = job.image;
    return CN_OK;
  }
  cn_tensor_unref(job.image);
  return e == CN_EMEMORY ? e : cn_fail(CN_EDATA, "%s: damaged or unusable PNG file: %s", name, job.reason);
}

CnErr cn_png_load(CnTensor **out, const char *path) {
  char *data;
  size_t size;
  CN_TRY(cn_file_read(&data, &size, path, FILE_LIMIT));
  CnErr e = cn_png_decode(out, data, size, path);
  cn_free(data);
  return e;
}

/* ---- writing ---- */

static CnErr write_jumping(Job *job, png_structp png, png_infop info) {
  static const int color[5] = { [1] = PNG_COLOR_TYPE_GRAY, [3] = PNG_COLOR_TYPE_RGB, [4] = PNG_COLOR_TYPE_RGB_ALPHA };
  if (setjmp(job->landing)) return job->memory ? CN_EMEMORY : CN_EIO;
  const int64_t *shape = job->image->shape; /* (H,W,C) */
  png_set_write_fn(png, job, on_write, on_flush);
  png_set_user_limits(png, CN_PNG_PIXELS, CN_PNG_PIXELS);
  png_set_IHDR(png, info, (png_uint_32)shape[1], (png_uint_32)shape[0], 8, color[shape[2]], PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  job->memory = make_rows(job, (size_t)shape[0], (size_t)(shape[1] * shape[2])) != CN_OK;
  if (job->memory) png_error(png, "out of memory");
  png_write_image(png, job->rows);
  png_write_end(png, NULL);
  return CN_OK;
}

static CnErr check_image(const CnTensor *image) {
  char text[160];
  const int64_t *shape = image->shape;
  if (image->dtype != CN_U8) return cn_fail(CN_EUSAGE, "png: image must be u8, got %s", cn_dtype_name(image->dtype));
  if (image->ndim != 3 || (shape[2] != 1 && shape[2] != 3 && shape[2] != 4) || shape[0] < 1 || shape[1] < 1)
    return cn_fail(CN_EUSAGE, "png: image must be (H,W,C) with C 1, 3 or 4, got %s",
                   cn_shape_text(image->ndim, shape, text));
  if (shape[0] > CN_PNG_PIXELS / shape[1])
    return cn_fail(CN_EUSAGE, "png: image %s has more than 64 million pixels", cn_shape_text(image->ndim, shape, text));
  return CN_OK;
}

/* `image` is checked, contiguous and on the CPU. */
static CnErr encode_plain(char **out, size_t *size, CnTensor *image) {
  Job job = { .image = image };
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) {
    png_destroy_write_struct(&png, NULL);
    return cn_fail(CN_EMEMORY, "png: out of memory in libpng");
  }
  CnErr e = write_jumping(&job, png, info);
  png_destroy_write_struct(&png, &info);
  cn_free(job.rows);
  if (e == CN_OK) {
    *out = job.out;
    *size = job.size;
    return CN_OK;
  }
  cn_free(job.out);
  return e == CN_EMEMORY ? e : cn_fail(e, "png: %s", job.reason);
}

CnErr cn_png_encode(char **out, size_t *size, const CnTensor *image) {
  CN_TRY(check_image(image));
  CnTensor *plain;
  CN_TRY(cn_tensor_new(&plain, CN_U8, CN_DEVICE_CPU, 3, image->shape));
  CnErr e = cn_tensor_read(image, cn_tensor_data(plain), cn_tensor_bytes(image));
  if (e == CN_OK) e = encode_plain(out, size, plain);
  cn_tensor_unref(plain);
  return e;
}

CnErr cn_png_save(const char *path, const CnTensor *image) {
  char *data;
  size_t size;
  CnErr e = cn_png_encode(&data, &size, image);
  if (e != CN_OK) return cn_fail_within(e, "%s: ", path);
  e = cn_file_write(path, data, size);
  cn_free(data);
  return e;
}
