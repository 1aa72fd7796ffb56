/* events.c - see events.h. A record is: u64 length, masked CRC-32C of the length, bytes, masked CRC-32C of the bytes.
**
** The bytes are a protobuf message Event. Its few fields are encoded here by hand: with a compiler of .proto files the
** build would need one more tool, and the schema, the generated code and its allocator would be longer than this. */
#include "io/events.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/file.h"

/* ---- checksums ---- */

static uint32_t crc_table[256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_make_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
    crc_table[i] = c;
  }
}

uint32_t cn_crc32c(uint32_t crc, const void *data, size_t size) {
  pthread_once(&crc_once, crc_make_table);
  const unsigned char *byte = data;
  crc = ~crc;
  for (size_t i = 0; i < size; i++) crc = crc >> 8 ^ crc_table[(crc ^ byte[i]) & 0xff];
  return ~crc;
}

uint32_t cn_crc32c_masked(const void *data, size_t size) {
  uint32_t crc = cn_crc32c(0, data, size);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protobuf ---- */

/* Bytes being written from the left; the caller has made room for them. */
typedef struct Message {
  unsigned char *data;
  size_t size;
} Message;

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */
enum { FIELD_ROOM = 32 };                                 /* more than any field takes beside its bytes */

static void put_fixed(Message *m, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) m->data[m->size++] = (unsigned char)(value >> (8 * i));
}

static void put_varint(Message *m, uint64_t value) {
  for (; value >= 0x80; value >>= 7) m->data[m->size++] = (unsigned char)(value | 0x80);
  m->data[m->size++] = (unsigned char)value;
}

static void put_key(Message *m, int field, int wire) { put_varint(m, (uint64_t)field << 3 | (uint64_t)wire); }

static void put_integer(Message *m, int field, uint64_t value) {
  put_key(m, field, VARINT);
  put_varint(m, value);
}

static void put_bytes(Message *m, int field, const void *data, size_t size) {
  put_key(m, field, BYTES);
  put_varint(m, size);
  if (size) memcpy(m->data + m->size, data, size);
  m->size += size;
}

static void put_float(Message *m, int field, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  put_key(m, field, FIXED32);
  put_fixed(m, bits, 4);
}

static void put_double(Message *m, int field, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  put_key(m, field, FIXED64);
  put_fixed(m, bits, 8);
}

/* ---- events ---- */

struct CnEvents {
  CnLog *log;
  char *path;
};

/* Fields of Event beside wall_time = 1. */
enum { EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };

/* One record: an event at the present time whose field `field` holds `body`. */
static CnErr put_event(CnEvents *ev, int64_t step, int field, const void *body, size_t size) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  unsigned char *room = cn_alloc(16 + 2 * FIELD_ROOM + size);
  if (!room) return CN_EMEMORY;
  Message event = { room + 12, 0 };
  put_double(&event, 1, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
  if (step) put_integer(&event, EVENT_STEP, (uint64_t)step);
  put_bytes(&event, field, body, size);
  Message frame = { room, 0 };
  put_fixed(&frame, event.size, 8);
  put_fixed(&frame, cn_crc32c_masked(room, 8), 4);
  frame.size += event.size;
  put_fixed(&frame, cn_crc32c_masked(event.data, event.size), 4);
  CnErr e = cn_log_append(ev->log, room, frame.size);
  cn_free(room);
  return e;
}

/* A Summary with one Value {tag, and `body` as encoded}. */
static CnErr put_summary(CnEvents *ev, const char *tag, const Message *body, int64_t step) {
  size_t tag_size = strlen(tag), room = tag_size + body->size + 2 * FIELD_ROOM;
  unsigned char *bytes = cn_alloc(2 * room);
  if (!bytes) return CN_EMEMORY;
  Message value = { bytes, 0 }, summary = { bytes + room, 0 };
  put_bytes(&value, 1, tag, tag_size);
  memcpy(value.data + value.size, body->data, body->size);
  value.size += body->size;
  put_bytes(&summary, 1, value.data, value.size);
  CnErr e = put_event(ev, step, EVENT_SUMMARY, summary.data, summary.size);
  cn_free(bytes);
  return e;
}

