/* file.h - files, folders, logs and locks, so that neither a crash nor a full disk leaves half a file.
**
** A file is written under a temporary name in its own folder, forced to the disk, and renamed: whoever opens the name
** sees the old contents or the new, never a mixture. A log grows at its end; a record that could not be written whole
** is taken back. Interrupted and short calls are continued. Errors are CN_EIO (CN_EDATA for what should exist and does
** not, or is larger than allowed) and name the path and the system's reason. */
#ifndef CN_FILE_H
#define CN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "base/error.h"

/* The whole file, a new block (cn_free) with a 0 byte after the `*size` bytes. Larger than `limit` bytes: CN_EDATA. */
CnErr cn_file_read(char **out, size_t *size, const char *path, size_t limit);

/* A file read by ranges; a range that ends beyond the file is CN_EDATA. */
typedef struct CnReader CnReader;
CnErr cn_reader_open(CnReader **out, const char *path);
/* The same on bytes in memory, borrowed until close; `name` stands for the path in messages. */
CnErr cn_reader_open_memory(CnReader **out, const void *data, size_t size, const char *name);
uint64_t cn_reader_size(const CnReader *r);
const char *cn_reader_path(const CnReader *r); /* borrowed */
CnErr cn_reader_get(CnReader *r, void *to, uint64_t offset, size_t size);
void cn_reader_close(CnReader *r); /* NULL is allowed */

/* Replaces or creates `path` with these bytes, as described above. On failure what was there before is intact. */
CnErr cn_file_write(const char *path, const void *data, size_t size);

/* The same in pieces. commit and abandon free the writer; commit that fails has abandoned. */
typedef struct CnWriter CnWriter;
CnErr cn_writer_open(CnWriter **out, const char *path);
/* Asked before a large file is put: CN_EIO when its file system has less than `bytes` left for this user. */
CnErr cn_writer_expect(CnWriter *w, uint64_t bytes);
CnErr cn_writer_put(CnWriter *w, const void *data, size_t size);
CnErr cn_writer_rewind(CnWriter *w); /* the next put overwrites from the file's beginning */
CnErr cn_writer_commit(CnWriter *w);
void cn_writer_abandon(CnWriter *w); /* NULL is allowed */

/* A file that grows at its end, created when missing. An append that fails leaves the file as long as it was. */
typedef struct CnLog CnLog;
CnErr cn_log_open(CnLog **out, const char *path);
CnErr cn_log_append(CnLog *log, const void *data, size_t size);
CnErr cn_log_sync(CnLog *log); /* returns when everything appended is on the disk */
int64_t cn_log_size(const CnLog *log);
CnErr cn_log_close(CnLog *log); /* syncs and frees, also when it fails; NULL is allowed */

/* Cuts an existing file to `size` bytes, at most its own length. */
CnErr cn_file_truncate(const char *path, int64_t size);

typedef enum CnPathKind { CN_PATH_NONE, CN_PATH_FILE, CN_PATH_FOLDER, CN_PATH_OTHER } CnPathKind;
CnErr cn_path_kind(CnPathKind *kind, int64_t *size, const char *path); /* `size` may be NULL */

CnErr cn_file_copy(const char *from, const char *to); /* `to` is replaced as by cn_file_write */
CnErr cn_file_rename(const char *from, const char *to);
CnErr cn_path_remove(bool *was_there, const char *path); /* a file or an empty folder; `was_there` may be NULL */

CnErr cn_folder_make(const char *path);        /* and those above it; existing ones are fine */
CnErr cn_folder_remove(const char *path);      /* with everything in it; links are removed, not followed */
CnErr cn_folder_temporary(char **out);         /* a new empty one in TMPDIR or /tmp; its path (cn_free) */
CnErr cn_folder_sweep(int *count, const char *path); /* removes temporary files of writers that died here */
CnErr cn_folder_free_space(int64_t *bytes, const char *path); /* that this user may still fill */

typedef struct CnNames {
  int count;
  char **name; /* sorted by byte values; without "." and ".." */
} CnNames;
CnErr cn_folder_list(CnNames *out, const char *path);
void cn_names_free(CnNames *names);

/* Holds `folder` for this process: an exclusive flock of folder/lock, which also says who holds it. A second holder
** gets CN_EBUSY with that text. The system lets go when the process ends, however it ends. */
typedef struct CnLock CnLock;
CnErr cn_lock_take(CnLock **out, const char *folder);
void cn_lock_release(CnLock *lock); /* NULL is allowed */
/* Who holds the folder now, a new text (cn_free), or NULL when nobody does. Takes and changes nothing. */
CnErr cn_lock_holder(char **out, const char *folder);

/* The system calls this file makes, as a table that a test may replace to make any of them fail. They return and set
** errno as the system's own; read and write may be short. */
typedef struct CnSystem {
  int (*open)(const char *path, int flags, mode_t mode);
  ssize_t (*read)(int fd, void *data, size_t size);
  ssize_t (*write)(int fd, const void *data, size_t size);
  int (*fsync)(int fd);
  int (*close)(int fd);
  int (*rename)(const char *from, const char *to);
  int (*fstatvfs)(int fd, struct statvfs *info);
} CnSystem;
extern CnSystem cn_system;

#endif
