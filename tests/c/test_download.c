/* test_download.c - data from the network, over a server on the loopback, and archives that must not be trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>
#include <openssl/evp.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "data/cifar.h"
#include "http_server.h"

#define assert_message(part) assert_non_null(strstr(cn_error_message(), part))

static char folder[64]; /* of the test that runs */

static const char *in_folder(const char *name) {
  static char path[4][160];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

static int make_folder(void **state) {
  (void)state;
  unsetenv("http_proxy");
  strcpy(folder, "/tmp/cnas-download-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  char command[96];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static bool exists(const char *name) { return access(in_folder(name), F_OK) == 0; }

/* Whether nothing but `allowed` is in the folder. */
static bool only(const char *allowed) {
  char command[256];
  snprintf(command, sizeof command, "test \"$(ls -A '%s' | tr '\\n' ' ')\" = '%s'", folder, allowed);
  return system(command) == 0;
}

static void write_file(const char *name, const char *data, size_t bytes) {
  FILE *f = fopen(in_folder(name), "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, bytes, f), bytes);
  assert_int_equal(fclose(f), 0);
}

static const char *md5_of(const char *data, size_t bytes) {
  static char text[33];
  unsigned char sum[EVP_MAX_MD_SIZE];
  assert_true(EVP_Digest(data, bytes, sum, NULL, EVP_md5(), NULL));
  for (int i = 0; i < 16; i++) snprintf(text + 2 * i, 3, "%02x", sum[i]);
  return text;
}

/* ---- Archives ---- */

/* An archive in memory, under construction. */
typedef struct Tar {
  struct archive *archive;
  char *data;
  size_t bytes;
} Tar;

static void tar_start(Tar *t) {
  t->archive = archive_write_new();
  t->data = malloc(4 << 20);
  archive_write_add_filter_gzip(t->archive);
  archive_write_set_format_pax_restricted(t->archive);
  assert_int_equal(archive_write_open_memory(t->archive, t->data, 4 << 20, &t->bytes), ARCHIVE_OK);
}

static void tar_put(Tar *t, const char *name, int type, const char *link, size_t bytes) {
  struct archive_entry *entry = archive_entry_new();
  archive_entry_set_pathname(entry, name);
  archive_entry_set_filetype(entry, type == 'h' ? AE_IFREG : (unsigned)type);
  archive_entry_set_perm(entry, 0755);
  if (link && type == 'h') archive_entry_set_hardlink(entry, link);
  if (link && type != 'h') archive_entry_set_symlink(entry, link);
  archive_entry_set_size(entry, (int64_t)bytes);
  assert_int_equal(archive_write_header(t->archive, entry), ARCHIVE_OK);
  char *zeros = calloc(bytes + 1, 1);
  if (bytes) assert_int_equal(archive_write_data(t->archive, zeros, bytes), bytes);
  free(zeros);
  archive_entry_free(entry);
}

static void tar_finish(Tar *t) {
  assert_int_equal(archive_write_close(t->archive), ARCHIVE_OK);
  archive_write_free(t->archive);
}

/* A small CIFAR-10, `records` black airplanes in each file. */
static void tar_put_cifar(Tar *t, const char *prefix, int files, int records) {
  static const char *const names[] = { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                       "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin" };
  for (int i = 0; i < files; i++) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", prefix, names[i]);
    tar_put(t, path, AE_IFREG, NULL, (size_t)records * 3073);
  }
}

static Tar good_archive(void) {
  Tar t;
  tar_start(&t);
  tar_put(&t, "cifar-10-batches-bin/", AE_IFDIR, NULL, 0);
  tar_put_cifar(&t, "./cifar-10-batches-bin", 6, 3);
  tar_put(&t, "cifar-10-batches-bin/batches.meta.txt", AE_IFREG, NULL, 61);
  tar_put(&t, "cifar-10-batches-bin/readme.html", AE_IFREG, NULL, 88);
  tar_finish(&t);
  return t;
}

/* Puts an archive where a hand would put it, and lets it be found there. */
static CnErr obtain_archive(const Tar *t) {
  write_file("cifar-10-binary.tar.gz", t->data, t->bytes);
  return cn_cifar_obtain(10, folder, &(CnCifarSource){ .md5 = md5_of(t->data, t->bytes) });
}

static void an_archive_put_there_by_hand_is_unpacked(void **state) {
  (void)state;
  Tar t = good_archive();
  assert_int_equal(obtain_archive(&t), CN_OK);
  assert_true(exists("cifar-10-batches-bin/batches.meta.txt"));
  assert_false(exists("cifar-10-batches-bin/readme.html"));
  assert_true(only("cifar-10-batches-bin cifar-10-binary.tar.gz "));
  CnDataset *train, *test;
  assert_int_equal(cn_cifar_load(&train, &test, 10, folder), CN_OK);
  assert_int_equal(train->count, 15);
  cn_dataset_unref(train);
  cn_dataset_unref(test);
  free(t.data);
}

static void a_folder_without_its_files_is_filled(void **state) {
  (void)state;
  assert_int_equal(mkdir(in_folder("cifar-10-batches-bin"), 0755), 0);
  write_file("cifar-10-batches-bin/notes", "mine", 4);
  Tar t = good_archive();
  assert_int_equal(obtain_archive(&t), CN_OK);
  assert_true(exists("cifar-10-batches-bin/notes") && exists("cifar-10-batches-bin/test_batch.bin"));
  assert_true(only("cifar-10-batches-bin cifar-10-binary.tar.gz "));
  free(t.data);
}

static void an_archive_with_a_wrong_sum_is_not_opened(void **state) {
  (void)state;
  Tar t = good_archive();
  write_file("cifar-10-binary.tar.gz", t.data, t.bytes);
  assert_int_equal(cn_cifar_obtain(10, folder, &(CnCifarSource){ 0 }), CN_EDATA);
  assert_message("expected the MD5 sum c32a1d4ab5d03f1284b67883e8d87530");
  assert_true(only("cifar-10-binary.tar.gz "));
  free(t.data);
}

/* Adds one bad entry to a good start, and expects a refusal with this text and nothing unpacked. */
static void refused(const char *name, int type, const char *link, size_t bytes, const char *message) {
  Tar t;
  tar_start(&t);
  tar_put_cifar(&t, "cifar-10-batches-bin", 2, 3);
  tar_put(&t, name, type, link, bytes);
  tar_finish(&t);
  assert_int_equal(obtain_archive(&t), CN_EDATA);
  assert_message(message);
  assert_true(only("cifar-10-binary.tar.gz "));
  free(t.data);
}

static void hostile_archives_are_refused(void **state) {
  (void)state;
  refused("../outside", AE_IFREG, NULL, 5, "'../outside', which leaves the folder");
  refused("cifar-10-batches-bin/../../outside", AE_IFREG, NULL, 5, "which leaves the folder");
  refused("/tmp/cnas-outside", AE_IFREG, NULL, 5, "which leaves the folder");
  refused("cifar-10-batches-bin/data_batch_3.bin", AE_IFLNK, "/etc/passwd", 0, "neither a plain file nor a folder");
  refused("cifar-10-batches-bin/data_batch_3.bin", 'h', "/etc/passwd", 0, "neither a plain file nor a folder");
  refused("cifar-10-batches-bin/data_batch_3.bin", AE_IFIFO, NULL, 0, "neither a plain file nor a folder");
  refused("cifar-10-batches-bin/data_batch_1.bin", AE_IFREG, NULL, 3073, "holds 'data_batch_1.bin' twice");
  refused("cifar-10-batches-bin/data_batch_3.bin", AE_IFREG, NULL, 30730001, "longer than 30730000 bytes");
  refused("bomb", AE_IFREG, NULL, 200000000, "more than all wanted files may have");
  refused("cifar-10-batches-bin/data_batch_3.bin", AE_IFREG, NULL, 3073, "does not hold cifar-10-batches-bin/data");
}

static void many_small_bombs_are_refused(void **state) {
  (void)state;
  Tar t;
  tar_start(&t);
  for (int i = 0; i < 10; i++) tar_put(&t, "padding", AE_IFREG, NULL, 20000000);
  tar_put_cifar(&t, "cifar-10-batches-bin", 6, 3);
  tar_finish(&t);
  assert_int_equal(obtain_archive(&t), CN_EDATA);
  assert_message("unpacks to more than");
  assert_true(only("cifar-10-binary.tar.gz "));
  free(t.data);
}

static void a_cut_archive_is_refused(void **state) {
  (void)state;
  Tar t = good_archive();
  t.bytes /= 2;
  assert_int_equal(obtain_archive(&t), CN_EDATA);
  assert_message("cannot unpack it");
  assert_true(only("cifar-10-binary.tar.gz "));
  write_file("cifar-10-binary.tar.gz", "no archive at all", 17);
  assert_int_equal(cn_cifar_obtain(10, folder, &(CnCifarSource){ .md5 = md5_of("no archive at all", 17) }), CN_EDATA);
  free(t.data);
}

static void unpacking_survives_every_failed_allocation(void **state) {
  (void)state;
  Tar t = good_archive();
  int64_t blocks = cn_memory_stats().blocks_live;
  for (int64_t n = 0;; n++) {
    cn_memory_fail_after(n);
    CnErr e = obtain_archive(&t);
    cn_memory_fail_after(-1);
    assert_int_equal(cn_memory_stats().blocks_live, blocks);
    if (e == CN_OK) break;
    assert_int_equal(e, CN_EMEMORY);
    assert_true(only("cifar-10-binary.tar.gz "));
    assert_in_range(n, 0, 100);
  }
  free(t.data);
}

/* ---- Downloads ---- */

static void data_that_is_not_there_says_how_to_get_it(void **state) {
  (void)state;
  assert_int_equal(cn_cifar_obtain(10, in_folder("none"), &(CnCifarSource){ 0 }), CN_EDATA);
  assert_message("no data in");
  assert_message("Use --download");
  assert_message("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz");
  assert_false(exists("none"));
}

static bool remember(void *data, int64_t now, int64_t total) {
  int64_t *seen = data;
  seen[0] = now;
  seen[1] = total;
  return true;
}

static void data_is_downloaded_and_unpacked(void **state) {
  (void)state;
  HttpServer s;
  Tar t = good_archive();
  int64_t seen[2] = { 0 };
  assert_true(http_start(&s, t.data, t.bytes));
  CnCifarSource source = { .url = s.url, .md5 = md5_of(t.data, t.bytes), .download = true, .progress = remember,
                           .progress_data = seen };
  assert_int_equal(cn_cifar_obtain(10, in_folder("new/place"), &source), CN_OK);
  assert_true(exists("new/place/cifar-10-batches-bin/test_batch.bin"));
  assert_int_equal(seen[0], t.bytes);
  assert_int_equal(seen[1], t.bytes);
  assert_int_equal(s.requests, 1);
  assert_int_equal(cn_cifar_obtain(10, in_folder("new/place"), &source), CN_OK); /* it is there: no request */
  assert_int_equal(s.requests, 1);
  http_stop(&s);
  free(t.data);
}

#define BODY 200000
static char body[BODY]; /* any bytes */

static CnErr download_body(HttpServer *s, const char *md5, CnProgress progress) {
  return cn_download(&(CnDownload){ .url = s->url, .path = in_folder("file"), .md5 = md5, .max_bytes = 1000000,
                                    .progress = progress });
}

static int make_body(void **state) {
  for (int i = 0; i < BODY; i++) body[i] = (char)(i * 7 + i / 251);
  return make_folder(state);
}

static void assert_file_is_body(void) {
  FILE *f = fopen(in_folder("file"), "rb");
  static char read_back[BODY + 1];
  assert_non_null(f);
  assert_int_equal(fread(read_back, 1, sizeof read_back, f), BODY);
  assert_memory_equal(read_back, body, BODY);
  fclose(f);
  assert_true(only("file "));
}

static void a_cut_download_goes_on(void **state) {
  (void)state;
  HttpServer s;
  assert_true(http_start(&s, body, BODY));
  s.cut_after = 70000;
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_OK);
  assert_int_equal(s.requests, 2);
  assert_int_equal(s.ranges, 1);
  assert_file_is_body();
  http_stop(&s);
}

static void a_part_from_before_is_used(void **state) {
  (void)state;
  HttpServer s;
  write_file("file.part", body, 150000);
  assert_true(http_start(&s, body, BODY));
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_OK);
  assert_int_equal(s.requests, 1);
  assert_int_equal(s.ranges, 1);
  assert_file_is_body();
  http_stop(&s);
}

static void a_complete_part_is_taken(void **state) {
  (void)state;
  HttpServer s;
  write_file("file.part", body, BODY);
  assert_true(http_start(&s, body, BODY));
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_OK);
  assert_int_equal(s.requests, 0);
  assert_file_is_body();
  assert_int_equal(unlink(in_folder("file")), 0);
  write_file("file.part", body, BODY);
  assert_int_equal(truncate(in_folder("file.part"), BODY + 10), 0); /* too long: the server has no such range */
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_OK);
  assert_file_is_body();
  http_stop(&s);
}

