/* download.c - see download.h. libcurl fetches, libcrypto sums. */
#include "data/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/progress.h"

#define ATTEMPTS 4 /* in a row that bring nothing new before giving up */

/* A checksum: what it is called, how it is made, and the digits with which it must begin. */
typedef struct Sum {
  const char *name;
  const EVP_MD *(*kind)(void);
  const char *digits;
} Sum;

enum { SUM_TEXT = 2 * EVP_MAX_MD_SIZE + 1 };

/* Reads the whole of `file` into a sum, as digits in `text`. */
static CnErr compute_sum(char text[SUM_TEXT], Sum sum, FILE *file, const char *path) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  unsigned char *block = cn_alloc(1 << 16), digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CnErr e = block ? CN_OK : CN_EMEMORY;
  if (block && (!context || !EVP_DigestInit_ex(context, sum.kind(), NULL)))
    e = cn_fail(CN_EIO, "%s: this system's libcrypto refuses to compute %s sums", path, sum.name);
  for (size_t got; e == CN_OK && (got = fread(block, 1, 1 << 16, file)) > 0;)
    if (!EVP_DigestUpdate(context, block, got)) e = cn_fail(CN_EIO, "%s: computing its %s sum failed", path, sum.name);
  if (e == CN_OK && ferror(file)) e = cn_fail(CN_EIO, "%s: cannot read it (%s)", path, strerror(errno));
  if (e == CN_OK && !EVP_DigestFinal_ex(context, digest, &size))
    e = cn_fail(CN_EIO, "%s: computing its %s sum failed", path, sum.name);
  if (e == CN_OK)
    for (unsigned i = 0; i < size; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
  EVP_MD_CTX_free(context);
  cn_free(block);
  return e;
}

static CnErr check_sum(const char *path, Sum sum) {
  FILE *file = fopen(path, "rb");
  if (!file) return cn_fail(CN_EIO, "%s: cannot open it (%s)", path, strerror(errno));
  char text[SUM_TEXT];
  CnErr e = compute_sum(text, sum, file, path);
  fclose(file);
  if (e != CN_OK) return e;
  if (strncasecmp(text, sum.digits, strlen(sum.digits)) != 0)
    return cn_fail(CN_EDATA, "%s: expected the %s sum %s, got %s; it is damaged or another file: remove it and "
                   "download it again", path, sum.name, sum.digits, text);
  return CN_OK;
}

CnErr cn_md5_check(const char *path, const char *md5) { return check_sum(path, (Sum){ "MD5", EVP_md5, md5 }); }

CnErr cn_sha256_check(const char *path, const char *digits) {
  return check_sum(path, (Sum){ "SHA-256", EVP_sha256, digits });
}

static Sum sum_of(const CnDownload *d) {
  return d->md5 ? (Sum){ "MD5", EVP_md5, d->md5 } : (Sum){ "SHA-256", EVP_sha256, d->sha256 };
}

/* A download under way. */
typedef struct Transfer {
  const CnDownload *what;
  FILE *file;
  int64_t kept; /* bytes of earlier attempts */
  int64_t size; /* bytes in the file now */
  bool stopped, too_long;
  int failed;   /* errno of a write */
} Transfer;

static size_t on_data(char *data, size_t one, size_t count, void *state) {
  (void)one; /* always 1 */
  Transfer *t = state;
  if (t->size + (int64_t)count > t->what->max_bytes) {
    t->too_long = true;
    return 0;
  }
  errno = 0;
  size_t put = fwrite(data, 1, count, t->file);
  if (put < count) t->failed = errno ? errno : EIO;
  t->size += (int64_t)put;
  return put;
}

static int on_progress(void *state, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now) {
  (void)up_total, (void)up_now;
  Transfer *t = state;
  int64_t all = total > 0 ? t->kept + total : 0;
  cn_progress_note();
  t->stopped = cn_interrupt_requested() ||
               (t->what->progress && !t->what->progress(t->what->progress_data, t->kept + now, all));
  return t->stopped;
}

static void set_up_curl(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

/* One request, from the end of what is there. `text` receives curl's account of a failure. */
static CURLcode attempt(Transfer *t, char text[CURL_ERROR_SIZE]) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, set_up_curl);
  text[0] = 0;
  CURL *curl = curl_easy_init();
  if (!curl) return CURLE_OUT_OF_MEMORY;
  t->kept = t->size;
  curl_easy_setopt(curl, CURLOPT_URL, t->what->url);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L); /* a minute without a byte is a cut */
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "cnas/" CNAS_VERSION);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
  curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->size);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
  CURLcode code = curl_easy_perform(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (code == CURLE_HTTP_RETURNED_ERROR && status == 416) code = CURLE_RANGE_ERROR; /* the part is too long */
  if (!text[0]) snprintf(text, CURL_ERROR_SIZE, "%s", curl_easy_strerror(code));
  curl_easy_cleanup(curl);
  if (fflush(t->file) != 0 && !t->failed) t->failed = errno;
  return code;
}

