/* test_data.c - datasets in memory: CIFAR files good and bad, shapes, splits, augmentation, and the loader's order. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/threads.h"
#include "data/augment.h"
#include "data/cifar.h"
#include "data/loader.h"
#include "data/shapes.h"

#define assert_message(part) assert_non_null(strstr(cn_error_message(), part))

/* ---- Files ---- */

static char folder[64]; /* of the test that runs */

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/cnas-data-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  char command[96];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static const char *in_folder(const char *name) {
  static char path[160];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* A byte of a made-up record: pixels are a function of file, record and place. */
static uint8_t pixel(int file, int record, int at) { return (uint8_t)(file * 31 + record * 7 + at + at / 1024 * 50); }

/* `records` records with `label_bytes` labels: coarse ones 200, the last one record % classes. */
static void write_records(const char *name, int file, int records, int label_bytes, int classes) {
  FILE *f = fopen(in_folder(name), "wb");
  assert_non_null(f);
  for (int k = 0; k < records; k++) {
    if (label_bytes == 2) fputc(200, f);
    fputc(k % classes, f);
    for (int at = 0; at < 3072; at++) fputc(pixel(file, k, at), f);
  }
  assert_int_equal(fclose(f), 0);
}

static void write_cifar10(const char *under, int records) {
  char name[64];
  if (*under) assert_int_equal(mkdir(in_folder(under), 0755), 0);
  for (int i = 1; i <= 5; i++) {
    snprintf(name, sizeof name, "%s/data_batch_%d.bin", under, i);
    write_records(name, i, records, 1, 10);
  }
  snprintf(name, sizeof name, "%s/test_batch.bin", under);
  write_records(name, 6, records / 2, 1, 10);
}

static void put_byte(const char *name, long offset, int byte) {
  FILE *f = fopen(in_folder(name), "r+b");
  assert_non_null(f);
  fseek(f, offset, SEEK_SET);
  fputc(byte, f);
  fclose(f);
}

static CnErr load_and_drop(int classes) {
  CnDataset *train = NULL, *test = NULL;
  CnErr e = cn_cifar_load(&train, &test, classes, folder);
  if (e != CN_OK) assert_true(!train && !test);
  cn_dataset_unref(train);
  cn_dataset_unref(test);
  return e;
}

static void cifar10_loads(void **state) {
  (void)state;
  for (int nested = 0; nested < 2; nested++) { /* the folder itself, then its parent */
    write_cifar10(nested ? "cifar-10-batches-bin" : "", 20);
    CnDataset *train, *test;
    assert_int_equal(cn_cifar_load(&train, &test, 10, folder), CN_OK);
    assert_int_equal(train->count, 100);
    assert_int_equal(test->count, 10);
    assert_int_equal(train->images->classes, 10);
    assert_string_equal(train->images->class_names[9], "truck");
    for (int i = 0; i < 100; i++) {
      const uint8_t *image = cn_dataset_image(train, i);
      assert_int_equal(cn_dataset_label(train, i), i % 20 % 10);
      for (int p = 0; p < 1024; p++)
        for (int c = 0; c < 3; c++) assert_int_equal(image[3 * p + c], pixel(1 + i / 20, i % 20, 1024 * c + p));
    }
    cn_dataset_unref(train);
    cn_dataset_unref(test);
    remove_folder(NULL);
    mkdir(folder, 0755);
  }
}

static void cifar100_loads(void **state) {
  (void)state;
  write_records("train.bin", 1, 200, 2, 100);
  write_records("test.bin", 2, 100, 2, 100);
  CnDataset *train, *test;
  assert_int_equal(cn_cifar_load(&train, &test, 100, folder), CN_OK);
  assert_int_equal(train->count, 200);
  assert_int_equal(cn_dataset_label(train, 199), 99);
  assert_string_equal(train->images->class_names[99], "worm");
  cn_dataset_unref(train);
  cn_dataset_unref(test);
  put_byte("train.bin", 3074 * 3 + 1, 100);
  assert_int_equal(load_and_drop(100), CN_EDATA);
  assert_message("record 3 (offset 9223): expected a label from 0 to 99, got 100");
}

static void cifar_files_that_are_wrong(void **state) {
  (void)state;
  write_cifar10("", 20);
  put_byte("data_batch_4.bin", 3073 * 17, 10);
  assert_int_equal(load_and_drop(10), CN_EDATA);
  assert_message("data_batch_4.bin: record 17 (offset 52241): expected a label from 0 to 9, got 10");

  write_cifar10("", 20);
  assert_int_equal(truncate(in_folder("data_batch_2.bin"), 3073 * 20 - 1), 0);
  assert_int_equal(load_and_drop(10), CN_EDATA);
  assert_message("data_batch_2.bin: expected whole records of 3073 bytes, got 61459 bytes: the last record, at offset "
                 "58387, has 3072");

  assert_int_equal(truncate(in_folder("data_batch_2.bin"), 0), 0);
  assert_int_equal(load_and_drop(10), CN_EDATA);
  assert_message("got 0 bytes");

  assert_int_equal(truncate(in_folder("data_batch_2.bin"), 3073 * 10001), 0); /* a hole: takes no room */
  assert_int_equal(load_and_drop(10), CN_EDATA);
  assert_message("expected at most 10000 records (30730000 bytes), got 30733073 bytes: nothing may follow offset "
                 "30730000");

  assert_int_equal(unlink(in_folder("data_batch_2.bin")), 0);
  assert_int_equal(load_and_drop(10), CN_EDATA);
  assert_message("data_batch_2.bin: cannot open it (No such file or directory)");
  assert_message("--download");

  assert_int_equal(mkdir(in_folder("data_batch_2.bin"), 0755), 0);
  assert_int_equal(load_and_drop(10), CN_EDATA);
  assert_message("data_batch_2.bin: expected a file");
}

static void cifar_survives_every_failed_allocation(void **state) {
  (void)state;
  write_cifar10("", 2);
  int64_t blocks = cn_memory_stats().blocks_live;
  for (int64_t n = 0;; n++) {
    cn_memory_fail_after(n);
    CnErr e = load_and_drop(10);
    cn_memory_fail_after(-1);
    assert_int_equal(cn_memory_stats().blocks_live, blocks);
    if (e == CN_OK) break;
    assert_int_equal(e, CN_EMEMORY);
    assert_in_range(n, 0, 100);
  }
}

/* ---- Splits and shapes ---- */

static void splits_share_and_cover(void **state) {
  (void)state;
  CnDataset *all, *first, *rest, *again, *none;
  assert_int_equal(cn_shapes_draw(&all, 1, "train", 100), CN_OK);
  assert_int_equal(cn_dataset_split(&first, &rest, all, 90, 0.4, 7), CN_OK);
  assert_int_equal(first->count, 36);
  assert_int_equal(rest->count, 54);
  assert_ptr_equal(first->images, all->images);
  int seen[100] = { 0 };
  for (int i = 0; i < 36; i++) seen[first->index[i]]++;
  for (int i = 0; i < 54; i++) seen[rest->index[i]]++;
  for (int i = 0; i < 100; i++) assert_in_range(seen[i], 0, 1);
  assert_int_equal(cn_dataset_split(&again, NULL, all, 90, 0.4, 7), CN_OK);
  assert_memory_equal(first->index, again->index, 36 * sizeof *first->index);

  int64_t beyond[] = { 0, 36 };
  assert_int_equal(cn_dataset_subset(&none, first, beyond, 2), CN_EUSAGE);
  assert_int_equal(cn_dataset_split(&none, NULL, all, 101, 1, 0), CN_EUSAGE);
  assert_int_equal(cn_dataset_split(&none, NULL, all, -1, 1.5, 0), CN_EUSAGE);
  cn_dataset_unref(all); /* the views keep the images */
  assert_int_equal(cn_dataset_label(again, 0), cn_dataset_label(first, 0));
  cn_dataset_unref(first);
  cn_dataset_unref(rest);
  cn_dataset_unref(again);
}

static void shapes_depend_on_seed_and_number_alone(void **state) {
  (void)state;
  CnDataset *a, *b, *other, *test;
  cn_threads_set(1);
  assert_int_equal(cn_shapes_draw(&a, 5, "train", 300), CN_OK);
  cn_threads_set(3);
  assert_int_equal(cn_shapes_draw(&b, 5, "train", 100), CN_OK);
  assert_int_equal(cn_shapes_draw(&other, 6, "train", 100), CN_OK);
  assert_int_equal(cn_shapes_draw(&test, 5, "test", 100), CN_OK);
  assert_memory_equal(a->images->pixels, b->images->pixels, 100 * 3072);
  assert_memory_not_equal(a->images->pixels, other->images->pixels, 3072);
  assert_memory_not_equal(a->images->pixels, test->images->pixels, 3072);
  int count[10] = { 0 };
  for (int i = 0; i < 100; i++) count[cn_dataset_label(b, i)]++;
  for (int c = 0; c < 10; c++) assert_int_equal(count[c], 10);
  /* The constants that normalise them fit. */
  double sum = 0, squares = 0;
  for (int i = 0; i < 300 * 3072; i++) {
    double v = (a->images->pixels[i] / 255.0 - a->images->mean[0]) / a->images->std[0];
    sum += v;
    squares += v * v;
  }
  assert_true(fabs(sum / (300 * 3072)) < 0.1);
  assert_true(fabs(squares / (300 * 3072) - 1) < 0.1);
  cn_dataset_unref(a);
  cn_dataset_unref(b);
  cn_dataset_unref(other);
  cn_dataset_unref(test);
}

/* ---- Augmentation ---- */

/* The same, step by step as in torchvision: pad, crop, flip, normalise, cut out. */
static void augment_plainly(float *out, const uint8_t *in, int h, int w, int c, const CnAugment *a,
                            const CnAugmentDraw *d, const CnImages *m) {
  int pad = a->crop, ph = h + 2 * pad, pw = w + 2 * pad;
  uint8_t *padded = calloc((size_t)(ph * pw * c), 1);
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w * c; x++) padded[((y + pad) * pw + pad) * c + x] = in[y * w * c + x];
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++)
      for (int k = 0; k < c; k++) {
        int from_x = d->flip ? w - 1 - x : x;
        uint8_t v = padded[((y + pad + d->dy) * pw + from_x + pad + d->dx) * c + k];
        bool cut = a->cutout && y >= d->cut_y - a->cutout / 2 && y < d->cut_y + a->cutout / 2 &&
                   x >= d->cut_x - a->cutout / 2 && x < d->cut_x + a->cutout / 2;
        out[(y * w + x) * c + k] = cut ? 0 : (v / 255.0f - m->mean[k]) / m->std[k];
      }
  free(padded);
}