CnErr cn_events_scalar(CnEvents *ev, const char *tag, double value, int64_t step) {
  unsigned char bytes[FIELD_ROOM];
  Message body = { bytes, 0 };
  put_float(&body, 2, (float)value);
  return put_summary(ev, tag, &body, step);
}

static uint32_t big_endian(const unsigned char *u) {
  return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

CnErr cn_events_image(CnEvents *ev, const char *tag, const void *png, size_t bytes, int64_t step) {
  static const int colorspace[7] = { [0] = 1, [2] = 3, [3] = 3, [4] = 2, [6] = 4 }; /* PNG's colour type to channels */
  const unsigned char *head = png;
  if (bytes < 33 || memcmp(head, "\x89PNG\r\n\x1a\n", 8) || memcmp(head + 12, "IHDR", 4) || head[25] > 6 ||
      !colorspace[head[25]])
    return cn_fail(CN_EUSAGE, "events: the image for '%s' is not a PNG file", tag);
  unsigned char *room = cn_alloc(2 * bytes + 8 * FIELD_ROOM);
  if (!room) return CN_EMEMORY;
  Message image = { room, 0 }, body = { room + bytes + 4 * FIELD_ROOM, 0 };
  put_integer(&image, 1, big_endian(head + 20));
  put_integer(&image, 2, big_endian(head + 16));
  put_integer(&image, 3, (uint64_t)colorspace[head[25]]);
  put_bytes(&image, 4, png, bytes);
  put_bytes(&body, 4, image.data, image.size);
  CnErr e = put_summary(ev, tag, &body, step);
  cn_free(room);
  return e;
}

CnErr cn_events_flush(CnEvents *ev) { return cn_log_sync(ev->log); }

const char *cn_events_path(const CnEvents *ev) { return ev->path; }

/* Readers take the files of a folder in the order of their names, so a new name is later than all that are there: the
** time in it is the present one, or one second after the latest. */
static CnErr choose_time(long long *out, const char *folder) {
  CnNames names;
  CN_TRY(cn_folder_list(&names, folder));
  *out = (long long)time(NULL);
  for (int i = 0; i < names.count; i++) {
    long long there;
    if (sscanf(names.name[i], "events.out.tfevents.%10lld.", &there) == 1 && there >= *out) *out = there + 1;
  }
  cn_names_free(&names);
  return CN_OK;
}

/* events.out.tfevents.<time>.<host>.<pid>.<number>: readers look for "tfevents". */
static CnErr file_path(char **out, const char *folder) {
  static atomic_uint number;
  char host[128] = "host";
  gethostname(host, sizeof host - 1);
  long long seconds = 0;
  CN_TRY(choose_time(&seconds, folder));
  size_t bytes = strlen(folder) + 256;
  *out = cn_alloc(bytes);
  if (!*out) return CN_EMEMORY;
  snprintf(*out, bytes, "%s/events.out.tfevents.%010lld.%s.%ld.%u", folder, seconds, host, (long)getpid(),
           atomic_fetch_add(&number, 1u));
  return CN_OK;
}

static CnErr start(CnEvents *ev, const char *folder, int64_t resume_step) {
  CN_TRY(cn_folder_make(folder));
  CN_TRY(file_path(&ev->path, folder));
  CN_TRY(cn_log_open(&ev->log, ev->path));
  CN_TRY(put_event(ev, 0, EVENT_FILE_VERSION, "brain.Event:2", 13));
  static const unsigned char started[] = { 1 << 3 | VARINT, 1 }; /* SessionLog { status: START } */
  if (resume_step >= 0) CN_TRY(put_event(ev, resume_step, EVENT_SESSION_LOG, started, sizeof started));
  return CN_OK;
}

CnErr cn_events_close(CnEvents *ev) {
  if (!ev) return CN_OK;
  CnErr e = cn_log_close(ev->log);
  cn_free(ev->path);
  cn_free(ev);
  return e;
}

CnErr cn_events_open(CnEvents **out, const char *folder, int64_t resume_step) {
  CnEvents *ev = cn_alloc_zeroed(sizeof *ev);
  if (!ev) return CN_EMEMORY;
  CnErr e = start(ev, folder, resume_step);
  if (e == CN_OK) *out = ev;
  else cn_events_close(ev);
  return e;
}
