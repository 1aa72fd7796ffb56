/* test_png.c - images come back as they were; every kind of PNG becomes bytes; damaged ones are refused by name. */
#include "scratch.h"

#include <png.h>
#include <stdlib.h>
#include <zlib.h>

#include "io/png.h"

static CnTensor *image_of(int64_t height, int64_t width, int64_t channels) {
  CnTensor *t;
  assert_ok(cn_tensor_new(&t, CN_U8, CN_DEVICE_CPU, 3, (int64_t[]){ height, width, channels }));
  uint8_t *byte = cn_tensor_data(t);
  for (int64_t i = 0; i < cn_tensor_count(t); i++) byte[i] = (uint8_t)(i * 37 + i / 7);
  return t;
}

static void test_round_trip(void **state) {
  (void)state;
  static const int64_t channels[] = { 1, 3, 4 };
  for (int k = 0; k < 3; k++) {
    CnTensor *image = image_of(7, 5, channels[k]), *back;
    assert_ok(cn_png_save(scratch_path("image.png"), image));
    assert_ok(cn_png_load(&back, scratch_path("image.png")));
    assert_true(cn_tensor_same_shape(image, back));
    assert_memory_equal(cn_tensor_data(image), cn_tensor_data(back), cn_tensor_bytes(image));
    cn_tensor_unref(back);
    cn_tensor_unref(image);
  }
  assert_names("image.png ");
  assert_int_equal(cn_tensor_live(), 0);
}

static void test_strides(void **state) { /* a transposed view is saved as it looks */
  (void)state;
  CnTensor *image = image_of(4, 6, 3), *turned, *back;
  char *data;
  size_t size;
  assert_ok(cn_tensor_view(&turned, image, 3, (int64_t[]){ 6, 4, 3 }, (int64_t[]){ 3, 18, 1 }, 0));
  assert_ok(cn_png_encode(&data, &size, turned));
  assert_ok(cn_png_decode(&back, data, size, "turned"));
  const uint8_t *a = cn_tensor_data(image), *b = cn_tensor_data(back);
  for (int y = 0; y < 4; y++)
    for (int x = 0; x < 6; x++) assert_memory_equal(a + 18 * y + 3 * x, b + 12 * x + 3 * y, 3);
  cn_free(data);
  cn_tensor_unref(image);
  cn_tensor_unref(turned);
  cn_tensor_unref(back);
}

static void test_refused_saves(void **state) {
  (void)state;
  char *data;
  size_t size;
  static const int64_t shapes[][3] = { { 2, 2, 2 }, { 0, 2, 3 }, { 2, 0, 3 }, { 2, 2, 5 } };
  CnTensor *t;
  for (int k = 0; k < 4; k++) {
    assert_ok(cn_tensor_new(&t, CN_U8, CN_DEVICE_CPU, 3, shapes[k]));
    assert_fails(CN_EUSAGE, "image must be (H,W,C) with C 1, 3 or 4, got (", cn_png_encode(&data, &size, t));
    cn_tensor_unref(t);
  }
  assert_ok(cn_tensor_new(&t, CN_F32, CN_DEVICE_CPU, 3, (int64_t[]){ 2, 2, 3 }));
  assert_fails(CN_EUSAGE, "image must be u8, got f32", cn_png_encode(&data, &size, t));
  assert_fails(CN_EUSAGE, scratch_path("x"), cn_png_save(scratch_path("x"), t));
  cn_tensor_unref(t);
}

/* ---- files of other kinds, written by libpng itself ---- */

typedef struct Sink {
  unsigned char data[4096];
  size_t size;
} Sink;

static void sink_write(png_structp png, png_bytep from, size_t n) {
  Sink *sink = png_get_io_ptr(png);
  memcpy(sink->data + sink->size, from, n);
  sink->size += n;
}

