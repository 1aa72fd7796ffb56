/* scratch.h - a folder for one test, and whole files in it. */
#ifndef CN_TEST_SCRATCH_H
#define CN_TEST_SCRATCH_H

/* clang-format off: cmocka wants these first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/file.h"

static char *scratch_folder; /* made by scratch_setup, removed by scratch_teardown */

static inline int scratch_setup(void **state) {
  (void)state;
  return cn_folder_temporary(&scratch_folder) != CN_OK;
}

static inline int scratch_teardown(void **state) {
  (void)state;
  CnErr e = cn_folder_remove(scratch_folder);
  cn_free(scratch_folder);
  scratch_folder = NULL;
  return e != CN_OK;
}

/* The path of `name` in the folder; eight may be in use at once. */
static inline const char *scratch_path(const char *name) {
  static char paths[8][4096];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
  return path;
}

#define assert_ok(call) \
  do { \
    if ((call) != CN_OK) fail_msg("%s: %s", #call, cn_error_message()); \
  } while (0)

/* `call` fails with this code and a message that contains `text`. */
#define assert_fails(code, text, call) \
  do { \
    CnErr e_ = (call); \
    if (e_ != (code)) fail_msg("%s: code '%s', expected '%s'", #call, cn_error_name(e_), cn_error_name(code)); \
    if (!strstr(cn_error_message(), (text))) fail_msg("message '%s' lacks '%s'", cn_error_message(), (text)); \
  } while (0)

static inline void assert_contents(const char *path, const char *expected, size_t size) {
  char *data;
  size_t n;
  assert_ok(cn_file_read(&data, &n, path, 1 << 28));
  assert_int_equal(n, size);
  assert_memory_equal(data, expected, n);
  cn_free(data);
}

static inline void assert_names(const char *expected) { /* all names of the folder, each followed by a blank */
  CnNames names;
  char text[4096] = "";
  assert_ok(cn_folder_list(&names, scratch_folder));
  for (int i = 0; i < names.count; i++) strcat(strcat(text, names.name[i]), " ");
  cn_names_free(&names);
  assert_string_equal(text, expected);
}

#endif