static void augmentation_is_torchvisions(void **state) {
  (void)state;
  CnDataset *d;
  assert_int_equal(cn_shapes_draw(&d, 5, "train", 50), CN_OK);
  CnNormal normal, normal_4;
  cn_normal_init(&normal, d->images);
  CnImages four = *d->images; /* the same bytes as 32 by 24 pixels of four channels */
  four.width = 24;
  four.channels = 4;
  four.mean[3] = 0.4f;
  four.std[3] = 0.2f;
  cn_normal_init(&normal_4, &four);
  CnRng stream = cn_rng_named(3, "augment:test");
  static const CnAugment settings[] = { { 0, false, 0 }, { 4, false, 0 }, { 0, true, 0 }, { 4, true, 16 },
                                         { 32, true, 6 } };
  for (size_t s = 0; s < sizeof settings / sizeof *settings; s++)
    for (int i = 0; i < 50; i++) {
      float fast[3072], plain[3072];
      CnAugmentDraw draw = cn_augment_draw(&settings[s], stream, 1, i, 32, 32);
      const uint8_t *image = d->images->pixels + 3072 * i;
      cn_augment_image(fast, image, 32, 32, 3, &settings[s], &draw, &normal);
      augment_plainly(plain, image, 32, 32, 3, &settings[s], &draw, d->images);
      assert_memory_equal(fast, plain, sizeof fast);
      if (settings[s].crop > 24) continue;
      draw = cn_augment_draw(&settings[s], stream, 1, i, 32, 24);
      cn_augment_image(fast, image, 32, 24, 4, &settings[s], &draw, &normal_4);
      augment_plainly(plain, image, 32, 24, 4, &settings[s], &draw, &four);
      assert_memory_equal(fast, plain, sizeof fast);
    }
  cn_dataset_unref(d);
}

