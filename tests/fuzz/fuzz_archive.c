/* fuzz_archive.c - any bytes as an archive: what is unpacked is the wanted files, and nothing else is left behind. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/download.h"

static const CnWanted wanted[] = { { "x", 4096, true }, { "y", 64, false } };

static char root[64], archive[96];

static void remove_root(void) {
  unlink(archive);
  rmdir(root);
}

static void make_root(void) {
  strcpy(root, "/tmp/cnas-fuzz-XXXXXX");
  if (!mkdtemp(root) || atexit(remove_root) != 0) abort();
  snprintf(archive, sizeof archive, "%s/archive", root);
}

/* Removes a plain file of root/d that is no longer than it may be; any other makes the target fail. */
static void remove_file(const char *name) {
  char path[400];
  struct stat status;
  snprintf(path, sizeof path, "%s/d/%s", root, name);
  int i = !strcmp(name, "y");
  if (strcmp(name, wanted[i].name) || lstat(path, &status) != 0 || !S_ISREG(status.st_mode)) abort();
  if (status.st_size > wanted[i].max_bytes || unlink(path) != 0) abort();
}

/* Empties a folder by `each`, which gets every name in it. */
static void walk(const char *path, void (*each)(const char *name)) {
  DIR *folder = opendir(path);
  if (!folder) abort();
  for (struct dirent *entry; (entry = readdir(folder));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) each(entry->d_name);
  closedir(folder);
}

static void refuse(const char *name) {
  if (strcmp(name, "archive")) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!root[0]) make_root();
  FILE *f = fopen(archive, "wb");
  if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
  CnErr e = cn_unpack(archive, root, "d", wanted, 2);
  if (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY) abort();
  if (e == CN_OK) {
    char target[96];
    snprintf(target, sizeof target, "%s/d", root);
    walk(target, remove_file);
    if (rmdir(target) != 0) abort();
  }
  walk(root, refuse);
  if (cn_memory_stats().blocks_live != 0) abort();
  return 0;
}
