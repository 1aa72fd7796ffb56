/* test_file.c - files and folders: what is on the disk after every system call has failed in turn, with every error. */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a system that fails on purpose ---- */

enum { OPEN, READ, WRITE, FSYNC, CLOSE, RENAME, CALLS };
static const char *const call_names[] = { "open", "read", "write", "fsync", "close", "rename" };

static CnSystem real;
static int fault_call;   /* which call fails */
static int fault_number; /* the n-th of them, from 1; 0: none; -1: all of them, shortened and not failed */
static int fault_errno;
static int seen[CALLS];

static int faulty(int call) {
  seen[call]++;
  if (call != fault_call || seen[call] != fault_number) return 0;
  errno = fault_errno;
  return 1;
}

static size_t shortened(int call, size_t size) {
  return fault_call == call && fault_number == -1 && size > 1 ? 1 : size;
}

static int f_open(const char *path, int flags, mode_t mode) { return faulty(OPEN) ? -1 : real.open(path, flags, mode); }
static ssize_t f_read(int fd, void *to, size_t n) { return faulty(READ) ? -1 : real.read(fd, to, shortened(READ, n)); }
static ssize_t f_write(int fd, const void *from, size_t n) {
  if (!faulty(WRITE)) return real.write(fd, from, shortened(WRITE, n));
  if (fault_errno == ENOSPC && n > 1) { /* a disk takes what it can first */
    fault_number++;
    return real.write(fd, from, n / 2);
  }
  return -1;
}
static int f_fsync(int fd) { return faulty(FSYNC) ? -1 : real.fsync(fd); }
static int f_close(int fd) {
  int failed = faulty(CLOSE), reason = errno;
  int r = real.close(fd);
  errno = reason;
  return failed ? -1 : r;
}
static int f_rename(const char *from, const char *to) { return faulty(RENAME) ? -1 : real.rename(from, to); }

static void set_fault(int call, int number, int error) {
  memset(seen, 0, sizeof seen);
  fault_call = call;
  fault_number = number;
  fault_errno = error;
}

static int faults_setup(void **state) {
  real = cn_system;
  cn_system = (CnSystem){ f_open, f_read, f_write, f_fsync, f_close, f_rename, real.fstatvfs };
  set_fault(OPEN, 0, 0);
  return scratch_setup(state);
}

static int faults_teardown(void **state) {
  cn_system = real;
  return scratch_teardown(state);
}

static const char old_text[] = "old contents", new_text[] = "new contents, and longer ones than those before";

/* Calls `body` with every call made to fail in turn by each error, the file holding the old text; `check` sees what it
** returned. */
static void each_fault(const int *errors, int error_count, CnErr (*body)(void), void (*check)(CnErr e, int call)) {
  for (int call = 0; call < CALLS; call++)
    for (int k = 0; k < error_count; k++)
      for (int number = 1;; number++) {
        assert_ok(cn_file_write(scratch_path("file"), old_text, strlen(old_text)));
        set_fault(call, number, errors[k]);
        CnErr e = body();
        bool reached = seen[call] >= number;
        set_fault(OPEN, 0, 0);
        if (!reached) break;
        check(e, call);
      }
}

static const int hard[] = { ENOSPC, EIO, EACCES };
static const int soft[] = { EINTR };

/* ---- writing ---- */

static CnErr write_new(void) { return cn_file_write(scratch_path("file"), new_text, strlen(new_text)); }

/* Until the rename the old file stands; after it (the folder's sync) the new one does. Never a mixture, no rubbish. */
static void check_written(CnErr e, int call) {
  if (e != CN_OK) {
    assert_int_equal(e, CN_EIO);
    assert_non_null(strstr(cn_error_message(), scratch_path("file")));
  }
  char *data;
  size_t size;
  assert_ok(cn_file_read(&data, &size, scratch_path("file"), 1000));
  bool is_old = size == strlen(old_text) && memcmp(data, old_text, size) == 0;
  bool is_new = size == strlen(new_text) && memcmp(data, new_text, size) == 0;
  cn_free(data);
  if (!is_old && !is_new) fail_msg("neither old nor new after a failing %s", call_names[call]);
  if (e == CN_OK && !is_new) fail_msg("success was reported, and the old file stands after %s", call_names[call]);
  if ((call == WRITE || call == RENAME) && e != CN_OK) assert_true(is_old);
  assert_names("file ");
}