/* A file of 2 x 1 pixels, or what the header says, of this colour type and depth with these packed rows. */
static void make_file(Sink *sink, int type, int depth, unsigned char *row, int interlace, const png_color_16 *clear) {
  static const png_color palette[2] = { { 10, 20, 30 }, { 200, 100, 50 } };
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  sink->size = 0;
  png_set_write_fn(png, sink, sink_write, NULL);
  png_set_IHDR(png, info, 2, 1, depth, type, interlace, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (type == PNG_COLOR_TYPE_PALETTE) {
    static const unsigned char alpha[1] = { 128 };
    png_set_PLTE(png, info, palette, 2);
    if (clear) png_set_tRNS(png, info, alpha, 1, NULL);
  } else if (clear) {
    png_set_tRNS(png, info, NULL, 0, clear);
  }
  png_set_gAMA(png, info, 1.0); /* to be ignored */
  png_write_info(png, info);
  png_write_image(png, &row);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
}

static void assert_pixels(const Sink *sink, int64_t channels, const unsigned char *expected) {
  CnTensor *t;
  assert_ok(cn_png_decode(&t, sink->data, sink->size, "made"));
  assert_int_equal(t->shape[0], 1);
  assert_int_equal(t->shape[1], 2);
  assert_int_equal(t->shape[2], channels);
  assert_memory_equal(cn_tensor_data(t), expected, (size_t)(2 * channels));
  cn_tensor_unref(t);
}

static void test_kinds(void **state) {
  (void)state;
  Sink sink;
  unsigned char bits[1] = { 0x40 }, deep[12] = { 0, 0, 255, 255, 128, 0, 1, 255, 0x7f, 0x80, 254, 1 };
  unsigned char grey_alpha[4] = { 9, 8, 7, 6 };
  png_color_16 clear = { .gray = 1 };
  make_file(&sink, PNG_COLOR_TYPE_GRAY, 1, bits, 0, NULL);
  assert_pixels(&sink, 1, (unsigned char[]){ 0, 255 });
  make_file(&sink, PNG_COLOR_TYPE_GRAY, 1, bits, 1, NULL); /* interlaced */
  assert_pixels(&sink, 1, (unsigned char[]){ 0, 255 });
  make_file(&sink, PNG_COLOR_TYPE_GRAY, 1, bits, 0, &clear);
  assert_pixels(&sink, 4, (unsigned char[]){ 0, 0, 0, 255, 255, 255, 255, 0 });
  make_file(&sink, PNG_COLOR_TYPE_PALETTE, 1, bits, 0, NULL);
  assert_pixels(&sink, 3, (unsigned char[]){ 10, 20, 30, 200, 100, 50 });
  make_file(&sink, PNG_COLOR_TYPE_PALETTE, 1, bits, 0, &clear);
  assert_pixels(&sink, 4, (unsigned char[]){ 10, 20, 30, 128, 200, 100, 50, 255 });
  make_file(&sink, PNG_COLOR_TYPE_GRAY_ALPHA, 8, grey_alpha, 0, NULL);
  assert_pixels(&sink, 4, (unsigned char[]){ 9, 9, 9, 8, 7, 7, 7, 6 });
  make_file(&sink, PNG_COLOR_TYPE_RGB, 16, deep, 0, NULL); /* v / 257, to the nearest */
  assert_pixels(&sink, 3, (unsigned char[]){ 0, 255, 128, 2, 127, 253 });
}

/* ---- hostile files ---- */

static void test_hostile(void **state) {
  (void)state;
  Sink sink;
  CnTensor *t;
  unsigned char bits[1] = { 0x40 };
  make_file(&sink, PNG_COLOR_TYPE_GRAY, 1, bits, 0, NULL);
  for (size_t n = 0; n < sink.size; n++) { /* cut anywhere; a missing end mark alone would still be a fault */
    unsigned char *part = malloc(n + 1);
    memcpy(part, sink.data, n);
    assert_fails(CN_EDATA, "cut", cn_png_decode(&t, part, n, "cut"));
    free(part);
  }
  for (size_t bit = 0; bit < 8 * sink.size; bit++) {
    sink.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    if (cn_png_decode(&t, sink.data, sink.size, "flipped") == CN_OK) cn_tensor_unref(t);
    else assert_non_null(strstr(cn_error_message(), "flipped: "));
    sink.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  assert_fails(CN_EDATA, "text: not a PNG file", cn_png_decode(&t, "GIF89a, or so", 13, "text"));
  assert_fails(CN_EDATA, "No such file", cn_png_load(&t, scratch_path("none")));
  assert_int_equal(cn_tensor_live(), 0);
}

/* A header that promises 100,000 x 100,000 pixels is refused before memory is asked for. */
static void test_too_large(void **state) {
  (void)state;
  Sink sink;
  CnTensor *t;
  unsigned char bits[1] = { 0x40 };
  make_file(&sink, PNG_COLOR_TYPE_GRAY, 1, bits, 0, NULL);
  static const unsigned char size[8] = { 0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0 };
  memcpy(sink.data + 16, size, 8);
  uint32_t crc = (uint32_t)crc32(0, sink.data + 12, 17);
  for (int i = 0; i < 4; i++) sink.data[29 + i] = (unsigned char)(crc >> (24 - 8 * i));
  int64_t peak = cn_memory_stats().bytes_peak;
  assert_fails(CN_EDATA, "more than 64 million pixels", cn_png_decode(&t, sink.data, sink.size, "large"));
  assert_int_equal(cn_memory_stats().bytes_peak, peak);
}

static void test_no_memory(void **state) {
  (void)state;
  CnTensor *image = image_of(20, 20, 3), *back;
  int64_t before = cn_memory_stats().blocks_live;
  for (int64_t n = 0;; n++) {
    cn_memory_fail_after(n);
    CnErr e = cn_png_save(scratch_path("image.png"), image);
    if (e == CN_OK) e = cn_png_load(&back, scratch_path("image.png"));
    cn_memory_fail_after(-1);
    if (e == CN_OK) break;
    assert_int_equal(cn_memory_stats().blocks_live, before);
    assert_true(n < 100);
  }
  cn_tensor_unref(back);
  cn_tensor_unref(image);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
    TEST(test_round_trip), TEST(test_strides),   TEST(test_refused_saves), TEST(test_kinds),
    TEST(test_hostile),    TEST(test_too_large), TEST(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
