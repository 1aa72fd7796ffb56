/* test_photo.c - what is drawn for photographs is spread as torchvision's transforms spread it, and resizing keeps to
** what it was given. */
#include "scratch.h"

#include <math.h>
#include <stdlib.h>

#include "data/listing.h"
#include "data/photo.h"
#include "data/resize.h"
#include "io/png.h"

#define DRAWS 40000

static CnPhotoDraw draw_at(const CnPhotoSettings *s, int i, int width, int height) {
  return cn_photo_draw(s, cn_rng_named(5, "augment:test"), 1 + i / 1000, i % 1000, width, height);
}

/* The mean of DRAWS values, each spread evenly over a length of 1, is within five deviations of `expected`. */
static void assert_mean(double sum, double expected) {
  double far = fabs(sum / DRAWS - expected);
  if (far > 5 * sqrt(1.0 / 12 / DRAWS)) fail_msg("mean %g, expected %g", sum / DRAWS, expected);
}

static void parts_are_spread_evenly(void **state) {
  (void)state;
  CnPhotoSettings s = cn_photo_training;
  s.scale[1] = 0.5; /* in a square of this size every try fits */
  double area = 0, area_square = 0, ratio = 0, ratio_square = 0, x = 0, y = 0, flips = 0;
  for (int i = 0; i < DRAWS; i++) {
    CnPhotoDraw d = draw_at(&s, i, 2000, 2000);
    const CnBox *p = &d.part;
    assert_true(p->x >= 0 && p->y >= 0 && p->width > 0 && p->height > 0);
    assert_true(p->x + p->width <= 2000 && p->y + p->height <= 2000);
    double a = (p->width * (double)p->height / 4e6 - 0.08) / 0.42;
    double r = log((double)p->width / p->height) / log(16.0 / 9) + 0.5;
    assert_true(a > -0.01 && a < 1.01 && r > -0.01 && r < 1.01);
    area += a, area_square += a * a, ratio += r, ratio_square += r * r;
    x += (double)p->x / (2000 - p->width), y += (double)p->y / (2000 - p->height), flips += d.rest.flip;
  }
  assert_mean(area, 0.5);
  assert_mean(ratio, 0.5);
  assert_mean(x, 0.5);
  assert_mean(y, 0.5);
  assert_mean(area_square, 1.0 / 3);
  assert_mean(ratio_square, 1.0 / 3);
  assert_true(fabs(flips / DRAWS - 0.5) < 5 * 0.5 / sqrt(DRAWS));
}

/* Parts that do not fit are drawn again: their areas are those of the published transform, computed apart. */
static void parts_that_do_not_fit_are_drawn_again(void **state) {
  (void)state;
  double mean = 0, expected = 0;
  int whole = 0, expected_whole = 0;
  srand(7);
  for (int i = 0; i < DRAWS; i++) {
    CnPhotoDraw d = draw_at(&cn_photo_training, i, 500, 300);
    mean += d.part.width * (double)d.part.height / 150000;
    whole += d.part.width == 400 && d.part.height == 300;
    int attempt = 0, w = 0, h = 0;
    for (; attempt < 10; attempt++) {
      double area = 150000 * (0.08 + 0.92 * rand() / RAND_MAX), r = exp(log(4.0 / 3) * (2.0 * rand() / RAND_MAX - 1));
      w = (int)lrint(sqrt(area * r)), h = (int)lrint(sqrt(area / r));
      if (w <= 500 && h <= 300) break;
    }
    if (attempt == 10) w = 400, h = 300; /* of the largest ratio, in the middle */
    expected += w * (double)h / 150000;
    expected_whole += w == 400 && h == 300;
  }
  assert_true(fabs(mean - expected) / DRAWS < 0.01);
  assert_true(abs(whole - expected_whole) < 60 + expected_whole / 4);
}