static void check_unharmed(CnErr e, int call) {
  if (e != CN_OK) fail_msg("an interrupted %s was not continued: %s", call_names[call], cn_error_message());
  assert_contents(scratch_path("file"), new_text, strlen(new_text));
  assert_names("file ");
}

static void test_write_faults(void **state) {
  (void)state;
  each_fault(hard, 3, write_new, check_written);
  each_fault(soft, 1, write_new, check_unharmed);
}

static void test_short_calls(void **state) {
  (void)state;
  set_fault(WRITE, -1, 0);
  assert_ok(write_new());
  assert_int_equal(seen[WRITE], strlen(new_text));
  set_fault(READ, -1, 0);
  assert_contents(scratch_path("file"), new_text, strlen(new_text));
  assert_true(seen[READ] >= (int)strlen(new_text));
}

static void test_full_disk_message(void **state) {
  (void)state;
  set_fault(WRITE, 1, ENOSPC);
  assert_fails(CN_EIO, "No space left on device", write_new());
  assert_names("");
}

/* A real full disk, where the system offers one. */
static void test_dev_full(void **state) {
  (void)state;
  CnLog *log;
  if (cn_log_open(&log, "/dev/full") != CN_OK) skip();
  assert_fails(CN_EIO, "/dev/full: No space left on device", cn_log_append(log, "x", 1));
  cn_log_close(log);
}

static CnErr copy_file(void) { return cn_file_copy(scratch_path("from"), scratch_path("file")); }

static void test_copy_faults(void **state) {
  (void)state;
  assert_ok(cn_file_write(scratch_path("from"), new_text, strlen(new_text)));
  for (int k = 0; k < 2; k++)
    for (int number = 1;; number++) {
      assert_ok(cn_file_write(scratch_path("file"), old_text, strlen(old_text)));
      set_fault(k ? READ : WRITE, number, EIO);
      CnErr e = copy_file();
      bool reached = seen[k ? READ : WRITE] >= number;
      set_fault(OPEN, 0, 0);
      if (!reached) break;
      assert_int_equal(e, CN_EIO);
      assert_contents(scratch_path("file"), old_text, strlen(old_text));
      assert_names("file from ");
    }
  assert_ok(copy_file());
  assert_contents(scratch_path("file"), new_text, strlen(new_text));
  assert_fails(CN_EDATA, "No such file", cn_file_copy(scratch_path("none"), scratch_path("file")));
}

static void test_write_names(void **state) {
  (void)state;
  assert_fails(CN_EUSAGE, "names no file", cn_file_write(scratch_path(""), "x", 1));
  assert_fails(CN_EIO, "No such file or directory", cn_file_write(scratch_path("no/folder"), "x", 1));
  char longest[256] = { 0 };
  memset(longest, 'n', 255);
  assert_ok(cn_file_write(scratch_path(longest), "x", 1));
  assert_contents(scratch_path(longest), "x", 1);
  assert_ok(cn_file_write(scratch_path("empty"), NULL, 0));
  assert_contents(scratch_path("empty"), "", 0);
}

/* ---- reading ---- */

static CnErr read_back(void) {
  char *data;
  size_t size;
  CnErr e = cn_file_read(&data, &size, scratch_path("file"), 1000);
  if (e == CN_OK) cn_free(data);
  return e;
}

static void check_read(CnErr e, int call) {
  if (call == CLOSE) assert_int_equal(e, CN_OK); /* what was read stays read */
  else assert_fails(CN_EIO, scratch_path("file"), e);
}

static void check_ok(CnErr e, int call) {
  if (e != CN_OK) fail_msg("an interrupted %s was not continued", call_names[call]);
}

static void test_read(void **state) {
  (void)state;
  char *data;
  size_t size;
  each_fault(hard, 3, read_back, check_read);
  each_fault(soft, 1, read_back, check_ok);
  assert_fails(CN_EDATA, "at most 10 are read", cn_file_read(&data, &size, scratch_path("file"), 10));
  assert_fails(CN_EDATA, "No such file", cn_file_read(&data, &size, scratch_path("none"), 10));
  assert_ok(cn_file_read(&data, &size, "/proc/self/maps", 1 << 20)); /* its size is said to be 0 */
  assert_true(size > 0 && data[size] == 0 && strlen(data) == size);
  cn_free(data);
  assert_fails(CN_EDATA, "it has more than 100 bytes", cn_file_read(&data, &size, "/proc/self/maps", 100));
  assert_fails(CN_EDATA, "it is a folder", cn_file_read(&data, &size, scratch_folder, 10));
  assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
  assert_fails(CN_EDATA, "not a regular file", cn_file_read(&data, &size, scratch_path("pipe"), 10));
}

