/* listing.h - class folders of pictures: which files there are, of which class, and which of them turned out bad.
**
** A class is a folder of the root, its number the rank of its name; an image is a file in it, or in folders of it, in
** the order of their paths. Hidden names (those with a dot in front) do not count; what a file holds is seen when it is
** decoded, and its extension means nothing. Listing reads each folder once and asks nothing about single files, so that
** a million of them are known in seconds. */
#ifndef CN_LISTING_H
#define CN_LISTING_H

#include <stdbool.h>

#include "base/buffer.h"
#include "data/dataset.h"

typedef struct CnListing CnListing;

typedef struct CnListingConfig {
  const char *name;         /* of the dataset, copied */
  const char *root;         /* folder of the class folders */
  const CnDataset *classes; /* whose classes count, by name, when this is a validation set; NULL: the root's own */
  int64_t max_bad;          /* images that may turn out bad */
  bool may_be_empty;        /* an empty class folder is no error, and none but empty ones neither */
} CnListingConfig;

/* A dataset of the files under the root. Its size of images is what loaders deliver unless told otherwise, 224 by 224;
** its mean and deviation are ImageNet's. An empty class folder is an error unless `classes` is given
** or it may be. */
CnErr cn_listing_load(CnDataset **out, const CnListingConfig *config);

/* Of image k: its path, and its bytes into the buffer. */
void cn_listing_path(char *out, size_t room, const CnListing *listing, int64_t k);
CnErr cn_listing_read(CnBuffer *buffer, size_t *size, const CnListing *listing, int64_t k);

/* Remembers that image k is bad. CN_EDATA, with this message, when there are more than may be. Any thread. */
CnErr cn_listing_note_bad(CnListing *listing, int64_t k, const char *message);
/* Bad images that were found; message number i of them, 0 … count-1, which stays as long as the listing. */
int64_t cn_listing_bad(CnListing *listing);
const char *cn_listing_bad_message(CnListing *listing, int64_t i);

void cn_listing_free(CnListing *listing); /* NULL is allowed; datasets do it themselves */

#endif