static void a_damaged_part_is_thrown_away(void **state) {
  (void)state;
  HttpServer s;
  write_file("file.part", "something else", 14);
  assert_true(http_start(&s, body, BODY));
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_OK);
  assert_int_equal(s.requests, 2);
  assert_file_is_body();
  http_stop(&s);
}

static void a_server_without_ranges_is_asked_for_all(void **state) {
  (void)state;
  HttpServer s;
  write_file("file.part", body, 1000);
  assert_true(http_start(&s, body, BODY));
  s.no_ranges = true;
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_OK);
  assert_file_is_body();
  http_stop(&s);
}

static void a_wrong_sum_leaves_nothing(void **state) {
  (void)state;
  HttpServer s;
  assert_true(http_start(&s, body, BODY));
  assert_int_equal(download_body(&s, "00000000000000000000000000000000", NULL), CN_EDATA);
  assert_message("expected the MD5 sum 00000000000000000000000000000000");
  assert_true(only(""));
  http_stop(&s);
}

static void a_sha256_sum_may_be_given_by_its_first_digits(void **state) {
  (void)state;
  HttpServer s;
  assert_true(http_start(&s, "abc", 3)); /* ba7816bf 8f01cfea 41 … */
  CnDownload d = { .url = s.url, .path = in_folder("file"), .sha256 = "ba7816bf", .max_bytes = 10 };
  assert_int_equal(cn_download(&d), CN_OK);
  assert_true(only("file "));
  assert_int_equal(cn_sha256_check(in_folder("file"), "BA7816BF8f01"), CN_OK);
  assert_int_equal(cn_sha256_check(in_folder("file"), "ba7816be"), CN_EDATA);
  assert_message("expected the SHA-256 sum ba7816be, got ba7816bf8f01cfea");
  assert_int_equal(unlink(in_folder("file")), 0);
  d.sha256 = "ba7816be";
  assert_int_equal(cn_download(&d), CN_EDATA);
  assert_message("expected the SHA-256 sum ba7816be of the published file");
  assert_true(only(""));
  d.sha256 = "ba7816b";
  assert_int_equal(cn_download(&d), CN_EUSAGE);
  http_stop(&s);
}

