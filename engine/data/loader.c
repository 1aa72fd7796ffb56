/* loader.c - see loader.h.
**
** The ring has two slots more than there are threads; batch b uses slot b mod slots. A slot goes round: the consumer
** gives it tensors of the right size, the thread that took the next batch number fills them, the consumer takes them
** and gives new ones. `next`, `taken` and `ready` change under the mutex; a slot's other fields belong to the thread
** that has its batch until it is ready, then to the consumer. */
#include "data/loader.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"

typedef struct Slot {
  CnTensor *x, *y; /* NULL when there is no batch left for it */
  bool ready;
  CnErr error;
  char message[512]; /* of the error */
} Slot;

struct CnLoader {
  CnDataset *dataset;
  int64_t batch, batches;
  int shard, shards;
  int64_t images; /* of a pass: less than the dataset's when the last batch is dropped */
  int64_t pass;
  CnAugment augment;
  CnRng draws;
  CnNormal normal;
  int64_t *order; /* dataset positions of the pass; NULL: as they are */
  double waited;

  pthread_mutex_t mutex;
  pthread_cond_t filled, emptied;
  bool stop;
  int64_t next;  /* batch that a thread takes next */
  int64_t taken; /* batches before this one have been delivered */

  Slot *slot;
  int slots;
  pthread_t *thread;
  int threads; /* created, to be joined */
  int started; /* that have taken their scratch */
  uint8_t *scratch; /* one image for each thread, or one for the caller */
};

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

static CnErr make_tensors(CnTensor **x, CnTensor **y, const CnLoader *l, int64_t b) {
  const CnImages *m = l->dataset->images;
  int64_t shape[4] = { part_of(l, b).count, m->height, m->width, m->channels };
  CN_TRY(cn_tensor_new(x, CN_F32, CN_DEVICE_CPU, 4, shape));
  CnErr e = cn_tensor_new(y, CN_I64, CN_DEVICE_CPU, 1, shape);
  if (e != CN_OK) cn_tensor_unref(*x), *x = NULL;
  return e;
}

