/* zip.c - see zip.h. The directory is read into one block, whose names stay in place: each is moved to the front of
** its own record and gets a 0 byte behind it. */
#include "io/zip.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50, END64 = 0x06064b50, LOCATOR64 = 0x07064b50 };
enum { LOCAL_SIZE = 30, CENTRAL_SIZE = 46, END_SIZE = 22, END64_SIZE = 56, LOCATOR64_SIZE = 20 };
enum { ENCRYPTED = 1 << 0, STRONG = 1 << 6, MASKED = 1 << 13 }; /* flags that change what the bytes mean */

static uint64_t number(const unsigned char *at, int bytes) {
  uint64_t n = 0;
  for (int i = bytes - 1; i >= 0; i--) n = n << 8 | at[i];
  return n;
}

static CnErr bad(CnReader *file, const char *reason) {
  return cn_fail(CN_EDATA, "%s: not a valid zip archive: %s", cn_reader_path(file), reason);
}

static CnErr bad_entry(CnReader *file, const char *name, const char *reason) {
  return cn_fail(CN_EDATA, "%s: entry %s %s", cn_reader_path(file), name, reason);
}

/* ---- the end of the archive ---- */

/* Where the directory is, and how many entries it has. */
typedef struct Directory {
  uint64_t offset, size, count;
} Directory;

/* A number of the short record: may also be the mark that the long one has it. */
static bool agrees(const unsigned char *at, int bytes, uint64_t value) {
  uint64_t mark = ((uint64_t)1 << 8 * bytes) - 1, n = number(at, bytes);
  return n == value || n == mark;
}

/* The zip64 record that ends where its locator begins, which is in front of the end record. */
static CnErr read_end64(CnReader *file, const unsigned char *end, uint64_t locator_at, uint64_t end64_at,
                        Directory *d) {
  unsigned char r[END64_SIZE];
  if (end64_at > locator_at || locator_at - end64_at < END64_SIZE)
    return bad(file, "its zip64 record lies beyond the end");
  CN_TRY(cn_reader_get(file, r, end64_at, sizeof r));
  uint64_t size = number(r + 4, 8);
  if (number(r, 4) != END64 || size != locator_at - end64_at - 12) return bad(file, "its zip64 record is damaged");
  *d = (Directory){ .count = number(r + 32, 8), .size = number(r + 40, 8), .offset = number(r + 48, 8) };
  if (number(r + 16, 8) || number(r + 24, 8) != d->count) return bad(file, "it is split over several files");
  if (!agrees(end + 10, 2, d->count) || !agrees(end + 12, 4, d->size) || !agrees(end + 16, 4, d->offset))
    return bad(file, "its two end records differ");
  bool there = d->offset <= end64_at && d->size == end64_at - d->offset;
  return there ? CN_OK : bad(file, "its directory lies elsewhere than it says");
}

static CnErr find_directory(CnReader *file, Directory *d) {
  unsigned char end[LOCATOR64_SIZE + END_SIZE];
  uint64_t size = cn_reader_size(file), at = size - END_SIZE;
  if (size < END_SIZE) return bad(file, "it is cut");
  CN_TRY(cn_reader_get(file, end + LOCATOR64_SIZE, at, END_SIZE));
  unsigned char *e = end + LOCATOR64_SIZE;
  if (number(e, 4) != END || number(e + 20, 2) != 0)
    return bad(file, "it does not end with a directory: the file is cut or has something behind it");
  if (number(e + 4, 4) || number(e + 8, 2) != number(e + 10, 2)) return bad(file, "it is split over several files");
  if (at >= LOCATOR64_SIZE) {
    CN_TRY(cn_reader_get(file, end, at - LOCATOR64_SIZE, LOCATOR64_SIZE));
    if (number(end, 4) == LOCATOR64) {
      if (number(end + 4, 4) != 0 || number(end + 16, 4) > 1) return bad(file, "it is split over several files");
      return read_end64(file, e, at - LOCATOR64_SIZE, number(end + 8, 8), d);
    }
  }
  *d = (Directory){ .count = number(e + 10, 2), .size = number(e + 12, 4), .offset = number(e + 16, 4) };
  return d->offset <= at && d->size == at - d->offset ? CN_OK : bad(file, "its directory lies elsewhere than it says");
}

/* ---- entries ---- */