/* Empties the file, to begin again. */
static CnErr restart(Transfer *t, const char *part) {
  if (fflush(t->file) != 0 || ftruncate(fileno(t->file), 0) != 0 || fseek(t->file, 0, SEEK_SET) != 0)
    return cn_fail(CN_EIO, "%s: cannot empty it (%s)", part, strerror(errno));
  t->size = 0;
  return CN_OK;
}

/* Requests until everything is there. */
static CnErr transfer(Transfer *t, const char *part) {
  char text[CURL_ERROR_SIZE];
  for (int idle = 0; idle < ATTEMPTS;) {
    int64_t before = t->size;
    CURLcode code = attempt(t, text);
    if (t->failed)
      return cn_fail(CN_EIO, "%s: writing failed (%s); make room and start again, it goes on from there", part,
                     strerror(t->failed));
    if (code == CURLE_OK) return CN_OK;
    if (t->stopped)
      return cn_fail(CN_EINTERRUPTED, "download of %s stopped; the next one goes on from %s", t->what->url, part);
    if (t->too_long)
      return cn_fail(CN_EDATA, "%s: more than the %lld bytes that are expected at most", t->what->url,
                     (long long)t->what->max_bytes);
    if (code == CURLE_OUT_OF_MEMORY) return cn_fail(CN_EMEMORY, "download of %s: out of memory", t->what->url);
    if (code == CURLE_RANGE_ERROR) CN_TRY(restart(t, part)); /* a server that cannot resume */
    bool cut = code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_OPERATION_TIMEDOUT ||
               code == CURLE_RANGE_ERROR || code == CURLE_GOT_NOTHING;
    if (!cut) break;
    idle = t->size > before ? 0 : idle + 1;
  }
  return cn_fail(CN_EIO, "download of %s failed: %s; %lld bytes are kept in %s and the next start goes on from there",
                 t->what->url, text, (long long)t->size, part);
}

/* The sum of what is there; a wrong one after going on from an older part is tried again from nothing. */
static CnErr transfer_and_check(Transfer *t, const char *part) {
  Sum sum = sum_of(t->what);
  if (t->size > 0 && check_sum(part, sum) == CN_OK) return CN_OK; /* only the last rename was missing */
  for (;;) {
    bool resumed = t->size > 0;
    CN_TRY(transfer(t, part));
    CnErr e = check_sum(part, sum);
    if (e != CN_EDATA) return e;
    if (!resumed) {
      unlink(part);
      return cn_fail(CN_EDATA, "%s: expected the %s sum %s of the published file, got another one (%lld bytes); the "
                     "download was removed, try again or get it from another place", t->what->url, sum.name, sum.digits,
                     (long long)t->size);
    }
    CN_TRY(restart(t, part));
  }
}

static CnErr download_to(const CnDownload *d, const char *part) {
  FILE *file = fopen(part, "ab");
  if (!file) return cn_fail(CN_EIO, "%s: cannot write it (%s)", part, strerror(errno));
  Transfer t = { .what = d, .file = file };
  CnErr e = CN_OK;
  struct stat status;
  if (flock(fileno(file), LOCK_EX | LOCK_NB) != 0)
    e = cn_fail(CN_EBUSY, "%s: another process is downloading to it; wait for that one", part);
  else if (fstat(fileno(file), &status) != 0)
    e = cn_fail(CN_EIO, "%s: cannot read its size (%s)", part, strerror(errno));
  else
    t.size = status.st_size;
  if (e == CN_OK) e = transfer_and_check(&t, part);
  if (e == CN_OK && fsync(fileno(file)) != 0) e = cn_fail(CN_EIO, "%s: writing failed (%s)", part, strerror(errno));
  if (e == CN_OK && rename(part, d->path) != 0)
    e = cn_fail(CN_EIO, "%s: cannot rename it to %s (%s)", part, d->path, strerror(errno));
  fclose(file);
  return e;
}

CnErr cn_download(const CnDownload *d) {
  if (!d->md5 && (!d->sha256 || strlen(d->sha256) < 8))
    return cn_fail(CN_EUSAGE, "download of %s: give its MD5 sum, or at least 8 digits of its SHA-256 sum", d->url);
  size_t room = strlen(d->path) + sizeof ".part";
  char *part = cn_alloc(room);
  if (!part) return CN_EMEMORY;
  snprintf(part, room, "%s.part", d->path);
  CnErr e = download_to(d, part);
  cn_free(part);
  return e;
}
