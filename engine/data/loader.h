/* loader.h - one pass over a dataset in batches, made by threads of its own ahead of the consumer.
**
** What batch b of pass p holds is a pure function of (seed, stream, p, b): the order is a permutation drawn from the
** stream "shuffle:<stream>" at p, the augmentation of the image at position i of the pass from "augment:<stream>" at
** (p, i). So any number of threads gives the same batches, and a pass can be entered at any batch.
** Processes share a pass by shards of one order: of `shards` shards with batches of `batch` images, batch b is what one
** loader with batches of shards*batch would deliver, shard r having the r-th part; augmentation is drawn for positions
** of the whole pass. Every shard has as many batches as the others: in a last batch that has fewer images than there
** are shards some get a copy of another's image, which cn_loader_share says.
** Images that are files and cannot be decoded are left out of their batches, as many as the listing allows.
** Batches are delivered in order through a ring. The consumer alone allocates and frees tensors; threads fill them. */
#ifndef CN_LOADER_H
#define CN_LOADER_H

#include "data/augment.h"
#include "data/dataset.h"
#include "data/photo.h"
#include "tensor/tensor.h"

typedef struct CnLoader CnLoader;

typedef struct CnLoaderConfig {
  CnDataset *dataset; /* the loader keeps a reference of its own */
  int64_t batch;      /* images of a shard */
  uint64_t seed;
  const char *stream; /* which use: "train", "valid" … */
  int64_t pass;       /* 0 … 2^31-1 */
  int64_t start;      /* the first batch to deliver, from 0 */
  bool shuffle;
  bool drop_last;     /* leave out a last batch that is not full */
  CnAugment augment;     /* of images in memory */
  CnPhotoSettings photo; /* of images that are files */
  int threads;        /* 0: batches are made in cn_loader_next */
  int shard, shards;  /* shard from 0; shards 0 or 1: the whole pass */
  CnDevice device;    /* where batches are wanted; images in memory live on a GPU then (data/resident.h) */
} CnLoaderConfig;

CnErr cn_loader_new(CnLoader **out, const CnLoaderConfig *config);
/* The next batch: x (N,H,W,C) f32 normalised, y (N) i64, both new references on the device; NULL in both at the end of the
** pass. After a failure of the dataset the same batch fails again. */
CnErr cn_loader_next(CnLoader *loader, CnTensor **x, CnTensor **y);
/* Ends the pass now: joins the threads and drops what was made ahead. A second call does nothing. */
void cn_loader_stop(CnLoader *loader);
void cn_loader_free(CnLoader *loader); /* NULL is allowed; stops it first */

/* Of the batch delivered last: how many images are this shard's own (0 for a borrowed one), and how many all shards
** have together, those that were left out among them. Sums over the shards that weight each batch by `own` count every
** image once. */
void cn_loader_share(const CnLoader *loader, int64_t *own, int64_t *all);
CnDataset *cn_loader_dataset(const CnLoader *loader); /* borrowed */
int64_t cn_loader_batches(const CnLoader *loader); /* in a whole pass */
double cn_loader_waited(const CnLoader *loader);   /* seconds that the consumer spent in cn_loader_next */

#endif
