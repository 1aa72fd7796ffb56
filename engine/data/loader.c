/* loader.c - see loader.h.
**
** Batch b uses slot b mod slots of the ring. A slot goes round: the consumer gives it tensors of the right size,
** threads fill them piece by piece, the consumer takes them and gives new ones. A piece is what a thread takes at a
** time: a batch of small images, or a few photographs, so that all threads work on the batch that is wanted first. What
** counts pieces changes under the mutex; the pixels and labels of a piece belong to the thread that took it until all of
** the slot's are done, then to the consumer. Where batches are files that are wanted on a GPU, a slot keeps its tensors,
** which are pinned: the consumer gets copies that are still under way, and the slot goes on when they are there. The consumer also judges the bad images, in the order of the batches, so that
** what is tolerated does not depend on who was faster. */
#include "data/loader.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/progress.h"
#include "data/listing.h"
#include "data/resident.h"
#include "kernels/cpu/image.h"
#include "tensor/pinned.h"

typedef struct Slot {
  CnTensor *x, *y; /* NULL when there is no batch left for it */
  char **bad;      /* by image of the batch: why it cannot be decoded, or NULL; NULL for images in memory */
  int64_t done;    /* images; all of x: the slot is ready */
  CnErr error;
  int64_t failed;    /* the image, of several the first, that the error is about */
  char message[512]; /* of the error */
  CnTensor *whole_x, *whole_y; /* where batches are sent to a GPU: pinned, for a whole batch; x and y are views */
  void *sent;                  /* passed when the slot's last batch is there */
} Slot;

/* What a thread, or the caller when there is none, works with: for images that are files. */
typedef struct Worker {
  CnLoader *loader;
  CnPhoto *photo;
  CnBuffer file;
} Worker;

struct CnLoader {
  CnDataset *dataset;
  int64_t batch, batches;
  int shard, shards;
  int64_t images; /* of a pass: less than the dataset's when the last batch is dropped */
  int64_t pass;
  CnAugment augment;
  CnPhotoSettings photo;
  CnRng draws;
  CnNormal normal;
  int64_t *order; /* dataset positions of the pass; NULL: as they are */
  double waited;
  CnDevice device;
  bool sends;        /* batches of files, that threads make, to a GPU */
  CnGpuImages there; /* the pass where images live on a GPU; else NULLs, and all below makes the batches */

  pthread_mutex_t mutex;
  pthread_cond_t filled, emptied;
  bool stop;
  int64_t next;  /* batch of which a thread takes the next piece */
  int64_t begun; /* images of it that have been taken already */
  int64_t piece; /* images */
  int64_t taken; /* batches before this one have been delivered */
  int64_t freed; /* and of those before this one the slots have been given to the threads again */

  int64_t left_out; /* images of the batch that was delivered last */

  Slot *slot;
  int slots;
  pthread_t *thread;
  int threads;    /* created, to be joined */
  Worker *worker; /* one for each thread, or one for the caller */
  int workers;
};