static void draws_are_even(void **state) {
  (void)state;
  CnAugment a = { 4, true, 16 };
  CnRng stream = cn_rng_named(3, "augment:test");
  int dy[9] = { 0 }, dx[9] = { 0 }, flips = 0, cut_y[32] = { 0 }, cut_x[32] = { 0 };
  for (int i = 0; i < 32000; i++) {
    CnAugmentDraw d = cn_augment_draw(&a, stream, i / 1000, i % 1000, 32, 32);
    dy[d.dy + 4]++;
    dx[d.dx + 4]++;
    flips += d.flip;
    cut_y[d.cut_y]++;
    cut_x[d.cut_x]++;
  }
  /* Each count within five deviations of what is expected. */
  for (int k = 0; k < 9; k++) assert_true(abs(dy[k] - 3556) < 290 && abs(dx[k] - 3556) < 290);
  for (int k = 0; k < 32; k++) assert_true(abs(cut_y[k] - 1000) < 160 && abs(cut_x[k] - 1000) < 160);
  assert_true(abs(flips - 16000) < 450);
}

/* ---- Loader ---- */

static CnLoaderConfig config_for(CnDataset *d, int threads) {
  return (CnLoaderConfig){ .dataset = d, .batch = 7, .seed = 9, .stream = "train", .pass = 2, .shuffle = true,
                           .augment = { 4, true, 8 }, .threads = threads };
}