/* A relative path without a step upwards, without bytes that do not print. */
static bool name_is_plain(const char *name, size_t length) {
  if (length == 0 || name[0] == '/') return false;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)name[i] < 32 || name[i] == 127 || name[i] == '\\') return false;
  for (size_t begin = 0, i = 0; i <= length; i++) {
    if (i < length && name[i] != '/') continue;
    if (i - begin == 2 && memcmp(name + begin, "..", 2) == 0) return false;
    begin = i + 1;
  }
  return true;
}

/* Takes from the extra field what the record marks as too large for itself: in this order, those that are marked. */
static CnErr read_extra64(CnReader *file, const char *name, const unsigned char *extra, size_t size,
                          uint64_t *const wanted[3]) {
  const unsigned char *field = NULL;
  size_t left = 0;
  for (size_t at = 0; at < size;) {
    if (size - at < 4 || number(extra + at + 2, 2) > size - at - 4)
      return bad_entry(file, name, "has a damaged extra field");
    size_t length = (size_t)number(extra + at + 2, 2);
    if (number(extra + at, 2) == 1) {
      if (field) return bad_entry(file, name, "has two zip64 fields");
      field = extra + at + 4;
      left = length;
    }
    at += 4 + length;
  }
  for (int i = 0; i < 3; i++) {
    if (!wanted[i] || *wanted[i] != 0xffffffff) continue;
    if (left < 8) return bad_entry(file, name, "lacks the zip64 field that its sizes refer to");
    *wanted[i] = number(field, 8);
    field += 8;
    left -= 8;
  }
  return CN_OK;
}

/* One record of the directory, of which `left` bytes are there; *used becomes its size. The entry's offset becomes that
** of its local header, behind which its data lie. */
static CnErr read_record(CnReader *file, CnZipEntry *entry, unsigned char *r, uint64_t left, uint64_t *used) {
  if (left < CENTRAL_SIZE || number(r, 4) != CENTRAL) return bad(file, "its directory is damaged");
  size_t name = (size_t)number(r + 28, 2), extra = (size_t)number(r + 30, 2), comment = (size_t)number(r + 32, 2);
  *used = CENTRAL_SIZE + name + extra + comment;
  if (*used > left) return bad(file, "its directory is damaged");
  if (!name_is_plain((char *)r + CENTRAL_SIZE, name))
    return bad(file, "the name of an entry is empty, absolute, has '..' or bytes that do not print");
  unsigned flags = (unsigned)number(r + 8, 2), method = (unsigned)number(r + 10, 2), disk = (unsigned)number(r + 34, 2);
  uint64_t packed = number(r + 20, 4);
  *entry = (CnZipEntry){ .name = (char *)r, .crc = (uint32_t)number(r + 16, 4), .size = number(r + 24, 4),
                         .offset = number(r + 42, 4) };
  memmove(r, r + CENTRAL_SIZE, name);
  r[name] = 0;
  CN_TRY(read_extra64(file, entry->name, r + CENTRAL_SIZE + name, extra,
                      (uint64_t *const[]){ &entry->size, &packed, &entry->offset }));
  if (method != 0) return bad_entry(file, entry->name, "is compressed; PyTorch stores entries as they are");
  if (flags & (ENCRYPTED | STRONG | MASKED)) return bad_entry(file, entry->name, "is encrypted");
  if (disk != 0) return bad_entry(file, entry->name, "lies in another file");
  if (packed != entry->size) return bad_entry(file, entry->name, "has two sizes, and is not compressed");
  return CN_OK;
}

/* The header in front of an entry's bytes must say what the directory says, or leave it open (0). The entry's offset
** becomes that of its bytes, which end before `limit`. `r` has room for a header with a name of 65,535 bytes. */
static CnErr read_local(CnReader *file, CnZipEntry *entry, unsigned char *r, uint64_t limit) {
  size_t length = strlen(entry->name);
  uint64_t at = entry->offset;
  if (at > limit || limit - at < LOCAL_SIZE + length)
    return bad_entry(file, entry->name, "begins beyond the directory");
  CN_TRY(cn_reader_get(file, r, at, LOCAL_SIZE + length));
  if (number(r, 4) != LOCAL || number(r + 26, 2) != length || memcmp(r + LOCAL_SIZE, entry->name, length) != 0)
    return bad_entry(file, entry->name, "has another header than the directory says");
  uint64_t crc = number(r + 14, 4), packed = number(r + 18, 4), size = number(r + 22, 4);
  bool open = crc == 0 && packed == 0 && size == 0; /* written behind the bytes */
  bool same = crc == entry->crc && agrees(r + 18, 4, entry->size) && agrees(r + 22, 4, entry->size);
  if (number(r + 8, 2) != 0 || (number(r + 6, 2) & (ENCRYPTED | STRONG | MASKED)) || !(open || same))
    return bad_entry(file, entry->name, "has another header than the directory says");
  uint64_t head = LOCAL_SIZE + length + number(r + 28, 2);
  if (limit - at < head || limit - at - head < entry->size)
    return bad_entry(file, entry->name, "ends beyond the directory");
  entry->offset = at + head;
  return CN_OK;
}