/* Fills tensors made for batch b. Allocates nothing. */
static CnErr fill(const CnLoader *l, int64_t b, CnTensor *x, CnTensor *y, uint8_t *scratch) {
  const CnImages *m = l->dataset->images;
  float *pixels = cn_tensor_data(x);
  int64_t *labels = cn_tensor_data(y);
  int64_t first = part_of(l, b).first;
  for (int64_t k = 0; k < x->shape[0]; k++) {
    int64_t position = first + k;
    int64_t i = l->order ? l->order[position] : position;
    const uint8_t *image;
    CN_TRY(cn_dataset_image(&image, l->dataset, i, scratch));
    CnAugmentDraw draw = cn_augment_draw(&l->augment, l->draws, l->pass, position, m->height, m->width);
    cn_augment_image(pixels + k * cn_images_bytes(m), image, m->height, m->width, m->channels, &l->augment, &draw,
                     &l->normal);
    labels[k] = cn_dataset_label(l->dataset, i);
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

/* A thread: fills batches until there is none left or it is told to stop. */
static void *work(void *data) {
  CnLoader *l = data;
  give_way();
  pthread_mutex_lock(&l->mutex);
  uint8_t *scratch = l->scratch + cn_images_bytes(l->dataset->images) * l->started++;
  for (;;) {
    while (!l->stop && l->next < l->batches && l->next >= l->taken + l->slots)
      pthread_cond_wait(&l->emptied, &l->mutex);
    if (l->stop || l->next >= l->batches) break;
    int64_t b = l->next++;
    Slot *s = &l->slot[b % l->slots];
    pthread_mutex_unlock(&l->mutex);
    s->error = fill(l, b, s->x, s->y, scratch);
    if (s->error != CN_OK) snprintf(s->message, sizeof s->message, "%s", cn_error_message());
    pthread_mutex_lock(&l->mutex);
    s->ready = true;
    pthread_cond_signal(&l->filled);
  }
  pthread_mutex_unlock(&l->mutex);
  return NULL;
}

static CnErr start_threads(CnLoader *l, int threads) {
  l->slots = threads + 2;
  l->slot = cn_alloc_zeroed((size_t)l->slots * sizeof *l->slot);
  l->thread = cn_alloc((size_t)threads * sizeof *l->thread);
  if (!l->slot || !l->thread) return CN_EMEMORY;
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
    failed = pthread_create(&l->thread[l->threads], NULL, work, l);
    if (!failed) l->threads++;
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (failed)
    return cn_fail(CN_EMEMORY, "loader: cannot start thread %d of %d (%s); ask for fewer threads", l->threads + 1,
                   threads, strerror(failed));
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
  size_t images = config->threads > 0 ? (size_t)config->threads : 1;
  if (!(l->scratch = cn_alloc(images * (size_t)cn_images_bytes(l->dataset->images)))) return CN_EMEMORY;
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
  if (config->augment.crop < 0 || config->augment.crop > side)
    return cn_fail(CN_EUSAGE, "loader: crop must be from 0 to %d, got %d", side, config->augment.crop);
  if (config->augment.cutout < 0 || config->augment.cutout > 2 * side)
    return cn_fail(CN_EUSAGE, "loader: cutout must be from 0 to %d, got %d", 2 * side, config->augment.cutout);
  if (strlen(config->stream) > 64)
    return cn_fail(CN_EUSAGE, "loader: the stream's name is longer than 64 bytes: '%.64s...'", config->stream);
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
  l->next = l->taken = config->start;
  pthread_mutex_init(&l->mutex, NULL);
  pthread_cond_init(&l->filled, NULL);
  pthread_cond_init(&l->emptied, NULL);
  CnErr e = set_up(l, config);
  if (e != CN_OK) cn_loader_free(l);
  else *out = l;
  return e;
}

/* Waits for the batch in its slot, and exchanges its tensors for those of the batch that will use the slot next. */
static CnErr take(CnLoader *l, CnTensor **x, CnTensor **y) {
  Slot *s = &l->slot[l->taken % l->slots];
  pthread_mutex_lock(&l->mutex);
  while (!s->ready) pthread_cond_wait(&l->filled, &l->mutex);
  pthread_mutex_unlock(&l->mutex);
  if (s->error != CN_OK) return cn_fail(s->error, "%s", s->message);

  CnTensor *new_x = NULL, *new_y = NULL;
  int64_t after = l->taken + l->slots;
  if (after < l->batches) CN_TRY(make_tensors(&new_x, &new_y, l, after));
  *x = s->x;
  *y = s->y;
  s->x = new_x;
  s->y = new_y;
  pthread_mutex_lock(&l->mutex);
  s->ready = false;
  l->taken++;
  pthread_cond_signal(&l->emptied);
  pthread_mutex_unlock(&l->mutex);
  return CN_OK;
}

/* Without threads: makes the batch here. */
static CnErr make(CnLoader *l, CnTensor **x, CnTensor **y) {
  CN_TRY(make_tensors(x, y, l, l->taken));
  CnErr e = fill(l, l->taken, *x, *y, l->scratch);
  if (e != CN_OK) {
    cn_tensor_unref(*x);
    cn_tensor_unref(*y);
    *x = *y = NULL;
    return e;
  }
  l->taken++;
  return CN_OK;
}

CnErr cn_loader_next(CnLoader *l, CnTensor **x, CnTensor **y) {
  *x = *y = NULL;
  if (l->stop || l->taken >= l->batches) return CN_OK;
  double start = seconds();
  CnErr e = l->threads > 0 ? take(l, x, y) : make(l, x, y);
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
  for (int s = 0; s < l->slots; s++) {
    cn_tensor_unref(l->slot[s].x);
    cn_tensor_unref(l->slot[s].y);
    l->slot[s].x = l->slot[s].y = NULL;
  }
}

void cn_loader_free(CnLoader *l) {
  if (!l) return;
  if (l->slot) cn_loader_stop(l);
  pthread_mutex_destroy(&l->mutex);
  pthread_cond_destroy(&l->filled);
  pthread_cond_destroy(&l->emptied);
  cn_free(l->slot);
  cn_free(l->thread);
  cn_free(l->order);
  cn_free(l->scratch);
  cn_dataset_unref(l->dataset);
  cn_free(l);
}

void cn_loader_share(const CnLoader *l, int64_t *own, int64_t *all) {
  Part p = l->taken > 0 ? part_of(l, l->taken - 1) : (Part){ .own = 0 };
  *own = p.own;
  *all = p.all;
}

int64_t cn_loader_batches(const CnLoader *l) { return l->batches; }
double cn_loader_waited(const CnLoader *l) { return l->waited; }