/* All that a pass from `start` on delivers: x after x into `values`, labels into `labels`; returns the images. */
static int64_t read_pass(CnLoaderConfig config, int64_t start, float *values, int64_t *labels) {
  CnLoader *l;
  CnTensor *x, *y;
  int64_t n = 0;
  config.start = start;
  assert_int_equal(cn_loader_new(&l, &config), CN_OK);
  for (;;) {
    assert_int_equal(cn_loader_next(l, &x, &y), CN_OK);
    if (!x) break;
    assert_int_equal(x->shape[0], y->shape[0]);
    memcpy(values + n * 3072, cn_tensor_data(x), cn_tensor_bytes(x));
    memcpy(labels + n, cn_tensor_data(y), cn_tensor_bytes(y));
    n += x->shape[0];
    cn_tensor_unref(x);
    cn_tensor_unref(y);
  }
  assert_true(cn_loader_waited(l) >= 0);
  cn_loader_free(l);
  return n;
}

static void batches_are_the_same_for_any_threads(void **state) {
  (void)state;
  int64_t live = cn_tensor_live();
  CnDataset *d;
  assert_int_equal(cn_shapes_draw(&d, 5, "train", 101), CN_OK);
  float *one = malloc(101 * 3072 * sizeof *one), *other = malloc(101 * 3072 * sizeof *other);
  int64_t labels[101], other_labels[101];
  assert_int_equal(read_pass(config_for(d, 0), 0, one, labels), 101);
  int threads[] = { 1, 3, 8 };
  for (int t = 0; t < 3; t++) {
    assert_int_equal(read_pass(config_for(d, threads[t]), 0, other, other_labels), 101);
    assert_memory_equal(one, other, 101 * 3072 * sizeof *one);
    assert_memory_equal(labels, other_labels, sizeof labels);
    /* Entered in the middle. */
    assert_int_equal(read_pass(config_for(d, threads[t]), 5, other, other_labels), 101 - 35);
    assert_memory_equal(one + 35 * 3072, other, (101 - 35) * 3072 * sizeof *one);
    assert_int_equal(read_pass(config_for(d, threads[t]), 15, other, other_labels), 0);
  }
  CnLoaderConfig next = config_for(d, 1);
  next.pass++;
  read_pass(next, 0, other, other_labels);
  assert_memory_not_equal(labels, other_labels, sizeof labels);
  CnLoaderConfig full = config_for(d, 1);
  full.drop_last = true;
  assert_int_equal(read_pass(full, 0, other, other_labels), 98);
  free(one);
  free(other);
  cn_dataset_unref(d);
  assert_int_equal(cn_tensor_live(), live);
}

static void a_pass_holds_every_image_once(void **state) {
  (void)state;
  CnDataset *d;
  assert_int_equal(cn_shapes_draw(&d, 5, "train", 40), CN_OK);
  CnLoaderConfig config = config_for(d, 2);
  config.augment = (CnAugment){ 0 };
  float *values = malloc(40 * 3072 * sizeof *values);
  int64_t labels[40];
  assert_int_equal(read_pass(config, 0, values, labels), 40);
  CnNormal normal;
  cn_normal_init(&normal, d->images);
  for (int i = 0; i < 40; i++) {
    int found = 0;
    for (int k = 0; k < 40; k++) {
      int at = 0;
      while (at < 3072 && values[k * 3072 + at] == normal.value[at % 3][d->images->pixels[i * 3072 + at]]) at++;
      if (at == 3072) found += 1 + 100 * (labels[k] != cn_dataset_label(d, i));
    }
    assert_int_equal(found, 1);
  }
  free(values);
  cn_dataset_unref(d);
}

