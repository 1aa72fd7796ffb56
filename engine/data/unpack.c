/* unpack.c - cn_unpack of download.h: libarchive reads, and nothing of the archive but the wanted files' bytes is used.
**
** Names are only compared, never opened: the files are created under the wanted names in a fresh folder that this
** process owns. The bytes that come out of the decompressor are counted, whether they are wanted or not. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/download.h"

#define SLACK (1 << 20) /* bytes for headers and for small files that are passed over */
#define BLOCK (1 << 16)

typedef struct Unpack {
  const char *path; /* of the archive, for messages */
  const char *folder;
  const CnWanted *wanted;
  int n;
  bool *have;    /* files that lie in the fresh folder */
  int64_t limit; /* of decompressed bytes */
  struct archive *archive;
  char *block;
  int to; /* the fresh folder */
} Unpack;

/* The wanted file that this entry's name means: its place in the list, or -1. */
static int find(const Unpack *u, const char *name) {
  while (strncmp(name, "./", 2) == 0) name += 2;
  size_t length = strlen(u->folder);
  if (strncmp(name, u->folder, length) != 0 || name[length] != '/') return -1;
  for (int i = 0; i < u->n; i++)
    if (strcmp(name + length + 1, u->wanted[i].name) == 0) return i;
  return -1;
}

static bool has_dots(const char *name) {
  for (const char *part = name; part; part = strchr(part, '/')) {
    if (*part == '/') part++;
    if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == 0)) return true;
  }
  return false;
}

/* Refuses what no archive of a dataset holds. */
static CnErr check_entry(const Unpack *u, struct archive_entry *entry, const char *name) {
  if (!name) return cn_fail(CN_EDATA, "%s: an entry without a readable name", u->path);
  if (name[0] == '/' || has_dots(name))
    return cn_fail(CN_EDATA, "%s: refused, it holds the path '%s', which leaves the folder", u->path, name);
  mode_t type = archive_entry_filetype(entry);
  if (archive_entry_hardlink(entry) || (type != AE_IFREG && type != AE_IFDIR))
    return cn_fail(CN_EDATA, "%s: refused, '%s' is neither a plain file nor a folder", u->path, name);
  if (archive_entry_size(entry) < 0 || archive_entry_size(entry) > u->limit)
    return cn_fail(CN_EDATA, "%s: refused, '%s' has %lld bytes, more than all wanted files may have (%lld)", u->path,
                   name, (long long)archive_entry_size(entry), (long long)u->limit);
  return CN_OK;
}

static CnErr check_total(const Unpack *u) {
  if (archive_filter_bytes(u->archive, 0) <= u->limit) return CN_OK;
  return cn_fail(CN_EDATA, "%s: refused, it unpacks to more than the %lld bytes that are expected at most", u->path,
                 (long long)u->limit);
}

static CnErr read_failed(const Unpack *u) {
  return cn_fail(CN_EDATA, "%s: cannot unpack it (%s); remove it and download it again", u->path,
                 archive_error_string(u->archive));
}