static void thin_pictures_give_their_middle(void **state) {
  (void)state;
  for (int i = 0; i < 100; i++) {
    CnPhotoDraw d = draw_at(&cn_photo_training, i, 10, 1000);
    assert_int_equal(d.part.width, 10);
    assert_int_equal(d.part.height, 13);
    assert_int_equal(d.part.y, 493);
    d = draw_at(&cn_photo_training, i, 900, 3);
    assert_int_equal(d.part.width, 4);
    assert_int_equal(d.part.height, 3);
    assert_int_equal(d.part.x, 448);
    d = draw_at(&cn_photo_training, i, 1, 1);
    assert_true(d.part.width == 1 && d.part.height == 1 && d.part.x == 0 && d.part.y == 0);
  }
}

static void colours_change_in_every_order(void **state) {
  (void)state;
  int orders[256] = { 0 }, kinds = 0;
  double sums[CN_JITTERS] = { 0 };
  for (int i = 0; i < DRAWS; i++) {
    CnPhotoDraw d = draw_at(&cn_photo_training, i, 500, 375);
    int code = 0;
    assert_int_equal(d.changes, CN_JITTERS);
    for (int j = 0; j < CN_JITTERS; j++) {
      bool hue = d.change[j] == CN_HUE;
      double part = hue ? d.factor[j] / 0.4 + 0.5 : (d.factor[j] - 0.6) / 0.8;
      assert_true(part >= 0 && part <= 1);
      sums[d.change[j]] += part;
      code = code * 4 + (int)d.change[j];
    }
    orders[code]++;
  }
  for (int c = 0; c < 256; c++) {
    if (orders[c] == 0) continue;
    kinds++;
    assert_true(abs(orders[c] - DRAWS / 24) < 5 * (int)sqrt(DRAWS / 24.0));
  }
  assert_int_equal(kinds, 24);
  for (int j = 0; j < CN_JITTERS; j++) assert_mean(sums[j], 0.5);
  CnPhotoSettings s = cn_photo_training;
  s.jitter[CN_CONTRAST] = s.jitter[CN_HUE] = 0;
  assert_int_equal(draw_at(&s, 3, 500, 375).changes, 2);
  s.jitter[CN_BRIGHTNESS] = 3; /* from 0 on */
  for (int i = 0; i < 100; i++) {
    CnPhotoDraw d = draw_at(&s, i, 500, 375);
    for (int j = 0; j < d.changes; j++) assert_true(d.factor[j] >= 0 && d.factor[j] <= 4);
  }
}

static void draws_depend_on_pass_and_position_alone(void **state) {
  (void)state;
  CnRng stream = cn_rng_named(5, "augment:test");
  CnPhotoDraw a = cn_photo_draw(&cn_photo_training, stream, 3, 70000, 500, 375);
  stream.counter = 99;
  CnPhotoDraw b = cn_photo_draw(&cn_photo_training, stream, 3, 70000, 500, 375);
  assert_memory_equal(&a.part, &b.part, sizeof a.part);
  assert_memory_equal(a.factor, b.factor, sizeof a.factor);
  b = cn_photo_draw(&cn_photo_training, stream, 3, 70001, 500, 375);
  assert_memory_not_equal(a.factor, b.factor, sizeof a.factor);
  b = cn_photo_draw(&cn_photo_training, stream, 4, 70000, 500, 375);
  assert_memory_not_equal(a.factor, b.factor, sizeof a.factor);
}

