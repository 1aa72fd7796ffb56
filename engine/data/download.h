/* download.h - a file from the network, checked, and the wanted files out of an archive.
**
** Everything that comes from outside is checked before it gets its name: a download is written to PATH.part and renamed
** when its checksum is right, an archive is unpacked into a folder beside the target that takes the target's name when
** everything wanted is in it. What is left behind by a cut is PATH.part alone, and the next call goes on from there. */
#ifndef CN_DOWNLOAD_H
#define CN_DOWNLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Called now and then with the bytes that are there and those there will be (0: not known). False stops the download,
** as Ctrl-C does (CN_EINTERRUPTED); what is there is kept. */
typedef bool (*CnProgress)(void *data, int64_t now, int64_t total);

typedef struct CnDownload {
  const char *url;      /* http or https */
  const char *path;     /* where it goes; its folder exists */
  const char *md5;      /* 32 hexadecimal digits, or NULL and */
  const char *sha256;   /* the first digits of this sum, at least 8 */
  int64_t max_bytes;    /* more than this is refused */
  CnProgress progress;  /* may be NULL */
  void *progress_data;
} CnDownload;

CnErr cn_download(const CnDownload *download);

/* CN_EDATA unless the file has this MD5 sum; a SHA-256 sum that begins with these digits. */
CnErr cn_md5_check(const char *path, const char *md5);
CnErr cn_sha256_check(const char *path, const char *digits);

/* A file to take from an archive. */
typedef struct CnWanted {
  const char *name;  /* without folder */
  int64_t max_bytes; /* a larger one is refused */
  bool required;
} CnWanted;

/* Unpacks the `n` wanted files of `folder` in a tar archive (compressed or not) to root/folder. Other plain files are
** passed over. Refused, with nothing left behind: links, devices, absolute paths, "..", a name twice, and more bytes
** than the wanted files may have. */
CnErr cn_unpack(const char *archive, const char *root, const char *folder, const CnWanted *wanted, int n);

#endif