static void test_reader(void **state) {
  (void)state;
  CnReader *r;
  char text[8] = { 0 };
  assert_ok(cn_file_write(scratch_path("file"), "0123456789", 10));
  assert_ok(cn_reader_open(&r, scratch_path("file")));
  assert_int_equal(cn_reader_size(r), 10);
  assert_ok(cn_reader_get(r, text, 3, 4));
  assert_string_equal(text, "3456");
  assert_fails(CN_EDATA, "ends after 10 bytes, expected at least 12", cn_reader_get(r, text, 8, 4));
  cn_reader_close(r);
}

/* ---- logs ---- */

static void test_log(void **state) {
  (void)state;
  CnLog *log;
  assert_ok(cn_log_open(&log, scratch_path("log")));
  assert_ok(cn_log_append(log, "one\n", 4));
  for (int k = 0; k < 2; k++) {
    set_fault(WRITE, 1, k ? EIO : ENOSPC);
    assert_fails(CN_EIO, scratch_path("log"), cn_log_append(log, "broken\n", 7));
    set_fault(OPEN, 0, 0);
    assert_int_equal(cn_log_size(log), 4);
    assert_contents(scratch_path("log"), "one\n", 4);
  }
  set_fault(WRITE, 1, EINTR);
  assert_ok(cn_log_append(log, "two\n", 4));
  set_fault(FSYNC, 1, EIO);
  assert_fails(CN_EIO, "Input/output error", cn_log_sync(log));
  set_fault(FSYNC, 1, EIO);
  assert_fails(CN_EIO, "Input/output error", cn_log_close(log));
  set_fault(OPEN, 0, 0);
  assert_ok(cn_log_open(&log, scratch_path("log")));
  assert_int_equal(cn_log_size(log), 8);
  assert_ok(cn_log_append(log, "three\n", 6));
  assert_ok(cn_log_close(log));
  assert_contents(scratch_path("log"), "one\ntwo\nthree\n", 14);
  assert_ok(cn_file_truncate(scratch_path("log"), 8));
  assert_contents(scratch_path("log"), "one\ntwo\n", 8);
  assert_fails(CN_EDATA, "it has 8", cn_file_truncate(scratch_path("log"), 9));
  assert_fails(CN_EDATA, "No such file", cn_file_truncate(scratch_path("none"), 0));
}

/* ---- folders ---- */

static void test_folders(void **state) {
  (void)state;
  CnPathKind kind;
  int64_t size;
  bool was_there;
  assert_ok(cn_folder_make(scratch_path("a/b/c")));
  assert_ok(cn_folder_make(scratch_path("a/b/c/")));
  assert_ok(cn_file_write(scratch_path("a/b/f"), "12345", 5));
  assert_fails(CN_EIO, "a file of that name exists", cn_folder_make(scratch_path("a/b/f")));
  assert_fails(CN_EIO, "a file of that name exists", cn_folder_make(scratch_path("a/b/f/g")));
  assert_ok(cn_path_kind(&kind, &size, scratch_path("a/b/f")));
  assert_int_equal(kind, CN_PATH_FILE);
  assert_int_equal(size, 5);
  assert_ok(cn_path_kind(&kind, NULL, scratch_path("a/b")));
  assert_int_equal(kind, CN_PATH_FOLDER);
  assert_ok(cn_path_kind(&kind, NULL, scratch_path("a/b/f/below a file")));
  assert_int_equal(kind, CN_PATH_NONE);
  assert_fails(CN_EIO, "cannot remove", cn_path_remove(&was_there, scratch_path("a/b")));
  assert_ok(cn_path_remove(&was_there, scratch_path("a/b/f")));
  assert_true(was_there);
  assert_ok(cn_path_remove(&was_there, scratch_path("a/b/f")));
  assert_false(was_there);
  assert_int_equal(symlink("/", scratch_path("a/link")), 0);
  assert_ok(cn_folder_remove(scratch_path("a")));
  assert_ok(cn_folder_remove(scratch_path("a")));
  assert_names("");
  assert_ok(cn_folder_free_space(&size, scratch_folder));
  assert_true(size > 0);
  assert_fails(CN_EIO, "free space", cn_folder_free_space(&size, scratch_path("none")));
  CnNames names;
  assert_fails(CN_EDATA, "cannot list", cn_folder_list(&names, scratch_path("none")));
  assert_ok(cn_file_write(scratch_path("x"), "1", 1));
  assert_ok(cn_file_rename(scratch_path("x"), scratch_path("y")));
  assert_fails(CN_EDATA, "cannot rename", cn_file_rename(scratch_path("x"), scratch_path("y")));
  assert_names("y ");
}

