/* file.c - see file.h. Every descriptor is opened and closed in this file; every path in a message is the caller's. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/progress.h"
#include "io/folder.h"

static int system_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

CnSystem cn_system = { system_open, read, write, fsync, close, rename, fstatvfs };

/* ---- calls that go on after a signal ---- */

int cn_open(const char *path, int flags) {
  int fd;
  do fd = cn_system.open(path, flags | O_CLOEXEC, 0666);
  while (fd < 0 && errno == EINTR);
  return fd;
}

static int sync_whole(int fd) {
  int r;
  do r = cn_system.fsync(fd);
  while (r < 0 && errno == EINTR);
  return r;
}

static int rename_whole(const char *from, const char *to) {
  int r;
  do r = cn_system.rename(from, to);
  while (r < 0 && errno == EINTR);
  return r;
}

static int write_whole(int fd, const void *data, size_t size) {
  for (const char *at = data; size > 0;) {
    ssize_t n = cn_system.write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = EIO; /* a regular file never takes nothing */
    if (n <= 0) return -1;
    at += n;
    size -= (size_t)n;
    cn_progress_note();
  }
  return 0;
}

/* Reads up to `size` bytes, fewer only at the end of the file; -1 with errno on failure. */
static ssize_t read_whole(int fd, void *data, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t n = cn_system.read(fd, (char *)data + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    done += (size_t)n;
    cn_progress_note();
  }
  return (ssize_t)done;
}

static CnErr fail_missing(const char *action, const char *path) {
  CnErr e = errno == ENOENT || errno == ENOTDIR ? CN_EDATA : CN_EIO;
  return cn_fail(e, "cannot %s %s: %s", action, path, strerror(errno));
}

/* ---- the folder a path is in ---- */

char *cn_path_join(const char *folder, const char *name) {
  size_t bytes = strlen(folder) + strlen(name) + 2;
  char *path = cn_alloc(bytes);
  if (path) snprintf(path, bytes, "%s/%s", folder, name);
  return path;
}