static void servers_that_fail_are_reported(void **state) {
  (void)state;
  HttpServer s;
  assert_true(http_start(&s, body, BODY));
  s.status = 404;
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_EIO);
  assert_message("404");
  s.status = 200;
  http_stop(&s);
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_EIO); /* nobody there */
  assert_message(s.url);
  assert_int_equal(cn_download(&(CnDownload){ .url = "file:///etc/passwd", .path = in_folder("file"), .md5 = "",
                                              .max_bytes = 1000000 }), CN_EIO);
}

static void more_than_expected_is_refused(void **state) {
  (void)state;
  HttpServer s;
  assert_true(http_start(&s, body, BODY));
  CnDownload d = { .url = s.url, .path = in_folder("file"), .md5 = md5_of(body, BODY), .max_bytes = BODY - 1 };
  assert_int_equal(cn_download(&d), CN_EDATA);
  assert_message("more than the 199999 bytes");
  http_stop(&s);
}

static void a_full_disk_is_reported(void **state) {
  (void)state;
  HttpServer s;
  assert_int_equal(symlink("/dev/full", in_folder("file.part")), 0);
  assert_true(http_start(&s, body, BODY));
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_EIO);
  assert_message("file.part: writing failed (No space left on device)");
  assert_false(exists("file"));
  http_stop(&s);
}

