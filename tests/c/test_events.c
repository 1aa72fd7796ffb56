/* test_events.c - event files as TensorBoard reads them: framing, checksums, fields. */
#include "scratch.h"

#include <errno.h>
#include <stdlib.h>

#include "io/events.h"
#include "io/png.h"

static void test_checksum(void **state) {
  (void)state;
  assert_int_equal(cn_crc32c(0, "123456789", 9), 0xe3069283u);
  assert_int_equal(cn_crc32c(cn_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
  /* A record that TensorBoard's own code wrote: wall time 1.7e9, file version; 24 bytes. */
  static const unsigned char length[8] = { 24 };
  unsigned char event[24] = { 1 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0, 3 << 3 | 2, 13 };
  double time = 1.7e9;
  memcpy(event + 1, &time, 8);
  memcpy(event + 11, "brain.Event:2", 13);
  assert_int_equal(cn_crc32c_masked(length, 8), 0x224b7fa3u); /* in the file: a3 7f 4b 22 */
  assert_int_equal(cn_crc32c_masked(event, 24), 0x9d8fedecu); /* ec ed 8f 9d */
}

/* ---- a small reader ---- */

typedef struct Field {
  int number, wire;
  uint64_t value; /* of a varint or fixed number */
  const unsigned char *data;
  size_t size; /* of bytes */
} Field;

static uint64_t fixed(const unsigned char *at, int bytes) {
  uint64_t v = 0;
  for (int i = bytes - 1; i >= 0; i--) v = v << 8 | at[i];
  return v;
}

static uint64_t varint(const unsigned char **at) {
  uint64_t v = 0;
  for (int shift = 0;; shift += 7) {
    v |= (uint64_t)(**at & 0x7f) << shift;
    if (!(*(*at)++ & 0x80)) return v;
  }
}

static Field next_field(const unsigned char **at) {
  uint64_t key = varint(at);
  Field f = { .number = (int)(key >> 3), .wire = (int)(key & 7) };
  switch (f.wire) {
    case 0: f.value = varint(at); break;
    case 1: f.value = fixed(*at, 8); *at += 8; break;
    case 2: f.size = varint(at); f.data = *at; *at += f.size; break;
    case 5: f.value = fixed(*at, 4); *at += 4; break;
    default: fail_msg("wire type %d", f.wire);
  }
  return f;
}

/* The field `number` of a message, which must have it. */
static Field field(const unsigned char *data, size_t size, int number) {
  const unsigned char *at = data;
  while (at < data + size) {
    Field f = next_field(&at);
    assert_true(at <= data + size);
    if (f.number == number) return f;
  }
  fail_msg("no field %d", number);
  return (Field){ 0 };
}

static bool has_field(const unsigned char *data, size_t size, int number) {
  for (const unsigned char *at = data; at < data + size;)
    if (next_field(&at).number == number) return true;
  return false;
}

/* The records of the one file in the folder; checks their frames. Returns how many. */
static int read_records(char **file, Field records[], int room) {
  CnNames names;
  size_t size;
  int count = 0;
  assert_ok(cn_folder_list(&names, scratch_folder));
  assert_int_equal(names.count, 1);
  assert_int_equal(strncmp(names.name[0], "events.out.tfevents.", 20), 0);
  assert_ok(cn_file_read(file, &size, scratch_path(names.name[0]), 1 << 20));
  cn_names_free(&names);
  for (const unsigned char *at = (unsigned char *)*file, *end = at + size; at < end; count++) {
    assert_true(count < room);
    uint64_t length = fixed(at, 8);
    assert_int_equal(fixed(at + 8, 4), cn_crc32c_masked(at, 8));
    assert_int_equal(fixed(at + 12 + length, 4), cn_crc32c_masked(at + 12, length));
    records[count] = (Field){ .data = at + 12, .size = length };
    at += length + 16;
    assert_true(at <= end);
  }
  return count;
}

static void assert_bytes(Field f, const char *text) {
  assert_int_equal(f.size, strlen(text));
  assert_memory_equal(f.data, text, f.size);
}

/* ---- what is written ---- */

static void test_file(void **state) {
  (void)state;
  CnEvents *ev;
  CnTensor *image;
  char *png, *file;
  size_t size;
  Field r[8];
  assert_ok(cn_tensor_zeros(&image, CN_U8, CN_DEVICE_CPU, 3, (int64_t[]){ 3, 300, 4 }));
  assert_ok(cn_png_encode(&png, &size, image));
  assert_ok(cn_events_open(&ev, scratch_folder, -1));
  assert_ok(cn_events_scalar(ev, "train/loss", 2.5, 0));
  assert_ok(cn_events_scalar(ev, "train/loss", -0.125, (int64_t)1 << 40));
  assert_ok(cn_events_image(ev, "cells/é", png, size, 300));
  assert_fails(CN_EUSAGE, "not a PNG file", cn_events_image(ev, "x", "GIF", 3, 1));
  assert_ok(cn_events_flush(ev));
  assert_int_equal(read_records(&file, r, 8), 4);
  uint64_t bits = field(r[0].data, r[0].size, 1).value;
  double time;
  memcpy(&time, &bits, 8);
  assert_true(time > 1.6e9 && time < 1e10);
  assert_bytes(field(r[0].data, r[0].size, 3), "brain.Event:2");
  for (int i = 1; i <= 2; i++) {
    Field summary = field(r[i].data, r[i].size, 5), value = field(summary.data, summary.size, 1);
    assert_bytes(field(value.data, value.size, 1), "train/loss");
    float number;
    uint32_t number_bits = (uint32_t)field(value.data, value.size, 2).value;
    memcpy(&number, &number_bits, 4);
    assert_true(number == (i == 1 ? 2.5f : -0.125f));
  }
  assert_false(has_field(r[1].data, r[1].size, 2)); /* step 0 is protobuf's default */
  assert_int_equal(field(r[2].data, r[2].size, 2).value, (uint64_t)1 << 40);
  Field summary = field(r[3].data, r[3].size, 5), value = field(summary.data, summary.size, 1);
  Field picture = field(value.data, value.size, 4);
  assert_bytes(field(value.data, value.size, 1), "cells/é");
  assert_int_equal(field(picture.data, picture.size, 1).value, 3);
  assert_int_equal(field(picture.data, picture.size, 2).value, 300);
  assert_int_equal(field(picture.data, picture.size, 3).value, 4);
  Field bytes = field(picture.data, picture.size, 4);
  assert_int_equal(bytes.size, size);
  assert_memory_equal(bytes.data, png, size);
  cn_free(file);
  cn_free(png);
  cn_tensor_unref(image);
  assert_ok(cn_events_close(ev));
}

static void test_resume(void **state) {
  (void)state;
  CnEvents *ev;
  char *file;
  Field r[2];
  assert_ok(cn_events_open(&ev, scratch_folder, 77));
  assert_ok(cn_events_close(ev));
  assert_int_equal(read_records(&file, r, 2), 2);
  assert_int_equal(field(r[1].data, r[1].size, 2).value, 77);
  Field log = field(r[1].data, r[1].size, 7);
  assert_int_equal(field(log.data, log.size, 1).value, 1);
  cn_free(file);
}

/* Writers of the same second, whatever their process numbers, are read in the order they began. */
static void test_order(void **state) {
  (void)state;
  const char *last = NULL;
  CnEvents *ev[12];
  for (int i = 0; i < 12; i++) {
    assert_ok(cn_events_open(&ev[i], scratch_folder, i));
    if (last) assert_true(strcmp(last, cn_events_path(ev[i])) < 0);
    last = cn_events_path(ev[i]);
  }
  for (int i = 0; i < 12; i++) assert_ok(cn_events_close(ev[i]));
}

static ssize_t full_write(int fd, const void *data, size_t size) {
  (void)fd, (void)data, (void)size;
  errno = ENOSPC;
  return -1;
}

/* A record that does not fit is an error and leaves no part of itself. */
static void test_full_disk(void **state) {
  (void)state;
  CnEvents *ev;
  char *file;
  Field r[8];
  assert_ok(cn_events_open(&ev, scratch_folder, -1));
  CnSystem real = cn_system;
  cn_system.write = full_write;
  CnErr e = cn_events_scalar(ev, "x", 1, 1);
  cn_system = real;
  assert_fails(CN_EIO, "No space left on device", e);
  assert_ok(cn_events_scalar(ev, "x", 1, 2));
  assert_ok(cn_events_close(ev));
  assert_int_equal(read_records(&file, r, 8), 2);
  cn_free(file);
}

static void test_no_memory(void **state) {
  (void)state;
  int64_t before = cn_memory_stats().blocks_live;
  for (int64_t n = 0;; n++) {
    CnEvents *ev = NULL;
    cn_memory_fail_after(n);
    CnErr e = cn_events_open(&ev, scratch_path("events"), 3);
    if (e == CN_OK) e = cn_events_scalar(ev, "x", 1, 1);
    cn_memory_fail_after(-1);
    assert_ok(cn_events_close(ev));
    assert_ok(cn_folder_remove(scratch_path("events")));
    assert_int_equal(cn_memory_stats().blocks_live, before);
    if (e == CN_OK) break;
    assert_true(n < 100);
  }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
    TEST(test_checksum), TEST(test_file),      TEST(test_resume),
    TEST(test_order),    TEST(test_full_disk), TEST(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
