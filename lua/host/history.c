/* history.c - what was typed, in a file that all sessions share.
**
** $CNAS_HISTORY, else $XDG_STATE_HOME/cnas/history, else ~/.local/state/cnas/history; an empty CNAS_HISTORY is none. A
** line is appended when it is typed, under a lock on the file, so sessions beside each other mix by the line and lose
** nothing. A file that has grown beyond MOST is cut to its newest half when a session begins, by whoever holds the lock.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/host/line.h"

#define MOST 262144 /* bytes */

/* The file's path into `out`, its folders made when `make`; false when there is to be none. */
static bool path_of(char out[PATH_MAX], bool make) {
  const char *given = getenv("CNAS_HISTORY"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
  int n;
  if (given != NULL) n = snprintf(out, PATH_MAX, "%s", given);
  else if (state != NULL && state[0] == '/') n = snprintf(out, PATH_MAX, "%s/cnas/history", state);
  else if (home != NULL && home[0] == '/') n = snprintf(out, PATH_MAX, "%s/.local/state/cnas/history", home);
  else return false;
  if (n <= 0 || n >= PATH_MAX) return false;
  for (char *slash = strchr(out + 1, '/'); make && slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    (void)mkdir(out, 0700); /* mostly there; what is wrong shows when the file is opened */
    *slash = '/';
  }
  return true;
}

/* The open file, locked; -1 when it cannot be had. Readable by its owner alone: lines may hold secrets. */
static int open_locked(bool make) {
  char path[PATH_MAX];
  if (!path_of(path, make)) return -1;
  int file = open(path, O_RDWR | O_APPEND | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
  if (file < 0) return -1;
  struct stat about;
  if (fstat(file, &about) == 0 && S_ISREG(about.st_mode) && flock(file, LOCK_EX) == 0) return file;
  close(file);
  return -1;
}

/* The last MOST bytes, cut at a line; NULL when there are none. */
static char *read_tail(int file, size_t *size, off_t *length) {
  struct stat about;
  if (fstat(file, &about) != 0 || about.st_size == 0) return NULL;
  size_t wanted = about.st_size > MOST ? MOST : (size_t)about.st_size, got = 0;
  char *text = malloc(wanted + 1);
  while (text != NULL && got < wanted) {
    ssize_t n = pread(file, text + got, wanted - got, about.st_size - (off_t)wanted + (off_t)got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += (size_t)n;
  }
  *size = got;
  *length = about.st_size;
  return text;
}

/* The position behind the first line end from `from` on. */
static size_t next_line(const char *text, size_t size, size_t from) {
  const char *end = from < size ? memchr(text + from, '\n', size - from) : NULL;
  return end != NULL ? (size_t)(end - text) + 1 : size;
}

static void write_all(int file, const char *text, size_t size) {
  while (size > 0) {
    ssize_t n = write(file, text, size);
    if (n < 0 && errno != EINTR) return;
    if (n > 0) {
      text += n;
      size -= (size_t)n;
    }
  }
}

Lines host_history_load(void) {
  Lines lines = { NULL, 0 };
  size_t size = 0;
  off_t length = 0;
  int file = open_locked(false);
  if (file < 0) return lines;
  char *text = read_tail(file, &size, &length);
  if (text != NULL && length > MOST) {
    size_t from = next_line(text, size, size / 2);
    memmove(text, text + from, size - from);
    size -= from;
    if (ftruncate(file, 0) == 0) write_all(file, text, size);
  }
  close(file);
  if (text == NULL) return lines;
  size_t used = 0; /* whole lines without 0 bytes move to the front, each with a 0 behind it */
  for (size_t at = 0; at < size;) {
    size_t next = next_line(text, size, at);
    size_t n = next - at - (text[next - 1] == '\n');
    if (n > 0 && memchr(text + at, '\0', n) == NULL) {
      memmove(text + used, text + at, n);
      used += n;
      text[used++] = '\0';
      lines.count++;
    }
    at = next;
  }
  lines.text = text;
  return lines;
}

void host_history_add(const char *line) {
  size_t length = strlen(line);
  if (length == 0 || length > MOST / 8) return;
  char *text = malloc(length + 1);
  if (text == NULL) return;
  memcpy(text, line, length);
  text[length] = '\n';
  int file = open_locked(true);
  if (file >= 0) {
    write_all(file, text, length + 1);
    close(file);
  }
  free(text);
}
