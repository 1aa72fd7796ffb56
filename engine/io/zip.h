/* zip.h - the entries of a zip archive whose parts are stored as they are: what PyTorch writes.
**
** Read by the directory at its end, strictly: every header is compared with the directory, the ranges of entries must
** lie apart and in front of it, names must be plain relative paths and differ, and what is compressed, encrypted or
** split is refused. So an entry is never more than bytes of the file itself. Zip64 is read. An entry's bytes are
** compared with its CRC-32 when it is read. */
#ifndef CN_ZIP_H
#define CN_ZIP_H

#include "io/element.h"

typedef struct CnZipEntry {
  const char *name; /* ends with a 0 byte */
  uint64_t offset;  /* of its bytes in the file */
  uint64_t size;
  uint32_t crc;
} CnZipEntry;

typedef struct CnZip {
  CnReader *file;   /* borrowed */
  int count;
  CnZipEntry *entry; /* sorted by name */
  char *names;
} CnZip;

/* Reads and checks the directory and every header. `file` is borrowed until close. */
CnErr cn_zip_open(CnZip *out, CnReader *file);
void cn_zip_close(CnZip *zip);

const CnZipEntry *cn_zip_find(const CnZip *zip, const char *name); /* NULL when there is none */
/* CN_EDATA unless the entry's bytes have its checksum. */
CnErr cn_zip_verify(const CnZip *zip, const CnZipEntry *entry);
/* CN_EDATA naming the entry, for a `crc` that is not its own. */
CnErr cn_zip_compare(const CnZip *zip, const CnZipEntry *entry, uint32_t crc);

#endif
