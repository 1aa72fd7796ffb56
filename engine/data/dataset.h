/* dataset.h - labelled images, and lists of which of them to use.
**
** CnImages is the storage: M images with their labels, what the classes are called, and the mean and deviation that
** normalise them. The images are bytes of one size in memory, or files of any size (data/listing.h), which are decoded
** whenever they are wanted. A CnDataset is a view of it, all images or those of an index list, so that splits of a
** training set share one copy of its pixels. Both are counted references and never change once made, but for the copy on a
** GPU, which belongs to the thread that makes loaders: any number of threads may read them. Positions count from 0. */
#ifndef CN_DATASET_H
#define CN_DATASET_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"

#define CN_MAX_CHANNELS 4

typedef struct CnImages {
  atomic_int refs;
  const char *name; /* static, or the listing's, as the names of the classes */
  int64_t count;    /* M */
  int height, width, channels; /* of files: what a loader makes of them when it is not told otherwise */
  int classes;
  const char *const *class_names; /* `classes` of them */
  float mean[CN_MAX_CHANNELS], std[CN_MAX_CHANNELS]; /* of pixels / 255, by channel */
  uint8_t *pixels;                /* (M,H,W,C); NULL when images are files */
  int64_t *labels;                /* (M), each in 0 … classes-1 */
  struct CnListing *listing;      /* of the files; NULL when they are in memory */
  struct CnResident *resident;    /* those in memory on a GPU too (data/resident.h); NULL: not yet */
} CnImages;

typedef struct CnDataset {
  atomic_int refs;
  CnImages *images;
  int64_t count;
  int64_t *index; /* `count` positions in images; NULL: all of them, in order */
} CnDataset;

/* Storage for `count` images, pixels and labels undefined, names, mean and deviation not set. */
CnErr cn_images_new(CnImages **out, const char *name, int64_t count, int height, int width, int channels, int classes);
void cn_images_unref(CnImages *images); /* NULL is allowed */

/* All images. Takes over the caller's reference to `images`, also when it fails. */
CnErr cn_dataset_new(CnDataset **out, CnImages *images);
/* The images of `d` at the `n` positions in `index`, which is copied. Positions may repeat. */
CnErr cn_dataset_subset(CnDataset **out, const CnDataset *d, const int64_t *index, int64_t n);
/* Puts `d` in an order drawn from the seed, keeps the first `use` (negative: all), and gives the first
** round(fraction * use) of these to `first`, the others to `rest`, which may be NULL if not wanted. */
CnErr cn_dataset_split(CnDataset **first, CnDataset **rest, const CnDataset *d, int64_t use, double fraction,
                       uint64_t seed);
CnDataset *cn_dataset_ref(CnDataset *d);
void cn_dataset_unref(CnDataset *d); /* NULL is allowed */

/* Bytes of one image. */
static inline int64_t cn_images_bytes(const CnImages *m) { return (int64_t)m->height * m->width * m->channels; }

static inline int64_t cn_dataset_position(const CnDataset *d, int64_t i) { return d->index ? d->index[i] : i; }
static inline int64_t cn_dataset_label(const CnDataset *d, int64_t i) {
  return d->images->labels[cn_dataset_position(d, i)];
}

/* Image i (H,W,C) in memory. */
static inline const uint8_t *cn_dataset_image(const CnDataset *d, int64_t i) {
  return d->images->pixels + cn_dataset_position(d, i) * cn_images_bytes(d->images);
}

#endif