static void drop(CnTensor **t) {
  cn_tensor_unref(*t);
  *t = NULL;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* This shard's part of batch b: positions of the pass. */
typedef struct Part {
  int64_t first, count;
  int64_t own; /* count, or 0 when the images are lent: they belong to another shard */
  int64_t all; /* images of the batch in all shards */
} Part;

/* Shards differ by at most one image, the first have the most. One that would be left without borrows an image. */
static Part part_of(const CnLoader *l, int64_t b) {
  int64_t whole = l->batch * l->shards, begin = b * whole, left = l->images - begin, n = l->shards;
  Part p = { .all = left < whole ? left : whole };
  int64_t from = (p.all * l->shard + n - 1) / n, to = (p.all * (l->shard + 1) + n - 1) / n;
  p.first = begin + (from < to ? from : l->shard % p.all);
  p.own = to - from;
  p.count = from < to ? to - from : 1;
  return p;
}

/* Images of a whole batch in pinned memory. */
static CnErr pin(Slot *s, const int64_t *shape) {
  if (s->whole_x == NULL) CN_TRY(cn_tensor_new_pinned(&s->whole_x, CN_F32, 4, shape));
  return s->whole_y == NULL ? cn_tensor_new_pinned(&s->whole_y, CN_I64, 1, shape) : CN_OK;
}

/* Tensors for batch b: new ones, or views of what its slot keeps. */
static CnErr make_tensors(CnTensor **x, CnTensor **y, CnLoader *l, int64_t b) {
  const CnImages *m = l->dataset->images;
  int height = m->listing ? l->photo.size : m->height, width = m->listing ? l->photo.size : m->width;
  int64_t shape[4] = { l->batch, height, width, m->channels };
  if (l->sends) {
    Slot *s = &l->slot[b % l->slots];
    CN_TRY(pin(s, shape));
    shape[0] = part_of(l, b).count;
    CN_TRY(cn_tensor_view(x, s->whole_x, 4, shape, s->whole_x->stride, 0));
    CnErr e = cn_tensor_view(y, s->whole_y, 1, shape, s->whole_y->stride, 0);
    if (e != CN_OK) drop(x);
    return e;
  }
  shape[0] = part_of(l, b).count;
  CN_TRY(cn_tensor_new(x, CN_F32, CN_DEVICE_CPU, 4, shape));
  CnErr e = cn_tensor_new(y, CN_I64, CN_DEVICE_CPU, 1, shape);
  if (e != CN_OK) drop(x);
  return e;
}

/* The dataset's position of image k of this shard's part of batch b. */
static int64_t image_of(const CnLoader *l, int64_t b, int64_t k) {
  int64_t position = part_of(l, b).first + k;
  return l->order ? l->order[position] : position;
}

/* Image i, in memory, for a position of the pass. */
static void make_small(float *out, const CnLoader *l, int64_t i, int64_t position) {
  const CnImages *m = l->dataset->images;
  CnAugmentDraw draw = cn_augment_draw(&l->augment, l->draws, l->pass, position, m->height, m->width);
  cn_augment_image(out, cn_dataset_image(l->dataset, i), m->height, m->width, m->channels, &l->augment, &draw,
                   &l->normal);
}

/* The same of a file. */
static CnErr make_photo(float *out, Worker *w, int64_t i, int64_t position) {
  const CnLoader *l = w->loader;
  const CnListing *listing = l->dataset->images->listing;
  const CnPhotoSettings *s = &l->photo;
  int64_t k = cn_dataset_position(l->dataset, i);
  size_t size;
  char path[4096];
  CN_TRY(cn_listing_read(&w->file, &size, listing, k));
  cn_listing_path(path, sizeof path, listing, k);
  CnPictureInfo info;
  CN_TRY(cn_photo_open(w->photo, &info, w->file.data, size, path));
  CnPhotoDraw draw = cn_photo_draw(s, l->draws, l->pass, position, info.width, info.height);
  const uint8_t *pixels;
  CN_TRY(cn_photo_pixels(&pixels, w->photo, s, &draw));
  CnAugment rest = { .flip = s->flip, .cutout = s->cutout };
  cn_augment_image(out, pixels, s->size, s->size, 3, &rest, &draw.rest, &l->normal);
  return CN_OK;
}

/* Images `first` … first+count-1 of batch b into its slot's tensors. Allocates nothing for images in memory. */
static CnErr fill(Worker *w, int64_t b, Slot *s, int64_t first, int64_t count) {
  const CnLoader *l = w->loader;
  const CnImages *m = l->dataset->images;
  float *pixels = cn_tensor_data(s->x);
  int64_t *labels = cn_tensor_data(s->y), values = s->x->shape[1] * s->x->shape[2] * s->x->shape[3];
  for (int64_t k = first; k < first + count; k++) {
    int64_t position = part_of(l, b).first + k, i = image_of(l, b, k);
    float *out = pixels + k * values;
    CnErr e = CN_OK;
    cn_progress_note();
    labels[k] = cn_dataset_label(l->dataset, i);
    if (m->listing) e = make_photo(out, w, i, position);
    else make_small(out, l, i, position);
    if (e == CN_EDATA) e = (s->bad[k] = cn_strdup(cn_error_message())) ? CN_OK : CN_EMEMORY;
    if (e != CN_OK) return e;
  }
  return CN_OK;
}

/* The threads work ahead, so they have time: when one is woken it must not take the processor from the consumer, who
** has just taken a batch and goes on to compute. */
static void give_way(void) {
#ifdef SCHED_BATCH
  struct sched_param parameter;
  int policy;
  if (pthread_getschedparam(pthread_self(), &policy, &parameter) == 0 && policy == SCHED_OTHER)
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &parameter);
#endif
}

