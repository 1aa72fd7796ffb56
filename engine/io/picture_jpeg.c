/* picture_jpeg.c - JPEG through libjpeg-turbo: the part that is wanted alone, at a fraction of its size if asked for.
**
** Rows above the part are skipped and those below are never looked at; columns beside it are left out but for a margin
** from which colours are smoothed. So that a file that ends too early does not depend on the part for its error, its
** end mark is looked for first. libjpeg reports errors by longjmp: the functions that set the jump keep everything in
** the structure of their caller. */
#include "io/picture_codec.h"

#include "base/memory.h"

#ifdef CN_WITH_JPEG

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h wants it */
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#define STRIP 16 /* rows that are decoded at a time */
#define SCAN_LIMIT 512
#define SCAN_PIXELS (1ll << 30) /* pixels times scans: progressive files repeat them */

struct CnJpeg {
  struct jpeg_decompress_struct lib;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf landing;
  char reason[JMSG_LENGTH_MAX];
  bool memory; /* the reason is that there is none left */
};

static void on_error(j_common_ptr lib) {
  CnJpeg *j = lib->client_data;
  j->memory = lib->err->msg_code == JERR_OUT_OF_MEMORY;
  lib->err->format_message(lib, j->reason);
  longjmp(j->landing, 1);
}

static void on_message(j_common_ptr lib) { (void)lib; }

static void on_warning(j_common_ptr lib, int level) {
  if (level < 0) lib->err->num_warnings++;
}

/* Fails with a reason of ours. */
static void give_up(CnJpeg *j, const char *reason) {
  snprintf(j->reason, sizeof j->reason, "%s", reason);
  longjmp(j->landing, 1);
}

/* All the bytes are there from the beginning. */
static void source_begin(j_decompress_ptr lib) { (void)lib; }

static boolean source_more(j_decompress_ptr lib) {
  give_up(lib->client_data, "the file ends too early");
  return FALSE;
}

static void source_skip(j_decompress_ptr lib, long bytes) {
  if (bytes <= 0) return;
  if ((size_t)bytes > lib->src->bytes_in_buffer) source_more(lib);
  lib->src->next_input_byte += bytes;
  lib->src->bytes_in_buffer -= (size_t)bytes;
}

static void source_end(j_decompress_ptr lib) { (void)lib; }

static void on_progress(j_common_ptr lib) {
  j_decompress_ptr d = (j_decompress_ptr)lib;
  long long scans = d->input_scan_number;
  if (scans > SCAN_LIMIT || scans * d->image_width * d->image_height > SCAN_PIXELS)
    give_up(lib->client_data, "too many scans for a picture of its size");
}

CnErr cn_jpeg_new(CnJpeg **out) {
  CnJpeg *j = cn_alloc_zeroed(sizeof *j);
  if (!j) return CN_EMEMORY;
  j->lib.err = jpeg_std_error(&j->errors);
  j->errors.error_exit = on_error;
  j->errors.output_message = on_message;
  j->errors.emit_message = on_warning;
  j->lib.client_data = j;
  if (setjmp(j->landing)) {
    jpeg_destroy_decompress(&j->lib);
    cn_free(j);
    return cn_fail(CN_EMEMORY, "out of memory in libjpeg");
  }
  jpeg_create_decompress(&j->lib);
  j->source = (struct jpeg_source_mgr){ .init_source = source_begin, .fill_input_buffer = source_more,
                                        .skip_input_data = source_skip, .resync_to_restart = jpeg_resync_to_restart,
                                        .term_source = source_end };
  j->progress.progress_monitor = on_progress;
  j->lib.src = &j->source;
  j->lib.progress = &j->progress;
  *out = j;
  return CN_OK;
}

void cn_jpeg_free(CnJpeg *j) {
  if (!j) return;
  jpeg_destroy_decompress(&j->lib);
  cn_free(j);
}

/* What a jump that landed means; the library is made ready for another file. */
static CnErr landed(CnJpeg *j, const CnPictureFile *file) {
  jpeg_abort_decompress(&j->lib);
  if (j->memory) return cn_fail(CN_EMEMORY, "%s: out of memory in libjpeg", file->name);
  return cn_fail(CN_EDATA, "%s: damaged or unusable JPEG file: %s", file->name, j->reason);
}

static CnErr read_header(CnJpeg *j) {
  if (setjmp(j->landing)) return CN_EDATA;
  jpeg_read_header(&j->lib, TRUE);
  return CN_OK;
}

/* Whether there is an end mark in the data that follow the header. */
static bool has_end(const CnJpeg *j) {
  const uint8_t *begin = j->source.next_input_byte, *at = begin + j->source.bytes_in_buffer;
  while ((at = memrchr(begin, 0xD9, (size_t)(at - begin))))
    if (at > begin && at[-1] == 0xFF) return true;
  return false;
}

/* Bytes that the blocks take at least: with Huffman's codes each has a bit. */
static uint64_t least_bytes(const CnJpeg *j) {
  uint64_t blocks = 0;
  if (j->lib.arith_code) return 0;
  for (int c = 0; c < j->lib.num_components; c++) {
    const jpeg_component_info *info = &j->lib.comp_info[c];
    blocks += (uint64_t)info->width_in_blocks * info->height_in_blocks;
  }
  return blocks / 8;
}