static size_t folder_length(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

int cn_sync_folder_of(const char *path) {
  size_t length = folder_length(path);
  char *folder = cn_alloc(length + 2);
  if (!folder) {
    errno = ENOMEM;
    return -1;
  }
  memcpy(folder, path, length);
  strcpy(folder + length, length ? "" : ".");
  int fd = cn_open(folder, O_RDONLY | O_DIRECTORY);
  cn_free(folder);
  if (fd < 0) return -1;
  int r = sync_whole(fd), reason = errno;
  cn_system.close(fd);
  errno = reason;
  return r < 0 && reason != EINVAL ? -1 : 0; /* file systems that cannot sync a folder say EINVAL */
}

/* ---- reading ---- */

struct CnReader {
  int fd;             /* or, when negative, */
  const char *memory; /* borrowed */
  uint64_t size;
  char *path;
};

static CnErr reader_start(CnReader *r, const char *path) {
  r->path = cn_strdup(path);
  if (!r->path) return CN_EMEMORY;
  r->fd = cn_open(path, O_RDONLY | O_NONBLOCK); /* a pipe must not make us wait before it is refused */
  if (r->fd < 0) return fail_missing("read", path);
  struct stat info;
  if (fstat(r->fd, &info) < 0) return cn_fail(CN_EIO, "cannot read %s: %s", path, strerror(errno));
  if (S_ISDIR(info.st_mode)) return cn_fail(CN_EDATA, "cannot read %s: it is a folder", path);
  if (!S_ISREG(info.st_mode)) return cn_fail(CN_EDATA, "cannot read %s: it is not a regular file", path);
  r->size = (uint64_t)info.st_size;
  return CN_OK;
}

CnErr cn_reader_open(CnReader **out, const char *path) {
  CnReader *r = cn_alloc(sizeof *r);
  if (!r) return CN_EMEMORY;
  *r = (CnReader){ .fd = -1 };
  CnErr e = reader_start(r, path);
  if (e == CN_OK) *out = r;
  else cn_reader_close(r);
  return e;
}

CnErr cn_reader_open_memory(CnReader **out, const void *data, size_t size, const char *name) {
  CnReader *r = cn_alloc(sizeof *r);
  if (!r) return CN_EMEMORY;
  *r = (CnReader){ .fd = -1, .memory = data, .size = size, .path = cn_strdup(name) };
  CnErr e = r->path ? CN_OK : CN_EMEMORY;
  if (e == CN_OK) *out = r;
  else cn_reader_close(r);
  return e;
}

uint64_t cn_reader_size(const CnReader *r) { return r->size; }
const char *cn_reader_path(const CnReader *r) { return r->path; }

/* As read_whole, from the bytes in memory. */
static ssize_t copy_whole(const CnReader *r, void *to, uint64_t offset, size_t size) {
  uint64_t left = offset < r->size ? r->size - offset : 0;
  if (size > left) size = (size_t)left;
  if (size) memcpy(to, r->memory + offset, size);
  return (ssize_t)size;
}

CnErr cn_reader_get(CnReader *r, void *to, uint64_t offset, size_t size) {
  ssize_t n = -1;
  if (r->fd < 0) n = copy_whole(r, to, offset, size);
  else if (lseek(r->fd, (off_t)offset, SEEK_SET) >= 0) n = read_whole(r->fd, to, size);
  if (n < 0) return cn_fail(CN_EIO, "cannot read %s: %s", r->path, strerror(errno));
  if ((size_t)n < size)
    return cn_fail(CN_EDATA, "%s ends after %llu bytes, expected at least %llu", r->path,
                   (unsigned long long)offset + (unsigned long long)n, (unsigned long long)offset + size);
  return CN_OK;
}

void cn_reader_close(CnReader *r) {
  if (!r) return;
  if (r->fd >= 0) cn_system.close(r->fd);
  cn_free(r->path);
  cn_free(r);
}

/* Twice the room for the `used` bytes of *data. */
static CnErr grow(char **data, size_t *room, size_t used) {
  char *grown = *room <= SIZE_MAX / 2 ? cn_alloc(2 * *room) : NULL;
  if (!grown) return CN_EMEMORY;
  memcpy(grown, *data, used);
  cn_free(*data);
  *data = grown;
  *room *= 2;
  return CN_OK;
}

/* To the end of the file, wherever that is: those of /proc say that they are empty. */
static CnErr read_to_end(char **data, size_t *size, size_t room, CnReader *r, size_t limit) {
  for (*size = 0;;) {
    ssize_t n = read_whole(r->fd, *data + *size, room - *size);
    if (n < 0) return cn_fail(CN_EIO, "cannot read %s: %s", r->path, strerror(errno));
    *size += (size_t)n;
    if (*size > limit) return cn_fail(CN_EDATA, "cannot read %s: it has more than %zu bytes", r->path, limit);
    if (*size < room) {
      (*data)[*size] = 0;
      return CN_OK;
    }
    CN_TRY(grow(data, &room, *size));
  }
}

static CnErr read_all(char **out, size_t *size, CnReader *r, size_t limit) {
  if (r->size > limit || r->size >= SIZE_MAX / 2)
    return cn_fail(CN_EDATA, "cannot read %s: it has %llu bytes, and at most %zu are read", r->path,
                   (unsigned long long)r->size, limit);
  size_t room = r->size ? (size_t)r->size + 1 : 4096;
  char *data = cn_alloc(room);
  if (!data) return CN_EMEMORY;
  CnErr e = read_to_end(&data, size, room, r, limit);
  if (e == CN_OK) *out = data;
  else cn_free(data);
  return e;
}

CnErr cn_file_read(char **out, size_t *size, const char *path, size_t limit) {
  CnReader *r;
  CN_TRY(cn_reader_open(&r, path));
  CnErr e = read_all(out, size, r, limit);
  cn_reader_close(r);
  return e;
}

/* ---- writing by rename ---- */

struct CnWriter {
  int fd;
  char *path, *temporary;
};

static void writer_free(CnWriter *w) {
  cn_free(w->path);
  cn_free(w->temporary);
  cn_free(w);
}

/* Frees and removes; for use before the rename. */
void cn_writer_abandon(CnWriter *w) {
  if (!w) return;
  if (w->fd >= 0) {
    cn_system.close(w->fd);
    unlink(w->temporary);
  }
  writer_free(w);
}

/* ".name.<pid>-<n>.tmp" beside the file; cn_folder_sweep knows this form. A name at the system's limit is cut. */
static char *temporary_name(const char *path) {
  static atomic_uint number;
  size_t folder = folder_length(path), bytes = strlen(path) + 48;
  char *name = cn_alloc(bytes);
  if (name)
    snprintf(name, bytes, "%.*s.%.200s.%ld-%u" CN_TEMPORARY_END, (int)folder, path, path + folder, (long)getpid(),
             atomic_fetch_add(&number, 1u));
  return name;
}

CnErr cn_writer_open(CnWriter **out, const char *path) {
  if (path[folder_length(path)] == 0) return cn_fail(CN_EUSAGE, "cannot write '%s': it names no file", path);
  CnWriter *w = cn_alloc(sizeof *w);
  if (!w) return CN_EMEMORY;
  *w = (CnWriter){ .fd = -1, .path = cn_strdup(path), .temporary = temporary_name(path) };
  if (!w->path || !w->temporary) {
    writer_free(w);
    return CN_EMEMORY;
  }
  w->fd = cn_open(w->temporary, O_WRONLY | O_CREAT | O_EXCL);
  if (w->fd < 0) {
    writer_free(w);
    return cn_fail(CN_EIO, "cannot write %s: %s", path, strerror(errno));
  }
  *out = w;
  return CN_OK;
}

CnErr cn_writer_expect(CnWriter *w, uint64_t bytes) {
  struct statvfs info;
  int r;
  do r = cn_system.fstatvfs(w->fd, &info);
  while (r < 0 && errno == EINTR);
  if (r < 0) return cn_fail(CN_EIO, "cannot write %s: %s", w->path, strerror(errno));
  if (info.f_blocks == 0) return CN_OK; /* not bounded, as some in memory are */
  uint64_t left = (uint64_t)info.f_bavail * (uint64_t)info.f_frsize;
  if (left >= bytes) return CN_OK;
  return cn_fail(CN_EIO, "cannot write %s: it needs %.1f MB, and its file system has %.1f MB left: %s; make room there",
                 w->path, (double)bytes / 1e6, (double)left / 1e6, strerror(ENOSPC));
}

CnErr cn_writer_put(CnWriter *w, const void *data, size_t size) {
  if (write_whole(w->fd, data, size) == 0) return CN_OK;
  return cn_fail(CN_EIO, "cannot write %s: %s", w->path, strerror(errno));
}

CnErr cn_writer_rewind(CnWriter *w) {
  if (lseek(w->fd, 0, SEEK_SET) == 0) return CN_OK;
  return cn_fail(CN_EIO, "cannot write %s: %s", w->path, strerror(errno));
}

/* Before the rename a failure removes the temporary file. After it the new file stands, and only its survival of a
** power loss is in doubt: that is reported too. */
CnErr cn_writer_commit(CnWriter *w) {
  bool synced = sync_whole(w->fd) == 0;
  int reason = errno;
  bool closed = cn_system.close(w->fd) == 0 || errno == EINTR; /* the descriptor is gone in any case */
  if (synced && !closed) reason = errno;
  w->fd = -1;
  CnErr e = CN_OK;
  if (synced && closed && rename_whole(w->temporary, w->path) < 0) {
    reason = errno;
    closed = false;
  }
  if (!synced || !closed) {
    unlink(w->temporary);
    e = cn_fail(CN_EIO, "cannot write %s: %s", w->path, strerror(reason));
  } else if (cn_sync_folder_of(w->path) < 0) {
    e = cn_fail(CN_EIO, "wrote %s but cannot sync its folder: %s", w->path, strerror(errno));
  }
  writer_free(w);
  return e;
}

CnErr cn_file_write(const char *path, const void *data, size_t size) {
  CnWriter *w;
  CN_TRY(cn_writer_open(&w, path));
  CnErr e = cn_writer_put(w, data, size);
  if (e == CN_OK) return cn_writer_commit(w);
  cn_writer_abandon(w);
  return e;
}

static CnErr copy_open(CnReader *from, CnWriter *to) {
  enum { PIECE = 1 << 18 };
  char *piece = cn_alloc(PIECE);
  if (!piece) return CN_EMEMORY;
  CnErr e = CN_OK;
  for (uint64_t at = 0; at < from->size && e == CN_OK; at += PIECE) {
    size_t size = from->size - at < PIECE ? (size_t)(from->size - at) : PIECE;
    e = cn_reader_get(from, piece, at, size);
    if (e == CN_OK) e = cn_writer_put(to, piece, size);
  }
  cn_free(piece);
  return e;
}

CnErr cn_file_copy(const char *from, const char *to) {
  CnReader *r;
  CN_TRY(cn_reader_open(&r, from));
  CnWriter *w;
  CnErr e = cn_writer_open(&w, to);
  if (e == CN_OK) {
    e = copy_open(r, w);
    if (e == CN_OK) e = cn_writer_commit(w);
    else cn_writer_abandon(w);
  }
  cn_reader_close(r);
  return e;
}

/* ---- logs ---- */

struct CnLog {
  int fd;
  bool dirty;   /* appended to since the last sync */
  int64_t size; /* bytes; all of them whole records */
  char *path;
};

static CnErr log_fail(const CnLog *log) {
  return cn_fail(CN_EIO, "cannot append to %s: %s", log->path, strerror(errno));
}

static CnErr log_start(CnLog *log, const char *path) {
  log->path = cn_strdup(path);
  if (!log->path) return CN_EMEMORY;
  log->fd = cn_open(path, O_WRONLY | O_CREAT | O_APPEND);
  if (log->fd < 0) return log_fail(log);
  struct stat info;
  if (fstat(log->fd, &info) < 0 || cn_sync_folder_of(path) < 0) return log_fail(log);
  log->size = info.st_size;
  return CN_OK;
}

static void log_free(CnLog *log) {
  if (log->fd >= 0) cn_system.close(log->fd);
  cn_free(log->path);
  cn_free(log);
}

CnErr cn_log_open(CnLog **out, const char *path) {
  CnLog *log = cn_alloc(sizeof *log);
  if (!log) return CN_EMEMORY;
  *log = (CnLog){ .fd = -1 };
  CnErr e = log_start(log, path);
  if (e == CN_OK) *out = log;
  else log_free(log);
  return e;
}

CnErr cn_log_append(CnLog *log, const void *data, size_t size) {
  log->dirty = true;
  if (write_whole(log->fd, data, size) == 0) {
    log->size += (int64_t)size;
    return CN_OK;
  }
  CnErr e = log_fail(log);
  if (ftruncate(log->fd, log->size) < 0)
    cn_fail_within(CN_EIO, "(and the broken record could not be taken back: %s) ", strerror(errno));
  return e;
}

CnErr cn_log_sync(CnLog *log) {
  if (!log->dirty) return CN_OK;
  if (sync_whole(log->fd) < 0) return log_fail(log);
  log->dirty = false;
  return CN_OK;
}

int64_t cn_log_size(const CnLog *log) { return log->size; }

CnErr cn_log_close(CnLog *log) {
  if (!log) return CN_OK;
  CnErr e = cn_log_sync(log);
  log_free(log);
  return e;
}

CnErr cn_file_truncate(const char *path, int64_t size) {
  int fd = cn_open(path, O_WRONLY);
  if (fd < 0) return fail_missing("truncate", path);
  struct stat info;
  CnErr e = CN_OK;
  if (fstat(fd, &info) < 0) e = cn_fail(CN_EIO, "cannot truncate %s: %s", path, strerror(errno));
  else if (size < 0 || size > info.st_size)
    e = cn_fail(CN_EDATA, "cannot cut %s to %lld bytes: it has %lld", path, (long long)size, (long long)info.st_size);
  else if (ftruncate(fd, size) < 0 || sync_whole(fd) < 0)
    e = cn_fail(CN_EIO, "cannot truncate %s: %s", path, strerror(errno));
  cn_system.close(fd);
  return e;
}

CnErr cn_file_rename(const char *from, const char *to) {
  if (rename_whole(from, to) < 0) return fail_missing("rename", from);
  if (cn_sync_folder_of(to) == 0) return CN_OK;
  return cn_fail(CN_EIO, "renamed %s but cannot sync its folder: %s", to, strerror(errno));
}

/* ---- locks ---- */

struct CnLock {
  int fd;
};

/* Who holds a lock: the first line of its file, without line end. */
static void read_holder(int fd, char *text, size_t bytes) {
  ssize_t n = pread(fd, text, bytes - 1, 0);
  text[n > 0 ? n : 0] = 0;
  text[strcspn(text, "\n")] = 0;
  if (!*text) snprintf(text, bytes, "another process");
}

static CnErr lock_open(int fd, const char *folder) {
  int r;
  char text[256], host[128] = "?";
  do r = flock(fd, LOCK_EX | LOCK_NB);
  while (r < 0 && errno == EINTR);
  if (r < 0 && errno == EWOULDBLOCK) {
    read_holder(fd, text, sizeof text);
    return cn_fail(CN_EBUSY, "%s is in use by %s", folder, text);
  }
  if (r < 0) return cn_fail(CN_EIO, "cannot lock %s: %s", folder, strerror(errno));
  gethostname(host, sizeof host - 1);
  int length = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
  if (ftruncate(fd, 0) < 0 || write_whole(fd, text, (size_t)length) < 0)
    return cn_fail(CN_EIO, "cannot lock %s: %s", folder, strerror(errno));
  return CN_OK;
}

CnErr cn_lock_take(CnLock **out, const char *folder) {
  CnLock *lock = cn_alloc(sizeof *lock);
  char *path = cn_path_join(folder, "lock");
  CnErr e = lock && path ? CN_OK : CN_EMEMORY;
  if (e == CN_OK) {
    lock->fd = cn_open(path, O_RDWR | O_CREAT);
    e = lock->fd < 0 ? fail_missing("lock", folder) : lock_open(lock->fd, folder);
    if (e != CN_OK && lock->fd >= 0) cn_system.close(lock->fd);
  }
  cn_free(path);
  if (e == CN_OK) *out = lock;
  else cn_free(lock);
  return e;
}

/* The file stays: were it removed, two processes could hold two files of the same name. */
void cn_lock_release(CnLock *lock) {
  if (!lock) return;
  if (ftruncate(lock->fd, 0) < 0) errno = 0; /* the text would only be stale */
  cn_system.close(lock->fd);
  cn_free(lock);
}

/* A holder that let go has emptied the file; one that was killed has not, which only the lock itself tells. */
CnErr cn_lock_holder(char **out, const char *folder) {
  *out = NULL;
  char *path = cn_path_join(folder, "lock");
  if (!path) return CN_EMEMORY;
  char text[256];
  CnErr e = CN_OK;
  int fd = cn_open(path, O_RDONLY), r = 0;
  if (fd >= 0 && lseek(fd, 0, SEEK_END) > 0) {
    do r = flock(fd, LOCK_SH | LOCK_NB);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno == EWOULDBLOCK) {
      read_holder(fd, text, sizeof text);
      size_t size = strlen(text) + 1;
      *out = cn_alloc(size);
      if (*out) memcpy(*out, text, size);
      else e = CN_EMEMORY;
    }
  }
  if (fd >= 0) cn_system.close(fd); /* lets a shared lock go */
  cn_free(path);
  return e;
}