/* A process that dies while writing leaves a temporary file; sweep finds it and nothing else. */
static void test_sweep(void **state) {
  (void)state;
  pid_t child = fork();
  if (child == 0) {
    CnWriter *w;
    _exit(cn_writer_open(&w, scratch_path("file")) || cn_writer_put(w, "half", 4));
  }
  int status, count;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  const char *others[] = { ".file.tmp", "file.12-3.tmp", ".file.12-x.tmp", ".hidden", ".12-3.tmp" };
  for (int i = 0; i < 5; i++) assert_ok(cn_file_write(scratch_path(others[i]), "", 0));
  assert_ok(cn_folder_sweep(&count, scratch_folder));
  assert_int_equal(count, 1);
  assert_names(".12-3.tmp .file.12-x.tmp .file.tmp .hidden file.12-3.tmp ");
}

/* ---- locks ---- */

static void test_lock(void **state) {
  (void)state;
  CnLock *lock, *second;
  char expected[64];
  snprintf(expected, sizeof expected, "is in use by process %ld on ", (long)getpid());
  assert_ok(cn_lock_take(&lock, scratch_folder));
  assert_fails(CN_EBUSY, expected, cn_lock_take(&second, scratch_folder));
  char *holder;
  assert_ok(cn_lock_holder(&holder, scratch_folder));
  assert_non_null(strstr(expected, strtok(holder, " ")));
  cn_free(holder);
  pid_t child = fork();
  if (child == 0) _exit(cn_lock_take(&second, scratch_folder));
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(WEXITSTATUS(status), CN_EBUSY);
  cn_lock_release(lock);
  assert_ok(cn_lock_holder(&holder, scratch_folder));
  assert_null(holder);
  assert_ok(cn_lock_take(&second, scratch_folder));
  cn_lock_release(second);
  assert_ok(cn_lock_holder(&holder, scratch_path("none")));
  assert_null(holder);
  assert_fails(CN_EDATA, "No such file", cn_lock_take(&lock, scratch_path("none")));
}

static void test_lock_ends_with_its_process(void **state) {
  (void)state;
  CnLock *lock;
  pid_t child = fork();
  if (child == 0) _exit(cn_lock_take(&lock, scratch_folder));
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  char *holder; /* its text is still there, its lock is not */
  assert_ok(cn_lock_holder(&holder, scratch_folder));
  assert_null(holder);
  assert_ok(cn_lock_take(&lock, scratch_folder));
  cn_lock_release(lock);
}

/* ---- memory ---- */

static CnErr use_everything(void) {
  CnNames names;
  CnLock *lock;
  CnLog *log;
  CN_TRY(write_new());
  CN_TRY(read_back());
  CN_TRY(cn_file_copy(scratch_path("file"), scratch_path("copy")));
  CN_TRY(cn_folder_make(scratch_path("x/y")));
  CN_TRY(cn_folder_list(&names, scratch_folder));
  cn_names_free(&names);
  CN_TRY(cn_folder_sweep(NULL, scratch_folder));
  CN_TRY(cn_lock_take(&lock, scratch_folder));
  cn_lock_release(lock);
  CN_TRY(cn_log_open(&log, scratch_path("log")));
  CnErr e = cn_log_append(log, "x", 1);
  CnErr closed = cn_log_close(log);
  return e ? e : closed;
}

static void test_no_memory(void **state) {
  (void)state;
  int64_t before = cn_memory_stats().blocks_live;
  for (int64_t n = 0;; n++) {
    cn_memory_fail_after(n);
    CnErr e = use_everything();
    cn_memory_fail_after(-1);
    assert_int_equal(cn_memory_stats().blocks_live, before);
    if (e == CN_OK) break;
    assert_true(n < 100);
  }
  assert_names("copy file lock log x ");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, faults_setup, faults_teardown)
  const struct CMUnitTest tests[] = {
    TEST(test_write_faults), TEST(test_short_calls), TEST(test_full_disk_message), TEST(test_dev_full),
    TEST(test_copy_faults),  TEST(test_write_names), TEST(test_read),              TEST(test_reader),
    TEST(test_log),          TEST(test_folders),     TEST(test_sweep),             TEST(test_lock),
    TEST(test_lock_ends_with_its_process), TEST(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
