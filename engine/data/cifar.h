/* cifar.h - CIFAR-10 and CIFAR-100 in their official binary form (Krizhevsky 2009).
**
** A record is a label byte (CIFAR-100: a coarse and a fine one) and 3072 bytes of pixels: 32x32 red, then green, then
** blue. The files lie in `root` itself or in the folder of root that the archive unpacks to. Files with fewer records
** than the official ones are legal, so that a part of the data can stand for all of it. */
#ifndef CN_CIFAR_H
#define CN_CIFAR_H

#include "data/dataset.h"
#include "data/download.h"

typedef struct CnCifarSource {
  const char *url;     /* NULL: the official one */
  const char *md5;     /* of the archive; NULL: the official one's */
  bool download;       /* whether the network may be used */
  CnProgress progress; /* may be NULL */
  void *progress_data;
} CnCifarSource;

/* Makes sure that the data is in `root`: keeps what is there, else unpacks the archive that was put there by hand, else
** downloads and unpacks it, else says how to get it. `classes` is 10 or 100. */
CnErr cn_cifar_obtain(int classes, const char *root, const CnCifarSource *source);

/* Reads both sets. */
CnErr cn_cifar_load(CnDataset **train, CnDataset **test, int classes, const char *root);

#endif