/* The next piece of work: images *first … *first + *count - 1 of batch *b; none when the threads are to end. Called
** with the mutex. */
static bool take_piece(CnLoader *l, int64_t *b, int64_t *first, int64_t *count) {
  while (!l->stop && l->next < l->batches && l->next >= l->freed + l->slots)
    pthread_cond_wait(&l->emptied, &l->mutex);
  if (l->stop || l->next >= l->batches) return false;
  int64_t all = l->slot[l->next % l->slots].x->shape[0];
  *b = l->next;
  *first = l->begun;
  *count = all - l->begun < l->piece ? all - l->begun : l->piece;
  l->begun += *count;
  if (l->begun == all) {
    l->next++;
    l->begun = 0;
  }
  return true;
}

/* A thread: fills batches until there is none left or it is told to stop. */
static void *work(void *data) {
  Worker *w = data;
  CnLoader *l = w->loader;
  int64_t b, first, count;
  give_way();
  pthread_mutex_lock(&l->mutex);
  while (take_piece(l, &b, &first, &count)) {
    Slot *s = &l->slot[b % l->slots];
    pthread_mutex_unlock(&l->mutex);
    CnErr e = fill(w, b, s, first, count);
    pthread_mutex_lock(&l->mutex);
    if (e != CN_OK && (s->error == CN_OK || first < s->failed)) {
      s->error = e;
      s->failed = first;
      snprintf(s->message, sizeof s->message, "%s", cn_error_message());
    }
    s->done += count;
    if (s->done == s->x->shape[0]) pthread_cond_signal(&l->filled);
  }
  pthread_mutex_unlock(&l->mutex);
  return NULL;
}

/* A slot, and one alone without threads, notes which of its images are bad. */
static CnErr make_slots(CnLoader *l, int slots) {
  if (!(l->slot = cn_alloc_zeroed((size_t)slots * sizeof *l->slot))) return CN_EMEMORY;
  l->slots = slots;
  for (int s = 0; l->dataset->images->listing && s < slots; s++)
    if (!(l->slot[s].bad = cn_alloc_zeroed((size_t)l->batch * sizeof *l->slot[s].bad))) return CN_EMEMORY;
  return CN_OK;
}