static void two_downloads_do_not_mix(void **state) {
  (void)state;
  HttpServer s;
  assert_true(http_start(&s, body, BODY));
  FILE *other = fopen(in_folder("file.part"), "w");
  assert_int_equal(flock(fileno(other), LOCK_EX), 0);
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_EBUSY);
  assert_message("another process is downloading");
  assert_int_equal(s.requests, 0);
  fclose(other);
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_OK);
  assert_file_is_body();
  http_stop(&s);
}

static bool stop_midway(void *data, int64_t now, int64_t total) {
  (void)data, (void)total;
  return now < 1000;
}

static void a_stopped_download_keeps_its_part(void **state) {
  (void)state;
  HttpServer s;
  assert_true(http_start(&s, body, BODY));
  s.cut_after = 50000; /* so that curl reports before the end */
  assert_int_equal(download_body(&s, md5_of(body, BODY), stop_midway), CN_EINTERRUPTED);
  assert_true(only("file.part "));
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_OK);
  assert_file_is_body();
  cn_interrupt_note(2);
  assert_int_equal(unlink(in_folder("file")), 0);
  assert_int_equal(download_body(&s, md5_of(body, BODY), NULL), CN_EINTERRUPTED);
  cn_interrupt_clear();
  http_stop(&s);
}