/* Reads a pass of `images` images by three shards with batches of 7 and puts them where they belong; every image must
** come once, borrowed ones not counted. */
static void read_shards(CnLoaderConfig config, int64_t images, float *values, int64_t *labels) {
  int64_t sum = 0;
  config.shards = 3;
  for (config.shard = 0; config.shard < 3; config.shard++) {
    CnLoader *l;
    CnTensor *x, *y;
    assert_int_equal(cn_loader_new(&l, &config), CN_OK);
    assert_int_equal(cn_loader_batches(l), (images + 20) / 21);
    for (int64_t b = 0; b < (images + 20) / 21; b++) {
      int64_t own, all, whole = images - b * 21 < 21 ? images - b * 21 : 21;
      assert_int_equal(cn_loader_next(l, &x, &y), CN_OK);
      cn_loader_share(l, &own, &all);
      assert_int_equal(all, whole);
      assert_int_equal(own, (whole + 2 - config.shard) / 3);
      assert_int_equal(x->shape[0], own > 0 ? own : 1);
      int64_t first = b * 21 + (whole * config.shard + 2) / 3;
      memcpy(values + first * 3072, cn_tensor_data(x), (size_t)own * 3072 * sizeof *values);
      memcpy(labels + first, cn_tensor_data(y), (size_t)own * sizeof *labels);
      sum += own;
      cn_tensor_unref(x);
      cn_tensor_unref(y);
    }
    assert_int_equal(cn_loader_next(l, &x, &y), CN_OK);
    assert_null(x);
    cn_loader_free(l);
  }
  assert_int_equal(sum, images);
}

static void shards_together_are_one_pass(void **state) {
  (void)state;
  const int64_t counts[] = { 84, 85, 86, 101 }; /* the last batch: full, 1, 2 and 17 of 21 images */
  for (int i = 0; i < 4; i++) {
    int64_t n = counts[i], labels[101], other_labels[101];
    CnDataset *d;
    assert_int_equal(cn_shapes_draw(&d, 5, "train", n), CN_OK);
    float *one = malloc((size_t)n * 3072 * sizeof *one), *other = malloc((size_t)n * 3072 * sizeof *other);
    CnLoaderConfig whole = config_for(d, 1);
    whole.batch = 21;
    assert_int_equal(read_pass(whole, 0, one, labels), n);
    for (int threads = 0; threads < 3; threads += 2) {
      memset(other, 0, (size_t)n * 3072 * sizeof *other);
      read_shards(config_for(d, threads), n, other, other_labels);
      assert_memory_equal(one, other, (size_t)n * 3072 * sizeof *one);
      assert_memory_equal(labels, other_labels, (size_t)n * sizeof *labels);
    }
    free(one);
    free(other);
    cn_dataset_unref(d);
  }
}

static void a_loader_stops_at_any_time(void **state) {
  (void)state;
  int64_t live = cn_tensor_live(), blocks = cn_memory_stats().blocks_live;
  CnDataset *d;
  assert_int_equal(cn_shapes_draw(&d, 5, "train", 101), CN_OK);
  for (int taken = 0; taken < 15; taken++) {
    CnLoaderConfig config = config_for(d, 3);
    CnLoader *l;
    CnTensor *x, *y;
    assert_int_equal(cn_loader_new(&l, &config), CN_OK);
    for (int i = 0; i < taken; i++) {
      assert_int_equal(cn_loader_next(l, &x, &y), CN_OK);
      cn_tensor_unref(x);
      cn_tensor_unref(y);
    }
    cn_loader_stop(l);
    assert_int_equal(cn_loader_next(l, &x, &y), CN_OK);
    assert_null(x);
    cn_loader_free(l);
  }
  cn_dataset_unref(d);
  assert_int_equal(cn_tensor_live(), live);
  assert_int_equal(cn_memory_stats().blocks_live, blocks);
}

