/* folder.c - the part of file.h that concerns folders and what is in them. */
#include "io/folder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"

CnErr cn_path_kind(CnPathKind *kind, int64_t *size, const char *path) {
  struct stat info = { 0 };
  if (stat(path, &info) == 0) {
    *kind = S_ISREG(info.st_mode) ? CN_PATH_FILE : S_ISDIR(info.st_mode) ? CN_PATH_FOLDER : CN_PATH_OTHER;
  } else if (errno == ENOENT || errno == ENOTDIR) {
    *kind = CN_PATH_NONE;
  } else {
    return cn_fail(CN_EIO, "cannot look at %s: %s", path, strerror(errno));
  }
  if (size) *size = *kind == CN_PATH_FILE ? (int64_t)info.st_size : 0;
  return CN_OK;
}

CnErr cn_path_remove(bool *was_there, const char *path) {
  bool gone = remove(path) == 0;
  if (!gone && errno != ENOENT) return cn_fail(CN_EIO, "cannot remove %s: %s", path, strerror(errno));
  if (was_there) *was_there = gone;
  return CN_OK;
}

static CnErr make_one(const char *path) {
  if (mkdir(path, 0777) == 0) {
    if (cn_sync_folder_of(path) == 0) return CN_OK;
    return cn_fail(CN_EIO, "made folder %s but cannot sync the one it is in: %s", path, strerror(errno));
  }
  int reason = errno;
  struct stat info;
  if (reason == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return CN_OK;
  return cn_fail(CN_EIO, "cannot make folder %s: %s", path,
                 reason == EEXIST ? "a file of that name exists" : strerror(reason));
}

CnErr cn_folder_make(const char *path) {
  if (!*path) return cn_fail(CN_EUSAGE, "cannot make a folder without a name");
  char *part = cn_strdup(path);
  if (!part) return CN_EMEMORY;
  CnErr e = CN_OK;
  for (char *at = part + 1; e == CN_OK && (at = strchr(at, '/')); at++) {
    *at = 0;
    e = make_one(part);
    *at = '/';
  }
  if (e == CN_OK) e = make_one(part);
  cn_free(part);
  return e;
}

static int remove_visited(const char *path, const struct stat *info, int kind, struct FTW *where) {
  (void)info, (void)kind, (void)where;
  return remove(path);
}

CnErr cn_folder_remove(const char *path) {
  if (nftw(path, remove_visited, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT) return CN_OK;
  return cn_fail(CN_EIO, "cannot remove %s: %s", path, strerror(errno));
}

CnErr cn_folder_temporary(char **out) {
  const char *root = getenv("TMPDIR");
  char *path = cn_path_join(root && *root ? root : "/tmp", "cnas-XXXXXX");
  if (!path) return CN_EMEMORY;
  if (!mkdtemp(path)) {
    CnErr e = cn_fail(CN_EIO, "cannot make a folder like %s: %s", path, strerror(errno));
    cn_free(path);
    return e;
  }
  *out = path;
  return CN_OK;
}

CnErr cn_folder_free_space(int64_t *bytes, const char *path) {
  struct statvfs info;
  int r;
  do r = statvfs(path, &info);
  while (r < 0 && errno == EINTR);
  if (r < 0) return cn_fail(CN_EIO, "cannot tell the free space at %s: %s", path, strerror(errno));
  /* One that is not bounded, such as some in memory, counts no blocks at all. */
  *bytes = info.f_blocks == 0 ? INT64_MAX : (int64_t)info.f_bavail * (int64_t)info.f_frsize;
  return CN_OK;
}

/* ---- listing ---- */

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void cn_names_free(CnNames *names) {
  for (int i = 0; i < names->count; i++) cn_free(names->name[i]);
  cn_free(names->name);
  *names = (CnNames){ 0 };
}

static CnErr names_add(CnNames *names, int *room, const char *name) {
  if (names->count == *room) {
    int more = *room ? *room * 2 : 16;
    char **grown = cn_alloc((size_t)more * sizeof *grown);
    if (!grown) return CN_EMEMORY;
    if (names->count) memcpy(grown, names->name, (size_t)names->count * sizeof *grown);
    cn_free(names->name);
    names->name = grown;
    *room = more;
  }
  char *copy = cn_strdup(name);
  if (!copy) return CN_EMEMORY;
  names->name[names->count++] = copy;
  return CN_OK;
}

static CnErr list_open(CnNames *out, DIR *folder, const char *path) {
  CnNames names = { 0 };
  int room = 0;
  CnErr e = CN_OK;
  while (e == CN_OK) {
    errno = 0;
    struct dirent *entry = readdir(folder);
    if (!entry) {
      if (errno) e = cn_fail(CN_EIO, "cannot list %s: %s", path, strerror(errno));
      break;
    }
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) e = names_add(&names, &room, entry->d_name);
  }
  if (e != CN_OK) {
    cn_names_free(&names);
    return e;
  }
  if (names.count) qsort(names.name, (size_t)names.count, sizeof *names.name, by_bytes);
  *out = names;
  return CN_OK;
}

CnErr cn_folder_list(CnNames *out, const char *path) {
  DIR *folder = opendir(path);
  if (!folder)
    return cn_fail(errno == ENOENT || errno == ENOTDIR ? CN_EDATA : CN_EIO, "cannot list %s: %s", path,
                   strerror(errno));
  CnErr e = list_open(out, folder, path);
  closedir(folder);
  return e;
}

/* ".<name>.<pid>-<n>.tmp" */
static bool is_temporary(const char *name) {
  size_t length = strlen(name), end = strlen(CN_TEMPORARY_END);
  if (name[0] != '.' || length <= end || strcmp(name + length - end, CN_TEMPORARY_END)) return false;
  const char *at = name + length - end;
  const char *number = at;
  while (number > name && isdigit((unsigned char)number[-1])) number--;
  if (number == at || number == name || number[-1] != '-') return false;
  const char *pid = --number;
  while (pid > name && isdigit((unsigned char)pid[-1])) pid--;
  return pid < number && pid > name + 1 && pid[-1] == '.';
}

CnErr cn_folder_sweep(int *count, const char *path) {
  CnNames names;
  CN_TRY(cn_folder_list(&names, path));
  CnErr e = CN_OK;
  int removed = 0;
  for (int i = 0; i < names.count && e == CN_OK; i++) {
    if (!is_temporary(names.name[i])) continue;
    char *file = cn_path_join(path, names.name[i]);
    e = file ? cn_path_remove(NULL, file) : CN_EMEMORY;
    cn_free(file);
    removed += e == CN_OK;
  }
  cn_names_free(&names);
  if (count) *count = removed;
  return e;
}