typedef struct Range {
  uint64_t begin, end;
} Range;

static int by_begin(const void *a, const void *b) {
  const Range *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return x->end < y->end ? -1 : x->end > y->end;
}

/* Each from its header to its last byte. */
static CnErr check_ranges(CnReader *file, Range *range, int count) {
  qsort(range, (size_t)count, sizeof *range, by_begin);
  for (int i = 1; i < count; i++)
    if (range[i].begin < range[i - 1].end) return bad(file, "two of its entries overlap");
  return CN_OK;
}

static CnErr read_locals(CnZip *zip, uint64_t limit, Range *range) {
  unsigned char *header = cn_alloc(LOCAL_SIZE + UINT16_MAX);
  CnErr e = header ? CN_OK : CN_EMEMORY;
  for (int i = 0; e == CN_OK && i < zip->count; i++) {
    range[i].begin = zip->entry[i].offset;
    e = read_local(zip->file, &zip->entry[i], header, limit);
    range[i].end = zip->entry[i].offset + zip->entry[i].size;
  }
  cn_free(header);
  return e == CN_OK ? check_ranges(zip->file, range, zip->count) : e;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const CnZipEntry *)a)->name, ((const CnZipEntry *)b)->name);
}

static CnErr check_names(const CnZip *zip) {
  for (int i = 1; i < zip->count; i++)
    if (strcmp(zip->entry[i - 1].name, zip->entry[i].name) == 0)
      return bad_entry(zip->file, zip->entry[i].name, "is there twice");
  return CN_OK;
}

static CnErr read_directory(CnZip *zip, const Directory *d) {
  uint64_t at = 0, used = 0;
  if (d->count > d->size / CENTRAL_SIZE || d->count > INT32_MAX) return bad(zip->file, "its directory is cut");
  zip->names = cn_alloc((size_t)d->size);
  zip->entry = cn_alloc((size_t)d->count * sizeof *zip->entry);
  if (!zip->names || !zip->entry) return CN_EMEMORY;
  CN_TRY(cn_reader_get(zip->file, zip->names, d->offset, (size_t)d->size));
  for (; zip->count < (int)d->count; at += used)
    CN_TRY(read_record(zip->file, &zip->entry[zip->count++], (unsigned char *)zip->names + at, d->size - at, &used));
  if (at != d->size) return bad(zip->file, "its directory has more records than it says");
  qsort(zip->entry, (size_t)zip->count, sizeof *zip->entry, by_name);
  CN_TRY(check_names(zip));
  Range *range = cn_alloc((size_t)d->count * sizeof *range);
  CnErr e = range ? read_locals(zip, d->offset, range) : CN_EMEMORY;
  cn_free(range);
  return e;
}

CnErr cn_zip_open(CnZip *out, CnReader *file) {
  Directory d = { 0 };
  CnZip zip = { .file = file };
  CN_TRY(find_directory(file, &d));
  CnErr e = read_directory(&zip, &d);
  if (e == CN_OK) *out = zip;
  else cn_zip_close(&zip);
  return e;
}

void cn_zip_close(CnZip *zip) {
  cn_free(zip->entry);
  cn_free(zip->names);
  *zip = (CnZip){ 0 };
}

/* ---- use ---- */

const CnZipEntry *cn_zip_find(const CnZip *zip, const char *name) {
  const CnZipEntry key = { .name = name };
  return bsearch(&key, zip->entry, (size_t)zip->count, sizeof key, by_name);
}

CnErr cn_zip_compare(const CnZip *zip, const CnZipEntry *entry, uint32_t crc) {
  if (crc == entry->crc) return CN_OK;
  return cn_fail(CN_EDATA, "%s: entry %s is damaged: its checksum is %08x, expected %08x", cn_reader_path(zip->file),
                 entry->name, crc, entry->crc);
}

CnErr cn_zip_verify(const CnZip *zip, const CnZipEntry *entry) {
  uint32_t crc = 0;
  CN_TRY(cn_reader_crc(&crc, zip->file, entry->offset, entry->size));
  return cn_zip_compare(zip, entry, crc);
}