/* Of any size to any size: a constant picture stays what it is, and a part of the result is that of the whole. */
static void resizing_keeps_constants_and_parts(void **state) {
  (void)state;
  static const int sizes[][2] = { { 1, 1 }, { 1, 9 }, { 9, 1 }, { 5, 7 }, { 7, 5 }, { 40, 3 }, { 97, 31 } };
  enum { ROOM = 97 * 97 * 3 + CN_IMAGE_SLACK };
  static uint8_t in[ROOM], whole[ROOM], part[ROOM];
  CnResize r = { 0 };
  for (size_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)(i * 37 + i / 97);
  for (int k = 0; k < 7; k++) {
    int from = sizes[k][0], to = sizes[k][1];
    CnAxis axis = { .size = from, .to = from, .result = to, .count = to };
    assert_ok(cn_resize_begin(&r, &axis, &axis));
    cn_resize_rows(&r, in + 3 * (from * r.top + r.left), 3 * from, 0, r.bottom - r.top);
    cn_resize_end(&r, whole);
    CnAxis some = axis;
    some.first = to / 3;
    some.count = (to + 1) / 2;
    assert_ok(cn_resize_begin(&r, &some, &some));
    cn_resize_rows(&r, in + 3 * (from * r.top + r.left), 3 * from, 0, r.bottom - r.top);
    cn_resize_end(&r, part);
    for (int y = 0; y < some.count; y++)
      assert_memory_equal(part + 3 * some.count * y, whole + 3 * (to * (y + some.first) + some.first),
                          (size_t)(3 * some.count));
    static uint8_t grey[ROOM];
    memset(grey, 255, sizeof grey);
    assert_ok(cn_resize_begin(&r, &axis, &axis));
    cn_resize_rows(&r, grey, 3 * from, 0, r.bottom - r.top);
    cn_resize_end(&r, whole);
    for (int b = 0; b < 3 * to * to; b++) assert_int_equal(whole[b], 255);
  }
  CnAxis wrong = { .size = 5, .to = 5, .result = 4, .first = 2, .count = 3 };
  assert_fails(CN_EUSAGE, "resize: expected", cn_resize_begin(&r, &wrong, &wrong));
  cn_resize_free(&r);
}

/* A folder of two classes with a picture each. */
static CnErr load_and_read(void) {
  CnListingConfig config = { .name = "test", .root = scratch_folder };
  CnDataset *d;
  CN_TRY(cn_listing_load(&d, &config));
  CnPhoto *photo = NULL;
  CnBuffer file = { 0 };
  size_t size;
  CnPictureInfo info;
  const uint8_t *pixels;
  CnErr e = cn_photo_new(&photo);
  if (e == CN_OK) e = cn_listing_read(&file, &size, d->images->listing, 1);
  if (e == CN_OK) e = cn_photo_open(photo, &info, file.data, size, "picture");
  if (e == CN_OK) {
    CnPhotoDraw draw = draw_at(&cn_photo_training, 1, info.width, info.height);
    e = cn_photo_pixels(&pixels, photo, &cn_photo_training, &draw);
  }
  if (e == CN_OK) e = cn_listing_note_bad(d->images->listing, 0, "bad");
  cn_photo_free(photo);
  cn_buffer_free(&file);
  cn_dataset_unref(d);
  return e;
}

static void every_failed_allocation_is_survived(void **state) {
  (void)state;
  CnTensor *image;
  assert_ok(cn_tensor_new(&image, CN_U8, CN_DEVICE_CPU, 3, (int64_t[]){ 20, 30, 3 }));
  memset(cn_tensor_data(image), 77, cn_tensor_bytes(image));
  assert_ok(cn_folder_make(scratch_path("a")));
  assert_ok(cn_folder_make(scratch_path("b")));
  assert_ok(cn_png_save(scratch_path("a/1"), image));
  assert_ok(cn_png_save(scratch_path("b/1"), image));
  cn_tensor_unref(image);
  int64_t blocks = cn_memory_stats().blocks_live;
  for (int64_t n = 0;; n++) {
    cn_memory_fail_after(n);
    CnErr e = load_and_read();
    cn_memory_fail_after(-1);
    assert_int_equal(cn_memory_stats().blocks_live, blocks);
    if (e == CN_EDATA) break; /* "bad image 1; 0 may be skipped": it went through to the end */
    assert_int_equal(e, CN_EMEMORY);
    assert_in_range(n, 0, 100);
  }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
    TEST(parts_are_spread_evenly), TEST(parts_that_do_not_fit_are_drawn_again),
    TEST(thin_pictures_give_their_middle), TEST(colours_change_in_every_order),
    TEST(draws_depend_on_pass_and_position_alone), TEST(resizing_keeps_constants_and_parts),
    TEST(every_failed_allocation_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
