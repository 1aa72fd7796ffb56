/* survey.c - see survey.h. Each image is a piece of work; each thread has a decoder and a buffer of its own. */
#include "data/survey.h"

#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "base/threads.h"
#include "data/listing.h"
#include "data/photo.h"

typedef struct Worker {
  CnPhoto *photo;
  CnBuffer file;
} Worker;

/* What is wrong with the file comes back as CN_EDATA. */
static CnErr look(CnSurvey *out, Worker *w, const CnListing *listing, int64_t k) {
  char path[4096];
  size_t size;
  CN_TRY(cn_listing_read(&w->file, &size, listing, k));
  cn_listing_path(path, sizeof path, listing, k);
  out->info.format = cn_picture_format(w->file.data, size);
  out->orientation = cn_picture_orientation(w->file.data, size);
  CN_TRY(cn_photo_open(w->photo, &out->info, w->file.data, size, path));
  return cn_photo_try(&out->warnings, w->photo);
}

static CnErr survey_one(CnSurvey *out, Worker *w, const CnListing *listing, int64_t k) {
  *out = (CnSurvey){ .orientation = 1 };
  CnErr e = look(out, w, listing, k);
  if (e == CN_EDATA) e = (out->bad = cn_strdup(cn_error_message())) ? CN_OK : CN_EMEMORY;
  return e;
}

static CnErr survey_all(CnSurvey *out, Worker *workers, const CnDataset *d, int64_t first, int64_t count) {
  CnErr failed = CN_OK;
  CN_PARALLEL_FOR
  for (int64_t i = 0; i < count; i++) {
    CnErr e = survey_one(&out[i], &workers[omp_get_thread_num()], d->images->listing,
                         cn_dataset_position(d, first + i));
    if (e == CN_OK) continue;
#pragma omp atomic write
    failed = e;
  }
  return failed == CN_OK ? CN_OK : cn_fail(failed, "survey: out of memory");
}

CnErr cn_survey(CnSurvey *out, const CnDataset *d, int64_t first, int64_t count) {
  if (!d->images->listing) return cn_fail(CN_EUSAGE, "survey: the images of %s are not files", d->images->name);
  if (first < 0 || count < 0 || count > d->count - first)
    return cn_fail(CN_EUSAGE, "survey: images %lld … %lld of %lld", (long long)first + 1, (long long)(first + count),
                   (long long)d->count);
  memset(out, 0, (size_t)count * sizeof *out);
  int threads = cn_threads();
  Worker *workers = cn_alloc_zeroed((size_t)threads * sizeof *workers);
  if (!workers) return CN_EMEMORY;
  CnErr e = CN_OK;
  for (int t = 0; t < threads && e == CN_OK; t++) e = cn_photo_new(&workers[t].photo);
  if (e == CN_OK) e = survey_all(out, workers, d, first, count);
  for (int t = 0; t < threads; t++) {
    cn_photo_free(workers[t].photo);
    cn_buffer_free(&workers[t].file);
  }
  cn_free(workers);
  if (e == CN_OK) return CN_OK;
  for (int64_t i = 0; i < count; i++) cn_free(out[i].bad);
  return e;
}