static CnErr write_all(int fd, const char *data, size_t bytes, const char *name) {
  while (bytes > 0) {
    ssize_t put = write(fd, data, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return cn_fail(CN_EIO, "%s: writing failed while unpacking (%s)", name, strerror(errno));
    data += put;
    bytes -= (size_t)put;
  }
  return CN_OK;
}

/* Copies the present entry to `fd`. */
static CnErr copy(const Unpack *u, const CnWanted *wanted, int fd) {
  int64_t total = 0;
  for (;;) {
    ssize_t got = archive_read_data(u->archive, u->block, BLOCK);
    if (got < 0) return read_failed(u);
    if (got == 0) break;
    total += got;
    if (total > wanted->max_bytes)
      return cn_fail(CN_EDATA, "%s: refused, '%s' is longer than %lld bytes", u->path, wanted->name,
                     (long long)wanted->max_bytes);
    CN_TRY(write_all(fd, u->block, (size_t)got, wanted->name));
  }
  if (fsync(fd) != 0) return cn_fail(CN_EIO, "%s: writing failed while unpacking (%s)", wanted->name, strerror(errno));
  return CN_OK;
}

static CnErr take(Unpack *u, int i) {
  const CnWanted *wanted = &u->wanted[i];
  if (u->have[i]) return cn_fail(CN_EDATA, "%s: refused, it holds '%s' twice", u->path, wanted->name);
  int fd = openat(u->to, wanted->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) return cn_fail(CN_EIO, "%s: cannot write it while unpacking (%s)", wanted->name, strerror(errno));
  u->have[i] = true;
  CnErr e = copy(u, wanted, fd);
  if (close(fd) != 0 && e == CN_OK) e = cn_fail(CN_EIO, "%s: writing failed (%s)", wanted->name, strerror(errno));
  return e;
}

/* Every entry, one after the other. */
static CnErr walk(Unpack *u) {
  for (;;) {
    struct archive_entry *entry;
    int status = archive_read_next_header(u->archive, &entry);
    CN_TRY(check_total(u));
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return read_failed(u);
    const char *name = archive_entry_pathname(entry);
    CN_TRY(check_entry(u, entry, name));
    int i = archive_entry_filetype(entry) == AE_IFREG ? find(u, name) : -1;
    if (i >= 0) CN_TRY(take(u, i));
  }
  for (int i = 0; i < u->n; i++)
    if (u->wanted[i].required && !u->have[i])
      return cn_fail(CN_EDATA, "%s: it does not hold %s/%s", u->path, u->folder, u->wanted[i].name);
  return CN_OK;
}

static CnErr read_archive(Unpack *u) {
  u->archive = archive_read_new();
  if (!u->archive) return cn_fail(CN_EMEMORY, "%s: out of memory while opening it", u->path);
  archive_read_support_filter_gzip(u->archive);
  archive_read_support_format_tar(u->archive);
  CnErr e = CN_OK;
  if (archive_read_open_filename(u->archive, u->path, BLOCK) != ARCHIVE_OK) e = read_failed(u);
  if (e == CN_OK) e = walk(u);
  archive_read_free(u->archive);
  return e;
}

/* Gives the finished folder its name. Where there is one already, its files are replaced one by one. */
static CnErr put_in_place(Unpack *u, const char *fresh, const char *target) {
  if (rename(fresh, target) == 0) {
    memset(u->have, 0, (size_t)u->n * sizeof *u->have);
    return CN_OK;
  }
  if (errno != ENOTEMPTY && errno != EEXIST)
    return cn_fail(CN_EIO, "%s: cannot rename it to %s (%s)", fresh, target, strerror(errno));
  int into = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CnErr e = into < 0 ? cn_fail(CN_EIO, "%s: cannot open this folder (%s)", target, strerror(errno)) : CN_OK;
  for (int i = 0; i < u->n && e == CN_OK; i++) {
    if (!u->have[i]) continue;
    if (renameat(u->to, u->wanted[i].name, into, u->wanted[i].name) == 0) u->have[i] = false;
    else e = cn_fail(CN_EIO, "%s/%s: cannot replace it (%s)", target, u->wanted[i].name, strerror(errno));
  }
  if (into >= 0) close(into);
  return e;
}

static void remove_folder(const Unpack *u, const char *fresh) {
  for (int i = 0; i < u->n; i++)
    if (u->have[i]) unlinkat(u->to, u->wanted[i].name, 0);
  rmdir(fresh);
}

/* With a fresh folder `fresh` in place. */
static CnErr unpack_into(Unpack *u, const char *fresh, const char *target) {
  u->to = open(fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (u->to < 0) return cn_fail(CN_EIO, "%s: cannot open this folder (%s)", fresh, strerror(errno));
  CnErr e = read_archive(u);
  if (e == CN_OK && (fchmod(u->to, 0755) != 0 || fsync(u->to) != 0))
    e = cn_fail(CN_EIO, "%s: writing failed (%s)", fresh, strerror(errno));
  if (e == CN_OK) e = put_in_place(u, fresh, target);
  remove_folder(u, fresh);
  close(u->to);
  return e;
}

CnErr cn_unpack(const char *archive, const char *root, const char *folder, const CnWanted *wanted, int n) {
  Unpack u = { .path = archive, .folder = folder, .wanted = wanted, .n = n, .limit = SLACK };
  for (int i = 0; i < n; i++) u.limit += wanted[i].max_bytes;
  size_t room = strlen(root) + strlen(folder) + 16;
  char *fresh = cn_alloc(room), *target = cn_alloc(room);
  u.have = cn_alloc_zeroed((size_t)n * sizeof *u.have);
  u.block = cn_alloc(BLOCK);
  CnErr e = CN_EMEMORY;
  if (fresh && target && u.have && u.block) {
    snprintf(target, room, "%s/%s", root, folder);
    snprintf(fresh, room, "%s/.%s-XXXXXX", root, folder);
    if (!mkdtemp(fresh)) {
      e = cn_fail(CN_EIO, "%s: cannot make a folder here (%s)", root, strerror(errno));
    } else {
      e = unpack_into(&u, fresh, target);
      rmdir(fresh); /* left when it could not be opened */
    }
  }
  cn_free(fresh);
  cn_free(target);
  cn_free(u.have);
  cn_free(u.block);
  return e;
}