int main(void) {
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
#define WITH_BODY(test) cmocka_unit_test_setup_teardown(test, make_body, remove_folder)
  const struct CMUnitTest tests[] = {
    WITH_FOLDER(an_archive_put_there_by_hand_is_unpacked),
    WITH_FOLDER(a_folder_without_its_files_is_filled),
    WITH_FOLDER(an_archive_with_a_wrong_sum_is_not_opened),
    WITH_FOLDER(hostile_archives_are_refused),
    WITH_FOLDER(many_small_bombs_are_refused),
    WITH_FOLDER(a_cut_archive_is_refused),
    WITH_FOLDER(unpacking_survives_every_failed_allocation),
    WITH_FOLDER(data_that_is_not_there_says_how_to_get_it),
    WITH_FOLDER(data_is_downloaded_and_unpacked),
    WITH_BODY(a_cut_download_goes_on),
    WITH_BODY(a_part_from_before_is_used),
    WITH_BODY(a_complete_part_is_taken),
    WITH_BODY(a_damaged_part_is_thrown_away),
    WITH_BODY(a_server_without_ranges_is_asked_for_all),
    WITH_BODY(a_wrong_sum_leaves_nothing),
    WITH_BODY(a_sha256_sum_may_be_given_by_its_first_digits),
    WITH_BODY(servers_that_fail_are_reported),
    WITH_BODY(more_than_expected_is_refused),
    WITH_BODY(a_full_disk_is_reported),
    WITH_BODY(two_downloads_do_not_mix),
    WITH_BODY(a_stopped_download_keeps_its_part),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
