/* dataset.c - see dataset.h. The storage goes when the last view of it goes. */
#include "data/dataset.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/listing.h"
#include "data/resident.h"

CnErr cn_images_new(CnImages **out, const char *name, int64_t count, int height, int width, int channels, int classes) {
  if (count < 0 || height < 1 || width < 1 || channels < 1 || channels > CN_MAX_CHANNELS || classes < 1)
    return cn_fail(CN_EUSAGE, "dataset %s: expected at least one pixel, 1 to %d channels and at least one class; "
                   "got %lld images of %dx%dx%d in %d classes", name, CN_MAX_CHANNELS, (long long)count, height, width,
                   channels, classes);
  CnImages *m = cn_alloc_zeroed(sizeof *m);
  if (!m) return CN_EMEMORY;
  m->refs = 1;
  m->name = name;
  m->count = count;
  m->height = height;
  m->width = width;
  m->channels = channels;
  m->classes = classes;
  for (int c = 0; c < CN_MAX_CHANNELS; c++) m->std[c] = 1;
  m->pixels = cn_alloc((size_t)(count * cn_images_bytes(m)));
  m->labels = cn_alloc((size_t)count * sizeof *m->labels);
  if (!m->pixels || !m->labels) {
    cn_images_unref(m);
    return CN_EMEMORY;
  }
  *out = m;
  return CN_OK;
}

void cn_images_unref(CnImages *m) {
  if (!m || atomic_fetch_sub(&m->refs, 1) > 1) return;
  cn_listing_free(m->listing);
  cn_resident_free(m->resident);
  cn_free(m->pixels);
  cn_free(m->labels);
  cn_free(m);
}

/* A view of `n` images; its index list is allocated when `listed`, and not filled in. Adds no reference. */
static CnErr view_new(CnDataset **out, CnImages *images, int64_t n, int listed) {
  CnDataset *d = cn_alloc_zeroed(sizeof *d);
  if (!d) return CN_EMEMORY;
  d->refs = 1;
  d->images = images;
  d->count = n;
  if (listed && !(d->index = cn_alloc((size_t)n * sizeof *d->index))) {
    cn_free(d);
    return CN_EMEMORY;
  }
  *out = d;
  return CN_OK;
}

CnErr cn_dataset_new(CnDataset **out, CnImages *images) {
  CnErr e = view_new(out, images, images->count, 0);
  if (e != CN_OK) cn_images_unref(images);
  return e;
}

CnErr cn_dataset_subset(CnDataset **out, const CnDataset *d, const int64_t *index, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (index[i] < 0 || index[i] >= d->count)
      return cn_fail(CN_EUSAGE, "subset of %s: position %lld of the list is image %lld, but there are %lld images",
                     d->images->name, (long long)i, (long long)index[i], (long long)d->count);
  CN_TRY(view_new(out, d->images, n, 1));
  atomic_fetch_add(&d->images->refs, 1);
  for (int64_t i = 0; i < n; i++) (*out)->index[i] = cn_dataset_position(d, index[i]);
  return CN_OK;
}

CnErr cn_dataset_split(CnDataset **first, CnDataset **rest, const CnDataset *d, int64_t use, double fraction,
                       uint64_t seed) {
  if (use < 0) use = d->count;
  if (use > d->count)
    return cn_fail(CN_EUSAGE, "%s: %lld images wanted, but there are %lld", d->images->name, (long long)use,
                   (long long)d->count);
  if (!(fraction >= 0 && fraction <= 1))
    return cn_fail(CN_EUSAGE, "%s: split must be a fraction from 0 to 1, got %g", d->images->name, fraction);
  int64_t *order = cn_alloc((size_t)d->count * sizeof *order);
  if (!order) return CN_EMEMORY;
  CnRng rng = cn_rng_named(seed, "split");
  cn_rng_permutation(&rng, order, d->count);
  int64_t cut = llround(fraction * (double)use);
  CnErr e = cn_dataset_subset(first, d, order, cut);
  if (e == CN_OK && rest) {
    e = cn_dataset_subset(rest, d, order + cut, use - cut);
    if (e != CN_OK) cn_dataset_unref(*first), *first = NULL;
  }
  cn_free(order);
  return e;
}

CnDataset *cn_dataset_ref(CnDataset *d) {
  atomic_fetch_add(&d->refs, 1);
  return d;
}

void cn_dataset_unref(CnDataset *d) {
  if (!d || atomic_fetch_sub(&d->refs, 1) > 1) return;
  cn_images_unref(d->images);
  cn_free(d->index);
  cn_free(d);
}