CnErr cn_jpeg_open(CnJpeg *j, CnPictureFile *file) {
  jpeg_abort_decompress(&j->lib);
  j->memory = false;
  j->errors.num_warnings = 0;
  j->source.next_input_byte = file->data;
  j->source.bytes_in_buffer = file->size;
  if (read_header(j) != CN_OK) return landed(j, file);
  j_decompress_ptr lib = &j->lib;
  file->info.width = (int)lib->image_width;
  file->info.height = (int)lib->image_height;
  file->info.bits = lib->data_precision;
  file->info.progressive = jpeg_has_multiple_scans(lib);
  file->info.colour = lib->num_components == 1 ? CN_PICTURE_GREY
                      : lib->num_components == 4 ? CN_PICTURE_CMYK : CN_PICTURE_RGB;
  if (lib->num_components != 1 && lib->num_components != 3 && lib->num_components != 4)
    return cn_fail(CN_EDATA, "%s: unusable JPEG file: expected 1, 3 or 4 components, it has %d", file->name,
                   lib->num_components);
  CN_TRY(cn_picture_check_size(file, lib->image_width, lib->image_height, least_bytes(j)));
  if (!has_end(j))
    return cn_fail(CN_EDATA, "%s: damaged JPEG file: it ends too early, without an end mark", file->name);
  return CN_OK;
}

/* Rows of CMYK, which Adobe writes inverted, to RGB in the same place. */
static void cmyk_to_rgb(uint8_t *pixels, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    int paper = pixels[4 * i + 3]; /* what black ink leaves */
    for (int c = 0; c < 3; c++) {
      int product = (255 - pixels[4 * i + c]) * paper + 128;
      pixels[3 * i + c] = (uint8_t)(paper - ((product + (product >> 8)) >> 8));
    }
  }
}

/* What the decoding needs across a jump. */
typedef struct Job {
  CnJpeg *j;
  CnPictureFile *file;
  const CnBox *box;
  CnRowSink sink;
  void *to;
  int shrink;
} Job;

/* Leaves out the columns beside the box; returns the first that is decoded. The margin is more than what the
** smoothing of colours looks at, so that the box is the same as in the whole picture. */
static int leave_out_columns(j_decompress_ptr lib, const CnBox *box) {
  int margin = lib->max_h_samp_factor * DCTSIZE, width = (int)lib->output_width;
  int left = box->x > margin ? box->x - margin : 0;
  int right = box->x + box->width + margin < width ? box->x + box->width + margin : width;
  if (left == 0 && right == width) return 0;
  JDIMENSION first = (JDIMENSION)left, columns = (JDIMENSION)(right - left);
  jpeg_crop_scanline(lib, &first, &columns);
  return (int)first;
}

static CnErr decode_jumping(Job *job) {
  CnJpeg *j = job->j;
  j_decompress_ptr lib = &j->lib;
  const CnBox *box = job->box;
  if (setjmp(j->landing)) return CN_EDATA;
  lib->scale_num = 1;
  lib->scale_denom = (unsigned)job->shrink;
  bool cmyk = lib->num_components == 4;
  lib->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(lib);
  if (box->x + box->width > (int)lib->output_width || box->y + box->height > (int)lib->output_height)
    give_up(j, "the box is not in the picture");
  int left = leave_out_columns(lib, box);
  if (box->y > 0) jpeg_skip_scanlines(lib, (JDIMENSION)box->y);
  ptrdiff_t stride = (ptrdiff_t)lib->output_width * (cmyk ? 4 : 3);
  job->j->memory = cn_buffer_room(&job->file->strip, (size_t)(stride * STRIP + 64)) != CN_OK;
  if (job->j->memory) give_up(j, "out of memory");
  uint8_t *strip = job->file->strip.data;
  JSAMPROW row[STRIP];
  for (int i = 0; i < STRIP; i++) row[i] = strip + stride * i;
  for (int y = 0; y < box->height;) {
    int wanted = box->height - y < STRIP ? box->height - y : STRIP, got = 0;
    while (got < wanted) got += (int)jpeg_read_scanlines(lib, row + got, (JDIMENSION)(wanted - got));
    for (int i = 0; cmyk && i < got; i++) cmyk_to_rgb(row[i], lib->output_width);
    job->sink(job->to, strip + 3 * (box->x - left), stride, y, got);
    y += got;
  }
  return CN_OK;
}

CnErr cn_jpeg_decode(CnJpeg *j, CnPictureFile *file, int shrink, const CnBox *box, CnRowSink sink, void *to) {
  Job job = { j, file, box, sink, to, shrink };
  if (decode_jumping(&job) != CN_OK) return landed(j, file);
  file->warnings = j->errors.num_warnings;
  jpeg_abort_decompress(&j->lib);
  return CN_OK;
}

bool cn_picture_reads_jpeg(void) { return true; }

#else

CnErr cn_jpeg_new(CnJpeg **out) {
  *out = NULL;
  return CN_OK;
}

void cn_jpeg_free(CnJpeg *j) { (void)j; }

CnErr cn_jpeg_open(CnJpeg *j, CnPictureFile *file) {
  (void)j;
  return cn_fail(CN_EDATA, "%s: this program was built without libjpeg-turbo and reads no JPEG files: install "
                 "libjpeg62-turbo-dev (vendor/install.sh build) and build again", file->name);
}

CnErr cn_jpeg_decode(CnJpeg *j, CnPictureFile *file, int shrink, const CnBox *box, CnRowSink sink, void *to) {
  (void)shrink, (void)box, (void)sink, (void)to;
  return cn_jpeg_open(j, file);
}

bool cn_picture_reads_jpeg(void) { return false; }

#endif