static CnErr start_threads(CnLoader *l, int threads) {
  if (!(l->thread = cn_alloc((size_t)threads * sizeof *l->thread))) return CN_EMEMORY;
  for (int64_t b = l->next; b < l->next + l->slots && b < l->batches; b++) {
    Slot *s = &l->slot[b % l->slots];
    CN_TRY(make_tensors(&s->x, &s->y, l, b));
  }
  /* Signals are the main thread's business. */
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int failed = 0;
  while (l->threads < threads && !failed) {
    failed = pthread_create(&l->thread[l->threads], NULL, work, &l->worker[l->threads]);
    if (!failed) l->threads++;
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (failed)
    return cn_fail(CN_EMEMORY, "loader: cannot start thread %d of %d (%s); ask for fewer threads", l->threads + 1,
                   threads, strerror(failed));
  return CN_OK;
}

/* Everything that the threads use. A photograph is a piece of work that is worth a wait for the mutex, and few batches
** of them are much memory: the ring is as short as keeps all threads busy. */
static CnErr make_workers(CnLoader *l, int threads) {
  bool files = l->dataset->images->listing != NULL;
  int workers = threads > 0 ? threads : 1;
  l->piece = files ? 4 : l->batch;
  int64_t ahead = files ? 2 + (threads * l->piece + l->batch - 1) / l->batch : threads + 2;
  CN_TRY(make_slots(l, threads > 0 ? (int)ahead + l->sends : 1));
  if (!(l->worker = cn_alloc_zeroed((size_t)workers * sizeof *l->worker))) return CN_EMEMORY;
  l->workers = workers;
  for (int w = 0; w < workers; w++) {
    l->worker[w].loader = l;
    if (files) CN_TRY(cn_photo_new(&l->worker[w].photo));
  }
  (void)cn_image_kernels(); /* chosen before there are several threads */
  return CN_OK;
}

static CnErr draw_order(CnLoader *l, const CnLoaderConfig *config) {
  if (!(l->order = cn_alloc((size_t)l->dataset->count * sizeof *l->order))) return CN_EMEMORY;
  char name[96];
  snprintf(name, sizeof name, "shuffle:%s", config->stream);
  CnRng rng = cn_rng_named(config->seed, name);
  rng.counter = (uint64_t)config->pass << 32;
  cn_rng_permutation(&rng, l->order, l->dataset->count);
  return CN_OK;
}

static CnErr set_up(CnLoader *l, const CnLoaderConfig *config) {
  char name[96];
  snprintf(name, sizeof name, "augment:%s", config->stream);
  l->draws = cn_rng_named(config->seed, name);
  cn_normal_init(&l->normal, l->dataset->images);
  if (config->shuffle) CN_TRY(draw_order(l, config));
  if (l->device.kind == CN_CUDA && !l->dataset->images->listing) {
    l->there = (CnGpuImages){ .augment = l->augment, .draws = l->draws, .pass = l->pass };
    return cn_resident_pass(&l->there, l->dataset, l->order, l->images, l->device);
  }
  l->sends = l->device.kind == CN_CUDA && config->threads > 0;
  CN_TRY(make_workers(l, config->threads));
  return config->threads > 0 ? start_threads(l, config->threads) : CN_OK;
}

static CnErr check(const CnLoaderConfig *config, int64_t batches) {
  const CnImages *m = config->dataset->images;
  int side = m->height < m->width ? m->height : m->width;
  if (config->threads < 0 || config->threads > 256)
    return cn_fail(CN_EUSAGE, "loader: threads must be from 0 to 256, got %d", config->threads);
  if (config->shards > 1 << 20)
    return cn_fail(CN_EUSAGE, "loader: shards must be at most %d, got %d", 1 << 20, config->shards);
  if (config->shard < 0 || config->shard >= (config->shards > 1 ? config->shards : 1))
    return cn_fail(CN_EUSAGE, "loader: shard must be from 1 to %d, got %d", config->shards > 1 ? config->shards : 1,
                   config->shard + 1);
  if (config->pass < 0 || config->pass > INT32_MAX)
    return cn_fail(CN_EUSAGE, "loader: pass must be from 0 to %d, got %lld", INT32_MAX, (long long)config->pass);
  if (config->start < 0 || config->start > batches)
    return cn_fail(CN_EUSAGE, "loader: cannot start at batch %lld, the pass has %lld", (long long)config->start + 1,
                   (long long)batches);
  if (strlen(config->stream) > 64)
    return cn_fail(CN_EUSAGE, "loader: the stream's name is longer than 64 bytes: '%.64s...'", config->stream);
  if (m->listing) return cn_photo_check(&config->photo);
  if (config->augment.crop < 0 || config->augment.crop > side)
    return cn_fail(CN_EUSAGE, "loader: crop must be from 0 to %d, got %d", side, config->augment.crop);
  if (config->augment.cutout < 0 || config->augment.cutout > 2 * side)
    return cn_fail(CN_EUSAGE, "loader: cutout must be from 0 to %d, got %d", 2 * side, config->augment.cutout);
  return CN_OK;
}

CnErr cn_loader_new(CnLoader **out, const CnLoaderConfig *config) {
  if (config->batch < 1 || config->batch > INT32_MAX)
    return cn_fail(CN_EUSAGE, "loader: batch must be at least 1, got %lld", (long long)config->batch);
  int64_t whole = config->batch * (config->shards > 1 ? config->shards : 1);
  int64_t count = config->dataset->count, batches = count / whole;
  if (config->drop_last) count = batches * whole;
  else if (count % whole) batches++;
  CN_TRY(check(config, batches));

  CnLoader *l = cn_alloc_zeroed(sizeof *l);
  if (!l) return CN_EMEMORY;
  l->dataset = cn_dataset_ref(config->dataset);
  l->batch = config->batch;
  l->batches = batches;
  l->shard = config->shard;
  l->shards = config->shards > 1 ? config->shards : 1;
  l->images = count;
  l->pass = config->pass;
  l->augment = config->augment;
  l->photo = config->photo;
  l->device = config->device;
  l->next = l->taken = l->freed = config->start;
  pthread_mutex_init(&l->mutex, NULL);
  pthread_cond_init(&l->filled, NULL);
  pthread_cond_init(&l->emptied, NULL);
  CnErr e = set_up(l, config);
  if (e != CN_OK) cn_loader_free(l);
  else *out = l;
  return e;
}

/* Notes the bad images of batch b in its listing, in order. */
static CnErr judge(const CnLoader *l, int64_t b, const Slot *s) {
  for (int64_t k = 0; s->bad && k < s->x->shape[0]; k++)
    if (s->bad[k])
      CN_TRY(cn_listing_note_bad(l->dataset->images->listing,
                                 cn_dataset_position(l->dataset, image_of(l, b, k)), s->bad[k]));
  return CN_OK;
}

/* The first `rows` rows of both tensors of a slot in their places. */
static CnErr shorten(Slot *s, int64_t rows) {
  CnTensor *x, *y;
  int64_t shape[4];
  memcpy(shape, s->x->shape, sizeof shape);
  shape[0] = rows;
  CN_TRY(cn_tensor_view(&x, s->x, 4, shape, s->x->stride, 0));
  CnErr e = cn_tensor_view(&y, s->y, 1, shape, s->y->stride, 0);
  if (e != CN_OK) {
    cn_tensor_unref(x);
    return e;
  }
  drop(&s->x), drop(&s->y);
  s->x = x;
  s->y = y;
  return CN_OK;
}

/* Moves the good images together and cuts off the rest. Says which were bad no more. */
static CnErr leave_out_bad(CnLoader *l, Slot *s) {
  int64_t all = s->x->shape[0], kept = 0, values = s->x->shape[1] * s->x->shape[2] * s->x->shape[3];
  float *pixels = cn_tensor_data(s->x);
  int64_t *labels = cn_tensor_data(s->y);
  for (int64_t k = 0; k < all; k++) kept += !s->bad[k];
  if (kept == all) return CN_OK;
  if (kept == 0) return cn_fail(CN_EDATA, "%s (and no image of its batch is left)", s->bad[0]);
  CN_TRY(shorten(s, kept));
  for (int64_t k = 0, to = 0; k < all; k++) {
    if (!s->bad[k] && to < k) {
      memcpy(pixels + to * values, pixels + k * values, (size_t)values * sizeof *pixels);
      labels[to] = labels[k];
    }
    to += !s->bad[k];
    cn_free(s->bad[k]);
    s->bad[k] = NULL;
  }
  l->left_out = all - kept;
  return CN_OK;
}

/* Batch b, which its slot holds, is judged and made ready to be delivered. */
static CnErr finish(CnLoader *l, int64_t b, Slot *s) {
  CN_TRY(judge(l, b, s));
  l->left_out = 0;
  return s->bad ? leave_out_bad(l, s) : CN_OK;
}

static CnErr wait_for_slot(CnLoader *l, const Slot *s) {
  pthread_mutex_lock(&l->mutex);
  while (s->done < s->y->shape[0]) pthread_cond_wait(&l->filled, &l->mutex);
  pthread_mutex_unlock(&l->mutex);
  return s->error == CN_OK ? CN_OK : cn_fail(s->error, "%s", s->message);
}

/* The slot of the first batch that was not freed yet goes to the threads, with these tensors. */
static void free_slot(CnLoader *l, CnTensor *x, CnTensor *y) {
  Slot *s = &l->slot[l->freed % l->slots];
  pthread_mutex_lock(&l->mutex);
  s->x = x;
  s->y = y;
  s->done = 0;
  l->freed++;
  pthread_cond_broadcast(&l->emptied);
  pthread_mutex_unlock(&l->mutex);
}

/* Waits for the batch in its slot, and exchanges its tensors for those of the batch that will use the slot next. */
static CnErr take(CnLoader *l, CnTensor **x, CnTensor **y) {
  Slot *s = &l->slot[l->taken % l->slots];
  CnTensor *new_x = NULL, *new_y = NULL;
  CN_TRY(wait_for_slot(l, s));
  int64_t after = l->taken + l->slots;
  if (after < l->batches) CN_TRY(make_tensors(&new_x, &new_y, l, after));
  CnErr e = finish(l, l->taken, s);
  if (e != CN_OK) {
    cn_tensor_unref(new_x);
    cn_tensor_unref(new_y);
    return e;
  }
  *x = s->x;
  *y = s->y;
  l->taken++;
  free_slot(l, new_x, new_y);
  return CN_OK;
}

/* Frees the slots whose batches have arrived on the GPU; the one that is needed now is waited for. */
static CnErr free_sent(CnLoader *l, const CnGpu *gpu) {
  while (l->freed < l->taken) {
    Slot *s = &l->slot[l->freed % l->slots];
    CnTensor *x = NULL, *y = NULL;
    bool passed;
    CN_TRY(gpu->passed(&passed, s->sent, l->freed + l->slots <= l->taken));
    if (!passed) return CN_OK;
    if (l->freed + l->slots < l->batches) CN_TRY(make_tensors(&x, &y, l, l->freed + l->slots));
    drop(&s->x), drop(&s->y);
    free_slot(l, x, y);
  }
  return CN_OK;
}

/* Waits for the batch in its slot, and sends it to the GPU. */
static CnErr take_sent(CnLoader *l, CnTensor **x, CnTensor **y) {
  const CnGpu *gpu;
  CN_TRY(cn_gpu(&gpu));
  CN_TRY(free_sent(l, gpu));
  Slot *s = &l->slot[l->taken % l->slots];
  CnTensor *x_there = NULL, *y_there = NULL;
  CN_TRY(wait_for_slot(l, s));
  CN_TRY(finish(l, l->taken, s));
  CnErr e = cn_tensor_send(&x_there, s->x, l->device);
  if (e == CN_OK) e = cn_tensor_send(&y_there, s->y, l->device);
  if (e == CN_OK) e = gpu->mark(&s->sent, l->device);
  if (e == CN_OK) {
    *x = x_there;
    *y = y_there;
    l->taken++;
    return CN_OK;
  }
  cn_tensor_unref(x_there);
  cn_tensor_unref(y_there);
  return e;
}

static void empty_slot(Slot *s, int64_t batch) {
  const CnGpu *gpu;
  bool passed;
  if (s->sent != NULL && cn_gpu(&gpu) == CN_OK) { /* it may still be read */
    (void)gpu->passed(&passed, s->sent, true);
    gpu->free_mark(s->sent);
    s->sent = NULL;
  }
  drop(&s->x), drop(&s->y), drop(&s->whole_x), drop(&s->whole_y);
  for (int64_t k = 0; s->bad && k < batch; k++) {
    cn_free(s->bad[k]);
    s->bad[k] = NULL;
  }
}

/* Instead of a tensor one of the same values on the loader's device. */
static CnErr move(CnTensor **t, const CnLoader *l) {
  CnTensor *there;
  CN_TRY(cn_tensor_to(&there, *t, (*t)->dtype, l->device));
  cn_tensor_unref(*t);
  *t = there;
  return CN_OK;
}

/* Without threads: makes the batch here. */
static CnErr make(CnLoader *l, CnTensor **x, CnTensor **y) {
  Slot *s = l->slot;
  CN_TRY(make_tensors(&s->x, &s->y, l, l->taken));
  CnErr e = fill(l->worker, l->taken, s, 0, s->x->shape[0]);
  if (e == CN_OK) e = finish(l, l->taken, s);
  if (e == CN_OK) e = move(&s->x, l);
  if (e == CN_OK) e = move(&s->y, l);
  if (e != CN_OK) {
    empty_slot(s, l->batch);
    return e;
  }
  *x = s->x;
  *y = s->y;
  s->x = s->y = NULL;
  l->taken++;
  return CN_OK;
}

/* Images that live on a GPU: the batch is made there. */
static CnErr make_there(CnLoader *l, CnTensor **x, CnTensor **y) {
  Part p = part_of(l, l->taken);
  CN_TRY(cn_resident_batch(x, y, &l->there, p.first, p.count));
  l->taken++;
  return CN_OK;
}

CnErr cn_loader_next(CnLoader *l, CnTensor **x, CnTensor **y) {
  *x = *y = NULL;
  if (l->stop || l->taken >= l->batches) return CN_OK;
  double start = seconds();
  CnErr e = (l->there.pixels ? make_there : l->sends ? take_sent : l->threads > 0 ? take : make)(l, x, y);
  l->waited += seconds() - start;
  return e;
}

void cn_loader_stop(CnLoader *l) {
  pthread_mutex_lock(&l->mutex);
  l->stop = true;
  pthread_cond_broadcast(&l->emptied);
  pthread_mutex_unlock(&l->mutex);
  for (int t = 0; t < l->threads; t++) pthread_join(l->thread[t], NULL);
  l->threads = 0;
  for (int s = 0; s < l->slots; s++) empty_slot(&l->slot[s], l->batch);
}

void cn_loader_free(CnLoader *l) {
  if (!l) return;
  if (l->slot) cn_loader_stop(l);
  cn_resident_end(&l->there);
  pthread_mutex_destroy(&l->mutex);
  pthread_cond_destroy(&l->filled);
  pthread_cond_destroy(&l->emptied);
  for (int s = 0; s < l->slots; s++) cn_free(l->slot[s].bad);
  for (int w = 0; w < l->workers; w++) {
    cn_photo_free(l->worker[w].photo);
    cn_buffer_free(&l->worker[w].file);
  }
  cn_free(l->slot);
  cn_free(l->thread);
  cn_free(l->worker);
  cn_free(l->order);
  cn_dataset_unref(l->dataset);
  cn_free(l);
}

void cn_loader_share(const CnLoader *l, int64_t *own, int64_t *all) {
  Part p = l->taken > 0 ? part_of(l, l->taken - 1) : (Part){ .own = 0 };
  *own = p.own > 0 ? p.own - l->left_out : 0;
  *all = p.all;
}

CnDataset *cn_loader_dataset(const CnLoader *l) { return l->dataset; }
int64_t cn_loader_batches(const CnLoader *l) { return l->batches; }
double cn_loader_waited(const CnLoader *l) { return l->waited; }