static void a_steady_loader_asks_the_system_for_nothing(void **state) {
  (void)state;
#ifdef __SANITIZE_ADDRESS__
  skip(); /* with it nothing is reused */
#endif
  CnDataset *d;
  assert_int_equal(cn_shapes_draw(&d, 5, "train", 700), CN_OK);
  CnLoaderConfig config = config_for(d, 2);
  CnLoader *l;
  CnTensor *x, *y;
  int64_t before = 0;
  assert_int_equal(cn_loader_new(&l, &config), CN_OK);
  for (int i = 0; i < 100; i++) {
    assert_int_equal(cn_loader_next(l, &x, &y), CN_OK);
    cn_tensor_unref(x);
    cn_tensor_unref(y);
    if (i == 5) before = cn_memory_stats().system_allocations;
  }
  assert_int_equal(cn_memory_stats().system_allocations, before);
  cn_loader_free(l);
  cn_dataset_unref(d);
}

static CnErr whole_pass(CnDataset *d, int threads) {
  CnLoaderConfig config = config_for(d, threads);
  CnLoader *l;
  CnTensor *x = NULL, *y;
  CnErr e = cn_loader_new(&l, &config);
  if (e != CN_OK) return e;
  do {
    e = cn_loader_next(l, &x, &y);
    cn_tensor_unref(x);
    cn_tensor_unref(y);
  } while (e == CN_OK && x);
  cn_loader_free(l);
  return e;
}

static void loaders_survive_every_failed_allocation(void **state) {
  (void)state;
  CnDataset *d;
  assert_int_equal(cn_shapes_draw(&d, 5, "train", 40), CN_OK);
  int64_t blocks = cn_memory_stats().blocks_live, live = cn_tensor_live();
  for (int threads = 0; threads < 3; threads += 2)
    for (int64_t n = 0;; n++) {
      cn_memory_fail_after(n);
      CnErr e = whole_pass(d, threads);
      cn_memory_fail_after(-1);
      assert_int_equal(cn_memory_stats().blocks_live, blocks);
      assert_int_equal(cn_tensor_live(), live);
      if (e == CN_OK) break;
      assert_int_equal(e, CN_EMEMORY);
      assert_in_range(n, 0, 200);
    }
  cn_dataset_unref(d);
}

static void wrong_settings_are_refused(void **state) {
  (void)state;
  CnDataset *d;
  CnLoader *l;
  assert_int_equal(cn_shapes_draw(&d, 5, "train", 40), CN_OK);
  CnLoaderConfig good = config_for(d, 0), bad = good;
  bad.batch = 0;
  assert_int_equal(cn_loader_new(&l, &bad), CN_EUSAGE);
  bad = good;
  bad.start = 7;
  assert_int_equal(cn_loader_new(&l, &bad), CN_EUSAGE);
  assert_message("cannot start at batch 8, the pass has 6");
  bad = good;
  bad.augment.crop = 33;
  assert_int_equal(cn_loader_new(&l, &bad), CN_EUSAGE);
  bad = good;
  bad.threads = -1;
  assert_int_equal(cn_loader_new(&l, &bad), CN_EUSAGE);
  bad = good;
  bad.pass = -1;
  assert_int_equal(cn_loader_new(&l, &bad), CN_EUSAGE);
  bad = good;
  bad.shards = bad.shard = 2;
  assert_int_equal(cn_loader_new(&l, &bad), CN_EUSAGE);
  assert_message("shard must be from 1 to 2, got 3");
  assert_int_equal(cn_shapes_draw(&d, 5, "train", 0), CN_EUSAGE);
  cn_dataset_unref(d);
}

int main(void) {
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
  const struct CMUnitTest tests[] = {
    WITH_FOLDER(cifar10_loads),
    WITH_FOLDER(cifar100_loads),
    WITH_FOLDER(cifar_files_that_are_wrong),
    WITH_FOLDER(cifar_survives_every_failed_allocation),
    cmocka_unit_test(splits_share_and_cover),
    cmocka_unit_test(shapes_depend_on_seed_and_number_alone),
    cmocka_unit_test(augmentation_is_torchvisions),
    cmocka_unit_test(draws_are_even),
    cmocka_unit_test(batches_are_the_same_for_any_threads),
    cmocka_unit_test(a_pass_holds_every_image_once),
    cmocka_unit_test(shards_together_are_one_pass),
    cmocka_unit_test(a_loader_stops_at_any_time),
    cmocka_unit_test(a_steady_loader_asks_the_system_for_nothing),
    cmocka_unit_test(loaders_survive_every_failed_allocation),
    cmocka_unit_test(wrong_settings_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
